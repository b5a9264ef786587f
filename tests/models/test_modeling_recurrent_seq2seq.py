"""The recurrent encoder-decoder: against references, against itself, and as a Hugging Face model."""

import copy

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, DynamicCache
from transformers.generation import BaseStreamer

from seqnlp import (
    RecurrentConfig,
    RecurrentSeq2SeqCache,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    RecurrentSeq2SeqModel,
)
from seqnlp.models.cells import CELLS


TORCH_CLASSES = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
DECODERS = {
    "none": {"attention_type": "none"},
    "additive": {"attention_type": "additive"},
    "multiplicative": {"attention_type": "multiplicative"},
    "additive, fed": {"attention_type": "additive", "input_feeding": True},
    "multiplicative, fed": {"attention_type": "multiplicative", "input_feeding": True},
    "blocks": {"cell_type": "mingru", "block": "residual", "conv_kernel_size": 3, "mlp_ratio": 1.5},
    "blocks, fed": {"block": "residual", "conv_kernel_size": 2, "input_feeding": True},
}

every_classical_cell = pytest.mark.parametrize("cell_type", TORCH_CLASSES)
every_cell = pytest.mark.parametrize("cell_type", CELLS)
every_decoder = pytest.mark.parametrize("decoder", DECODERS)


def config_of(decoder="additive", **kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 12, "num_hidden_layers": 2, "initializer_range": 0.5}
    tokens = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return RecurrentSeq2SeqConfig(**{**sizes, **tokens, **DECODERS[decoder], **kwargs})


def translator(decoder="additive", **kwargs):
    # In double precision: to compare tokens, two ways to compute a logit must not differ by more than a tie can be.
    return RecurrentSeq2SeqForConditionalGeneration(config_of(decoder, **kwargs)).double().eval()


def ragged(rows=3, length=6):
    ids = torch.randint(4, 30, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, : length - 2] = 0
    mask[1, 2:3] = 0
    return ids.masked_fill(mask == 0, 0), mask


def inputs_of(rows=3):
    ids, mask = ragged(rows)
    decoder_ids, decoder_mask = ragged(rows, 7)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "decoder_input_ids": decoder_ids,
        "decoder_attention_mask": decoder_mask,
    }


def torch_layers(layers, config):
    module = TORCH_CLASSES[config.cell_type](
        config.embedding_size, config.hidden_size, 2, batch_first=True, bidirectional=layers[0].config.bidirectional
    )
    for index, layer in enumerate(layers):
        for cell, suffix in zip(layer.cells, ("", "_reverse"), strict=False):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            for name, weight in zip(names, cell.torch_weights(), strict=True):
                setattr(module, f"{name}_l{index}{suffix}", nn.Parameter(weight.detach().clone()))
    return module


@every_classical_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_without_attention_it_equals_torch_run_on_each_row_alone(cell_type, bidirectional):
    model = translator("none", cell_type=cell_type, bidirectional=bidirectional)
    config = model.config
    encoder = torch_layers(model.model.encoder.layers, config)
    decoder = torch_layers(model.model.decoder.layers, config)
    inputs = inputs_of()
    logits = model(**inputs).logits
    loss_weights = torch.randn_like(logits) * inputs["decoder_attention_mask"].unsqueeze(-1)
    (logits * loss_weights).sum().backward()

    embed, bridge, loss = model.model.encoder.embed_tokens.weight.detach(), model.model.decoder.bridge, 0
    for row in range(3):
        source = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        valid = inputs["decoder_attention_mask"][row].bool()
        _, final = encoder(embed[source].unsqueeze(0))
        final = [
            state.view(2, -1) for state in (final if cell_type == "lstm" else [final])
        ]  # (layers, directions * H)
        hidden = torch.stack([torch.tanh(bridge.projs[i][0](final[0][i])) for i in range(2)]).unsqueeze(1)
        if cell_type == "lstm":
            hidden = (hidden, torch.stack([bridge.projs[i][1](final[1][i]) for i in range(2)]).unsqueeze(1))
        states, _ = decoder(embed[inputs["decoder_input_ids"][row, valid]].unsqueeze(0), hidden)
        expected = states[0] @ model.lm_head.weight.detach().T
        torch.testing.assert_close(logits[row, valid], expected)
        loss = loss + (expected * loss_weights[row, valid]).sum()
    loss.backward()

    for side, module in ((model.model.encoder, encoder), (model.model.decoder, decoder)):
        for index, layer in enumerate(side.layers):
            for cell, suffix in zip(layer.cells, ("", "_reverse"), strict=False):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                for name, weight in zip(names, cell.torch_weights(), strict=True):
                    torch.testing.assert_close(weight.grad, getattr(module, f"{name}_l{index}{suffix}").grad)


