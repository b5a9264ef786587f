"""The decoder: parity with Llama, generation, packed texts, classification."""

import copy

import pytest
import torch
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    StaticCache,
    TextIteratorStreamer,
    Trainer,
    TrainingArguments,
    pipeline,
)

from seqnlp import (
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerDecoderModel,
)
from seqnlp.tokenization import train_tokenizer


TEXTS = ["what a fine day it was", "a bad day", "it was what it was", "fine, fine!"]
VARIANTS = {
    "today": {},
    "grouped": {"num_key_value_heads": 1, "head_dim": 6},
    "gpt2": {
        "position_embedding_type": "learned",
        "norm_type": "layer_norm",
        "hidden_act": "gelu",
        "use_bias": True,
    },
    "2017": {
        "position_embedding_type": "sinusoidal",
        "norm_type": "layer_norm",
        "norm_position": "post",
        "hidden_act": "relu",
        "scale_embedding": True,
    },
    "no positions": {"position_embedding_type": "none", "embedding_norm": True},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def config_of(**kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return TransformerDecoderConfig(**{**sizes, **tokens, "max_position_embeddings": 40, **kwargs})


def language_model(**kwargs):
    # Large weights: a model that is sure of different tokens in different places.
    return TransformerDecoderForCausalLM(config_of(initializer_range=0.5, **kwargs)).eval()


def ragged_prompts():
    ids = torch.randint(4, 30, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, :1] = 0
    return ids.masked_fill(mask == 0, 0), mask


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("num_key_value_heads", [4, 2])
def test_outputs_and_gradients_are_those_of_llama(implementation, num_key_value_heads):
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 88,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": num_key_value_heads,
        "initializer_range": 0.1,
        "tie_word_embeddings": False,
        "attn_implementation": implementation,
    }
    theirs = LlamaForCausalLM(LlamaConfig(**sizes, rms_norm_eps=1e-6)).train()
    ours = TransformerDecoderForCausalLM(TransformerDecoderConfig(**sizes)).train()

    def our_name(name):
        return name.replace("input_layernorm", "self_attn_norm").replace("post_attention_layernorm", "mlp_norm")

    missing = ours.load_state_dict({our_name(name): tensor for name, tensor in theirs.state_dict().items()})
    assert not missing.missing_keys
    ids = torch.randint(0, 50, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    expected, got = (model(ids, attention_mask=mask, labels=labels) for model in (theirs, ours))
    torch.testing.assert_close(got.logits[mask.bool()], expected.logits[mask.bool()], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-5)
    got.loss.backward()
    expected.loss.backward()
    gradients = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[our_name(name)].grad, parameter.grad, rtol=1e-5, atol=1e-5, msg=name)


@every_variant
def test_padding_on_either_side_changes_no_valid_output(variant):
    model = language_model(**VARIANTS[variant])
    row, pad = torch.randint(4, 30, (1, 5)), torch.zeros(1, 3, dtype=torch.long)
    padded = torch.cat([torch.cat([row, pad], 1), torch.cat([pad, row], 1)])
    alone, logits = model(row).logits[0], model(padded, attention_mask=(padded != 0).long()).logits
    torch.testing.assert_close(logits[0, :5], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[1, 3:], alone, rtol=1e-4, atol=1e-4)
    assert logits.isfinite().all()


@every_variant
@pytest.mark.parametrize("generation", [{}, {"num_beams": 4}])
def test_cached_equals_uncached_and_batch_equals_alone(variant, generation):
    model = language_model(**VARIANTS[variant])
    ids, mask = ragged_prompts()
    settings = {"max_new_tokens": 8, "do_sample": False, **generation}
    cached = model.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, use_cache=False, **settings))
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, cache_implementation="static", **settings))
    for row in range(3):
        alone = model.generate(ids[row : row + 1, mask[row].bool()], **settings)[0, mask[row].sum() :]
        together = cached[row, 6:]
        length = min(len(together), len(alone))
        assert length > 0
        assert torch.equal(together[:length], alone[:length])


@every_variant
def test_logits_in_pieces_through_either_cache_equal_those_at_once(variant):
    model = language_model(**VARIANTS[variant])
    ids, mask = ragged_prompts()
    expected = model(ids, attention_mask=mask).logits[mask.bool()]
    for cache in (DynamicCache(config=model.config), StaticCache(config=model.config, max_cache_len=10)):
        pieces = [
            model(ids[:, start:end], attention_mask=mask[:, :end], cache=cache).logits
            for start, end in ((0, 3), (3, 5), (5, 6))
        ]
        torch.testing.assert_close(torch.cat(pieces, 1)[mask.bool()], expected, rtol=1e-4, atol=1e-4)


