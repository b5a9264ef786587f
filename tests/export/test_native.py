"""Each family as the class of transformers that computes the same: equal outputs and texts, and none of our code."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import random_models
import torch
from random_models import fields
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, ViTImageProcessorPil

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerForConditionalGeneration,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.export import ExportError, create_export, export


def added(draw):
    return draw.choice(["learned", "sinusoidal", "none"])


def llama(draw):
    own = fields(draw, rope_theta=draw.choice([10000.0, 100.0]))
    own |= {"num_key_value_heads": draw.choice([1, own["num_attention_heads"]]), "head_dim": draw.choice([4, 6])}
    return TransformerDecoderForCausalLM(TransformerDecoderConfig(**own))


def gpt2(draw):
    own = {"norm_type": "layer_norm", "hidden_act": draw.choice(["gelu", "relu"])}
    own["position_embedding_type"] = added(draw)
    return TransformerDecoderForCausalLM(TransformerDecoderConfig(**fields(draw, **own)))


def bert(head, **own):
    def build(draw):
        own["position_embedding_type"] = added(draw)
        return head(TransformerEncoderConfig(**fields(draw, **own)))

    return build


def marian(draw):
    own = {"hidden_act": draw.choice(["gelu", "relu"]), "decoder_layers": draw.choice([1, 2]), "layer_norm_eps": 1e-5}
    own["output_bias"] = own["decoder_layers"] == 2
    return TransformerForConditionalGeneration(TransformerConfig(**fields(draw, **own)))


def pegasus(draw):
    own = {"norm_position": "pre", "tie_word_embeddings": True, "decoder_layers": draw.choice([1, 2])}
    own["position_embedding_type"] = added(draw)
    own["output_bias"] = own["decoder_layers"] == 2
    return TransformerForConditionalGeneration(TransformerConfig(**fields(draw, **own)))


def vit(draw):
    own = {name: value for name, value in fields(draw, num_labels=3).items() if not name.endswith("_token_id")}
    for name in ("vocab_size", "max_position_embeddings", "scale_embedding", "tie_word_embeddings"):
        del own[name]
    config = VisionTransformerConfig(**own, image_size=[8, 12], patch_size=4, position_embedding_type=added(draw))
    return VisionTransformerForImageClassification(config)


CLASSES = {
    "LlamaForCausalLM": llama,
    "GPT2LMHeadModel": gpt2,
    "BertForMaskedLM": bert(TransformerEncoderForMaskedLM),
    "BertForSequenceClassification": bert(TransformerEncoderForSequenceClassification, pooling="first", num_labels=3),
    "BertForTokenClassification": bert(TransformerEncoderForTokenClassification, hidden_act="relu", num_labels=5),
    "MarianMTModel": marian,
    "PegasusForConditionalGeneration": pegasus,
    "ViTForImageClassification": vit,
}


@pytest.fixture(scope="module")
def tokenizer():
    return random_models.tokenizer(add_eos_token=True)


def built(name, seed):
    torch.manual_seed(seed)
    return random_models.spread(CLASSES[name](random.Random(seed)))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CLASSES)
def test_random_models_compute_the_same(name, seed, tokenizer, tmp_path):
    model = built(name, seed)
    processor = ViTImageProcessorPil(size={"height": 8, "width": 12}) if name.startswith("ViT") else tokenizer
    checks = export(model, processor, "transformers", tmp_path / "native")
    assert all(check.passed for check in checks), checks
    assert checks[0].found == name
    expected = {"class", "image processor" if name.startswith("ViT") else "tokenizer"}
    expected |= {"tokens, greedy", "tokens, 4 beams"} if model.can_generate() else set()
    assert expected | {checks[2].name} == {check.name for check in checks}
    config = json.loads((tmp_path / "native" / "config.json").read_text())
    assert config["architectures"] == [name]
    assert "seqnlp" not in json.dumps(config)


def test_a_wrong_weight_is_found(tokenizer, tmp_path, monkeypatch):
    exporter = create_export(built("LlamaForCausalLM", 0), "transformers", processor=tokenizer)
    build = exporter.native.build

    def spoiled(model):
        native = build(model)
        native.model.norm.weight.data[3] += 1e-3
        return native

    monkeypatch.setattr(exporter.native, "build", spoiled)
    failed = [check.name for check in exporter.save(tmp_path / "native") if not check.passed]
    assert failed[0].startswith("logits of ")
    assert not (tmp_path / "native").exists()


@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("ViT")])
def test_the_lines_that_run_it(name, tokenizer, tmp_path, capsys):
    exporter = create_export(built(name, 2), "transformers", processor=tokenizer)
    exporter.save(tmp_path / "native")
    exec(exporter.usage(str(tmp_path / "native")), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "MarianMTModel", "PegasusForConditionalGeneration"])
def test_saving_again_keeps_it(name, tmp_path):
    model = built(name, 1)
    export(model, None, "transformers", tmp_path / "native")
    auto_class = AutoModelForCausalLM if name.startswith("Llama") else AutoModelForSeq2SeqLM
    auto_class.from_pretrained(tmp_path / "native").save_pretrained(tmp_path / "again")
    again = auto_class.from_pretrained(tmp_path / "again").eval()
    ids = torch.arange(4, 20).view(2, 8)
    inputs = {"input_ids": ids} | ({} if name.startswith("Llama") else {"decoder_input_ids": ids})
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: RecurrentForCausalLM(RecurrentConfig(vocab_size=9)), r"RecurrentForCausalLM \(model_type='seqnlp_re"),
        (
            lambda: TransformerDecoderForCausalLM(
                TransformerDecoderConfig(norm_position="post", num_key_value_heads=2)
            ),
            r"Llama: norm_position='post' \(not 'pre'\); GPT2: .*num_key_value_heads=2 \(not 4, one per query head\)",
        ),
        (
            lambda: TransformerDecoderForSequenceClassification(TransformerDecoderConfig()),
            r"TransformerDecoderForSequenceClassification \(model_type",
        ),
        (
            lambda: TransformerEncoderForSequenceClassification(TransformerEncoderConfig(vocab_size=9)),
            r"Bert: pooling='mean' \(not 'first'\)",
        ),
        (
            lambda: TransformerEncoderForTokenClassification(
                TransformerEncoderConfig(vocab_size=9, first_continuing_id=5)
            ),
            r"first_continuing_id=5 \(not None",
        ),
        (
            lambda: TransformerEncoderForMaskedLM(TransformerEncoderConfig(vocab_size=9, hidden_act="relu")),
            "hidden_act='relu' .*before lm_head",
        ),
        (
            lambda: TransformerForConditionalGeneration(
                TransformerConfig(vocab_size=9, hidden_size=8, position_embedding_type="rotary", num_attention_heads=2)
            ),
            r"Marian: position_embedding_type='rotary' \(not 'sinusoidal'\)",
        ),
        (
            lambda: TransformerForConditionalGeneration(
                TransformerConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, decoder_cell="ssru")
            ),
            r"Marian: decoder_cell='ssru' \(not None\); Pegasus: .*decoder_cell='ssru'",
        ),
        (
            lambda: TransformerDecoderForCausalLM(
                TransformerDecoderConfig(vocab_size=9, hidden_size=10, num_attention_heads=4, head_dim=2)
            ),
            r"num_attention_heads=4 \(not a divisor of hidden_size\)",
        ),
    ],
)
def test_what_fits_no_class_is_refused_by_its_field(model, reason):
    with pytest.raises(ExportError, match=reason) as error:
        create_export(model(), "transformers")
    assert "\n" not in str(error.value)


ALONE = """
import json, sys
sys.modules["seqnlp"] = None
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer
found = []
for auto_class in (AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification):
    tokenizer = AutoTokenizer.from_pretrained(auto_class.__name__)
    model = auto_class.from_pretrained(auto_class.__name__)
    inputs = tokenizer("a good film", return_tensors="pt")
    if model.can_generate():
        found.append(model.generate(**inputs, max_new_tokens=8, num_beams=3, do_sample=False).tolist())
    else:
        found.append(model(**inputs).logits.tolist())
