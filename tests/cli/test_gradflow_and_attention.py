"""The verbs on models as a recipe or somebody else leaves them in a folder."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTImageProcessorPil,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.tokenization import train_tokenizer


TEXT = "the cat sat on the mat and looked at the dog that looked at the cat on the mat"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders with a small model and its tokenizer, by name."""
    torch.manual_seed(0)  # a translator that writes something
    root = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([TEXT] * 3, "word", 40, lowercase=True, min_frequency=1, model_max_length=64)
    size, pad = len(tokenizer), tokenizer.pad_token_id
    sizes = {"vocab_size": size, "hidden_size": 8, "pad_token_id": pad}
    foreign = {"vocab_size": size, "pad_token_id": pad, "bos_token_id": None, "eos_token_id": None}
    made = {
        "elman": RecurrentForCausalLM(RecurrentConfig(**sizes, cell_type="elman")),
        "lstm": RecurrentForCausalLM(RecurrentConfig(**sizes)),
        "classifier": RecurrentForSequenceClassification(RecurrentConfig(**sizes, pooling="attention")),
        "translation": RecurrentSeq2SeqForConditionalGeneration(
            RecurrentSeq2SeqConfig(**sizes, decoder_start_token_id=1, eos_token_id=2)
        ),
        "transformer": TransformerForConditionalGeneration(
            TransformerConfig(**sizes, num_attention_heads=2, decoder_start_token_id=1, eos_token_id=2)
        ),
        "bart": BartForConditionalGeneration(
            BartConfig(
                vocab_size=size,
                d_model=8,
                **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
                **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
                **{f"{part}_ffn_dim": 8 for part in ("encoder", "decoder")},
                max_position_embeddings=32,
                pad_token_id=pad,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=2,
                forced_eos_token_id=None,
            )
        ),
        "gpt2": GPT2LMHeadModel(GPT2Config(**foreign, n_embd=8, n_layer=2, n_head=2, n_positions=12)),
        "bert": BertForSequenceClassification(
            BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        ),
        "roberta": RobertaForSequenceClassification(
            RobertaConfig(
                **sizes | {"pad_token_id": 1},
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=8,
                max_position_embeddings=12,
            )
        ),
    }
    for name, model in made.items():
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    # Some encoder-decoders write in another vocabulary than they read.
    made["translation"].config.target_tokenizer = "written"
    made["translation"].save_pretrained(root / "bilingual")
    tokenizer.save_pretrained(root / "bilingual")
    train_tokenizer(["le chat dort"], "char", 40, lowercase=True, min_frequency=1).save_pretrained(
        root / "bilingual" / "written"
    )
    config = VisionTransformerConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_channels=1
    )
    VisionTransformerForImageClassification(config).save_pretrained(root / "images")
    ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.5], image_std=[0.5]).save_pretrained(
        root / "images"
    )
    history = [{"step": 10, "clipped_share": 0.4}, {"step": 40, "clipped_share": 0.2}]
    run = {"hyperparameters": {"max_grad_norm": 0.25}, "history": history}
    (root / "elman" / "run.json").write_text(json.dumps(run))
    (root / "lstm" / "run.json").write_text("[1]")  # of another program
    RecurrentForTimeSeriesPrediction(RecurrentConfig(input_size=2, hidden_size=8)).save_pretrained(root / "series")
    (root / "empty").mkdir()
    (root / "headless").mkdir()
    (root / "headless" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(root / "image.png")
    return root


def test_gradflow_trains_anew_with_and_without_clipping(models, seqnlp, tmp_path):
    picture = tmp_path / "flow.png"
    arguments = ["gradflow", models / "elman", models / "lstm", "--text", TEXT, "--output", picture]
    status, out, _ = seqnlp(*arguments, "--training_rate", 1, "--training_steps", 3)
    assert status == 0
    assert re.search(
        r"elman trained anew at 1: clipped to 0\.25, loss \d\.\d\d at first and .*; gradients as they", out
    )
    curves = json.loads((tmp_path / "flow-clipping.json").read_text())
    assert {name: [curve["max_grad_norm"] for curve in pair] for name, pair in curves.items()} == {
        "elman": [0.25, None],
        "lstm": [1.0, None],
    }
    assert [len(curve["losses"]) for pair in curves.values() for curve in pair] == [3] * 4
    # New weights, which know nothing yet: about ln V.
    assert curves["elman"][0]["losses"][0] == pytest.approx(
        np.log(AutoTokenizer.from_pretrained(models / "elman").vocab_size), rel=0.5
    )
    with Image.open(tmp_path / "flow-clipping.png") as drawn:
        assert drawn.height > 600  # a row for each model
    status, _, error = seqnlp(*arguments, "--overwrite", "--training_rate", 0)
    assert (status, "--training_rate 0: give a number above 0" in error) == (2, True)
    status, _, error = seqnlp(
        "gradflow", models / "classifier", "--text", TEXT, "--output", picture, "--training_rate", 1, "--overwrite"
    )
    assert (status, "classifier: RecurrentForSequenceClassification: clipping is compared in" in error) == (2, True)


def test_gradflow_puts_several_models_into_one_picture(models, seqnlp, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    picture = tmp_path / "flow.png"
    names = ("elman", "lstm", "gpt2")
    arguments = [*(models / name for name in names), "--text_file", text, "--distance", 5, "--windows", 4]
    status, out, _ = seqnlp("gradflow", *arguments, "--output", picture)
    assert status == 0
    assert all(name in out for name in (*names, "factor per token", "spectral radius", "of 4"))
    with Image.open(picture) as drawn:
        assert drawn.width > 800
    numbers = json.loads(picture.with_suffix(".json").read_text())
    assert list(numbers) == list(names)
    assert all(len(numbers[name]["series"][0]["norms"]) == 6 for name in names)
    assert numbers["elman"]["max_grad_norm"] == 0.25  # from run.json, as
    assert numbers["elman"]["clipped_steps"] == pytest.approx(0.25)
    assert numbers["lstm"]["clipped_steps"] is numbers["gpt2"]["clipped_steps"] is None
    row = next(line for line in out.splitlines() if line.startswith("elman"))
    assert "25%" in row
    assert numbers["lstm"]["max_grad_norm"] == 1.0
    assert "layer 1, forget gate" in numbers["lstm"]["saturation"]
    page = picture.with_suffix(".html").read_text()
    found = re.search(r"1 % of the gradient reaches back (\d+)(?: or more)? tokens in (\w+).*(?=\.)", out)
    reaches = {}
    for name in names:  # the farthest token with a hundredth of the gradient at the last one, in the lowest layer
        norms = numbers[name]["series"][0]["norms"]
        reaches[name] = max(place for place, norm in enumerate(norms) if norm >= 0.01 * norms[0])
    assert int(found[1]) == reaches[found[2]] == max(reaches.values())
    assert f"<h1>{found[0]}" in page
    assert "data:image/png;base64," in page


def test_flags_have_underscores_as_those_of_the_recipes_and_may_have_dashes(models, seqnlp, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    for flags in (["--text_file", text, "--max_grad_norm", 2], ["--text-file", text, "--max-grad-norm", 2]):
        status, _, _ = seqnlp("gradflow", models / "elman", *flags, "--output", tmp_path / "flow.png", "--overwrite")
        assert status == 0
        assert json.loads((tmp_path / "flow.json").read_text())["elman"]["max_grad_norm"] == 2
    for verb in ("gradflow", "attention", "dependency", "compare", "publish", "verify"):
        flags = re.findall(r"^ +(?:-h, )?(--[a-z]\S*)", seqnlp(verb, "--help")[1], re.MULTILINE)
        assert "--help" in flags
        assert not [flag for flag in flags if "-" in flag[2:]]


def test_gradflow_writes_numbers_that_json_knows(models, seqnlp, tmp_path):
    """Over two tokens there is one distance, through which no factor can be fitted: a NaN, which JSON has not."""

    def refuse(constant):
        raise AssertionError(constant)

    given = ["--text", TEXT, "--distance", 1, "--output", tmp_path / "flow.png"]
    assert seqnlp("gradflow", models / "elman", *given)[0] == 0
    numbers = json.loads((tmp_path / "flow.json").read_text(), parse_constant=refuse)
    assert numbers["elman"]["series"][0]["factor_per_step"] is None
    assert "nan" not in (tmp_path / "flow.html").read_text().partition("<img")[0]


def test_gradflow_reads_a_file_as_every_file_is_read(models, seqnlp, tmp_path):
    text, picture = tmp_path / "text.txt", tmp_path / "flow.png"
    found = []
    for content in (b"the cat\nsat on\nthe mat", b"\xef\xbb\xbfthe cat\r\nsat on\r\nthe mat"):
        text.write_bytes(content)
        assert seqnlp("gradflow", models / "elman", "--text_file", text, "--output", picture, "--overwrite")[0] == 0
        found.append(picture.with_suffix(".json").read_text())
    assert found[0] == found[1]


def test_no_verb_writes_over_what_it_reads(models, seqnlp, tmp_path):
    digit = tmp_path / "digit.png"
    shutil.copy(models / "image.png", digit)
    before = digit.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(digit)
    for name in ("digit.html", "link.html"):
        given = ["--image", digit, "--output", tmp_path / name, "--overwrite"]
        status, _, error = seqnlp("attention", models / "images", *given)
        assert status == 2
        assert error == (
            f"error: --output {tmp_path / name}: this would write over {(tmp_path / name).with_suffix('.png')}, which "
            "is read. Give another name.\n"
        )
        assert not (tmp_path / name).exists()
    text = tmp_path / "flow.json"
    text.write_text(TEXT)
    given = ["--text_file", text, "--output", tmp_path / "flow.png", "--overwrite"]
    status, _, error = seqnlp("gradflow", models / "elman", *given)
    assert status == 2
    assert f"this would write over {text}, which is read" in error
    assert (digit.read_bytes(), text.read_text()) == (before, TEXT)


LINES = {
    "attention": (["{models}/gpt2", "--text", TEXT, "--output", "{folder}/page.html"], ("page.html", "page.png")),
    "gradflow": (
        ["{models}/elman", "--text", TEXT, "--output", "{folder}/flow.png"],
        ("flow.png", "flow.json", "flow.html"),
    ),
    "dependency": (
        ["--tasks", "parity", "--architectures", "gru", "--steps", "1", "--output_dir", "{folder}"],
        ("dependency.md", "dependency.png", "dependency.json"),
    ),
}


@pytest.mark.parametrize("verb", LINES)
def test_no_verb_writes_over_a_file_that_is_there_unless_told_so(verb, models, seqnlp, tmp_path):
    arguments, files = LINES[verb]
    arguments = [argument.format(models=models, folder=tmp_path) for argument in arguments]
    for name in files:
        (tmp_path / name).write_text("mine")
        status, _, error = seqnlp(verb, *arguments)
        assert status == 2
        assert f"{tmp_path / name} is there already. Give another name, or --overwrite to replace it." in error
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
        (tmp_path / name).unlink()
    (tmp_path / files[0]).symlink_to(tmp_path / "nowhere")
    assert seqnlp(verb, *arguments)[0] == 2
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / files[0]).unlink()
    (tmp_path / files[0]).mkdir()
    assert "is a folder" in seqnlp(verb, *arguments, "--overwrite")[2]
    (tmp_path / files[0]).rmdir()
    (tmp_path / files[0]).write_text("mine")
    assert seqnlp(verb, *arguments, "--overwrite")[0] == 0
    assert all((tmp_path / name).read_bytes() != b"mine" for name in files)


def test_gradflow_of_classifiers_and_encoder_decoders(models, seqnlp, tmp_path):
    picture = tmp_path / "flow.png"
    for name in ("classifier", "bert"):
        assert seqnlp("gradflow", models / name, "--text", TEXT, "--output", picture, "--overwrite")[0] == 0
    given = ["--text", TEXT, "--target", "the dog sat on the cat", "--output", picture, "--overwrite"]
    assert seqnlp("gradflow", models / "translation", *given)[0] == 0
    assert len(json.loads(picture.with_suffix(".json").read_text())["translation"]["series"][0]["norms"]) == 6


def test_gradflow_stays_within_the_positions_that_a_model_has(models, seqnlp, tmp_path):
    picture = tmp_path / "flow.png"
    assert seqnlp("gradflow", models / "gpt2", "--text", TEXT, "--output", picture)[0] == 0
    assert len(json.loads(picture.with_suffix(".json").read_text())["gpt2"]["series"][0]["norms"]) == 12


def test_attention_writes_a_page_and_pictures(models, seqnlp, tmp_path):
    page = tmp_path / "page.html"
    written = ["--output", page, "--overwrite"]
    for name in ("gpt2", "bert", "classifier"):
        status, out, _ = seqnlp("attention", models / name, "--text", TEXT, "--max_tokens", 9, *written)
        assert status == 0
        assert "9 weights each" in out
        assert page.is_file()
        assert page.with_suffix(".png").is_file()
    # What it says itself, and what it is told to say.
    for given in ([], ["--target", "the dog sat"]):
        status, out, _ = seqnlp(
            "attention",
            models / "translation",
            "--text",
            TEXT,
            "--max_tokens",
            7,
            *given,
            "--output",
            page,
            "--overwrite",
        )
        assert status == 0
        told, maps = out.splitlines()[:2]
        assert told.startswith("It was made to write: the dog sat" if given else "It wrote: ")
        assert maps.startswith("alignment: 1 layer of 1 head, ")
        assert json.dumps(told) in page.read_text()
    assert "3 x 7 weights" in out
    given = ["--text", TEXT, "--max_tokens", 7, "--target", "chat"]
    assert "4 x 7 weights" in seqnlp("attention", models / "bilingual", *given, *written)[1]
    status, out, _ = seqnlp("attention", models / "images", "--image", models / "image.png", *written)
    assert status == 0
    assert "1 layer of 2 heads, 5 x 5 weights" in out
    assert "data:image/png;base64," in page.read_text()


def test_attention_says_what_the_model_answers(models, seqnlp, tmp_path):
    written = ["--output", tmp_path / "page.html", "--overwrite"]
    out = seqnlp("attention", models / "classifier", "--text", TEXT, *written)[1]
    tokenizer = AutoTokenizer.from_pretrained(models / "classifier")
    model = AutoModelForSequenceClassification.from_pretrained(models / "classifier")
    with torch.no_grad():
        shares = model(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1).tolist()
    ranked = sorted(((share, model.config.id2label[index]) for index, share in enumerate(shares)), reverse=True)
    assert out.splitlines()[0] == f"It answers {', '.join(f'{name} ({share:.1%})' for share, name in ranked)}."
    out = seqnlp("attention", models / "gpt2", "--text", "the cat sat", *written)[1]
    model = AutoModelForCausalLM.from_pretrained(models / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(models / "gpt2")
    with torch.no_grad():
        likely = model(**tokenizer("the cat sat", return_tensors="pt")).logits[0, -1].softmax(-1).topk(5)
    found = re.findall(r"\(([\d.]+)%\)", out.splitlines()[0])
    assert out.startswith("Next it expects ")
    assert list(map(float, found)) == pytest.approx([100 * share for share in likely.values.tolist()], abs=0.06)


@pytest.mark.parametrize(
    ("name", "flags", "length", "why"),
    [
        ("gpt2", [], 12, "more than the model has positions for"),
        ("roberta", [], 10, "more than the model has positions for"),  # from 2 on, since 1 is that of padding
        ("roberta", ["--max_tokens", 7], 7, "--max_tokens 7"),
    ],
)
def test_what_is_cut_off_is_said(name, flags, length, why, models, seqnlp, tmp_path):
    text = "The cat  sat, zebra! " * 10  # of which the vocabulary lacks some words
    status, out, _ = seqnlp("attention", models / name, "--text", text, *flags, "--output", tmp_path / "page.html")
    assert status == 0
    count = len(AutoTokenizer.from_pretrained(models / name)(text, verbose=False).input_ids)
    assert f"{length} x {length} weights each" in out
    assert f"{count - length} of {count} tokens of the text are cut off ({why})." in out
    status, _, _ = seqnlp("gradflow", models / name, "--text", text, "--output", tmp_path / "flow.png")
    assert status == 0
    if name == "gpt2":
        return
    tokenizer = AutoTokenizer.from_pretrained(models / name)
    model = RobertaForSequenceClassification.from_pretrained(models / name).eval()
    with torch.no_grad():
        read = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        likely = model(input_ids=read.input_ids).logits.softmax(-1).max()
    assert f"({likely:.1%})" in out.splitlines()[0]  # of the part that is shown, and not of what is written of it


@pytest.mark.parametrize("name", ["transformer", "bart"])
def test_encoder_decoders_show_three_kinds_of_attention_and_their_gradient(name, models, seqnlp, tmp_path):
    given = ["--text", "the cat sat on the mat", "--target", "the dog looked at"]
    status, out, _ = seqnlp("attention", models / name, *given, "--output", tmp_path / "pages" / "page.html")
    assert status == 0
    written = [line.split(":")[0] for line in out.splitlines()[1:4]]
    assert written == ["encoder self-attention", "decoder self-attention", "cross-attention"]
    assert "heads, 4 x 6 weights each" in out
    for kind in written:
        assert (tmp_path / "pages" / f"page-{kind.replace(' ', '_')}.png").is_file()
    status, _, _ = seqnlp("gradflow", models / name, *given, "--output", tmp_path / "new" / "one" / "flow.png")
    assert status == 0
    assert len(json.loads((tmp_path / "new" / "one" / "flow.json").read_text())[name]["series"][0]["norms"]) == 4


@pytest.mark.parametrize("verb", ["gradflow", "attention"])
def test_help_has_an_example(verb, seqnlp):
    status, out, _ = seqnlp(verb, "--help")
    assert status == 0
    assert f"seqnlp {verb} outputs/" in out


REFUSED = {
    "gradflow {elman} --text cat": "A text of 1 token is too short",
    "gradflow {elman}": "There is no text",
    "gradflow {elman} --text_file {root}/none.txt": "none.txt' cannot be read: [Errno 2] No such file",
    "gradflow {images} --text cat": "has no such head",
    "gradflow {series} --text cat": "this model has no such head",
    "gradflow {translation} --text cat": "needs a --target for each text",
    "gradflow {elman} --text cat+sat+on --target cat": "--target is for encoder-decoders, and there is none among",
    "gradflow {empty} --text cat": "holds no model",
    "gradflow {headless} --text cat": "names no class under 'architectures'",
    "gradflow {root}/none --text cat": "There is no folder",
    "gradflow nobody/nothing --text cat": "neither as a folder nor on the Hub",
    "gradflow {elman} --text cat+sat+on --max_grad_norm -3": "--max_grad_norm -3: give a number from 0 on",
    "gradflow {elman} --text cat+sat+on --max_grad_norm nan": "--max_grad_norm nan: give a number from 0 on",
    "gradflow {elman} --text cat --output flow.pdf": "let its name end in .png",
    "gradflow {elman} --text cat+sat+on --output {elman}/config.json/flow.png": "config.json cannot be made",
    "attention {gpt2} --text cat+sat --output {elman}/config.json/page.html": "config.json cannot be made",
    "attention {lstm} --text cat+sat": "has no attention",
    "attention {series} --text cat+sat": "is a RecurrentForTimeSeriesPrediction, which reads no text",
    "states {images} --text cat+sat": "is a VisionTransformerForImageClassification, which reads no text",
    "attention {gpt2} --text cat": "1 token to this model",
    "attention {gpt2} --text cat+sat --target cat": "--target is for encoder-decoders",
    "attention {gpt2}": "Give either --text or --image",
    "attention {gpt2} --image {root}/image.png": "reads text: give --text",
    "attention {images} --text cat": "reads images: give --image",
    "attention {images} --image {root}/none.png": "there is no image",
    "attention {images} --image {elman}/config.json": "cannot be read",
    "attention {gpt2} --text cat --output page.pdf": "let its name end in .html",
}


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_refusals_take_one_line(line, models, seqnlp):
    folders = {folder.name: folder for folder in models.iterdir()} | {"root": models}
    status, _, error = seqnlp(*(word.replace("+", " ") for word in line.format_map(folders).split()))
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert REFUSED[line] in error
