"""ONNX files in onnxruntime, and their scripts where neither torch, transformers nor seqnlp can be imported."""

import csv
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_heads import HEADS, SIZE, TEXTS, head, tokenizer
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import ViTImageProcessorPil

from seqnlp.data import series
from seqnlp.export import ExportError, create_export, export
from seqnlp.export.onnx import OPSET
from seqnlp.export.scripts import generate, predict_series, predict_text
from seqnlp.tokenization import train_tokenizer


# What a stranger has: the script's own imports, and none of these.
STRANGER = """
import runpy, sys
for name in ("torch", "transformers", "seqnlp"):
    sys.modules[name] = None
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    @functools.cache
    def make(name, quantization=None):
        model, folder = head(name), tmp_path_factory.mktemp("exports") / name.replace(" ", "-")
        processor = {"input_ids": tokenizer(), "pixel_values": image_processor()}.get(model.main_input_name)
        checks = export(model, processor, "onnx", folder, quantization=quantization)
        assert all(check.passed for check in checks), checks
        return model, folder, checks

    return make


def image_processor():
    return ViTImageProcessorPil(size={"height": 4, "width": 10}, do_convert_rgb=True, image_std=[0.2, 0.5, 0.7])


def run(script, *arguments):
    command = [sys.executable, "-I", "-c", STRANGER, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(printed):
    return [line.split("\t") for line in printed.splitlines()]


def greedy(model, text, count):
    inputs = tokenizer()(text, return_tensors="pt")
    written = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=count, max_length=None)
    return tokenizer().decode(written[0], skip_special_tokens=True)


@pytest.mark.parametrize("name", ["transformer writer", "feeding translator"])
def test_a_stranger_writes_what_generate_writes(name, exported):
    model, folder, checks = exported(name)
    assert [check.name.split(",")[0].split(" of")[0] for check in checks] == ["outputs", "tokens"]
    printed = run(folder / "generate.py", TEXTS[1], "--max_new_tokens", "15")
    assert printed.rstrip("\n") == greedy(model, TEXTS[1], 15)
    assert printed.strip()


@torch.no_grad()
def test_a_stranger_classifies_as_the_model(exported):
    model, folder, _ = exported("lstm classifier")
    for text in (TEXTS[1], "<s> is not a token of a text", ""):
        inputs = tokenizer()(text, return_tensors="pt")
        expected = model(inputs["input_ids"].long(), attention_mask=inputs["attention_mask"]).logits.softmax(-1)[0]
        found = lines(run(folder / "predict.py", text)) if text == TEXTS[1] else in_process(folder, text)
        assert [label for label, _ in found] == [f"LABEL_{place}" for place in expected.argsort(descending=True)]
        values = sorted((float(value) for _, value in found), reverse=True)
        np.testing.assert_allclose(values, sorted(expected.tolist(), reverse=True), atol=1e-4)


def in_process(folder, text):
    facts = json.loads((folder / "runtime.json").read_text())
    reader = Tokenizer.from_file(str(folder / facts["tokenizer"]))
    reader.encode_special_tokens = facts["split_special_tokens"]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    return predict_text.predict(session, reader, facts, text)


@torch.no_grad()
def test_a_text_that_is_too_long_is_cut_as_transformers_cuts_it(tmp_path, capsys):
    reader = train_tokenizer(TEXTS, "char", SIZE, model_max_length=9)
    reader.truncation_side = "left"
    marks = [(token, reader.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    reader.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    kept = reader(TEXTS[1], truncation=True, return_tensors="pt")["input_ids"]  # the last call, which a file repeats
    assert kept.shape == (1, 9)
    assert [int(kept[0, 0]), int(kept[0, -1])] == [token for _, token in marks]
    model = head("elman tagger")
    export(model, reader, "onnx", tmp_path / "tagger")
    found = in_process(tmp_path / "tagger", TEXTS[1])
    assert "cut to 9 of 28 tokens" in capsys.readouterr().err
    assert [token for token, _, _ in found] == reader.convert_ids_to_tokens(kept[0])
    saved = Tokenizer.from_file(str(tmp_path / "tagger" / "tokenizer.json"))
    assert (saved.truncation, saved.padding) == (None, None)  # other programs would obey it
    best = model(kept).logits.softmax(-1).max(-1).values[0]
    np.testing.assert_allclose([probability for _, _, probability in found], best, atol=1e-4)


@torch.no_grad()
def test_a_stranger_reads_an_image_as_the_processor_does(exported, tmp_path):
    model, folder, _ = exported("images")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 17, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # a camera held upright: its orientation, which the pipeline of transformers obeys
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "noise.png", exif=turned)
    expected = model(**image_processor()(image, return_tensors="pt")).logits.softmax(-1)[0]
    found = {label: float(value) for label, value in lines(run(folder / "predict.py", str(tmp_path / "noise.png")))}
    for place in range(3):
        assert found[f"LABEL_{place}"] == pytest.approx(float(expected[place]), abs=1e-4)


@torch.no_grad()
def test_a_stranger_goes_on_from_a_table_with_gaps(exported, tmp_path):
    model, folder, _ = exported("gru series")
    values = 5 + torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    values[3, 0] = values[4, 1] = values[4, 0] = float("nan")
    with (tmp_path / "series.csv").open("w", newline="") as file:
        rows = [["" if value != value else repr(value) for value in row] for row in values.tolist()]
        csv.writer(file).writerows([["left", "right"], *rows])
    observed = ~values.isnan()
    expected = model(values.nan_to_num()[None], past_observed_mask=observed[None]).prediction_outputs[0]
    found = np.loadtxt(run(folder / "predict.py", str(tmp_path / "series.csv")).splitlines(), delimiter=",")
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    "content",
    ['\ufeff"x1","x2"\n"1","2"\n"NA","4"\n', "1,2\n\n,4\n\n", "1,2\r\n nan , 4\r\n", "1,2\n#N/A,4\n"],
)
def test_tables_as_people_have_them(content, tmp_path):
    (tmp_path / "series.csv").write_text(content, encoding="utf-8", newline="")
    np.testing.assert_array_equal(predict_series.read(tmp_path / "series.csv", ",", 2), [[1, 2], [np.nan, 4]])


def test_cells_are_read_as_in_training():
    assert predict_series.MISSING == series.MISSING
    assert predict_series.number(f"{series.MINUS}1e{series.MINUS}5") == -1e-5


def test_an_empty_line_of_one_channel_is_a_step(tmp_path):
    (tmp_path / "series.csv").write_text("1\n\n3\n\n")
    np.testing.assert_array_equal(predict_series.read(tmp_path / "series.csv", ",", 1), [[1], [np.nan], [3]])


@torch.no_grad()
def test_a_run_of_logarithms_reads_as_many_steps_as_it_was_trained_on(tmp_path, capsys):
    model = head("gru series")
    settings = {"logarithm": True, "context_length": 4}
    export(model, None, "onnx", tmp_path / "series", settings=settings)
    facts = json.loads((tmp_path / "series" / "runtime.json").read_text())
    session = onnxruntime.InferenceSession(str(tmp_path / "series" / "model.onnx"))
    past = torch.rand(9, 2, generator=torch.Generator().manual_seed(0)) * 50 + 1
    expected = model(past[None, -4:].log()).prediction_outputs[0].exp()
    np.testing.assert_allclose(predict_series.predict(session, facts, past.double().numpy()), expected, rtol=1e-4)
    assert "the last 4 of 9 steps are read" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the model reads logarithms, and the least value is -1"):
        predict_series.predict(session, facts, -np.ones((2, 2)))


@pytest.mark.parametrize(
    ("name", "script", "content", "message"),
    [
        ("gru series", "predict.py", "1,2,3,4\n5,6,7,8\n", "has 4 columns, and the model reads 2"),
        ("gru series", "predict.py", "a,b\n1,2\n3,four\n", "line 3 of series.csv: 'four' is no number"),
        ("gru series", "predict.py", "1,x2\n3,4\n", "line 1 of series.csv: 'x2' is no number"),
        ("gru series", "predict.py", "a,b\n", "series.csv holds no number"),
        ("learned writer", "generate.py", "a" * 41, "the text has 41 tokens, and the model reads 40 in all"),
    ],
)
def test_what_the_model_cannot_read_is_refused(name, script, content, message, exported, tmp_path):
    _, folder, _ = exported(name)
    (tmp_path / "series.csv").write_text(content)
    given = "series.csv" if script == "predict.py" else content
    command = [sys.executable, str(folder / script), given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_files_are_whole_small_and_tell_their_names(exported):
    for name in ("lstm classifier", "feeding translator"):
        _, folder, _ = exported(name)
        facts = json.loads((folder / "runtime.json").read_text())
        assert facts["opset"] == OPSET
        for graph, described in facts["graphs"].items():
            data = (folder / f"{graph}.onnx").read_bytes()
            assert b"site-packages" not in data and b"seqnlp/" not in data  # noqa: PT018 - of one file
            made = onnx.load(folder / f"{graph}.onnx", load_external_data=False)
            assert {(system.domain, system.version) for system in made.opset_import} == {("", OPSET)}
            assert not any(onnx.external_data_helper.uses_external_data(one) for one in made.graph.initializer)
            shapes = {
                value.name: ", ".join(
                    size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim
                )
                for value in made.graph.input
            }
            assert shapes == described["inputs"]
            assert [value.name for value in made.graph.output] == described["outputs"]
        assert not list(folder.glob("*.data"))


def test_a_temperature_draws_from_the_softmax(exported):
    model, folder, _ = exported("transformer writer")
    graphs, facts = generate.load(folder)
    ids = tokenizer()(TEXTS[0])["input_ids"]
    drawn = [next(generate.write(graphs, facts, ids, 1, temperature=2.0, seed=seed)) for seed in range(1000)]
    with torch.no_grad():
        expected = (model(torch.tensor([ids])).logits[0, -1] / 2).softmax(-1).numpy()
    found = np.bincount(drawn, minlength=SIZE) / 1000
    assert np.abs(found - expected).sum() / 2 < 0.1  # total variation; a greedy one has 1 minus the largest share
    assert expected.max() < 0.8
    again = list(generate.write(graphs, facts, ids, 5, temperature=2.0, seed=7))
    assert again == list(generate.write(graphs, facts, ids, 5, temperature=2.0, seed=7))


def test_int8_is_smaller_and_agrees(tmp_path):
    model = head("lstm classifier", vocab_size=2000, hidden_size=64)
    checks = export(model, None, "onnx", tmp_path / "int8", quantization="int8")
    size, same = checks
    share = int(size.found.split(", ")[-1].split("%")[0])
    assert share < 45, size  # a quarter, and the graph itself
    assert same.passed, same
    full = onnxruntime.InferenceSession(str(tmp_path / "int8" / "model.onnx")).run(
        None, {"input_ids": np.full((1, 4), 7), "attention_mask": np.ones((1, 4), np.int64)}
    )[0]
    with torch.no_grad():
        expected = model(torch.full((1, 4), 7)).logits.numpy()
    assert 0 < np.abs(full - expected).max() < 0.1 * np.abs(expected).max()
    assert not (tmp_path / "int8" / "predict.py").exists()  # no tokenizer, no script


def test_what_the_scripts_cannot_do_is_refused():
    gray = ViTImageProcessorPil(size={"height": 4, "width": 10}, do_resize=False)
    with pytest.raises(ExportError, match=r"do_resize, do_rescale, do_normalize = \(False, True, True\)"):
        create_export(head("images"), "onnx", processor=gray)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif("NODE_ONNXRUNTIME_WEB" not in os.environ, reason="NODE_ONNXRUNTIME_WEB names no folder")
@pytest.mark.parametrize("name", ["lstm classifier", "encoder classifier"])
@torch.no_grad()
def test_the_lines_of_the_docs_classify_under_node(name, exported):
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    script = Path(os.environ["NODE_ONNXRUNTIME_WEB"]) / "classify.mjs"
    script.write_text(lines, encoding="utf-8")
    model, folder, _ = exported(name)
    ids = tokenizer()(TEXTS[2])["input_ids"]
    done = subprocess.run(["node", script, folder, *map(str, ids)], capture_output=True, text=True, check=True)
    expected = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("lstm classifier", "images", "gru series")])
def test_every_head(name, exported):
    exported(name)


@pytest.mark.long
@pytest.mark.parametrize("cell_type", ["elman", "gru", "lstm", "mingru", "minlstm"])
def test_200_texts_are_written_alike(cell_type, tmp_path):
    model = head("lstm writer", cell_type=cell_type, vocab_size=300, hidden_size=48)
    made = create_export(model, "onnx", processor=train_tokenizer(TEXTS, "bpe", 300))
    made.texts = 200
    outputs, tokens = made.save(tmp_path / "writer")
    assert outputs.passed, outputs
    assert tokens.found.startswith("200 of 200"), tokens


@pytest.mark.long
@pytest.mark.parametrize("name", ["transformer writer", "lstm translator", "transformer translator"])
def test_200_texts_are_written_alike_with_attention(name, tmp_path):
    made = create_export(head(name, vocab_size=300, hidden_size=48), "onnx", processor=tokenizer())
    made.texts = 200
    outputs, tokens = made.save(tmp_path / "writer")
    assert outputs.passed, outputs
    assert tokens.found.startswith("200 of 200"), tokens