def test_explicit_positions_win():
    model = language_model()
    ids, mask = ragged_prompts()
    counted = (mask.cumsum(1) - 1).clamp(min=0)
    expected = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(model(ids, attention_mask=mask, position_ids=counted).logits, expected)
    stretched = model(ids, attention_mask=mask, position_ids=2 * counted).logits
    assert not torch.allclose(stretched[mask.bool()], expected[mask.bool()], atol=1e-3)
    # Only distances count with rotary positions.
    shifted = model(ids, attention_mask=mask, position_ids=counted + 7).logits
    torch.testing.assert_close(shifted[mask.bool()], expected[mask.bool()], rtol=1e-4, atol=1e-4)


def test_packed_texts_do_not_see_each_other():
    model = language_model()
    one, other = torch.randint(4, 30, (1, 4)), torch.randint(4, 30, (1, 5))
    positions = torch.cat([torch.arange(4), torch.arange(5)])[None]
    for use_cache in (False, True, None):
        packed = model(torch.cat([one, other], 1), position_ids=positions, use_cache=use_cache).logits
        torch.testing.assert_close(packed[:, :4], model(one).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(packed[:, 4:], model(other).logits, rtol=1e-4, atol=1e-4)


def test_masks_that_do_not_fit_are_refused():
    model = language_model()
    ids = torch.randint(4, 30, (1, 5))
    with torch.no_grad():
        cache = model(ids[:, :3]).cache
        for length in (2, 6):
            with pytest.raises(ValueError, match=rf"attention_mask of shape \(1, {length}\) does not fit 2 tokens"):
                model(ids[:, 3:], attention_mask=torch.ones(1, length), cache=cache)
        goes_on = model(ids[:, 3:], attention_mask=torch.ones(1, 5), cache=cache).logits
        torch.testing.assert_close(goes_on, model(ids).logits[:, 3:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(1, 7\) does not fit 5 tokens in 1 rows: it must"):
        model(ids, attention_mask=torch.ones(1, 7))


def test_training_with_checkpointing_writes_nothing_from_a_cache():
    model = language_model(eos_token_id=None).train()
    ids = torch.randint(4, 30, (1, 5))
    model.activation_checkpointing_enable()
    with pytest.raises(ValueError, match=r"nothing is kept of the tokens or steps before: call model\.eval\(\)"):
        model.generate(ids, max_new_tokens=4, do_sample=False)
    written = model.generate(ids, max_new_tokens=4, do_sample=False, use_cache=False)
    assert torch.equal(model.eval().generate(ids, max_new_tokens=4, do_sample=False), written)


def test_generation_goes_on_from_a_cache_and_streams():
    model = language_model(eos_token_id=None)
    ids, mask = ragged_prompts()
    whole = model.generate(ids, attention_mask=mask, max_new_tokens=9, do_sample=False)
    begun = model.generate(ids, attention_mask=mask, max_new_tokens=4, do_sample=False, return_dict_in_generate=True)
    mask = torch.cat([mask, mask.new_ones(3, 4)], dim=1)
    went_on = model.generate(
        begun.sequences,
        attention_mask=mask,
        cache=begun.cache,
        max_new_tokens=5,
        do_sample=False,
    )
    assert torch.equal(whole, went_on)
    # Also behind a prompt that ends in padding.
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * 3)
    whole = model.generate(ids, attention_mask=mask, max_new_tokens=5, do_sample=False)
    again = model.generate(
        whole[:, :8], attention_mask=torch.nn.functional.pad(mask, (0, 2), value=1), max_new_tokens=3, do_sample=False
    )
    assert torch.equal(whole, again)

    tokenizer = train_tokenizer(TEXTS, "char", 30)
    inputs = tokenizer("it was", return_tensors="pt")
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    torch.manual_seed(3)
    streamed = model.generate(**inputs, max_new_tokens=12, do_sample=True, streamer=streamer)
    torch.manual_seed(3)
    assert torch.equal(streamed, model.generate(**inputs, max_new_tokens=12, do_sample=True))
    assert "".join(streamer) == tokenizer.decode(streamed[0, inputs.input_ids.shape[1] :])


def test_assisted_generation_gives_the_same_tokens():
    model = language_model()
    ids = torch.randint(4, 30, (1, 5))
    plain = model.generate(ids, max_new_tokens=10, do_sample=False)
    torch.manual_seed(5)
    assistant = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in assistant.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    assert torch.equal(model.generate(ids, max_new_tokens=10, do_sample=False, assistant_model=assistant), plain)


def test_a_classifier_reads_the_last_valid_token():
    model = TransformerDecoderForSequenceClassification(config_of(initializer_range=0.5, num_labels=3)).eval()
    row, pad = torch.randint(4, 30, (1, 5)), torch.zeros(1, 3, dtype=torch.long)
    padded = torch.cat([torch.cat([row, pad], 1), torch.cat([pad, row], 1)])
    logits = model(padded, attention_mask=(padded != 0).long()).logits
    torch.testing.assert_close(logits, model(row).logits.expand(2, -1), rtol=1e-4, atol=1e-4)
    expected = model.score(model.model(row).last_hidden_state[:, -1])
    torch.testing.assert_close(model(row).logits, expected)


def test_losses_divide_by_num_items_in_batch_whatever_the_problem():
    ids = torch.randint(30, (4, 6))
    problems = {
        "single_label_classification": torch.tensor([0, 1, 2, 0]),
        "multi_label_classification": torch.randint(2, (4, 3)).float(),
        "regression": torch.randn(4, 3),
    }
    for problem, labels in problems.items():
        model = TransformerDecoderForSequenceClassification(config_of(num_labels=3, problem_type=problem)).eval()
        mean = model(ids, labels=labels).loss
        torch.testing.assert_close(model(ids, labels=labels, num_items_in_batch=labels.numel() * 5).loss, mean / 5)


def test_a_language_model_overfits_one_batch():
    model = TransformerDecoderForCausalLM(config_of(hidden_size=32, initializer_range=0.1)).train()
    ids = torch.randint(4, 30, (4, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_trainer_learns_with_chunked_loss_and_evaluates(tmp_path):
    ids = torch.randint(4, 30, (16, 6))
    data = [{"input_ids": row, "labels": row} for row in ids]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=40, learning_rate=0.02, report_to="none", use_cpu=True, disable_tqdm=True
    )
    model = TransformerDecoderForCausalLM(config_of(loss_chunk_size=5, label_smoothing=0.1))
    trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.7 * before
    assert trainer.predict(data).predictions[0].shape[-1] == 30


def test_text_generation_pipeline(tmp_path):
    tokenizer = train_tokenizer(TEXTS, "word", 60)
    language_model(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    generate = pipeline("text-generation", model=str(tmp_path), device="cpu")
    generate.tokenizer.padding_side = "left"
    answers = generate(TEXTS[:3], batch_size=3, max_new_tokens=4, do_sample=False)
    alone = [generate(text, max_new_tokens=4, do_sample=False) for text in TEXTS[:3]]
    assert answers == alone


def test_what_serving_by_the_transformers_backend_asks_for():
    model = TransformerDecoderModel(config_of())
    assert model._supports_attention_backend
    assert model.is_backend_compatible()
    assert all(layer.self_attn.is_causal for layer in model.layers)
    for name in model.config.base_model_tp_plan:
        assert model.get_submodule(name.replace("*", "0")) is not None
    assert [name for name in model.config.base_model_pp_plan if not hasattr(model, name)] == []
    assert config_of(position_embedding_type="learned").base_model_pp_plan is None
    # A backend hands its own attention what it needs through keyword arguments, and replaces the function by name.
    seen = []

    def backend(module, query, key, value, attention_mask, scaling, dropout=0.0, attention_instances=None, **kwargs):
        seen.append((module.layer_idx, attention_instances))
        return query.transpose(1, 2), None

    from transformers import AttentionInterface

    AttentionInterface.register("seqnlp_test_backend", backend)
    model.set_attn_implementation("seqnlp_test_backend")
    model(torch.tensor([[4, 5]]), attention_instances="theirs", use_cache=False)
    assert seen == [(0, "theirs"), (1, "theirs")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0 must be at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads=0 must be at least 1"),
        ({"loss_chunk_size": 0}, "loss_chunk_size=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1 must be at least 0 and below 1"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"hidden_act": "tanh"}, "tanh"),
        ({"num_attention_heads": 3}, "hidden_size=16 cannot be split into num_attention_heads=3 equal parts"),
        ({"num_key_value_heads": 3}, "num_attention_heads=2 is no multiple of num_key_value_heads=3"),
        ({"head_dim": 5}, "head_dim=5 must be even"),
        ({"hidden_size": 15, "head_dim": 4, "position_embedding_type": "sinusoidal"}, "hidden_size=15 must be even"),
        ({"position_embedding_type": "none", "rope_theta": 5e5}, "is for position_embedding_type='rotary'"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        config_of(**fields)


def test_wrong_calls_are_refused_with_the_reason():
    model = TransformerDecoderModel(config_of(position_embedding_type="learned"))
    ids = torch.randint(30, (2, 5))
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 3\) does not fit 5 tokens in 2 rows"):
        model(ids, attention_mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match="Position 40 is beyond max_position_embeddings=40"):
        model(torch.randint(30, (1, 41)))
