import json
import math
import re
import subprocess
import sys
import tracemalloc

import pytest

from seqnlp.metrics import (
    BLEU,
    ChrF,
    bleu_by_source_length,
    bleu_tokenizer,
    moses_tokens,
    translation_report,
    translation_scores,
)


REFERENCES = [
    "Ein Mann schläft auf dem Sofa.",
    "Zwei Hunde laufen am Strand.",
    "»Das« ist - so scheint's - gut",
    "Ja.",
]
PREDICTIONS = ["Ein mann schläft auf einem Sofa.", "Zwei Hunde laufen am Strand entlang.", "Das ist gut!", "Ja"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, lines in (("references", REFERENCES), ("predictions", PREDICTIONS)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def command_line(files, *arguments):
    """Score and signature by sacrebleu's own command."""
    command = [sys.executable, "-m", "sacrebleu", files / "references", "-i", files / "predictions", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    signature, score = re.search(r"\|(nrefs\S+) = (\S+)", result.stdout).groups()
    return signature, float(score)


@pytest.mark.parametrize(
    ("metric", "settings", "arguments"),
    [
        (BLEU, {}, ("-m", "bleu")),
        (BLEU, {"lowercase": True}, ("-m", "bleu", "-lc")),
        (BLEU, {"lowercase": True, "tokenize": "none"}, ("-m", "bleu", "-lc", "-tok", "none", "--force")),
        (ChrF, {}, ("-m", "chrf")),
    ],
)
def test_scores_and_signatures_are_those_of_sacrebleus_command_line(files, metric, settings, arguments):
    result = metric().compute(predictions=PREDICTIONS, references=REFERENCES, **settings)
    signature, score = command_line(files, *arguments, "-f", "text", "-w", "6")
    assert result["signature"] == signature
    assert result["bleu" if metric is BLEU else "chrf"] == pytest.approx(score, abs=1e-6)


def test_bleu_over_moses_tokens_is_that_of_the_tokens():
    moses = BLEU().compute(predictions=PREDICTIONS, references=REFERENCES, lowercase=True, tokenize="moses:de")
    tokens = [moses_tokens(texts, "de", lowercase=True) for texts in (PREDICTIONS, REFERENCES)]
    assert tokens[0][0] == "ein mann schläft auf einem sofa ."
    plain = BLEU().compute(predictions=tokens[0], references=tokens[1], tokenize="none")
    assert moses["bleu"] == plain["bleu"]
    assert "tok:moses-de-sacremoses-" in moses["signature"]
    assert "case:lc" in moses["signature"]
    assert moses_tokens(["Ein Haus."], "de", lowercase=True) == ["ein haus ."]
    assert moses_tokens(["Ein Haus."], "de", lowercase=False) == ["Ein Haus ."]
    # A date and abbreviations, whose tokens follow from the language and from what is lower-cased before.
    same = ["Dr. Meyer kam am 3. Mai, z. B. um acht."]
    assert moses_tokens(same, "de", lowercase=True) == ["dr. meyer kam am 3. mai , z. b. um acht ."]
    copied = BLEU().compute(predictions=same, references=same, lowercase=True, tokenize="moses:de")
    assert copied["bleu"] == pytest.approx(100.0)


@pytest.mark.parametrize(("metric", "arguments"), [(BLEU, ("-m", "bleu")), (ChrF, ("-m", "chrf"))])
def test_intervals_are_those_of_sacrebleus_command_line(files, metric, arguments):
    result = metric().compute(predictions=PREDICTIONS, references=REFERENCES, num_resamples=50)
    plain = metric().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert {name: result[name] for name in plain} == plain  # the score itself and its signature stay
    command = [sys.executable, "-m", "sacrebleu", files / "references", "-i", files / "predictions", *arguments]
    command += ["--confidence", "--confidence-n", "50", "-f", "json", "-w", "6"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert result["interval"] == pytest.approx(found["confidence_var"], abs=1e-6)
    assert result["interval"] > 0


def test_nothing_right_has_an_interval_of_nothing():
    scores = translation_scores(["a b"] * 2, ["x"] * 2, ["c d e f"] * 2, "de")
    assert scores["bleu"] == scores["intervals"]["bleu"] == 0


def test_one_sentence_has_no_interval():
    scores = translation_scores(["A dog."], ["Ein Hund läuft."], ["Ein Hund läuft."], "de")
    assert (scores["chrf"], scores["intervals"]) == (100.0, {})
    pairs = [{"source": "A dog.", "target": "Ein Hund läuft."}]
    assert "±" not in translation_report("test", pairs, ["Ein Hund läuft."], scores)


def test_the_scores_hold_lower_cased_bleu_by_the_length_of_the_source():
    scores = translation_scores(["a b c", "a", "a b", "a"], PREDICTIONS, REFERENCES, "de")
    (item,) = scores["bleu_by_source_length"]
    assert item["sentences"] == 4
    assert item["bleu"] == pytest.approx(scores["bleu_lowercase"])
    assert item["bleu"] > scores["bleu"]  # "mann"


def test_every_report_shows_the_same_sentences():
    pairs = [{"source": f"<{row}>", "target": "Ja."} for row in range(1000)]
    scores = translation_scores(["a"], ["Ja."], ["Ja."], "de")
    first, second = (translation_report("test", pairs, [text] * 1000, scores, 3) for text in ("Ja.", "Nein."))
    shown = re.findall(r"<\d+>", first)
    assert len(shown) == 3
    assert re.findall(r"<\d+>", second) == shown


def test_several_references_count_as_sacrebleu_counts_them():
    several = [[reference, prediction] for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True)]
    assert BLEU().compute(predictions=PREDICTIONS, references=several)["bleu"] == pytest.approx(100)
    with pytest.raises(ValueError, match="same number of references"):
        BLEU().compute(predictions=PREDICTIONS, references=[["a"], ["b", "c"], ["d"], ["e"]])


def test_sentences_are_read_in_parts(monkeypatch):
    several = [[reference, prediction] for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True)]
    settings = [
        {"predictions": PREDICTIONS, "references": given, "num_resamples": 50} for given in (REFERENCES, several)
    ]
    at_once = [metric().compute(**given) for metric in (BLEU, ChrF) for given in settings]
    monkeypatch.setattr("seqnlp.metrics.bleu.SENTENCES_AT_ONCE", 3)
    assert [metric().compute(**given) for metric in (BLEU, ChrF) for given in settings] == at_once


def test_batches_add_up():
    metric = BLEU()
    metric.add_batch(predictions=PREDICTIONS[:1], references=REFERENCES[:1])
    metric.add_batch(predictions=PREDICTIONS[1:], references=REFERENCES[1:])
    assert metric.compute() == BLEU().compute(predictions=PREDICTIONS, references=REFERENCES)


def test_bins_of_length_hold_every_sentence_once():
    sources = ["w " * length for length in range(1, 40) for _ in range(length % 7)]
    same = [f"one two three four {row}" for row in range(len(sources))]
    bins = bleu_by_source_length(sources, same, same, width=5, min_sentences=20)
    assert sum(item["sentences"] for item in bins) == len(sources)
    assert all(item["sentences"] >= 20 and item["bleu"] == pytest.approx(100) for item in bins)
    assert bins[0]["from"] == 1
    assert [item["to"] + 1 for item in bins[:-1]] == [item["from"] for item in bins[1:]]
    wrong = [text if len(source.split()) <= bins[0]["to"] else "x" for text, source in zip(same, sources, strict=True)]
    assert [item["bleu"] > 99 for item in bleu_by_source_length(sources, wrong, same)] == [True] + [False] * (
        len(bins) - 1
    )


def test_the_report_shows_scores_with_signatures_and_examples():
    pairs = [{"source": f"source {row}", "target": reference} for row, reference in enumerate(REFERENCES)]
    scores = translation_scores([pair["source"] for pair in pairs], PREDICTIONS, REFERENCES, "de")
    report = translation_report("test", pairs, PREDICTIONS, scores, num_examples=4)
    assert "Test: 4 sentences" in report
    for name, signature in scores["signatures"].items():
        assert f"{scores[name]:.2f} ± {scores['intervals'][name]:.2f}" in report
        assert signature in report
    for text in ("source 3", REFERENCES[1], PREDICTIONS[1]):
        assert " ".join(text.split()[:3]) in report


CHINESE = ["我喜欢吃苹果和香蕉。", "今天天气很好。"]


def test_bleu_of_languages_without_spaces_counts_their_own_units():
    scores = translation_scores(["a", "b"], CHINESE, CHINESE, "zh")
    assert scores["bleu"] == pytest.approx(100)
    assert "tok:zh" in scores["signatures"]["bleu"]
    assert "bleu_lowercase_moses" not in scores
    # By hand, over characters: of 10 + 7 one is wrong, the eighth of the first.
    wrong = ["我喜欢吃苹果和葡蕉。", CHINESE[1]]
    found = translation_scores(["a", "b"], wrong, CHINESE, "target")  # told by its letters
    precisions = (16 / 17, 13 / 15, 10 / 13, 8 / 11)
    assert found["bleu"] == pytest.approx(100 * math.prod(precisions) ** 0.25)


@pytest.mark.parametrize(
    ("language", "references", "tokenizer"),
    [
        ("de", ["Guten Tag", "你"], "13a"),
        ("cmn", CHINESE, "zh"),  # a code that sacrebleu does not know
        ("tgt", CHINESE, "zh"),
        ("out", ["ສະບາຍດີ"], "char"),
        ("zh_CN", [], "zh"),
        ("zh-Hant", [], "zh"),
        ("th", [], "char"),
        ("target", CHINESE, "zh"),
        ("target", ["สวัสดีครับ"], "char"),
        ("target", ["Guten Tag", "你"], "13a"),
        ("target", [], "13a"),
    ],
)
def test_the_tokenizer_follows_the_language(language, references, tokenizer):
    assert bleu_tokenizer(language, references) == tokenizer


@pytest.mark.parametrize(("language", "references"), [("ja", []), ("target", ["私はりんごを食べます"]), ("ko", [])])
def test_japanese_and_korean_are_told_by_characters_where_their_tokenizers_are_not_installed(language, references):
    assert bleu_tokenizer(language, references) in ("char", "ja-mecab", "ko-mecab")


def test_an_interval_of_chrf_where_some_samples_share_nothing_with_the_reference():
    """One sentence of three is right: 8 in 27 samples lack it and score 0, 1 in 27 has nothing else and scores 100."""
    found = ChrF().compute(predictions=["aaaa", "", ""], references=["aaaa", "b", "b"], num_resamples=1000)
    assert found["interval"] == 50.0  # more than 2.5 % of the samples at either end


@pytest.mark.parametrize("metric", [BLEU, ChrF])
def test_an_interval_takes_no_more_memory_for_having_a_thousand_samples(metric):
    texts = {"predictions": REFERENCES * 1000, "references": REFERENCES[::-1] * 1000}
    metric().compute(**texts)
    peaks = []
    for count in (10, 1000):
        tracemalloc.start()
        metric().compute(**texts, num_resamples=count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**22  # the statistics of all samples would take 160 MB
