"""The heads that every backbone shares: one rule each for losses, caches and pooling."""

import copy

import pytest
import torch
from torch.nn import functional

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    StaticRecurrentCache,
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
from seqnlp.models.heads import pool_tokens
from seqnlp.models.losses import causal_language_model_loss, token_loss
from seqnlp.models.recurrent_cache import RecurrentSeq2SeqCache


WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "label_smoothing": 0.1}
LANGUAGE_MODELS = {
    RecurrentForCausalLM: RecurrentConfig(hidden_size=8, **WORDS),
    TransformerDecoderForCausalLM: TransformerDecoderConfig(hidden_size=8, num_hidden_layers=1, **WORDS),
    TransformerEncoderForMaskedLM: TransformerEncoderConfig(hidden_size=8, num_hidden_layers=1, dropout=0.0, **WORDS),
    RecurrentSeq2SeqForConditionalGeneration: RecurrentSeq2SeqConfig(hidden_size=8, **WORDS),
    TransformerForConditionalGeneration: TransformerConfig(hidden_size=8, num_hidden_layers=1, dropout=0.0, **WORDS),
}
LABELS = {"num_labels": 3}
CLASSIFIERS = {
    RecurrentForSequenceClassification: RecurrentConfig(hidden_size=8, **LABELS),
    RecurrentForTokenClassification: RecurrentConfig(hidden_size=8, **LABELS),
    TransformerDecoderForSequenceClassification: TransformerDecoderConfig(
        hidden_size=8, num_hidden_layers=1, **LABELS
    ),
    TransformerEncoderForSequenceClassification: TransformerEncoderConfig(
        hidden_size=8, num_hidden_layers=1, **LABELS
    ),
    TransformerEncoderForTokenClassification: TransformerEncoderConfig(hidden_size=8, num_hidden_layers=1, **LABELS),
    VisionTransformerForImageClassification: VisionTransformerConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=4, patch_size=2, **LABELS
    ),
}
TRANSLATORS = [model_class for model_class in LANGUAGE_MODELS if "Conditional" in model_class.__name__]
every_language_model = pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
every_classifier = pytest.mark.parametrize("model_class", CLASSIFIERS)


def inputs_of(model_class):
    ids = torch.randint(4, 20, (2, 5))
    labels = torch.randint(4, 20, (2, 5))
    labels[1, 3:] = -100
    return {"input_ids": ids, "labels": labels}


@every_language_model
def test_a_loss_function_of_ones_own_gets_all_that_the_loss_depends_on(model_class):
    model = model_class(LANGUAGE_MODELS[model_class]).eval()
    inputs, seen = inputs_of(model_class), []

    def loss_function(**kwargs):
        seen.append(kwargs)
        return kwargs["logits"].sum()

    model.loss_function = loss_function
    shift_labels = torch.zeros(2, 5, dtype=torch.long)
    outputs = model(**inputs, num_items_in_batch=7, shift_labels=shift_labels)
    assert torch.equal(outputs.loss, outputs.logits.sum())
    model.train()(**inputs)
    first, second = seen
    assert first["logits"] is outputs.logits
    assert first["labels"] is inputs["labels"]
    assert first["shift_labels"] is shift_labels
    assert (first["num_items_in_batch"], first["vocab_size"], first["label_smoothing"]) == (7, 20, 0.0)
    assert "num_items_in_batch" not in second
    assert second["label_smoothing"] == 0.1


@every_language_model
def test_the_loss_is_the_cross_entropy_of_the_right_labels(model_class):
    model = model_class(LANGUAGE_MODELS[model_class]).eval()
    inputs = inputs_of(model_class)
    is_causal = "CausalLM" in model_class.__name__
    assert model.loss_function is (causal_language_model_loss if is_causal else token_loss)
    outputs = model(**inputs)
    logits, labels = outputs.logits, inputs["labels"]
    if is_causal:
        logits, labels = logits[:, :-1], labels[:, 1:]
    expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(outputs.loss, expected)
    count = int((labels != -100).sum())
    torch.testing.assert_close(model(**inputs, num_items_in_batch=2 * count).loss, expected / 2)
    smoothed = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(model.train()(**inputs).loss, smoothed)


@every_language_model
def test_what_a_call_says_of_its_loss_goes_before_the_configuration_in_chunks_too(model_class):
    model = model_class(copy.deepcopy(LANGUAGE_MODELS[model_class])).eval()
    inputs = inputs_of(model_class)
    labels = inputs["labels"].clamp_(min=4)
    logits = model(**inputs).logits
    if "CausalLM" in model_class.__name__:
        logits, labels = logits[:, :-1], labels[:, 1:]
    said = {"label_smoothing": 0.3, "ignore_index": 4}
    expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", **said) / 7
    model.train()
    for chunk_size in (None, 2):
        model.config.loss_chunk_size = chunk_size
        torch.testing.assert_close(model(**inputs, **said, num_items_in_batch=7).loss, expected)


def test_the_mean_of_a_long_text_in_half_precision():
    states = torch.full((1, 4000, 2), 20.0)  # their sum is beyond float16
    assert pool_tokens(states.half(), None, "mean").tolist() == [[20.0, 20.0]]
    assert pool_tokens(states.bfloat16(), None, "mean").dtype == torch.bfloat16


