"""A test split that is left alone is not opened: what lies there may be anything."""

import json
from pathlib import Path

import pytest

from seqnlp.data import DataError
from seqnlp.data.arguments import DataArguments, ImageArguments, PairArguments, SeriesArguments
from seqnlp.data.classification import load_text_classification
from seqnlp.data.images import load_images
from seqnlp.data.parallel_text import load_translation
from seqnlp.data.series import load_series


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "validation"):
        rows = [{"text": f"{split} {number}", "label": number % 2} for number in range(20)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "test.jsonl").write_bytes(b"\x00 no JSON")
    return tmp_path


@pytest.mark.parametrize("by_files", [False, True])
def test_texts(folder, by_files):
    named = {f"{split}_file": str(folder / f"{split}.jsonl") for split in ("train", "validation", "test")}
    named = named if by_files else {"dataset_name": str(folder)}
    loaded = load_text_classification(DataArguments(**named, evaluate_test=False))
    assert set(loaded.splits) == {"train", "validation"}
    with pytest.raises(DataError):
        load_text_classification(DataArguments(**named))


def test_a_sample_and_a_split_that_the_user_has_named(folder):
    loaded = load_text_classification(DataArguments(dataset_name=str(folder), test_split="exam", evaluate_test=False))
    assert set(loaded.splits) == {"train", "validation"}
    balls = SeriesArguments(num_trajectories=10)
    assert set(load_series(balls).splits) == {"train", "validation", "test"}
    balls.evaluate_test = False
    assert set(load_series(balls).splits) == {"train", "validation"}
    assert set(load_images(ImageArguments(evaluate_test=False)).splits) == {"train", "validation"}


def test_pairs(tmp_path):
    files = {}
    for split in ("train", "validation"):
        for side, flag in (("en", "file"), ("de", "target_file")):
            path = tmp_path / f"{split}.{side}"
            path.write_text("\n".join(f"{side} {split} {number}" for number in range(9)) + "\n")
            files[f"{split}_{flag}"] = str(path)
    files |= {"test_file": str(Path("nowhere.en")), "test_target_file": "nowhere.de"}
    assert set(load_translation(PairArguments(**files, evaluate_test=False)).splits) == {"train", "validation"}
    with pytest.raises(DataError):
        load_translation(PairArguments(**files))


def test_a_table_of_series(tmp_path):
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(str(number % 7) for number in range(400)) + "\n")
    arguments = SeriesArguments(dataset_name=str(tmp_path / "a.csv"), evaluate_test=False)
    assert set(load_series(arguments).splits) == {"train", "validation"}
