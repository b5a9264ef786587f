"""Keys and values in a buffer with room: the same as transformers' own cache, without its copies."""

import copy

import pytest
import torch
from transformers import DynamicCache

from seqnlp import (
    GrowingCache,
    TransformerCache,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
)
from seqnlp.models.key_value_cache import LEAST_ROOM, MOST_ROOM, GrowingLayer, room_for


SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = TransformerDecoderConfig(**SIZES, initializer_range=0.5, eos_token_id=None, pad_token_id=0)
    return TransformerDecoderForCausalLM(config).double().eval()


@pytest.fixture(scope="module")
def prompt():
    return torch.randint(4, 40, (3, 5), generator=torch.Generator().manual_seed(1))


def new_states(rows, tokens):
    return torch.randn(rows, 2, tokens, 3), torch.randn(rows, 2, tokens, 3)


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_whatever_is_done_to_it_it_holds_what_a_dynamic_cache_holds(seed):
    torch.manual_seed(seed)
    ours, theirs = (cache(config=TransformerDecoderConfig(**SIZES)) for cache in (GrowingCache, DynamicCache))
    rows = 3
    for step in range(60):
        length = theirs.get_seq_length()
        what = torch.randint(8, ()).item() if length else 0
        if what <= 3:
            for layer in range(2):
                states = new_states(rows, 1 if what else 1 + step)
                for found, expected in zip(ours.update(*states, layer), theirs.update(*states, layer), strict=True):
                    assert torch.equal(found, expected)
        change = {
            4: ("crop", -min(3, length)),
            5: ("reorder_cache", torch.randint(rows, (rows,))),
            6: ("batch_repeat_interleave", 2),
            7: ("batch_select_indices", torch.randint(rows, (3,))),
        }.get(what)
        if change is not None:
            for cache in (ours, theirs):
                getattr(cache, change[0])(change[1])
        rows = len(theirs.layers[0].keys)
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(2, 0) == theirs.get_mask_sizes(2, 0)
        for found, expected in zip(ours, theirs, strict=True):
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
    ours.reset()
    assert ours.get_seq_length() == 0
    states = new_states(2, 4)
    assert torch.equal(ours.update(*states, 0)[1], states[1])


@torch.no_grad()
def test_keys_move_once_in_so_many_tokens():
    layer = GrowingLayer()
    layer.update(*new_states(2, 1000))
    places = set()
    for _ in range(2 * MOST_ROOM):
        keys, values = layer.update(*new_states(2, 1))
        places.add((keys.data_ptr(), values.data_ptr()))
    assert len(places) == 2
    assert keys.shape == (2, 2, 1000 + 2 * MOST_ROOM, 3)
    assert [room_for(length) for length in (1, 100, 1000)] == [LEAST_ROOM, 50, MOST_ROOM]


def test_gradients_flow_through_it_as_through_a_dynamic_cache(model, prompt):
    gradients = []
    for cache in (GrowingCache(model.config), DynamicCache(config=model.config)):
        model.zero_grad()
        for token in prompt.split(1, dim=1):
            logits = model(token, cache=cache, use_cache=True).logits
        logits.logsumexp(dim=-1).sum().backward()
        gradients.append(model.model.layers[0].self_attn.k_proj.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_a_copy_goes_its_own_way(model, prompt):
    cache = model(prompt, use_cache=True).cache
    assert type(cache) is GrowingCache
    model(prompt[:, :1], cache=cache)
    other = copy.deepcopy(cache)
    found = model(prompt[:, 1:2], cache=cache).logits
    model(prompt[:, 2:4], cache=other)
    whole = torch.cat([prompt, prompt[:, :2]], dim=1)
    torch.testing.assert_close(found, model(whole).logits[:, -1:])
    again = model(prompt[:, 4:], cache=cache).logits
    torch.testing.assert_close(again, model(torch.cat([whole, prompt[:, 4:]], dim=1)).logits[:, -1:])


def test_inference_mode_may_end_before_the_text_does(model, prompt):
    with torch.inference_mode():
        cache = model(prompt, use_cache=True).cache
        model(prompt[:, :1], cache=cache)
    with torch.no_grad():
        found = model(prompt[:, 1:2], cache=cache).logits
        torch.testing.assert_close(found, model(torch.cat([prompt, prompt[:, :2]], dim=1)).logits[:, -1:])


@pytest.mark.parametrize(
    "way",
    [{}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 2}, {"assistant": True}, {"prefill_chunk_size": 2}],
    ids=["greedy", "beams", "lookup", "assistant", "chunks"],
)
def test_texts_are_those_of_a_dynamic_cache(way, model, prompt):
    way, texts = dict(way), []
    rows = prompt[:1].repeat(1, 3) if {"assistant", "prompt_lookup_num_tokens"} & way.keys() else prompt
    if way.pop("assistant", False):
        way["assistant_model"] = TransformerDecoderForCausalLM(model.config).double().eval()
    for cache in (None, DynamicCache(config=model.config)):
        given = {} if cache is None else {"cache": cache}
        texts.append(model.generate(rows, max_new_tokens=12, do_sample=False, **way, **given))
    assert torch.equal(*texts)


def test_generation_makes_it_and_goes_on_from_it(model, prompt):
    begun = model.generate(prompt, max_new_tokens=4, do_sample=False, return_dict_in_generate=True)
    assert type(begun.cache) is GrowingCache
    went_on = model.generate(begun.sequences, max_new_tokens=5, do_sample=False, cache=begun.cache)
    assert torch.equal(went_on, model.generate(prompt, max_new_tokens=9, do_sample=False))
    for way in ({"cache_implementation": "dynamic"}, {"cache_implementation": "static"}, {"use_cache": False}):
        assert torch.equal(went_on, model.generate(prompt, max_new_tokens=9, do_sample=False, **way))


def test_an_encoder_decoder_keeps_two(prompt):
    config = TransformerConfig(**SIZES, decoder_layers=3, decoder_start_token_id=2, pad_token_id=0)
    model = TransformerForConditionalGeneration(config).eval()
    cache = model.generate(prompt, max_new_tokens=4, return_dict_in_generate=True).cache
    assert type(cache) is TransformerCache
    assert type(cache.self_attention_cache) is GrowingCache
    assert type(cache.cross_attention_cache) is DynamicCache
    assert len(cache) == 3
    cache.crop(-1)
    assert cache.get_seq_length() == 3