@every_cell
@every_decoder
def test_fused_equals_eager(cell_type, decoder):
    model = translator(decoder, cell_type=cell_type)
    inputs, results = inputs_of(), []
    for implementation in ("fused", "eager"):
        model.set_recurrence_implementation(implementation)
        assert model.model.decoder.layers[0].config.recurrence_implementation == implementation
        model.zero_grad()
        logits = model(**inputs).logits
        logits.pow(2).sum().backward()
        results.append((logits, *(parameter.grad for parameter in model.parameters())))
    for fused, eager in zip(*results, strict=True):
        torch.testing.assert_close(fused, eager)


@every_cell
@every_decoder
def test_a_target_read_in_pieces_equals_the_target_read_at_once(cell_type, decoder):
    model = translator(decoder, cell_type=cell_type)
    inputs = inputs_of()
    whole = model(**inputs)
    encoder_outputs = model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    cache, pieces = RecurrentSeq2SeqCache(model.config), []
    for start, stop in ((0, 3), (3, 4), (4, 5), (5, 7)):
        outputs = model(
            encoder_outputs=encoder_outputs,
            attention_mask=inputs["attention_mask"],
            decoder_input_ids=inputs["decoder_input_ids"][:, start:stop],
            decoder_attention_mask=inputs["decoder_attention_mask"][:, :stop],
            cache=cache,
        )
        pieces.append(outputs.logits)
        assert cache.get_seq_length() == stop
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole.logits)
    for states, expected in zip(cache.self_attention_cache, whole.cache.self_attention_cache, strict=True):
        torch.testing.assert_close(states, expected)


@every_cell
@every_decoder
def test_padding_of_source_and_target_changes_nothing(cell_type, decoder):
    model = translator(decoder, cell_type=cell_type)
    source, target = torch.randint(4, 30, (1, 5)), torch.randint(4, 30, (1, 4))
    alone = model(source, decoder_input_ids=target, output_attentions=True)

    def padded(row):
        pad = torch.zeros(1, 3, dtype=torch.long)
        rows = [torch.cat([row, pad], 1), torch.cat([pad, row], 1), torch.cat([row[:, :2], pad, row[:, 2:]], 1)]
        return torch.cat(rows)

    sources, targets = padded(source), padded(target)
    mask, target_mask = sources != 0, targets != 0
    outputs = model(
        sources,
        attention_mask=mask.long(),
        decoder_input_ids=targets,
        decoder_attention_mask=target_mask.long(),
        output_attentions=True,
    )
    for row in range(3):
        torch.testing.assert_close(outputs.logits[row, target_mask[row]], alone.logits[0])
        for alignment, expected in zip(outputs.cross_attentions, alone.cross_attentions, strict=True):
            torch.testing.assert_close(alignment[row, 0, target_mask[row]][:, mask[row]], expected[0, 0])
    assert (outputs.encoder_last_hidden_state[~mask] == 0).all()
    assert (model.model(sources, mask, targets, target_mask).last_hidden_state[~target_mask] == 0).all()
    for states in outputs.cache.self_attention_cache:
        torch.testing.assert_close(states, tuple(state[:1].expand_as(state) for state in states))


