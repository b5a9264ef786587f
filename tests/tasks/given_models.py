"""Tiny models of others and of ours, as one finds them in folders, and recipes that start from them."""

import json
import random
import runpy
import sys
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.tokenization import train_tokenizer


ROOT = Path(__file__).parents[2]
TEXT = ["a good awful film number one two three the cat sat on mat eins zwei drei", "0 1 2 3 4 5 6 7 8 9"]
QUIET = ("--report_to", "none", "--num_threads", "1", "--seed", "3")


def tokenizer(**settings):
    return train_tokenizer(TEXT, "word", 60, min_frequency=1, **settings)


def without_padding():
    """As GPT-2's: one token that ends texts, and none that pads."""
    backend = tokenizer().backend_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="</s>", unk_token="<unk>")


def bert(folder, model_class=BertModel, **fields):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"vocab_size": len(tokenizer()), "max_position_embeddings": 40, "hidden_dropout_prob": 0.0}
    return save(
        folder, model_class, BertConfig(**{**sizes, "attention_probs_dropout_prob": 0.0, **fields}), tokenizer()
    )


def masked_bert(folder):
    return bert(folder, BertForMaskedLM)


def gpt2(folder):
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "vocab_size": len(tokenizer())}
    ends = {"bos_token_id": 3, "eos_token_id": 3}
    return save(folder, GPT2LMHeadModel, GPT2Config(**sizes, **ends), without_padding())


def marian(folder):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 30}
    vocabulary = tokenizer(add_eos_token=True)
    ends = {"pad_token_id": 0, "eos_token_id": 3, "forced_eos_token_id": None, "decoder_start_token_id": 0}
    config = MarianConfig(vocab_size=len(vocabulary), **sizes, **ends)
    return save(folder, MarianMTModel, config, vocabulary)


def t5(folder):
    """Its configuration has no field for a token that begins a text."""
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    vocabulary = tokenizer(add_eos_token=True)
    ends = {"pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0}
    return save(folder, T5ForConditionalGeneration, T5Config(vocab_size=len(vocabulary), **sizes, **ends), vocabulary)


IMAGES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
IMAGES |= {"image_size": 12, "patch_size": 4}


def vit(folder):
    return save(folder, ViTModel, ViTConfig(**IMAGES), ViTImageProcessorPil(size={"height": 12, "width": 12}))


def deit(folder):
    """As the distilled ones on the Hub: of the one of two classes that computes no loss."""
    processor = ViTImageProcessorPil(size={"height": 12, "width": 12})
    return save(folder, DeiTForImageClassificationWithTeacher, DeiTConfig(**IMAGES), processor)


def lstm(folder, **fields):
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "vocab_size": len(tokenizer())}
    config = RecurrentConfig(**ids, hidden_size=12, embedding_size=8, num_hidden_layers=2, **fields)
    return save(folder, RecurrentForCausalLM, config, tokenizer())


def save(folder, model_class, config, processor):
    torch.manual_seed(0)
    model_class(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_data(folder):
    """Reviews to sort, text to go on, and pairs to translate."""
    chance = random.Random(0)
    for split, count in (("train", 40), ("validation", 11), ("test", 13)):
        kinds = [chance.choice(["good", "awful"]) for _ in range(count)]
        rows = [{"text": f"a {kind} film number {chance.randint(0, 9)}", "label": kind} for kind in kinds]
        numbers = [chance.choices([0, 1, 2], k=chance.randint(1, 4)) for _ in range(count)]
        contents = {
            "jsonl": map(json.dumps, rows),
            "txt": ["the cat sat on a mat"] * count,
            "en": [" ".join(["one", "two", "three"][n] for n in row) for row in numbers],
            "de": [" ".join(["eins", "zwei", "drei"][n] for n in row) for row in numbers],
        }
        for suffix, lines in contents.items():
            (folder / f"{split}.{suffix}").write_text("".join(f"{line}\n" for line in lines))
    return folder


def files(folder, suffix, flag="file"):
    return [
        word
        for split in ("train", "validation", "test")
        for word in (f"--{split}_{flag}", folder / f"{split}.{suffix}")
    ]


DATA = {
    "sentiment_analysis": lambda folder: files(folder, "jsonl"),
    "language_modeling": lambda folder: [*files(folder, "txt"), "--sample_length", 3],
    "translation": lambda folder: [*files(folder, "en"), *files(folder, "de", "target_file"), "--num_beams", 2],
    "image_classification": lambda folder: ["--max_train_samples", 40, "--max_eval_samples", 20],
    "trajectory": lambda folder: ["--num_trajectories", 60, "--context_length", 8, "--prediction_length", 3],
}
"""Flags of small data for each recipe."""


def run(recipe, output_dir, *flags):
    """What `python recipes/RECIPE.py` does, in this process; gives the record."""
    before, sys.argv = sys.argv, [f"recipes/{recipe}.py", *QUIET, "--output_dir", *map(str, (output_dir, *flags))]
    try:
        runpy.run_path(str(ROOT / "recipes" / f"{recipe}.py"))["main"]()
    finally:
        sys.argv = before
    return json.loads((Path(output_dir) / "run.json").read_text())
