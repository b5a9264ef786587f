"""A decoder whose layers have a cell in place of self-attention: by hand, in parallel and step by step, its cache."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, DynamicCache, EncoderDecoderCache

from seqnlp import TransformerConfig, TransformerForConditionalGeneration, TransformerModel
from seqnlp.models.cells import CELLS, LinearCell
from seqnlp.models.recurrent_cache import StaticRecurrentCache


CELL_TYPES = [name for name, cell_class in CELLS.items() if issubclass(cell_class, LinearCell)]
every_cell = pytest.mark.parametrize("decoder_cell", CELL_TYPES)


def config_of(**kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return TransformerConfig(**{**sizes, "decoder_cell": "ssru", "norm_position": "pre", **kwargs})


def translator(**kwargs):
    # Large weights: a model that is sure of different tokens in different places.
    return TransformerForConditionalGeneration(config_of(initializer_range=0.4, **kwargs)).eval()


def ragged_sources():
    ids = torch.randint(4, 30, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, 5:] = 0
    return ids.masked_fill(mask == 0, 0), mask


def test_three_steps_of_the_ssru_by_hand():
    cell = CELLS["ssru"](1, 1)
    with torch.no_grad():
        # f = sigmoid(ln 3) = 3/4 whatever the input, candidate 2 x + 1
        cell.input_proj.weight.copy_(torch.tensor([[0.0], [2.0]]))
        cell.input_proj.bias.copy_(torch.tensor([3.0, 1.0]).log().add(torch.tensor([0.0, 1.0])))
    state, seen = (torch.zeros(1, 1),), []
    for x in (3.5, -8.5, 7.5):  # candidates 8, -16 and 16
        state, _ = cell(cell.input_proj(torch.tensor([[x]])), state)
        seen.append((state[0].item(), cell.output(state[0]).item()))
    # 1/4 * 8, then 3/4 * 2 - 4, then 3/4 * -2.5 + 4
    assert seen == [pytest.approx(pair) for pair in ((2.0, 2.0), (-2.5, 0.0), (2.125, 2.125))]


def layer_by_loops(layer, states, source, is_pre):
    """
    A layer of one row, token by token and head by head: the three sublayers of Kim et al. 2019 in a residual frame.
    """

    def framed(states, norm, sublayer):
        return states + sublayer(norm(states)) if is_pre else norm(states + sublayer(states))

    def ssru(states):
        forget, candidate = layer.recurrence.forward_cell.input_proj(states).chunk(2, dim=-1)
        carried, seen = torch.zeros_like(states[0]), []
        for f, c in zip(torch.sigmoid(forget), candidate, strict=True):
            carried = f * carried + (1 - f) * c
            seen.append(torch.clamp(carried, min=0))
        return torch.stack(seen)

    def look_at_source(states):
        attention, found = layer.cross_attn, []
        queries = attention.q_proj(states)
        keys, values = attention.k_proj(source), attention.v_proj(source)
        for head in range(queries.shape[1] // attention.head_dim):
            part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            weights = torch.softmax(queries[:, part] @ keys[:, part].T / attention.head_dim**0.5, dim=-1)
            found.append(weights @ values[:, part])
        return attention.o_proj(torch.cat(found, dim=-1))

    states = framed(states, layer.recurrence_norm, ssru)
    states = framed(states, layer.cross_attn_norm, look_at_source)
    return framed(states, layer.mlp_norm, layer.mlp)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("implementation", ["fused", "eager"])
def test_a_decoder_is_its_equations_in_loops(norm_position, implementation):
    config = config_of(
        norm_position=norm_position, recurrence_implementation=implementation, position_embedding_type="none"
    )
    model = TransformerModel(config).eval().double()
    source, target = torch.randn(1, 7, 16).double(), torch.randint(4, 30, (1, 20))
    outputs = model.decoder(target, encoder_hidden_states=source, output_hidden_states=True)
    states = model.decoder.embed_tokens(target[0]) * 4.0  # sqrt(hidden_size)
    for index, layer in enumerate(model.decoder.layers):
        torch.testing.assert_close(outputs.hidden_states[index][0], states)
        states = layer_by_loops(layer, states, source[0], norm_position == "pre")
    torch.testing.assert_close(outputs.last_hidden_state[0], model.decoder.norm(states))


@every_cell
def test_gradients_in_parallel_are_those_step_by_step(decoder_cell):
    model = TransformerModel(config_of(decoder_cell=decoder_cell, initializer_range=0.2, dropout=0.0)).train()
    ids, mask = ragged_sources()
    targets, target_mask = torch.randint(4, 30, (3, 100)), torch.ones(3, 100, dtype=torch.long)
    target_mask[0, :40] = target_mask[1, 60:] = 0
    found = []
    for implementation in ("fused", "eager"):
        model.set_recurrence_implementation(implementation)
        model.zero_grad()
        outputs = model(ids, mask, decoder_input_ids=targets, decoder_attention_mask=target_mask).last_hidden_state
        (outputs * target_mask.unsqueeze(-1)).pow(2).mean().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append([outputs[target_mask.bool()], *gradients])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@every_cell
def test_what_is_kept_of_the_text_does_not_grow(decoder_cell):
    model = translator(decoder_cell=decoder_cell, decoder_layers=3)
    ids, mask = ragged_sources()
    for length in (1, 5, 50):
        cache = model(ids, mask, decoder_input_ids=torch.randint(4, 30, (3, length))).cache
        assert cache.get_seq_length() == length
        shapes = [tuple(state.shape) for states in cache.self_attention_cache for state in states]
        assert shapes == [(3, 1, 16)] * 3
        assert [tuple(layer.keys.shape) for layer in cache.cross_attention_cache.layers] == [(3, 2, 6, 8)] * 3


@every_cell
def test_beams_and_samples_are_those_of_the_whole_text_read_anew(decoder_cell):
    model = translator(decoder_cell=decoder_cell, eos_token_id=None)
    ids, mask = ragged_sources()
    for settings in ({"num_beams": 4, "num_return_sequences": 3}, {"do_sample": True, "num_beams": 1, "top_k": 10}):
        written = []
        for use_cache in (True, False):
            torch.manual_seed(1)
            written.append(
                model.generate(ids, attention_mask=mask, max_new_tokens=12, use_cache=use_cache, **settings)
            )
        assert torch.equal(*written)
        assert len(set(written[0][:, 1:].flatten().tolist())) > 3


def test_drafts_are_taken_back():
    model = translator(eos_token_id=None)
    ids, mask = ragged_sources()
    settings = {"attention_mask": mask[:1], "max_new_tokens": 20, "do_sample": False}
    alone = model.generate(ids[:1], **settings)
    assert torch.equal(model.generate(ids[:1], **settings, prompt_lookup_num_tokens=3), alone)
    other = translator(eos_token_id=None)  # its drafts are refused
    assert torch.equal(model.generate(ids[:1], **settings, assistant_model=other), alone)


def test_a_generation_step_compiles_into_one_graph():
    model = translator()
    ids, mask = ragged_sources()
    target = torch.randint(4, 30, (3, 7))
    step = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected = model(ids, mask, decoder_input_ids=target).logits
        encoded = model.get_encoder()(ids, mask)
        cache = EncoderDecoderCache(model.create_text_cache(is_static=True), DynamicCache())
        assert isinstance(cache.self_attention_cache, StaticRecurrentCache)
        model(None, mask, encoder_outputs=encoded, decoder_input_ids=target[:, :3], cache=cache)
        for position in range(3, 7):
            token = target[:, position : position + 1]
            logits = step(None, mask, encoder_outputs=encoded, decoder_input_ids=token, cache=cache).logits
            torch.testing.assert_close(logits[:, 0], expected[:, position], rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_by_the_auto_class_to_the_bit(tmp_path):
    model = translator(decoder_layers=1)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert AutoConfig.from_pretrained(tmp_path).decoder_cell == "ssru"
    ids, mask = ragged_sources()
    labels = torch.randint(4, 30, (3, 5))
    assert torch.equal(loaded(ids, mask, labels=labels).logits, model(ids, mask, labels=labels).logits)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(use_reentrant):
    model = TransformerForConditionalGeneration(config_of(dropout=0.1)).train()
    ids, mask = ragged_sources()
    labels = torch.randint(4, 30, (3, 5))

    def gradients():
        model.zero_grad()
        torch.manual_seed(0)  # the same dropout each time
        model(ids, mask, labels=labels).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    plain = gradients()
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    torch.testing.assert_close(gradients(), plain)


def test_autocast_to_bfloat16_stays_near_float32():
    model = TransformerForConditionalGeneration(config_of(hidden_size=32, initializer_range=0.15)).eval()
    ids, mask = ragged_sources()
    labels = torch.randint(4, 30, (3, 40))
    found = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = model(ids, mask, labels=labels)
        outputs.loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append((outputs.loss.detach().float(), gradient))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-2, atol=0)
    assert torch.nn.functional.cosine_similarity(found[0][1], found[1][1], dim=0) > 0.995


def test_lora_trains_the_maps_of_the_cells_too():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(translator(), LoraConfig(target_modules="all-linear", init_lora_weights=False)).eval()
    ids, mask = ragged_sources()
    labels = torch.randint(4, 30, (3, 5))
    outputs = model(input_ids=ids, attention_mask=mask, labels=labels)
    outputs.loss.backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any("recurrence.forward_cell.input_proj.lora_A" in name for name in trained)
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(ids, mask, labels=labels).loss, outputs.loss)


def test_what_cannot_be_is_refused_with_the_reason():
    with pytest.raises(Exception, match="decoder_cell='lstm' is not one of mingru, minlstm, ssru"):
        config_of(decoder_cell="lstm")
    with pytest.raises(Exception, match="recurrence_implementation='eager' is for a decoder_cell"):
        config_of(decoder_cell=None, recurrence_implementation="eager")
    model = translator()
    ids = torch.randint(4, 30, (2, 5))
    with pytest.raises(ValueError, match="in a DynamicCache, and decoder_cell='ssru' has states: give model"):
        model(ids, decoder_input_ids=ids, cache=EncoderDecoderCache(DynamicCache(), DynamicCache()))
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 4\) does not fit 5 tokens in 2 rows"):
        model(ids, decoder_input_ids=ids, decoder_attention_mask=torch.ones(2, 4))
    shared = torch.tensor([[0, 1, 2, 0, 1]])
    with pytest.raises(ValueError, match="position_ids begin anew at token 3 of row 0"):
        model(ids, decoder_input_ids=ids, decoder_position_ids=shared)