@every_decoder
def test_no_rows_have_no_outputs_and_a_text_without_tokens_is_refused(decoder):
    model, ids = translator(decoder), torch.randint(4, 30, (2, 5))
    assert model(ids[:0], decoder_input_ids=ids[:0, :3]).logits.shape == (0, 3, 30)
    with pytest.raises(ValueError, match=r"^input_ids of shape \(2, 0\) has no tokens"):
        model(ids[:, :0], decoder_input_ids=ids)
    with pytest.raises(ValueError, match=r"^decoder_input_ids of shape \(2, 0\) has no tokens"):
        model(ids, decoder_input_ids=ids[:, :0])


@every_decoder
@pytest.mark.parametrize("generation", [{}, {"num_beams": 4}, {"num_beams": 4, "num_return_sequences": 3}])
def test_cached_generation_equals_uncached_and_batch_equals_alone(decoder, generation):
    model = translator(decoder, cell_type="lstm" if decoder == "none" else "gru", initializer_range=1.0)
    ids, mask = ragged()
    settings = {"max_new_tokens": 10, "do_sample": False, **generation}
    cached = model.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, use_cache=False, **settings))
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, cache_implementation="static", **settings))
    assert len({tuple(row) for row in cached.tolist()}) > 1
    copies = generation.get("num_return_sequences", 1)
    for row in range(3):
        alone = model.generate(ids[row : row + 1, mask[row].bool()], **settings)
        for index in range(copies):
            together = cached[row * copies + index]
            length = min(len(together), alone.shape[1])
            assert torch.equal(together[:length], alone[index, :length])


@every_decoder
def test_greedy_search_is_the_most_likely_next_token(decoder):
    model = translator(decoder, eos_token_id=None)
    ids, mask = ragged()
    sequences = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    logits = model(ids, attention_mask=mask, decoder_input_ids=sequences[:, :-1]).logits
    assert torch.equal(logits.argmax(-1), sequences[:, 1:])


@pytest.mark.parametrize("decoder", ["none", "additive", "multiplicative, fed"])
def test_generation_samples_repeatably_and_goes_on_from_a_state(decoder):
    model = translator(decoder, eos_token_id=None)
    ids, mask = ragged()
    torch.manual_seed(3)
    sampled = model.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=True)
    torch.manual_seed(3)
    assert torch.equal(sampled, model.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=True))

    whole = model.generate(ids, attention_mask=mask, max_new_tokens=9)
    begun = model.generate(ids, attention_mask=mask, max_new_tokens=4, return_dict_in_generate=True)
    went_on = model.generate(
        ids,
        attention_mask=mask,
        decoder_input_ids=begun.sequences,
        decoder_attention_mask=torch.ones_like(begun.sequences),
        cache=begun.cache,
        max_new_tokens=5,
    )
    assert torch.equal(whole, went_on)
    prefix = model.generate(ids, attention_mask=mask, decoder_input_ids=whole[:, :4], max_new_tokens=6)
    assert torch.equal(whole, prefix)


class Written(BaseStreamer):
    """Keeps what it is handed, token by token."""

    def __init__(self):
        self.ids, self.ended = [], False

    def put(self, value):
        self.ids += value.flatten().tolist()

    def end(self):
        self.ended = True


def test_generation_streams_and_refuses_an_assistant():
    model = translator("additive", eos_token_id=None)
    ids, mask = ragged()
    streamer = Written()
    generated = model.generate(ids[:1], attention_mask=mask[:1], max_new_tokens=6, streamer=streamer)
    assert streamer.ids == generated[0].tolist()
    assert streamer.ended
    with pytest.raises(ValueError, match="assisted generation is not supported with stateful models"):
        model.generate(ids[:1], max_new_tokens=2, assistant_model=copy.deepcopy(model))
    with pytest.raises(ValueError, match="The state of a recurrent encoder-decoder cannot be taken back"):
        model.get_decoder().create_cache().activate_past_recording()


def test_generate_takes_the_encoder_outputs_and_gives_the_alignment():
    model = translator("multiplicative, fed")
    ids, mask = ragged()
    encoder_outputs = model.get_encoder()(ids, mask)
    outputs = model.generate(
        encoder_outputs=encoder_outputs,
        attention_mask=mask,
        max_new_tokens=4,
        output_attentions=True,
        output_hidden_states=True,
        return_dict_in_generate=True,
    )
    assert torch.equal(outputs.sequences, model.generate(ids, attention_mask=mask, max_new_tokens=4))
    assert all(step[0].shape == (3, 1, 1, 6) for step in outputs.cross_attentions)
    assert all(len(step) == 3 for step in outputs.decoder_hidden_states)


