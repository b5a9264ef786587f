"""`seqnlp try`: texts, files, pipes, JSON and a conversation."""

import io
import json
import unicodedata

import pytest
import torch
from PIL import Image
from rich.console import Console
from transformers import ViTImageProcessorPil

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.cli.terminal import Terminal, plot, show, show_kind
from seqnlp.demo import Answer, ClassAnswer, SeriesAnswer, TagAnswer, TranslationAnswer
from seqnlp.demo.answers import Scored, Span, Tag, Word
from seqnlp.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(["the cat sat on the mat"] * 3, "word", 40, min_frequency=1)
    tunes = train_tokenizer(["M:6/8\nL:1/8\nK:Gmaj\nABc def|\nT:Jig 4"], "char", 60, min_frequency=1)
    sizes = {"hidden_size": 8, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    names = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    words = {**sizes, "vocab_size": len(tokenizer)}
    parts = {
        "reviews": (RecurrentForSequenceClassification(RecurrentConfig(**words, **names)), tokenizer),
        "lm": (RecurrentForCausalLM(RecurrentConfig(**words)), tokenizer),
        "music": (RecurrentForCausalLM(RecurrentConfig(**sizes, vocab_size=len(tunes))), tunes),
        "images": (
            VisionTransformerForImageClassification(
                VisionTransformerConfig(hidden_size=8, image_size=8, patch_size=4, num_attention_heads=2)
            ),
            ViTImageProcessorPil(size={"height": 8, "width": 8}),
        ),
        "series": (RecurrentForTimeSeriesPrediction(RecurrentConfig(vocab_size=9, hidden_size=8, input_size=1)), None),
    }
    for name, (model, processor) in parts.items():
        model.save_pretrained(root / name)
        if processor is not None:
            processor.save_pretrained(root / name)
    run = {"task": "music_generation", "hyperparameters": {"max_length": 12}}
    (root / "music" / "run.json").write_text(json.dumps(run))
    Image.effect_noise((8, 8), 90).save(root / "noise.png")
    return root


class Typed(io.StringIO):
    """A keyboard."""

    def isatty(self):
        return True


@pytest.fixture
def seqnlp(seqnlp):
    """Run `seqnlp try`; gives its exit status, what it printed and its error."""

    def run(*arguments, given=""):
        return seqnlp("try", *arguments, stdin=Typed() if given is None else io.StringIO(given))

    return run


def test_texts_files_and_pipes_are_answered_alike_and_in_order(root, seqnlp, tmp_path):
    (tmp_path / "lines.txt").write_text("the cat\n\nthe mat\n")
    status, out, _ = seqnlp(root / "reviews", "--json", given="the cat\n\nthe mat\n")
    piped = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [one["text"] for one in piped] == ["the cat", "", "the mat"]
    assert piped[0].keys() >= {"kind", "label", "scores", "value", "words", "weights", "remarks"}
    assert piped[0]["kind"] == "text-classification"
    assert seqnlp(root / "reviews", "--json", "--file", tmp_path / "lines.txt")[1] == out
    texts = [word for text in ("the cat", "", "the mat") for word in ("--text", text)]
    assert seqnlp(root / "reviews", "--json", *texts)[1] == out


def test_a_person_sees_classes_words_and_what_was_unknown(root, seqnlp):
    status, out, _ = seqnlp(root / "reviews", "--text", "the unicorn")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()[:2]} == {"bad", "good"}
    assert "occlusion: " in out
    assert "The tokenizer does not know unicorn." in out
    assert "\x1b" not in out  # no colors where there is no terminal


def test_a_conversation_ends_quietly_and_survives_what_cannot_be_answered(root, monkeypatch, seqnlp):
    lines = iter(["1 2 x", "", "1 2 3"])

    def typed(_):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    status, out, error = seqnlp(root / "series", "--max_new_tokens", 2, given=None)
    assert (status, error) == (0, "")
    assert "Type numbers, or a file's name and press Enter; Ctrl-D ends." in out
    assert "is no number" in out
    assert out.count("o past, x forecast") == 1

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert seqnlp(root / "series", given=None)[::2] == (130, "")


def test_a_text_is_printed_once_as_it_comes(root, seqnlp):
    given = ["--text", "the cat", "--seed", 5, "--max_new_tokens", 6]
    wanted = json.loads(seqnlp(root / "lm", *given, "--json")[1])["text"]
    out = seqnlp(root / "lm", *given)[1]
    assert out.splitlines()[0].startswith("next: ")
    assert out.splitlines()[1] == f"the cat{wanted}"


def test_a_compiled_step_writes_the_same(root, seqnlp, compiled):
    given = [root / "lm", "--text", "the cat", "--temperature", 0, "--max_new_tokens", 6, "--json"]
    wanted = seqnlp(*given)
    assert compiled == []
    assert seqnlp(*given, "--compile_generation") == wanted
    assert compiled == ["asked"]


def test_tunes_go_to_files_and_never_over_others(root, seqnlp, tmp_path, monkeypatch):
    abc = "X:1\nM:6/8\nL:1/8\nK:Gmaj\nABc def|gab gfe|\n"
    monkeypatch.setattr("seqnlp.demo.writers.to_abc", lambda _: abc)
    (tmp_path / "tune-1.abc").write_text("mine")
    status, out, _ = seqnlp(root / "music", "--text", "6/8 G", "--output", tmp_path)
    assert status == 0
    assert "It can be played" in out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tune-1.abc"] + [
        f"tune-2.{ending}" for ending in ("abc", "mid", "png", "svg", "wav")
    ]
    assert (tmp_path / "tune-1.abc").read_text() == "mine"
    assert (tmp_path / "tune-2.abc").read_text() == abc


