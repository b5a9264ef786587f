"""Beams as transformers searches them: with the best continuations found in two stages, and each source kept once."""

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationMixin

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
)
from seqnlp.models.beam_search import two_stage_top_k


VOCABULARY = 700  # so large that the choice among beams has two stages
TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
SIZES = {**TOKENS, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.5}
TRANSFORMER = {**SIZES, "num_attention_heads": 2, "decoder_start_token_id": 2, "max_position_embeddings": 40}


def recurrent(**choices):
    config = RecurrentSeq2SeqConfig(**{**SIZES, **choices}, decoder_start_token_id=2)
    return RecurrentSeq2SeqForConditionalGeneration(config)


TRANSLATORS = {
    "transformer": lambda: TransformerForConditionalGeneration(TransformerConfig(**TRANSFORMER)),
    "grouped, rotary": lambda: TransformerForConditionalGeneration(
        TransformerConfig(**TRANSFORMER, num_key_value_heads=1, position_embedding_type="rotary", norm_position="pre")
    ),
    "no attention": lambda: recurrent(attention_type="none"),
    "additive, fed": lambda: recurrent(attention_type="additive", input_feeding=True, cell_type="lstm"),
    "multiplicative": lambda: recurrent(attention_type="multiplicative"),
}
WRITERS = {
    "decoder": lambda: TransformerDecoderForCausalLM(TransformerDecoderConfig(**TRANSFORMER)),
    "lstm": lambda: RecurrentForCausalLM(RecurrentConfig(**SIZES, cell_type="lstm")),
}
SEARCHES = {
    "beams": {"num_beams": 4},
    "several": {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 0.5, "early_stopping": True},
    "drawn beams": {"num_beams": 3, "do_sample": True, "top_k": 0, "temperature": 0.7},
    "samples": {"num_return_sequences": 3, "do_sample": True, "top_k": 0},
}


def made(create):
    torch.manual_seed(1)
    return create().double().eval()  # two ways to compute a number differ by less than any two scores


def ragged():
    ids = torch.randint(4, VOCABULARY, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, :1] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def written(model, inputs, search, **more):
    torch.manual_seed(2)
    settings = {"do_sample": False, "max_new_tokens": 9, **search, **more}
    return model.generate(**inputs, **settings, output_scores=True, return_dict_in_generate=True)


def in_the_plain_way(monkeypatch):
    """From now on models write as transformers does: each source for each beam, one look over all continuations."""
    for kind in (*TRANSLATORS.values(), *WRITERS.values()):
        for name in ("_expand_inputs_for_generation", "_get_top_k_continuations"):
            monkeypatch.setattr(type(kind()), name, getattr(GenerationMixin, name), raising=False)


@pytest.mark.parametrize("size", [(3, 5000), (2, 4 * 64 * 7 + 5), (1, 100)])
def test_two_stages_find_what_one_finds(size):
    scores = torch.randn(size)
    scores[0, 70:] = -torch.inf  # what is ruled out
    for found, expected in zip(two_stage_top_k(scores, 7), scores.topk(7), strict=True):
        assert torch.equal(found, expected)