def test_the_cache_is_repeated_selected_and_reset_but_not_cropped():
    model = translator("additive, fed")
    inputs = inputs_of()
    cache = model(**inputs).cache
    keys, feed = (state.clone() for state in cache.cross_attention_cache.layers[0].recurrent_states.values())
    assert (keys.shape, feed.shape, len(cache)) == ((3, 6, 12), (3, 12), 2)
    cache.batch_repeat_interleave(2)
    cache.reorder_cache(torch.tensor([0, 4, 2]))
    assert torch.equal(cache.cross_attention_cache.layers[0].recurrent_states[1], feed[[0, 2, 1]])
    with pytest.raises(ValueError, match="can be taken back by 0 tokens, not by 1"):
        cache.crop(-1)
    assert not cache.is_croppable
    cache.reset()
    assert cache.get_seq_length() == 0
    other = inputs_of()
    torch.testing.assert_close(model(**other, cache=cache).logits, model(**other).logits)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("model_class", [RecurrentSeq2SeqModel, RecurrentSeq2SeqForConditionalGeneration])
def test_saved_and_loaded_by_the_auto_class_to_the_bit(share, tie, model_class, tmp_path):
    model = model_class(config_of("additive, fed", share_embeddings=share, tie_word_embeddings=tie)).eval()
    matrices = 1 + (not share) + (not tie and model_class is RecurrentSeq2SeqForConditionalGeneration)
    assert sum(parameter.shape == (30, 12) for parameter in model.parameters()) == matrices
    model.save_pretrained(tmp_path)
    auto_class = AutoModel if model_class is RecurrentSeq2SeqModel else AutoModelForSeq2SeqLM
    loaded, report = auto_class.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is model_class
    assert not any(report.values())
    assert loaded.config.to_dict() == AutoConfig.from_pretrained(tmp_path).to_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    inputs = inputs_of()
    assert torch.equal(model(**inputs)[0], loaded.eval()(**inputs)[0])


def test_the_base_model_and_the_head_load_from_each_other(tmp_path):
    model = RecurrentSeq2SeqForConditionalGeneration(config_of())
    model.save_pretrained(tmp_path)
    base = RecurrentSeq2SeqModel.from_pretrained(tmp_path)
    base.save_pretrained(tmp_path / "base")
    again = RecurrentSeq2SeqForConditionalGeneration.from_pretrained(tmp_path / "base")
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, base.state_dict()[name]), name
        assert torch.equal(tensor, again.model.state_dict()[name]), name


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("tie", [False, True])
def test_resized_embeddings(share, tie):
    model = translator(share_embeddings=share, tie_word_embeddings=tie)
    before = model(**inputs_of()).logits.shape
    model.resize_token_embeddings(37)
    inputs = inputs_of()
    inputs["input_ids"][:, -1] = inputs["decoder_input_ids"][:, -1] = 36
    assert (before[-1], model(**inputs).logits.shape[-1], model.config.vocab_size) == (30, 37, 37)
    target = model.model.encoder.embed_tokens if share else model.model.decoder.embed_tokens
    assert (model.lm_head.weight is target.weight) == tie


def test_new_embeddings_are_drawn_as_asked():
    model = translator(share_embeddings=False)
    sides = model.model.encoder.embed_tokens, model.model.decoder.embed_tokens
    for side in sides:
        torch.nn.init.constant_(side.weight, 5.0)
    model.resize_token_embeddings(60, mean_resizing=False)
    for side in (model.model.encoder.embed_tokens, model.model.decoder.embed_tokens):
        assert side.weight[30:].mean().abs() < 1  # by `initializer_range`, not around the mean of the old ones


