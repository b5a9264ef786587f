"""The encoder-decoder: parity with Marian and BART, generation, learning to copy and to reverse."""

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DynamicCache,
    MarianConfig,
    MarianMTModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from seqnlp import TransformerConfig, TransformerForConditionalGeneration, TransformerModel


VARIANTS = {
    "2017": {},
    "learned": {"position_embedding_type": "learned", "hidden_act": "gelu", "embedding_norm": True},
    "today": {
        "position_embedding_type": "rotary",
        "norm_position": "pre",
        "norm_type": "rms_norm",
        "hidden_act": "swiglu",
        "use_bias": False,
        "num_key_value_heads": 1,
        "decoder_layers": 1,
    },
    "ssru": {"decoder_cell": "ssru", "norm_position": "pre"},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def config_of(**kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return TransformerConfig(**{**sizes, "max_position_embeddings": 40, **kwargs})


def translator(**kwargs):
    # Large weights: a model that is sure of different tokens in different places.
    return TransformerForConditionalGeneration(config_of(initializer_range=0.4, **kwargs)).eval()


def ragged_sources():
    ids = torch.randint(4, 30, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, 5:] = 0
    return ids.masked_fill(mask == 0, 0), mask


def our_state_dict(theirs):
    """The weights of a Bart or Marian model under our names."""
    renamed = {}
    for name, tensor in theirs.model.state_dict().items():
        if name == "shared.weight":
            renamed["lm_head.weight"] = tensor
            continue
        for old, new in (
            ("self_attn_layer_norm", "self_attn_norm"),
            ("encoder_attn_layer_norm", "cross_attn_norm"),
            ("encoder_attn.", "cross_attn."),
            ("final_layer_norm", "mlp_norm"),
            ("layernorm_embedding", "embedding_norm"),
            ("out_proj", "o_proj"),
            ("fc1", "mlp.up_proj"),
            ("fc2", "mlp.down_proj"),
            ("embed_positions", "positions.embed_positions"),
        ):
            name = name.replace(old, new)
        renamed[f"model.{name}"] = tensor
    return renamed


SHARED = {"vocab_size": 50, "max_position_embeddings": 20, "pad_token_id": 0, "eos_token_id": 3}
THEIR_SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "decoder_start_token_id": 2,
    "init_std": 0.2,
    "dropout": 0.0,
}
OUR_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-5,
    "label_smoothing": 0.0,
    "dropout": 0.0,
}


def assert_same_outputs_and_gradients(ours, theirs, gradient_pairs):
    """On a batch padded on the right, where all three count positions alike."""
    ids, labels = torch.randint(4, 50, (3, 7)), torch.randint(4, 50, (3, 5))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    labels[2, 3:] = -100
    expected, got = (model.train()(ids, attention_mask=mask, labels=labels) for model in (theirs, ours))
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-5)
    got.loss.backward()
    expected.loss.backward()
    for name, one, other in gradient_pairs():
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_outputs_and_gradients_are_those_of_bart(implementation):
    theirs = BartForConditionalGeneration(
        BartConfig(**SHARED, **THEIR_SIZES, scale_embedding=True, attn_implementation=implementation)
    )
    ours = TransformerForConditionalGeneration(
        config_of(**SHARED, **OUR_SIZES, **VARIANTS["learned"], attn_implementation=implementation)
    )
    state = our_state_dict(theirs)
    for part in ("encoder", "decoder"):  # Bart's first two positions are never used
        name = f"model.{part}.positions.embed_positions.weight"
        state[name] = state[name][2:]
    ours.load_state_dict(state)

    def gradient_pairs():
        gradients = {name: p.grad for name, p in theirs.model.named_parameters()}
        yield "embeddings", ours.lm_head.weight.grad, gradients["shared.weight"]
        for name, parameter in ours.model.decoder.layers[2].self_attn.named_parameters():
            their_name = name.replace("o_proj", "out_proj")
            yield name, parameter.grad, gradients[f"decoder.layers.2.self_attn.{their_name}"]
        for name, parameter in ours.model.decoder.layers[0].cross_attn.named_parameters():
            their_name = name.replace("o_proj", "out_proj")
            yield name, parameter.grad, gradients[f"decoder.layers.0.encoder_attn.{their_name}"]
        mlp = ours.model.encoder.layers[0].mlp
        yield "fc1", mlp.up_proj.weight.grad, gradients["encoder.layers.0.fc1.weight"]
        yield "fc2", mlp.down_proj.weight.grad, gradients["encoder.layers.0.fc2.weight"]
        positions = ours.model.encoder.positions.embed_positions.weight.grad
        yield "positions", positions, gradients["encoder.embed_positions.weight"][2:]
        norm = ours.model.decoder.embedding_norm.weight.grad
        yield "norm", norm, gradients["decoder.layernorm_embedding.weight"]

    assert_same_outputs_and_gradients(ours, theirs, gradient_pairs)


