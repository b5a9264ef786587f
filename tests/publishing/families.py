"""A small finished run of every family: from its recipe, or, where it has none, a few steps of training."""

import contextlib
import io
import json
import random
import runpy
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from finished_run import write_run
from transformers import AutoTokenizer

from seqnlp import (
    TransformerDecoderConfig,
    TransformerDecoderForSequenceClassification,
)
from seqnlp.publishing import publish
from seqnlp.tokenization import train_tokenizer


ROOT = Path(__file__).parents[2]
SPLITS = (("train", 60), ("validation", 12), ("test", 24))
NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}


class Family(NamedTuple):
    """How a model of the family is made, and how it is loaded."""

    model: str
    auto_class: str
    recipe: str | None = None
    data: str | None = None  # the folder that its numbers are measured on, where it is of this machine
    flags: str = ""


SIZES = "--config_overrides hidden_size=16,num_hidden_layers=1"
HEADS = f"{SIZES},num_attention_heads=2,intermediate_size=16"
TEXT = "--tokenizer_type word --vocab_size 60 --min_frequency 1"
PAIRS = "--max_tokens 64 --num_beams 2 --average_checkpoints 0"
BF16 = "--mixed_precision bf16"
BALLS = "--num_trajectories 40 --context_length 6 --prediction_length 3"
FAMILIES = [
    Family(
        "RecurrentForSequenceClassification",
        "AutoModelForSequenceClassification",
        "sentiment_analysis",
        "films",
        f"--architecture lstm {SIZES},bidirectional=true,pooling=attention {TEXT}",
    ),
    Family(
        "TransformerEncoderForSequenceClassification",
        "AutoModelForSequenceClassification",
        "sentiment_analysis",
        "films",
        f"--architecture transformer {HEADS} {TEXT}",
    ),
    Family(
        "RecurrentForCausalLM",
        "AutoModelForCausalLM",
        "language_modeling",
        "cats",
        f"--architecture gru {SIZES} --tokenizer_type char --max_length 16 --prompt The|A --sample_length 4 {BF16}",
    ),
    Family(
        "TransformerDecoderForCausalLM",
        "AutoModelForCausalLM",
        "music_generation",
        "tunes",
        f"--architecture transformer {HEADS} --max_length 60 --num_tunes 4 --metre 4/4 --key G",
    ),
    Family(
        "RecurrentSeq2SeqForConditionalGeneration",
        "AutoModelForSeq2SeqLM",
        "translation",
        "numbers",
        f"--architecture lstm {SIZES} {TEXT} {PAIRS} --joint_vocabulary false",
    ),
    Family(
        "TransformerForConditionalGeneration",
        "AutoModelForSeq2SeqLM",
        "translation",
        "numbers",
        f"--architecture transformer {HEADS} {TEXT} {PAIRS} {BF16}",
    ),
    Family(
        "VisionTransformerForImageClassification",
        "AutoModelForImageClassification",
        "image_classification",
        None,
        f"{HEADS} --max_train_samples 80 --max_eval_samples 30",
    ),
    Family(
        "RecurrentForTimeSeriesPrediction",
        "AutoModelForTimeSeriesPrediction",
        "trajectory",
        None,
        f"--architecture gru {SIZES} {BALLS}",
    ),
    Family(
        "TransformerDecoderForTimeSeriesPrediction",
        "AutoModelForTimeSeriesPrediction",
        "trajectory",
        None,
        f"--architecture transformer {HEADS} {BALLS}",
    ),
    Family(
        "RecurrentForTokenClassification",
        "AutoModelForTokenClassification",
        "tagging",
        "names",
        f"--architecture lstm {SIZES},bidirectional=true --min_frequency 1",
    ),
    Family(
        "TransformerEncoderForTokenClassification",
        "AutoModelForTokenClassification",
        "tagging",
        "names",
        f"--architecture transformer {HEADS} --tokenizer_type wordpiece --vocab_size 90 --max_length 20",
    ),
    Family(
        "TransformerEncoderForMaskedLM",
        "AutoModelForMaskedLM",
        "masked_language_modeling",
        "cats",
        f"{HEADS} --tokenizer_type word --min_frequency 1 --max_length 16",
    ),
    # No recipe makes this one.
    Family("TransformerDecoderForSequenceClassification", "AutoModelForSequenceClassification"),
]
BY_HAND = {
    "TransformerDecoderForSequenceClassification": (
        TransformerDecoderForSequenceClassification,
        TransformerDecoderConfig,
    ),
}