@every_decoder
def test_hidden_states_and_alignment(decoder):
    model = translator(decoder, embedding_size=7, num_hidden_layers=3)
    inputs = inputs_of()
    outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
    first = (3, 6, 24 if decoder.startswith("blocks") else 7)  # blocks read embeddings as wide as they are
    assert [tuple(state.shape) for state in outputs.encoder_hidden_states] == [first, *[(3, 6, 24)] * 3]
    assert [tuple(state.shape) for state in outputs.decoder_hidden_states] == [(3, 7, 7), *[(3, 7, 12)] * 3]
    assert torch.equal(outputs.encoder_hidden_states[-1], outputs.encoder_last_hidden_state)
    assert torch.equal(outputs.logits, model.lm_head(outputs.decoder_hidden_states[-1]))
    assert len(outputs.cross_attentions) == (decoder != "none")
    for alignment in outputs.cross_attentions:
        assert alignment.shape == (3, 1, 7, 6)
        padding = (inputs["attention_mask"] == 0)[:, None, None].expand_as(alignment)
        assert (alignment[padding] == 0).all()
        assert (alignment[~padding] > 0).all()
        torch.testing.assert_close(alignment.sum(-1), torch.ones(3, 1, 7).double())


@every_decoder
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(decoder, reentrant):
    model = translator(decoder).train()
    inputs = inputs_of()

    def gradients():
        model.zero_grad()
        model(**inputs, use_cache=False).logits.pow(2).sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name])
        assert gradient.abs().sum() > 0, name