def test_outputs_and_gradients_are_those_of_marian():
    theirs = MarianMTModel(MarianConfig(**SHARED, **THEIR_SIZES, scale_embedding=True, activation_function="relu"))
    ours = TransformerForConditionalGeneration(config_of(**SHARED, **OUR_SIZES))
    # Marian has all sines before all cosines, the paper has them in turn: the same components in another order.
    order = torch.arange(32).view(2, 16).t().flatten()

    def reorder(name, tensor):
        name = ".".join(name.split(".")[-2:])
        if name in ("o_proj.weight", "o_proj.bias", "down_proj.weight", "down_proj.bias") or "norm" in name:
            return tensor[order]
        return tensor[:, order] if tensor.dim() == 2 else tensor

    state = {name: t for name, t in our_state_dict(theirs).items() if "embed_positions" not in name}
    ours.load_state_dict({name: reorder(name, tensor) for name, tensor in state.items()})

    def gradient_pairs():
        with torch.no_grad():  # name their gradients as their weights were named
            for parameter in theirs.parameters():
                parameter.copy_(parameter.grad if parameter.grad is not None else torch.zeros_like(parameter))
        gradients = our_state_dict(theirs)
        for name, parameter in ours.named_parameters():
            name = "lm_head.weight" if "embed_tokens" in name else name
            yield name, parameter.grad, reorder(name, gradients[name])

    assert_same_outputs_and_gradients(ours, theirs, gradient_pairs)


@every_variant
def test_padding_of_source_and_target_changes_no_valid_output(variant):
    model = translator(**VARIANTS[variant])
    source, target = torch.randint(4, 30, (1, 5)), torch.randint(4, 30, (1, 4))
    pad = torch.zeros(1, 3, dtype=torch.long)
    expected = model(source, decoder_input_ids=target).logits[0]
    sources = torch.cat([torch.cat([source, pad], 1), torch.cat([pad, source], 1)])
    targets = torch.cat([torch.cat([target, pad], 1), torch.cat([pad, target], 1)])
    logits = model(
        sources,
        attention_mask=(sources != 0).long(),
        decoder_input_ids=targets,
        decoder_attention_mask=(targets != 0).long(),
    ).logits
    torch.testing.assert_close(logits[0, :4], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[1, 3:], expected, rtol=1e-4, atol=1e-4)


@every_variant
@pytest.mark.parametrize("generation", [{}, {"num_beams": 4}])
def test_cached_equals_uncached_and_batch_equals_alone(variant, generation):
    model = translator(**VARIANTS[variant])
    ids, mask = ragged_sources()
    settings = {"max_new_tokens": 8, "do_sample": False, **generation}
    cached = model.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, use_cache=False, **settings))
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, cache_implementation="static", **settings))
    for row in range(3):
        alone = model.generate(ids[row : row + 1, mask[row].bool()], **settings)[0]
        length = min(cached.shape[1], len(alone))
        assert torch.equal(cached[row, :length], alone[:length])