def write_data(folder: Path) -> None:
    """Folders with texts to tell apart, to go on with, to tag, to translate and to play."""
    chance = random.Random(0)
    for name in ("films", "cats", "names", "tunes", "numbers"):
        (folder / name).mkdir()
    start = 0
    for split, count in SPLITS:
        numbers = range(start, start := start + count)
        texts = [f"{'a good' if number % 3 else 'an awful'} film {number}" for number in numbers]
        rows = [{"text": text, "label": "good" if "good" in text else "awful"} for text in texts]
        (folder / "films" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "cats" / f"{split}.txt").write_text("".join(f"the cat sat on mat {n % 7}\n" for n in numbers))
        people = [chance.choice(["Ann", "Bob", "Cy Dee"]).split() for _ in numbers]
        named = [{"tokens": [*who, "met", "us", "."], "tags": tags_of(who)} for who in people]
        (folder / "names" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, named)))
        notes = ["".join(chance.choices("ABcdefg", k=4)) for _ in numbers]
        tunes = [f"X:1\nT:Reel\nM:4/4\nL:1/8\nK:G\n{bar}{bar}|GABc {bar}|{bar} dcBA|\n" for bar in notes]
        (folder / "tunes" / f"{split}.abc").write_text("\n".join(tunes))
        pairs = [chance.choices(list(NUMBERS), k=chance.randint(1, 4)) for _ in numbers]
        for language, lines in (("en", pairs), ("de", [[NUMBERS[word] for word in words] for words in pairs])):
            (folder / "numbers" / f"{split}.{language}").write_text("".join(f"{' '.join(x)}\n" for x in lines))


def tags_of(name: list[str]) -> list[str]:
    """Of a name and the three words behind it."""
    return ["B-PER", *["I-PER"] * (len(name) - 1), "O", "O", "O"]


def data_flags(family: Family, data: Path) -> list[str]:
    """What tells the recipe of its data: a folder, or files one by one."""
    if family.data in ("films", "cats", "names"):
        return ["--dataset_name", str(data / family.data)]
    flags = []
    for split, _ in SPLITS:
        if family.data == "tunes":
            flags += [f"--{split}_file", str(data / "tunes" / f"{split}.abc")]
        if family.data == "numbers":
            flags += [f"--{split}_file", str(data / "numbers" / f"{split}.en")]
            flags += [f"--{split}_target_file", str(data / "numbers" / f"{split}.de")]
    return flags


def make(family: Family, data: Path, folder: Path, repo_id: str) -> str:
    """Train a few steps, publish to `repo_id` and return what was printed."""
    if family.recipe is None:
        train_by_hand(family, folder)
        return publish(folder, repo_id).url
    flags = [*data_flags(family, data), *family.flags.split(), "--max_train_steps", "4", "--num_threads", "1"]
    flags += ["--report_to", "none", "--output_dir", str(folder), "--push_to_hub", "--hub_model_id", repo_id]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr("sys.argv", [f"recipes/{family.recipe}.py", *flags])
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        runpy.run_path(str(ROOT / "recipes" / f"{family.recipe}.py"), run_name="__main__")
    return printed.getvalue()


def train_by_hand(family: Family, folder: Path) -> None:
    """Four steps on one batch, as any loop of PyTorch would do them."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a b c d e f g h"], "char", 20)
    model_class, config_class = BY_HAND[family.model]
    config = config_class(vocab_size=len(tokenizer), hidden_size=16, pad_token_id=tokenizer.pad_token_id)
    model = model_class(config)
    ids = torch.randint(5, len(tokenizer), (4, 6))
    labels = ids if "MaskedLM" in family.model else ids % 2
    labels = labels[:, 0] if "Sequence" in family.model else labels
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(4):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    write_run(folder, model=model, processor=tokenizer, task="text", metrics={"test": {"loss": float(loss.detach())}})


def inputs_of(folder: Path, model) -> dict[str, torch.Tensor]:
    """What every process shows the model; a padded batch where it reads text."""
    torch.manual_seed(1)
    if model.main_input_name == "pixel_values":
        size = model.config.image_size
        return {"pixel_values": torch.rand(2, 3, size, size)}
    if model.main_input_name == "past_values":
        return {"past_values": torch.rand(2, 5, model.config.input_size)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = dict(tokenizer(["a good film", "the"], padding=True, return_tensors="pt"))
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[2, 4], [2, 5]])
    return inputs


def outputs_of(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Its logits, or its forecast."""
    with torch.no_grad():
        outputs = model(**inputs)
    return outputs.prediction_outputs if "past_values" in inputs else outputs.logits