REFUSED = {
    "{root}/images --text cat": "reads images: give --file",
    "{root}/images --file {root}/none.png": "There is no image",
    "{root}/reviews --file {root}/none.txt": "none.txt' cannot be read",
    "{root}/reviews --text cat --temperature 1": "--temperature 1.0: RecurrentForSequenceClassification",
    "{root}/lm --text cat --num_beams 0": "--num_beams 0: give a number from 1 up",
    "{root}/lm --text cat --num_beams 3 --compile_generation": "--compile_generation does nothing for 3 beams",
    "{root}/reviews --text cat --compile_generation": "a RecurrentForSequenceClassification is not a model of seqnlp",
    "{root}/series --text 1,x": "--text '1,x': '1,x' holds something that is no number",
    "{root}/music --text 6/8+H --output {root}/none": "'H' is no key",
}


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_refusals_take_one_line(line, root, seqnlp):
    status, _, error = seqnlp(*(word.replace("+", " ") for word in line.format(root=root).split()))
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert REFUSED[line] in error


def test_an_image_and_a_series_from_files(root, seqnlp, tmp_path):
    out = seqnlp(root / "images", "--file", root / "noise.png")[1]
    assert "where it looks:" in out
    (tmp_path / "walk.csv").write_text("steps\n1\n2\n3\n")
    out = seqnlp(root / "series", "--file", tmp_path / "walk.csv", "--max_new_tokens", 2)[1]
    assert "Read: steps as channel 1." in out


def test_help_has_examples(seqnlp):
    status, out, _ = seqnlp("--help")
    assert status == 0
    assert "seqnlp try outputs/" in out


def shown(answer, color=None):
    console = Console(file=io.StringIO(), color_system=color, force_terminal=bool(color), width=80, markup=False)
    show(answer, console)
    return console.file.getvalue()


def kinds_of(kind):
    return [found for below in kind.__subclasses__() for found in (below, *kinds_of(below))]


def test_every_kind_of_answer_is_shown_in_its_own_way():
    shared = [kind.__name__ for kind in kinds_of(Answer) if kind not in show_kind.registry]
    assert shared == [], "no function of cli/terminal.py shows these"


def test_colors_on_a_terminal_alone():
    words = [Word("bad", 0, 3, 0.5), Word("film", 4, 8, -0.25)]
    answer = ClassAnswer("bad film", "no", [Scored("no", 0.75), Scored("yes", 0.25)], None, words, "occlusion")
    assert shown(answer).splitlines()[0].split() == ["no", "75.0%", "█" * 18]
    assert "occlusion: bad +0.50   film -0.25" in shown(answer)
    assert "\x1b[37;48;2;213;94;0mbad\x1b[0m" in shown(answer, "truecolor")


def test_tags_and_alignments_in_plain_letters():
    tags = [Tag("Ada", 0, 3, "B-PER", 0.9), Tag("Lovelace", 4, 12, "I-PER", 0.8), Tag("wrote", 13, 18, "O", 0.7)]
    answer = TagAnswer("Ada Lovelace wrote", tags, [Span("Ada Lovelace", 0, 12, "PER")])
    assert shown(answer) == "Ada Lovelace[PER] wrote\n"
    nouns = [Tag("cats", 0, 4, "NOUN", 0.9), Tag("sleep", 5, 10, "VERB", 0.8)]
    assert shown(TagAnswer("cats sleep", nouns, [])) == "cats[NOUN] sleep[VERB]\n"
    answer = TranslationAnswer("a b", "x", -0.6931472, ["a", "b"], ["x"], [[0.25, 0.75]])
    assert "x  <-  b 75%, a 25%" in shown(answer)
    assert "50.0% on average" in shown(answer)


def test_a_plot_has_its_ends_at_its_edges():
    lines = [str(line) for line in plot([0.0, None, 5.0], [9.0], 40)]
    assert lines[0] == "        9 |   x"
    assert lines[-1].startswith("        0 |o")
    assert sum(line.count("o") for line in lines) == 2
    last = str(plot(list(map(float, range(100))), [1.0] * 5, 20)[0])
    assert last.startswith("       99 |")
    assert last.rindex("o") == 11 + 14  # the last steps of the past, then the forecast
    assert "o past, x forecast; a step is 2 s" in shown(SeriesAnswer(["a"], "m", [[1.0]], [[1.0]], 2.0, "s"))
    sure = shown(SeriesAnswer(["a"], "m", [[1.0]], [[1.0], [2.0]], 2.0, "s", [[0.5], [0.25]], [[1.5], [4.0]]))
    assert "4 |  :" in sure  # the highest of all, two steps ahead
    assert "2 (0.25 to 4)" in sure


def test_what_is_shown_does_nothing_to_the_terminal_but_be_seen(root, seqnlp):
    given = "the\x1b[31m cat\x9b2J \x1b]0;title\x07 \u202esat \u200d 日本"
    for model, options in (("reviews", []), ("lm", ["--seed", 1, "--max_new_tokens", 2])):
        status, out, _ = seqnlp(root / model, "--text", given, *options)
        assert status == 0
        assert not {character for character in out if unicodedata.category(character) == "Cc"} - {"\n"}
        assert "\u202e" not in out
    assert "the·[31m cat·2J ·]0;title ·sat \u200d 日本" in out  # joiners and other scripts are text
    status, _, error = seqnlp("nowhere\x1b[31m")
    assert (status, "\x1b" in error) == (2, False)
    assert "There is no folder '~no_such_user/a'" in seqnlp("~no_such_user/a")[2]
    console = Terminal()
    with console.capture() as shown:
        show(TagAnswer("a\x1bb", [Tag("a\x1bb", 0, 3, "X\x9b", 1.0)], [], remarks=["c\x1b"]), console)
    assert shown.get() == "a·b[X·]\nc·\n"