@pytest.mark.parametrize("cache_implementation", [None, "static"])
@pytest.mark.parametrize("num_beams", [1, 4])
def test_left_padded_beginnings_of_the_target(cache_implementation, num_beams):
    model = translator()
    ids, mask = ragged_sources()
    begun = torch.cat([torch.full((3, 1), 2), torch.randint(4, 30, (3, 3))], dim=1)
    padded, target_mask = begun.clone(), torch.ones_like(begun)
    padded[1] = torch.cat([torch.zeros(2, dtype=torch.long), begun[1, :2]])
    target_mask[1, :2] = 0
    settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": num_beams}
    together = model.generate(
        ids,
        attention_mask=mask,
        decoder_input_ids=padded,
        decoder_attention_mask=target_mask,
        cache_implementation=cache_implementation,
        **settings,
    )
    for row in range(3):
        source = ids[row : row + 1, mask[row].bool()]
        start = padded[row : row + 1, target_mask[row].bool()]
        alone = model.generate(source, decoder_input_ids=start, **settings)[0, start.shape[1] :]
        length = min(len(alone), together.shape[1] - 4)
        assert length > 0
        assert torch.equal(together[row, 4 : 4 + length], alone[:length])


def test_generation_goes_on_from_a_cache():
    model = translator(eos_token_id=None)
    ids, mask = ragged_sources()
    settings = {"attention_mask": mask, "do_sample": False}
    whole = model.generate(ids, max_new_tokens=9, **settings)
    begun = model.generate(ids, max_new_tokens=4, return_dict_in_generate=True, **settings)
    went_on = model.generate(
        ids,
        decoder_input_ids=begun.sequences,
        decoder_attention_mask=torch.ones_like(begun.sequences),  # tells transformers what the cache covers
        cache=begun.cache,
        max_new_tokens=5,
        **settings,
    )
    assert torch.equal(whole, went_on)


def test_explicit_positions_win():
    model = translator()
    ids, target = torch.randint(4, 30, (2, 5)), torch.randint(4, 30, (2, 4))
    expected = model(ids, decoder_input_ids=target).logits
    here, there = torch.arange(5).expand(2, -1), torch.arange(4).expand(2, -1)
    same = model(ids, decoder_input_ids=target, position_ids=here, decoder_position_ids=there).logits
    torch.testing.assert_close(same, expected)
    for positions in ({"position_ids": here + 1}, {"decoder_position_ids": there + 1}):
        assert not torch.allclose(model(ids, decoder_input_ids=target, **positions).logits, expected, atol=1e-3)


def test_labels_are_shifted_and_the_loss_is_not():
    model = translator(dropout=0.0, label_smoothing=0.1)
    ids, labels = torch.randint(4, 30, (2, 5)), torch.tensor([[7, 8, 9, 3], [7, 3, -100, -100]])
    outputs = model(ids, labels=labels)
    read = torch.tensor([[2, 7, 8, 9], [2, 7, 3, 0]])
    assert torch.equal(model.prepare_decoder_input_ids_from_labels(labels), read)
    torch.testing.assert_close(outputs.logits, model(ids, decoder_input_ids=read).logits)
    expected = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(outputs.loss, expected)
    torch.testing.assert_close(model(ids, labels=labels, num_items_in_batch=12).loss, expected / 2)
    smoothed = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(model.train()(ids, labels=labels).loss, smoothed)
    kept = model.eval()(ids, labels=None, decoder_input_ids=read, logits_to_keep=2).logits
    torch.testing.assert_close(kept, outputs.logits[:, -2:])


