"""A file for llama.cpp: what gguf reads of it by itself, what transformers makes of it, and what llama.cpp writes."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import random_models
import torch

from seqnlp import RecurrentConfig, RecurrentForCausalLM, TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.export import ExportError, create_export, export


gguf = pytest.importorskip("gguf")

SCRIPT = Path(__file__).with_name("llama_cpp.mjs")


@pytest.fixture(scope="module")
def tokenizer():
    return random_models.tokenizer()


def language_model(seed, **fixed):
    torch.manual_seed(seed)
    draw = random.Random(seed)
    fields = random_models.fields(draw, use_bias=False, rope_theta=draw.choice([10000.0, 500.0]))
    shared = draw.choice([1, fields["num_attention_heads"]])
    fields |= {"num_key_value_heads": shared, "head_dim": draw.choice([6, 8]), **fixed}
    return random_models.spread(TransformerDecoderForCausalLM(TransformerDecoderConfig(**fields)))


@pytest.mark.parametrize("seed", range(3))
def test_random_models_compute_the_same(seed, tokenizer, tmp_path):
    checks = export(language_model(seed), tokenizer, "gguf", tmp_path / "exported")
    assert all(check.passed for check in checks), checks
    assert [check.name for check in checks] == ["tokenizer", "logits of 5 texts", "tokens, greedy"]


def test_what_the_file_says(tmp_path):
    tokenizer = random_models.tokenizer(add_bos_token=True, extra_tokens=["<url>"])
    own = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "rope_theta": 500.0}
    model = language_model(
        0, **own, num_hidden_layers=2, tie_word_embeddings=True, scale_embedding=False, vocab_size=283
    )
    export(model, tokenizer, "gguf", tmp_path / "exported")
    reader = gguf.GGUFReader(tmp_path / "exported" / "model.gguf")
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == "llama"
    assert said["llama.context_length"] == 40
    assert said["llama.embedding_length"] == 16
    assert said["llama.block_count"] == 2
    assert said["llama.feed_forward_length"] == model.config.intermediate_size
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"]) == (2, 1)
    assert said["llama.attention.key_length"] == said["llama.rope.dimension_count"] == 6
    assert said["llama.rope.freq_base"] == 500.0
    assert said["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(model.config.layer_norm_eps)
    assert said["tokenizer.ggml.model"] == "gpt2"
    assert said["tokenizer.ggml.add_bos_token"]
    assert not said["tokenizer.ggml.add_eos_token"]
    assert said["tokenizer.ggml.tokens"][:6] == ["<pad>", "<unk>", "<s>", "</s>", "<url>", "!"]
    assert said["tokenizer.ggml.tokens"][-3:] == ["[no token 280]", "[no token 281]", "[no token 282]"]
    assert said["tokenizer.ggml.token_type"][:6] == [3, 3, 3, 3, 4, 1]  # control, defined by the user, normal
    assert said["tokenizer.ggml.token_type"][-3:] == [5, 5, 5]  # unused
    assert [said[f"tokenizer.ggml.{name}_token_id"] for name in ("padding", "unknown", "bos", "eos")] == [0, 1, 2, 3]

    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert "output.weight" not in tensors  # it is that of the embeddings
    ours = {name: weight.numpy() for name, weight in model.state_dict().items()}
    np.testing.assert_array_equal(tensors["token_embd.weight"], ours["model.embed_tokens.weight"])
    np.testing.assert_array_equal(tensors["blk.1.ffn_norm.weight"], ours["model.layers.1.mlp_norm.weight"])
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.weight"], ours["model.layers.1.mlp.down_proj.weight"])
    # Component 1 of a head's 6 turns with component 4 here, and with its neighbor there.
    query = ours["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight"][6:], query[6:][[0, 3, 1, 4, 2, 5]])


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (lambda: RecurrentForCausalLM(RecurrentConfig(vocab_size=9)), {}, "a RecurrentForCausalLM .model_type="),
        (lambda: language_model(0, use_bias=True), {}, r"use_bias=True \(not False\)"),
        (lambda: language_model(0, norm_position="post"), {}, r"norm_position='post' \(not 'pre'\)"),
        (lambda: language_model(0, vocab_size=270), {}, "vocab_size=270: the tokenizer has 280 tokens"),
        (lambda: language_model(0), {"processor": None}, "needs the model's tokenizer"),
        (lambda: language_model(0), {"tokenizer_type": "word"}, "tokenizer of type WordLevel"),
        (lambda: language_model(0), {"lowercase": True}, "tokenizer with Lowercase: llama.cpp reads a text as it is"),
        (lambda: language_model(0), {"add_prefix_space": True}, "add_prefix_space=True"),
    ],
)
def test_what_it_cannot_express_is_refused(model, options, reason, tokenizer):
    if "processor" not in options:
        options = {"processor": random_models.tokenizer(**options) if options else tokenizer}
    with pytest.raises(ExportError, match=reason):
        create_export(model(), "gguf", **options)


def prompts(number):
    """Words, spaces, digits, punctuation and other scripts, at random."""
    draw = random.Random(0)
    parts = [
        "a good film",
        "The crew",
        "  ",
        " 1984",
        "it's",
        "...",
        "\n",
        "naïve",
        "日本語",
        "<s>",
        "é",
        " awful",
        "🙂",
    ]
    return ["".join(draw.choices(parts, k=draw.randint(1, 6))) for _ in range(number)]


@pytest.mark.long
def test_llama_cpp_writes_the_same_tokens(tokenizer, tmp_path):
    folder = os.environ.get("NODE_LLAMA_CPP")
    if folder is None or shutil.which("node") is None:
        pytest.skip("needs node, and NODE_LLAMA_CPP: a folder in which `npm install node-llama-cpp` was run")
    model = language_model(1, max_position_embeddings=256, eos_token_id=None)
    export(model, tokenizer, "gguf", tmp_path / "exported")
    texts = prompts(50)
    job = {"model": str(tmp_path / "exported" / "model.gguf"), "prompts": texts, "newTokens": 30, "contextSize": 256}
    command = ["node", str(SCRIPT), folder]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for text, found in zip(texts, json.loads(done.stdout), strict=True):
        ids = tokenizer(text, return_tensors="pt")
        assert found["prompt"] == ids["input_ids"][0].tolist(), text
        written = model.generate(**ids, max_new_tokens=30, do_sample=False)[0, len(found["prompt"]) :].tolist()
        assert found["written"] == written, text