def test_the_last_numbers_which_fill_no_block_are_looked_at():
    scores = torch.zeros(1, 64 * 40 + 3)
    scores[0, -1] = 1.0
    assert two_stage_top_k(scores, 1)[1].item() == 64 * 40 + 2


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", [*TRANSLATORS, *WRITERS])
def test_tokens_and_scores_are_those_of_the_plain_way(name, search, monkeypatch):
    model, inputs = made({**TRANSLATORS, **WRITERS}[name]), ragged()
    found = written(model, inputs, SEARCHES[search])
    in_the_plain_way(monkeypatch)
    if name in ("transformer", "grouped, rotary"):
        cache = EncoderDecoderCache(DynamicCache(config=model.config), DynamicCache(config=model.config))
        expected = written(model, inputs, SEARCHES[search], cache=cache)
    else:
        expected = written(model, inputs, SEARCHES[search])
    assert torch.equal(found.sequences, expected.sequences)
    if "num_beams" in SEARCHES[search]:
        torch.testing.assert_close(found.sequences_scores, expected.sequences_scores, rtol=0, atol=1e-6)
        assert torch.equal(found.beam_indices, expected.beam_indices)
    for ours, theirs in zip(found.scores, expected.scores, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert len({tuple(row) for row in found.sequences.tolist()}) > 1


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_source_is_projected_and_kept_once_for_all_beams(name):
    model, inputs = made(TRANSLATORS[name]), ragged()
    rows = []

    def note(module, given, output):
        rows.append(len(output))

    is_transformer = name in ("transformer", "grouped, rotary")
    for layer in model.model.decoder.layers if is_transformer else ():
        layer.cross_attn.k_proj.register_forward_hook(note)
    attention = None if is_transformer else model.model.decoder.attention
    if attention is not None:
        attention.k_proj.register_forward_hook(note)
    cache = written(model, inputs, {"num_beams": 4}).cache
    if name == "no attention":
        return
    assert rows == [3] * (2 if is_transformer else 1)  # once a layer, whatever the number of steps
    held = cache.cross_attention_cache.layers[0]
    assert len(held.keys if is_transformer else held.recurrent_states[0]) == 3
    assert cache.self_attention_cache.get_seq_length() > 1


@pytest.mark.parametrize("name", ["transformer", "additive, fed"])
@pytest.mark.parametrize("change", ["reorder_cache", "batch_select_indices", "batch_repeat_interleave"])
def test_rows_taken_from_a_cache_of_beams_keep_their_sources(name, change):
    model, inputs = made(TRANSLATORS[name]), ragged()
    cache = written(model, inputs, {"num_beams": 2, "eos_token_id": None}).cache
    rows = torch.tensor([5, 0, 3, 2, 1, 4])
    sources = rows // 2
    if change == "batch_repeat_interleave":
        rows = torch.arange(6).repeat_interleave(3)
        sources = torch.arange(3)  # which are read by three times as many rows
        cache.batch_repeat_interleave(3)
    else:
        getattr(cache, change)(rows)
    encoded = model.get_encoder()(**inputs)
    mask = inputs["attention_mask"][sources]
    for key, tensor in encoded.items():
        encoded[key] = tensor[sources]
    token = torch.full((len(rows), 1), 7)
    found = model(attention_mask=mask, encoder_outputs=encoded, decoder_input_ids=token, cache=cache).logits

    again = written(model, inputs, {"num_beams": 2, "eos_token_id": None}).cache
    plain = model(
        attention_mask=inputs["attention_mask"].repeat_interleave(2, dim=0),
        encoder_outputs=type(encoded)(
            **{key: tensor.repeat_interleave(2, dim=0) for key, tensor in model.get_encoder()(**inputs).items()}
        ),
        decoder_input_ids=torch.full((6, 1), 7),
        cache=one_source_per_row(again),
    ).logits
    torch.testing.assert_close(found, plain[rows])


def one_source_per_row(cache):
    cache.reorder_cache(torch.arange(6))
    return cache


@pytest.mark.parametrize("name", ["transformer", "no attention"])
def test_sources_that_do_not_share_the_rows_out_are_refused(name):
    model, inputs = made(TRANSLATORS[name]), ragged()
    with pytest.raises(ValueError, match="4 rows of the target cannot read 3 sources"):
        model(**inputs, decoder_input_ids=torch.full((4, 2), 7))


def test_attention_weights_are_given_for_each_row():
    model, inputs = made(TRANSLATORS["transformer"]), ragged()
    model.set_attn_implementation("eager")
    tokens = torch.randint(4, VOCABULARY, (6, 5))
    found = model(**inputs, decoder_input_ids=tokens, output_attentions=True).cross_attentions[1]
    each = {name: tensor.repeat_interleave(2, dim=0) for name, tensor in inputs.items()}
    torch.testing.assert_close(
        found, model(**each, decoder_input_ids=tokens, output_attentions=True).cross_attentions[1]
    )