print(json.dumps(found))
"""


def test_it_runs_where_seqnlp_is_not(tokenizer, tmp_path):
    names = {
        "AutoModelForCausalLM": "LlamaForCausalLM",
        "AutoModelForSeq2SeqLM": "MarianMTModel",
        "AutoModelForSequenceClassification": "BertForSequenceClassification",
    }
    expected = []
    inputs = tokenizer("a good film", return_tensors="pt")
    for folder, name in names.items():
        model = built(name, 0)
        export(model, tokenizer, "transformers", tmp_path / folder)
        if model.can_generate():
            expected.append(model.generate(**inputs, max_new_tokens=8, num_beams=3, do_sample=False).tolist())
        else:
            expected.append(pytest.approx(model(**inputs).logits[0].tolist(), abs=1e-5))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-P", "-c", ALONE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *texts, logits = json.loads(done.stdout.splitlines()[-1])
    assert [*texts, logits[0]] == expected


def test_the_tokenizer_of_an_encoder_pads_where_positions_allow(tokenizer, tmp_path):
    tokenizer.padding_side = "left"
    try:
        export(built("BertForTokenClassification", 0), tokenizer, "transformers", tmp_path / "native")
        assert tokenizer.padding_side == "left"
    finally:
        tokenizer.padding_side = "right"
    assert AutoTokenizer.from_pretrained(tmp_path / "native").padding_side == "right"


@pytest.mark.long
def test_transformers_serve_answers_the_openai_client(tokenizer, tmp_path):
    openai = pytest.importorskip("openai")
    pytest.importorskip("uvicorn")
    model = built("LlamaForCausalLM", 3)
    export(model, tokenizer, "transformers", tmp_path / "native")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = Path(sys.executable).with_name("transformers")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [program, "serve", "native", "--host", "127.0.0.1", "--port", port]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=20, timeout=120)
            options = {"model": "native", "prompt": "a good film", "max_tokens": 8, "temperature": 0}
            answer = client.completions.create(**options).choices[0].text
        finally:
            server.terminate()
    ids = tokenizer("a good film", return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert answer == tokenizer.decode(written, skip_special_tokens=True)
