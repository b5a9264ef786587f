"""CTranslate2 gives the log-probabilities and writes the tokens that the model does, whatever its fields."""

import contextlib
import io
import random
from importlib.util import find_spec

import pytest
import random_models
import torch
from random_models import all_fields

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
)
from seqnlp.export import ExportError, create_export, export
from seqnlp.tokenization import train_tokenizer


if find_spec("ctranslate2") is None:  # importing it decides how it multiplies int8
    pytest.skip("ctranslate2 is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def tokenizer():
    return random_models.tokenizer(add_eos_token=True)


def language_model(seed, **fixed):
    torch.manual_seed(seed)
    config = TransformerDecoderConfig(**all_fields(random.Random(seed), **fixed))
    return random_models.spread(TransformerDecoderForCausalLM(config))


def translator(seed, **fixed):
    torch.manual_seed(seed)
    own = {"decoder_layers": 1, "output_bias": seed % 2 == 1, **fixed}
    config = TransformerConfig(**all_fields(random.Random(seed), **own))
    return random_models.spread(TransformerForConditionalGeneration(config))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("build", [language_model, translator])
def test_random_models_compute_the_same(build, seed, tokenizer, tmp_path):
    model = build(seed)
    checks = export(model, tokenizer, "ctranslate2", tmp_path / "exported")
    assert all(check.passed for check in checks), checks
    names = {check.name.split(" of ")[0] for check in checks}
    assert names == {"tokenizer", "log-probabilities", "tokens, greedy"}


@pytest.mark.parametrize("build", [language_model, translator])
def test_int8_is_near_and_leaves_the_model_as_it_is(build, tokenizer, tmp_path):
    model = build(3, hidden_size=64, num_attention_heads=4, num_key_value_heads=4, head_dim=16, intermediate_size=128)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    checks = export(model, tokenizer, "ctranslate2", tmp_path / "int8", quantization="int8")
    assert all(check.passed for check in checks), checks
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    export(model, tokenizer, "ctranslate2", tmp_path / "float32")
    sizes = [(tmp_path / folder / "model.bin").stat().st_size for folder in ("int8", "float32")]
    assert sizes[0] < 0.5 * sizes[1]


def run(code):
    """What lines of Python print."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue().rstrip("\n")


@pytest.mark.parametrize("eos_token_id", [3, None])
def test_the_lines_that_run_it(eos_token_id, tokenizer, tmp_path):
    words = {"eos_token_id": eos_token_id, "max_position_embeddings": 300}
    model = language_model(1, **words)
    exporter = create_export(model, "ctranslate2", processor=tokenizer)
    exporter.save(tmp_path / "exported")
    ids = tokenizer("In the beginning", return_tensors="pt")
    written = model.generate(**ids, do_sample=False, max_length=50 + 1)
    texts = run(exporter.usage(str(tmp_path / "exported"))), tokenizer.decode(written[0], skip_special_tokens=True)
    assert texts[0] == texts[1]


def test_two_vocabularies(tokenizer, tmp_path):
    model = translator(2, max_position_embeddings=300)
    words = random_models.tokenizer("word")  # shorter: the last rows of the embeddings have no token
    checks = export(model, tokenizer, "ctranslate2", tmp_path / "words", target_processor=words)
    assert all(check.passed for check in checks), checks
    other = train_tokenizer(["ein guter Film", "kein Ende"] * 9, "bpe", random_models.VOCAB_SIZE)
    exporter = create_export(model, "ctranslate2", processor=tokenizer, target_processor=other)
    assert all(check.passed for check in exporter.save(tmp_path / "exported"))
    ids = tokenizer("A man sleeps.", return_tensors="pt")
    written = model.generate(**ids, do_sample=False, num_beams=5, max_new_tokens=256)
    expected = other.decode(written[0], skip_special_tokens=True)
    assert run(exporter.usage(str(tmp_path / "exported"))) == expected


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (lambda: RecurrentForCausalLM(RecurrentConfig(vocab_size=9)), {}, "not a RecurrentForCausalLM .model_type="),
        (lambda: language_model(0, eos_token_id=[3, 5]), {}, r"eos_token_id=\[3, 5\]: in CTranslate2 one token"),
        (lambda: language_model(0, vocab_size=270), {}, "vocab_size=270: the tokenizer has 280 tokens"),
        (lambda: language_model(0), {"processor": None}, "needs the model's tokenizer"),
        (lambda: translator(0, decoder_cell="ssru"), {}, "decoder_cell='ssru': CTranslate2 has no layers with cells"),
    ],
)
def test_what_it_cannot_express_is_refused(model, options, reason, tokenizer):
    with pytest.raises(ExportError, match=reason):
        create_export(model(), "ctranslate2", **{"processor": tokenizer, **options})