def test_the_loss_is_the_cross_entropy_of_the_labels():
    model = translator(label_smoothing=0.1)
    ids, mask = ragged()
    labels = torch.randint(4, 30, (3, 5))
    labels[1, 3:] = -100
    decoder_input_ids = model.prepare_decoder_input_ids_from_labels(labels)
    assert decoder_input_ids.tolist() == [[2, *row[:4]] for row in labels.masked_fill(labels == -100, 0).tolist()]
    logits = model(ids, attention_mask=mask, decoder_input_ids=decoder_input_ids).logits
    outputs = model(ids, attention_mask=mask, labels=labels)
    torch.testing.assert_close(outputs.logits, logits)
    assert outputs.cache is None

    log_probabilities = logits.log_softmax(-1)[labels != -100]
    likelihoods = log_probabilities.gather(1, labels[labels != -100].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(outputs.loss, -likelihoods.mean(), check_dtype=False)
    scaled = model(ids, attention_mask=mask, labels=labels, num_items_in_batch=torch.tensor(26)).loss
    torch.testing.assert_close(scaled, outputs.loss * 13 / 26)
    # Szegedy et al. 2016, section 7: while training a tenth of the target is spread over the vocabulary.
    smoothed = -(0.9 * likelihoods + 0.1 * log_probabilities.mean(-1)).mean()
    trained = model.train()(ids, attention_mask=mask, labels=labels)
    torch.testing.assert_close(trained.loss, smoothed, check_dtype=False)


@every_decoder
def test_chunks_change_neither_loss_nor_gradients(decoder):
    model = RecurrentSeq2SeqForConditionalGeneration(config_of(decoder, label_smoothing=0.1)).train()
    inputs = {"input_ids": torch.randint(4, 30, (3, 6)), "labels": torch.randint(4, 30, (3, 5))}
    inputs["labels"][1, 3:] = -100

    def step(chunk_size):
        model.config.loss_chunk_size = chunk_size
        model.zero_grad()
        outputs = model(**inputs, num_items_in_batch=40)
        outputs.loss.backward()
        return outputs, [parameter.grad.clone() for parameter in model.parameters()]

    plain, expected = step(None)
    chunked, gradients = step(4)
    assert chunked.logits is None
    torch.testing.assert_close(chunked.loss, plain.loss)
    torch.testing.assert_close(gradients, expected)
    assert model.eval()(**inputs).logits is not None


@every_cell
@every_decoder
def test_bf16_by_autocast_and_by_weights(cell_type, decoder):
    model = RecurrentSeq2SeqForConditionalGeneration(config_of(decoder, cell_type=cell_type, initializer_range=0.1))
    inputs = inputs_of()
    exact = model(**inputs).logits
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(**inputs).logits
    share = 0.06 if decoder.startswith("blocks") else 0.02  # their norms enlarge what is rounded of small states
    tolerance = {"rtol": 0, "atol": share * exact.abs().max().item()}
    torch.testing.assert_close(logits.float(), exact, **tolerance)
    logits.sum().backward()
    half = model.to(torch.bfloat16)
    torch.testing.assert_close(half(**inputs).logits.float(), exact, **tolerance)
    half.generate(inputs["input_ids"], max_new_tokens=3, num_beams=2)


def test_embedded_tokens_may_be_given_instead_of_ids():
    model = translator("additive, fed", share_embeddings=False)
    inputs = inputs_of()
    expected = model(**inputs).logits
    ids, decoder_ids = inputs.pop("input_ids"), inputs.pop("decoder_input_ids")
    embedded = model.model.encoder.embed_tokens(ids)
    decoder_embedded = model.model.decoder.embed_tokens(decoder_ids)
    logits = model(**inputs, inputs_embeds=embedded, decoder_inputs_embeds=decoder_embedded).logits
    torch.testing.assert_close(logits, expected)
    encoder_outputs = model.get_encoder()(ids, inputs["attention_mask"], return_dict=False)
    logits = model(**inputs, encoder_outputs=encoder_outputs, decoder_input_ids=decoder_ids).logits
    torch.testing.assert_close(logits, expected)


def test_a_generation_step_compiles_into_one_graph():
    model = translator("multiplicative, fed", cell_type="lstm")
    inputs = inputs_of()
    del inputs["decoder_attention_mask"]
    decoder_ids = inputs.pop("decoder_input_ids")
    step = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected = model(**inputs, decoder_input_ids=decoder_ids).logits
        inputs["encoder_outputs"] = model.get_encoder()(inputs.pop("input_ids"), inputs["attention_mask"])
        cache = RecurrentSeq2SeqCache(model.config, is_static=True)
        model(**inputs, decoder_input_ids=decoder_ids[:, :3], cache=cache)
        for position in range(3, 7):
            ids = decoder_ids[:, position : position + 1]
            logits = step(**inputs, decoder_input_ids=ids, cache=cache).logits
            torch.testing.assert_close(logits[:, 0], expected[:, position])


@pytest.mark.parametrize("task", ["reverse", "copy"])
@every_classical_cell  # a single layer of a minimal one, whose gates do not see the state, takes several times as long
@pytest.mark.parametrize(
    ("decoder", "steps"), [("none", 300), ("additive", 120), ("multiplicative", 120), ("multiplicative, fed", 120)]
)
def test_learns_to_reverse_and_to_copy(decoder, steps, cell_type, task):
    config = config_of(decoder, vocab_size=12, hidden_size=48, num_hidden_layers=1, cell_type=cell_type)
    config.initializer_range = 0.1
    model = RecurrentSeq2SeqForConditionalGeneration(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)

    def batch(rows, length=4):
        ids = torch.randint(4, 12, (rows, length))
        mask = torch.arange(length) < torch.randint(2, length + 1, (rows, 1))
        labels = torch.full((rows, length + 1), -100)
        for label, row, valid in zip(labels, ids, mask, strict=True):
            text = row[valid] if task == "copy" else row[valid].flip(0)
            label[: len(text) + 1] = torch.cat([text, torch.tensor([3])])
        return {"input_ids": ids * mask, "attention_mask": mask.long()}, labels

    for _ in range(steps):
        inputs, labels = batch(64)
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
    inputs, labels = batch(200)
    generated = model.eval().generate(**inputs, max_new_tokens=5, do_sample=False)[:, 1:]
    generated = nn.functional.pad(generated, (0, labels.shape[1] - generated.shape[1]))
    correct = ((generated == labels) | (labels == -100)).all(dim=1)
    assert correct.double().mean() > 0.95


def test_published_code_loads_where_seqnlp_cannot_be_imported(run_without_seqnlp, tmp_path):
    RecurrentSeq2SeqForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")
    RecurrentSeq2SeqConfig.register_for_auto_class()
    model = RecurrentSeq2SeqForConditionalGeneration(config_of("additive, fed", share_embeddings=False)).eval()
    try:
        model.save_pretrained(tmp_path)
    finally:
        RecurrentSeq2SeqForConditionalGeneration._auto_class = RecurrentSeq2SeqConfig._auto_class = None
    inputs = inputs_of()
    torch.save({"inputs": inputs, "logits": model(**inputs).logits}, tmp_path / "expected.pt")
    code = f"""
        import torch
        torch.set_num_threads(1)
        from transformers import AutoModelForSeq2SeqLM
        model = AutoModelForSeq2SeqLM.from_pretrained({str(tmp_path)!r}, trust_remote_code=True).eval()
        expected = torch.load({str(tmp_path / "expected.pt")!r})
        torch.testing.assert_close(model(**expected["inputs"]).logits, expected["logits"])
        model.generate(expected["inputs"]["input_ids"], max_new_tokens=3, num_beams=2)
        torch.manual_seed(0)
        again = type(model)(model.config)  # drawn anew: nothing may be left as memory was found
        assert 0.3 < again.model.decoder.attention.score_vector.std() < 0.7
        assert (again.model.decoder.bridge.projs[1][0].bias == 0).all()
    """
    run_without_seqnlp(code)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0 must be at least 1"),
        ({"embedding_size": 0}, "embedding_size=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        ({"attention_type": "dot"}, "dot"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"hidden_act": "relu"}, "is for cell_type='elman'"),
        ({"recurrent_initializer": "identity"}, "is for cell_type='elman'"),
        (
            {"attention_type": "multiplicative", "attention_size": 4},
            "attention_size=4 is for attention_type='additive'",
        ),
        ({"attention_size": 0}, "attention_size=0 must be at least 1"),
        ({"attention_type": "none", "input_feeding": True}, "feeds back what attention found"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"tie_word_embeddings": True, "embedding_size": 5}, "needs embedding_size == hidden_size"),
        ({"conv_kernel_size": 4}, "is a part of block='residual'"),
        ({"block": "residual", "mlp_ratio": 0}, "mlp_ratio=0 must be above 0"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        config_of(**fields)


def test_wrong_calls_are_refused_with_the_reason():
    model = translator()
    ids = torch.randint(4, 30, (2, 5))
    with pytest.raises(ValueError, match="exactly one of decoder_input_ids and decoder_inputs_embeds"):
        model(ids)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model(decoder_input_ids=ids)
    with pytest.raises(ValueError, match="encoder_outputs has no final_state"):
        model(encoder_outputs=(torch.randn(2, 5, 24).double(),), decoder_input_ids=ids)
    with pytest.raises(ValueError, match="a DynamicCache, without a place for"):
        model(ids, decoder_input_ids=ids, cache=DynamicCache())
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 3\) does not fit 5 tokens in 2 rows"):
        model(ids, attention_mask=torch.ones(2, 3), decoder_input_ids=ids)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 1\) does not fit a source of shape \(2, 5\)"):
        model(encoder_outputs=model.model.encoder(ids), attention_mask=torch.ones(2, 1), decoder_input_ids=ids)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 6\) does not fit 5 tokens in 2 rows"):
        model(ids, decoder_input_ids=ids, decoder_attention_mask=torch.ones(2, 6))
    with pytest.raises(ValueError, match="cache_implementation='quantized'"):
        model.generate(ids, max_new_tokens=2, cache_implementation="quantized")
    with pytest.raises(ValueError, match="recurrence_implementation='fast'"):
        model.set_recurrence_implementation("fast")
    model.config.pad_token_id = None
    with pytest.raises(ValueError, match="pad_token_id=None"):
        model(ids, labels=ids)


def test_the_layers_are_those_of_the_recurrent_family():
    config = config_of("additive, fed", embedding_size=7)
    assert config.recurrent_config(of_decoder=False) == RecurrentConfig(
        vocab_size=30, embedding_size=7, hidden_size=12, num_hidden_layers=2, bidirectional=True
    )
    decoder = RecurrentSeq2SeqModel(config).decoder.layers
    assert [layer.forward_cell.input_size for layer in decoder] == [7 + 12, 12]
    assert decoder[0].backward_cell is None