@pytest.mark.parametrize("tied", [True, False])
def test_chunked_loss_trains_the_same(tied):
    config = config_of(dropout=0.0, label_smoothing=0.1, tie_word_embeddings=tied)
    model = TransformerForConditionalGeneration(config).train()
    ids, labels = torch.randint(4, 30, (2, 5)), torch.tensor([[7, 8, 9, 3], [7, 3, -100, -100]])

    def step():
        model.zero_grad()
        outputs = model(ids, labels=labels)
        outputs.loss.backward()
        return outputs, {name: p.grad.clone() for name, p in model.named_parameters()}

    plain, expected = step()
    model.config.loss_chunk_size = 2
    chunked, gradients = step()
    assert chunked.logits is None
    torch.testing.assert_close(chunked.loss, plain.loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


def test_source_target_and_output_share_one_matrix_or_have_one_each(tmp_path):
    tied = TransformerForConditionalGeneration(config_of())
    assert tied.lm_head.weight is tied.model.encoder.embed_tokens.weight is tied.model.decoder.embed_tokens.weight
    untied = TransformerForConditionalGeneration(config_of(tie_word_embeddings=False)).eval()
    matrices = (untied.lm_head, untied.model.encoder.embed_tokens, untied.model.decoder.embed_tokens)
    assert len({id(matrix.weight) for matrix in matrices}) == 3
    untied.save_pretrained(tmp_path)
    loaded = TransformerForConditionalGeneration.from_pretrained(tmp_path)
    for name, tensor in untied.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    untied.resize_token_embeddings(33)
    logits = untied(torch.tensor([[32]]), decoder_input_ids=torch.tensor([[32]])).logits
    assert logits.shape == (1, 1, 33)


@pytest.mark.parametrize(("task", "decoder_cell"), [("copy", None), ("reverse", None), ("reverse", "ssru")])
def test_learns_to_copy_and_to_reverse(task, decoder_cell):
    torch.manual_seed(1)
    sizes = {"vocab_size": 14, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    fields = {"norm_position": "pre", "dropout": 0.0, "initializer_range": 0.1, "decoder_cell": decoder_cell}
    config = config_of(**sizes, **fields)
    model = TransformerForConditionalGeneration(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=300)

    def batch(size):
        ids = torch.randint(4, 14, (size, 6))
        mask = torch.arange(6) < torch.randint(2, 7, (size, 1))
        order = torch.arange(6).expand(size, -1)
        if task == "reverse":
            order = (mask.sum(1, keepdim=True) - 1 - order).clamp(min=0)
        labels = ids.gather(1, order).masked_fill(~mask, -100)
        labels = torch.nn.functional.pad(labels, (0, 1), value=-100)
        labels[torch.arange(size), mask.sum(1)] = 3
        return ids.masked_fill(~mask, 0), mask.long(), labels

    for _ in range(300):
        ids, mask, labels = batch(32)
        optimizer.zero_grad()
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
    ids, mask, labels = batch(100)
    generated = model.eval().generate(ids, attention_mask=mask, max_new_tokens=7, do_sample=False)[:, 1:]
    generated = torch.nn.functional.pad(generated, (0, 7 - generated.shape[1]))
    right = (generated == labels.masked_fill(labels == -100, 0)).all(1).float().mean()
    assert right > 0.95


def test_trainer_generates_while_evaluating(tmp_path):
    data = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7, 3]}] * 4
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        predict_with_generate=True,
        generation_max_length=6,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Seq2SeqTrainer(
        model=TransformerForConditionalGeneration(config_of(loss_chunk_size=3)),
        args=arguments,
        train_dataset=data,
        eval_dataset=data,
    )
    trainer.train()
    predicted = trainer.predict(data)
    assert predicted.predictions.shape[0] == 4
    assert predicted.metrics["test_loss"] > 0


def test_wrong_calls_are_refused_with_the_reason():
    model = TransformerModel(config_of())
    ids = torch.randint(30, (2, 5))
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model(decoder_input_ids=ids)
    with pytest.raises(ValueError, match="exactly one of decoder_input_ids and decoder_inputs_embeds"):
        model(ids)
    with pytest.raises(ValueError, match="needs encoder_hidden_states"):
        model.decoder(ids)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 4\) does not fit a source of shape \(2, 5\)"):
        model(encoder_outputs=model.encoder(ids), attention_mask=torch.ones(2, 4), decoder_input_ids=ids)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 6\) does not fit 5 tokens in 2 rows"):
        model(ids, decoder_input_ids=ids, decoder_attention_mask=torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 4\) does not fit 5 tokens in 2 rows"):
        model.encoder(ids, attention_mask=torch.ones(2, 4), position_ids=torch.arange(5)[None])
    with pytest.raises(ValueError, match="cache of type DynamicCache has no room"):
        model(ids, decoder_input_ids=ids, cache=DynamicCache())
    unknown = TransformerForConditionalGeneration(config_of(pad_token_id=None))
    with pytest.raises(ValueError, match="pad_token_id=None: set both"):
        unknown(ids, labels=ids)
    with pytest.raises(Exception, match="decoder_layers=0 must be at least 1"):
        config_of(decoder_layers=0)