@pytest.mark.parametrize("model_class", TRANSLATORS)
def test_beside_labels_a_cache_is_returned_where_it_is_asked_for(model_class):
    model = model_class(LANGUAGE_MODELS[model_class]).eval()
    assert model.config.use_cache
    inputs = inputs_of(model_class)
    without = model(**inputs)
    assert without.cache is None
    assert model(**inputs, use_cache=False).cache is None
    asked = model(**inputs, use_cache=True)
    torch.testing.assert_close(asked.loss, without.loss)
    assert asked.cache.get_seq_length() == 5
    # It is the cache of a decoder that has read the labels, shifted right: the next token goes on from there.
    read = model.prepare_decoder_input_ids_from_labels(inputs["labels"])
    more = torch.tensor([[7], [8]])
    whole = model(inputs["input_ids"], decoder_input_ids=torch.cat([read, more], dim=1))
    step = model(inputs["input_ids"], decoder_input_ids=more, cache=asked.cache)
    torch.testing.assert_close(step.logits[:, 0], whole.logits[:, -1])
    assert whole.cache is not None  # without labels as the config says


@every_classifier
def test_a_classifier_gives_a_cache_only_where_it_is_asked_for_and_the_mean_loss(model_class):
    model = model_class(CLASSIFIERS[model_class]).eval()
    inputs = {"input_ids": torch.randint(4, 20, (4, 5))}
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.randn(4, 3, 4, 4)}
    shape = (4, 5) if "Token" in model_class.__name__ else (4,)
    labels = torch.randint(3, shape)
    outputs = model(**inputs, labels=labels)
    assert tuple(outputs.logits.shape) == (*shape, 3)
    assert outputs.get("cache") is None
    expected = functional.cross_entropy(outputs.logits.flatten(0, -2), labels.flatten())
    torch.testing.assert_close(outputs.loss, expected)
    halved = model(**inputs, labels=labels, num_items_in_batch=2 * labels.numel()).loss
    torch.testing.assert_close(halved, expected / 2)
    if hasattr(model.config, "use_cache") and "Token" not in model_class.__name__:
        assert model(**inputs, use_cache=True).cache.get_seq_length() == 5


def test_pooling_by_hand():
    states = torch.tensor([[[1.0], [4.0], [-2.0], [8.0]], [[3.0], [5.0], [7.0], [9.0]], [[6.0], [1.0], [2.0], [3.0]]])
    mask = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    expected = {"first": [4, 3, 0], "last": [-2, 9, 0], "mean": [1, 6, 0], "max": [4, 9, 0]}
    for pooling, values in expected.items():
        assert pool_tokens(states, mask, pooling).squeeze(1).tolist() == values
        assert pool_tokens(states[1:2], None, pooling).squeeze(1).tolist() == values[1:2]
        longer = torch.cat([torch.ones(3, 2), mask], dim=1)  # by two tokens that a cache has read
        assert pool_tokens(states, longer, pooling).squeeze(1).tolist() == values


def test_a_static_cache_is_reset_to_before_the_first_token():
    model = RecurrentForCausalLM(RecurrentConfig(hidden_size=8, num_hidden_layers=2, **WORDS)).eval()
    ids = torch.randint(4, 20, (2, 5))
    cache = StaticRecurrentCache(model.config)
    with torch.no_grad():
        expected = model(ids, cache=cache).logits
        addresses = [state.data_ptr() for states in cache for state in states]
        assert (cache.get_seq_length(), cache.get_mask_sizes(3, 0)) == (5, (8, 0))
        cache.reset()
        assert (cache.get_seq_length(), cache.get_mask_sizes(3, 0)) == (0, (3, 0))
        assert all((state == 0).all() for states in cache for state in states)
        torch.testing.assert_close(model(ids, cache=cache).logits, expected)
        assert cache.get_seq_length() == 5
        assert [state.data_ptr() for states in cache for state in states] == addresses


@pytest.mark.parametrize("is_static", [False, True])
def test_the_cache_of_a_translator_is_reset_to_before_the_first_token(is_static):
    config = RecurrentSeq2SeqConfig(hidden_size=8, input_feeding=True, **WORDS)
    model = RecurrentSeq2SeqForConditionalGeneration(config).eval()
    cache = RecurrentSeq2SeqCache(config, is_static)
    with torch.no_grad():
        for length in (4, 4 if is_static else 6):  # another source, of another length where that may be
            ids, target = torch.randint(4, 20, (2, length)), torch.randint(4, 20, (2, 3))
            logits = model(ids, decoder_input_ids=target, cache=cache).logits
            torch.testing.assert_close(logits, model(ids, decoder_input_ids=target).logits)
            assert cache.get_seq_length() == 3
            cache.reset()
            assert cache.get_seq_length() == 0
            assert not any(cache.is_updated.values())


@pytest.mark.parametrize("model_class", [one for one in LANGUAGE_MODELS if one is not TransformerEncoderForMaskedLM])
def test_a_loss_of_some_logits_is_refused(model_class):
    model, ids = model_class(LANGUAGE_MODELS[model_class]), torch.randint(4, 20, (2, 5))
    assert model(ids, labels=ids, logits_to_keep=0).logits.shape == (2, 5, 20)
    for kept in (2, torch.tensor([0, 3])):
        with pytest.raises(ValueError, match="with labels: their loss needs the logits of all tokens"):
            model(ids, labels=ids, logits_to_keep=kept)
