"""What a Hugging Face model is expected to do, for every recurrent class."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorWithFlattening,
    DynamicCache,
    TextIteratorStreamer,
    Trainer,
    TrainingArguments,
    pipeline,
)

import seqnlp
from seqnlp import (
    RecurrentCache,
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentModel,
    StaticRecurrentCache,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.models.cells import CELLS
from seqnlp.models.losses import causal_language_model_loss
from seqnlp.tokenization import train_tokenizer


AUTO_CLASSES = {
    RecurrentModel: AutoModel,
    RecurrentForCausalLM: AutoModelForCausalLM,
    RecurrentForSequenceClassification: AutoModelForSequenceClassification,
    RecurrentForTokenClassification: AutoModelForTokenClassification,
}
TEXTS = ["what a fine day it was", "a bad day", "it was what it was", "fine, fine!"]

every_class = pytest.mark.parametrize("model_class", AUTO_CLASSES)
every_cell = pytest.mark.parametrize("cell_type", CELLS)


def config_of(**kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 12, "num_hidden_layers": 2}
    return RecurrentConfig(**{**sizes, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, **kwargs})


def language_model(**kwargs):
    return RecurrentForCausalLM(config_of(initializer_range=1.0, **kwargs)).eval()


def ragged_prompts():
    ids = torch.randint(4, 30, (3, 6))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, :1] = 0
    return ids.masked_fill(mask == 0, 0), mask


@every_class
@every_cell
def test_saved_and_loaded_by_the_auto_class_to_the_bit(model_class, cell_type, tmp_path):
    model = model_class(config_of(cell_type=cell_type, tie_word_embeddings=model_class is RecurrentForCausalLM)).eval()
    model.save_pretrained(tmp_path)
    loaded = AUTO_CLASSES[model_class].from_pretrained(tmp_path).eval()
    assert type(loaded) is model_class
    assert loaded.config.to_dict() == AutoConfig.from_pretrained(tmp_path).to_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    ids, mask = ragged_prompts()
    assert torch.equal(model(ids, attention_mask=mask)[0], loaded(ids, attention_mask=mask)[0])


def test_base_model_and_heads_load_from_each_other_and_keep_what_they_load(tmp_path):
    classifier = RecurrentForSequenceClassification(config_of())
    classifier.save_pretrained(tmp_path)
    base = RecurrentModel.from_pretrained(tmp_path)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, classifier.model.state_dict()[name]), name
    base.save_pretrained(tmp_path / "base")
    # The head is new; a partly loaded model must not draw the loaded weights again.
    tagger = RecurrentForTokenClassification.from_pretrained(tmp_path / "base")
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, tagger.model.state_dict()[name]), name


def test_import_again_and_register_again_are_silent():
    seqnlp.models.register()
    code = "import importlib, seqnlp; importlib.reload(seqnlp.models); importlib.reload(seqnlp)"
    result = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@every_cell
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_padding_changes_no_logits(cell_type, pooling):
    config = config_of(cell_type=cell_type, bidirectional=True, pooling=pooling)
    model = RecurrentForSequenceClassification(config).eval()
    row = torch.randint(4, 30, (1, 5))
    alone = model(row).logits
    pad = torch.zeros(1, 3, dtype=torch.long)
    middle = torch.cat([row[:, :2], pad, row[:, 2:]], dim=1)
    padded = torch.cat(
        [torch.cat([row, pad], 1), torch.cat([pad, row], 1), middle, torch.zeros(1, 8, dtype=torch.long)]
    )
    logits = model(padded, attention_mask=(padded != 0).long()).logits
    torch.testing.assert_close(logits[:3], alone.expand(3, -1))
    assert logits.isfinite().all()


def test_last_pooling_reads_the_end_of_each_direction():
    model = RecurrentForSequenceClassification(config_of(bidirectional=True, num_hidden_layers=1)).eval()
    ids, mask = ragged_prompts()
    (hidden, _) = model.model(ids, attention_mask=mask).cache.to_torch()
    expected = model.score(torch.cat([hidden[0], hidden[1]], dim=-1))
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, expected)


@every_cell
@pytest.mark.parametrize("generation", [{}, {"num_beams": 4}, {"num_beams": 4, "num_return_sequences": 3}])
def test_cached_generation_equals_uncached_and_batch_equals_alone(cell_type, generation):
    model = language_model(cell_type=cell_type)
    ids, mask = ragged_prompts()
    settings = {"max_new_tokens": 10, "do_sample": False, **generation}
    cached = model.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(cached, model.generate(ids, attention_mask=mask, use_cache=False, **settings))
    copies = generation.get("num_return_sequences", 1)
    for row in range(3):
        valid = mask[row].bool()
        alone = model.generate(ids[row : row + 1, valid], **settings)[:, valid.sum() :]
        for index in range(copies):
            together = cached[row * copies + index, 6:]
            length = min(len(together), alone.shape[1])
            assert torch.equal(together[:length], alone[index, :length])


def test_static_cache_gives_the_same_tokens_and_other_caches_are_refused():
    model = language_model()
    ids, mask = ragged_prompts()
    plain = model.generate(ids, attention_mask=mask, max_new_tokens=8)
    static = model.generate(ids, attention_mask=mask, max_new_tokens=8, cache_implementation="static")
    assert torch.equal(plain, static)
    with pytest.raises(ValueError, match="cache_implementation='quantized'"):
        model.generate(ids, attention_mask=mask, max_new_tokens=2, cache_implementation="quantized")


def transformer_language_model(**fields):
    config = TransformerDecoderConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0, **fields
    )
    return TransformerDecoderForCausalLM(config).eval()


@pytest.mark.parametrize("cell_type", CELLS)
def test_speculative_decoding_writes_what_each_model_writes_by_itself(cell_type):
    """Leviathan et al. 2023: a draft saves steps of the model that it writes for, and changes no token."""
    recurrent = language_model(cell_type=cell_type, eos_token_id=None)
    attentive = transformer_language_model(eos_token_id=None)
    ids = torch.tensor([[5, 7, 11, 5, 7]])
    settings = {"max_new_tokens": 30, "suppress_tokens": [0]}  # padding is no token to write
    for target, draft in ((recurrent, attentive), (attentive, recurrent), (recurrent, copy.deepcopy(recurrent))):
        alone = target.generate(ids, **settings)
        assert torch.equal(target.generate(ids, **settings, assistant_model=draft), alone)
    assert torch.equal(recurrent.generate(ids, **settings, prompt_lookup_num_tokens=3), alone)
    again = ids[:, :3].repeat(1, 60)  # a draft of a hundred tokens is found in it
    alone = recurrent.generate(again, **settings)
    assert torch.equal(recurrent.generate(again, **settings, prompt_lookup_num_tokens=100), alone)
    mask = torch.tensor([[1, 1, 0, 1, 0]])  # it ends in padding
    alone = recurrent.generate(ids, attention_mask=mask, **settings)
    assert torch.equal(recurrent.generate(ids, attention_mask=mask, assistant_model=draft, **settings), alone)
    # Of a draft that is always right every round takes all the tokens, and one of its own.
    draft.generation_config.update(num_assistant_tokens=5, num_assistant_tokens_schedule="constant")
    draft.generation_config.assistant_confidence_threshold = 0.0
    calls = []
    recurrent.register_forward_hook(lambda *_: calls.append(1))
    recurrent.generate(ids, **settings, assistant_model=draft)
    assert len(calls) == 30 / (5 + 1)


def test_generation_goes_on_from_a_state():
    model = language_model(eos_token_id=None)
    ids, mask = ragged_prompts()
    whole = model.generate(ids, attention_mask=mask, max_new_tokens=9)
    begun = model.generate(ids, attention_mask=mask, max_new_tokens=4, return_dict_in_generate=True)
    mask = torch.cat([mask, mask.new_ones(3, begun.sequences.shape[1] - 6)], dim=1)
    went_on = model.generate(begun.sequences, attention_mask=mask, cache=begun.cache, max_new_tokens=5)
    assert torch.equal(whole, went_on)


def test_a_dynamic_cache_made_from_the_config_works_and_one_for_keys_and_values_is_refused():
    model = language_model()
    ids = torch.randint(4, 30, (2, 6))
    cache = DynamicCache(config=model.config)
    model(ids[:, :4], cache=cache)
    torch.testing.assert_close(model(ids[:, 4:], cache=cache).logits, model(ids).logits[:, 4:])
    with pytest.raises(ValueError, match="needs RecurrentCache"):
        model(ids, cache=DynamicCache())


def test_sampling_is_repeatable_and_streams():
    tokenizer = train_tokenizer(TEXTS, "char", 60)
    model = language_model(vocab_size=len(tokenizer), eos_token_id=None)
    inputs = tokenizer("it was", return_tensors="pt")
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    torch.manual_seed(3)
    streamed = model.generate(**inputs, max_new_tokens=12, do_sample=True, streamer=streamer)
    torch.manual_seed(3)
    assert torch.equal(streamed, model.generate(**inputs, max_new_tokens=12, do_sample=True))
    assert "".join(streamer) == tokenizer.decode(streamed[0, inputs.input_ids.shape[1] :])


def test_the_state_does_not_grow_with_the_text():
    model = language_model()
    sizes = []
    for length in (10, 1000):
        cache = model(torch.randint(4, 30, (1, length))).cache
        sizes.append(sum(state.numel() for state in cache.to_torch()))
        assert cache.get_seq_length() == length
    assert sizes[0] == sizes[1] == 2 * 2 * 12


@every_class
@every_cell
def test_weights_offloaded_to_the_disk_give_the_same_numbers(model_class, cell_type, tmp_path):
    model = model_class(config_of(cell_type=cell_type)).eval()
    model.save_pretrained(tmp_path)
    device_map = {name: "disk" for name, _ in model.named_modules() if name.endswith("layers.1")}
    device_map |= {name: "cpu" for name, _ in model.named_modules() if name.endswith(("layers.0", "_dropout"))}
    device_map |= {
        name: "cpu" for name, _ in model.named_modules() if name.endswith(("embed_tokens", "score", "head"))
    }
    loaded = model_class.from_pretrained(tmp_path, device_map=device_map, offload_folder=tmp_path / "offloaded").eval()
    assert {name for name, parameter in loaded.named_parameters() if parameter.is_meta}
    ids, mask = ragged_prompts()
    torch.testing.assert_close(loaded(ids, attention_mask=mask)[0], model(ids, attention_mask=mask)[0])


@every_class
@every_cell
def test_gradient_checkpointing_changes_no_gradient(model_class, cell_type):
    torch.manual_seed(1)
    model = model_class(config_of(cell_type=cell_type)).train()
    ids, mask = ragged_prompts()

    def gradients():
        model.zero_grad()
        model(ids, attention_mask=mask, use_cache=False)[0].pow(2).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.activation_checkpointing_enable()
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(gradient, checkpointed[name])


def test_a_carried_state_survives_gradient_checkpointing():
    model = RecurrentModel(config_of()).train()
    model.activation_checkpointing_enable()
    inputs = torch.randn(2, 8, 12)
    cache = RecurrentCache(model.config)
    pieces = [model(inputs_embeds=half, cache=cache).last_hidden_state for half in inputs.split(4, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(inputs_embeds=inputs).last_hidden_state)


@every_cell
def test_a_prompt_that_ends_in_padding_is_gone_on_from(cell_type):
    model = language_model(cell_type=cell_type)
    prompt = torch.tensor([[5, 6, 7]])
    padded, mask = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    torch.testing.assert_close(model(padded, attention_mask=mask).logits[:, 2:], model(prompt).logits[:, [2, 2, 2]])
    settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": -1}
    expected = model.generate(prompt, **settings)[:, 3:]
    assert torch.equal(model.generate(padded, attention_mask=mask, **settings)[:, 5:], expected)
    with pytest.raises(ValueError, match=r"prefill_chunk_size=2 with a prompt that ends in padding"):
        model.generate(padded, attention_mask=mask, prefill_chunk_size=2, **settings)
    before = {"attention_mask": mask.flip(1), "prefill_chunk_size": 2}
    assert torch.equal(model.generate(padded.roll(2, dims=1), **before, **settings)[:, 5:], expected)


@every_class
def test_resized_embeddings(model_class):
    model = model_class(config_of(tie_word_embeddings=model_class is RecurrentForCausalLM))
    before = model.get_input_embeddings().weight.clone()
    model.resize_token_embeddings(37)
    assert torch.equal(model.get_input_embeddings().weight[:30], before)
    outputs = model(torch.tensor([[36, 1]]))
    if model_class is RecurrentForCausalLM:
        assert outputs.logits.shape[-1] == model.config.vocab_size == 37
        assert model.lm_head.weight is model.model.embed_tokens.weight


@every_class
def test_hidden_states_are_the_embeddings_and_each_layer(model_class):
    model = model_class(config_of(embedding_size=7)).eval()
    states = model(torch.randint(30, (2, 5)), output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(2, 5, 7), (2, 5, 12), (2, 5, 12)]


def test_torch_compile_gives_the_same_numbers():
    model = RecurrentForSequenceClassification(config_of(cell_type="gru", bidirectional=True)).train()
    ids, mask = ragged_prompts()
    labels = torch.tensor([0, 1, 0])
    expected = model(ids, attention_mask=mask, labels=labels)
    expected.loss.backward()
    gradient = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    compiled = torch.compile(model, backend="aot_eager")(ids, attention_mask=mask, labels=labels)
    compiled.loss.backward()
    torch.testing.assert_close(compiled.logits, expected.logits)
    torch.testing.assert_close(model.model.embed_tokens.weight.grad, gradient)


def test_a_generation_step_compiles_into_one_graph():
    model = language_model()
    ids, _ = ragged_prompts()
    step = torch.compile(model, backend="aot_eager", fullgraph=True)
    cache = StaticRecurrentCache(model.config)
    with torch.no_grad():
        expected = model(ids).logits
        model(ids[:, :3], cache=cache)
        for position in range(3, 6):
            logits = step(ids[:, position : position + 1], cache=cache).logits
            torch.testing.assert_close(logits[:, 0], expected[:, position])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell_type", CELLS)
def test_a_new_language_model_knows_nothing(cell_type, tied):
    config = config_of(cell_type=cell_type, hidden_size=128, vocab_size=8000, tie_word_embeddings=tied)
    ids = torch.randint(1, 8000, (8, 50))
    loss = RecurrentForCausalLM(config)(ids, labels=ids).loss
    assert abs(loss.item() - math.log(8000)) < 0.6


@pytest.mark.parametrize("tied", [False, True])
def test_chunks_change_neither_loss_nor_gradients(tied):
    model = language_model(label_smoothing=0.1, tie_word_embeddings=tied).train()
    ids, mask = ragged_prompts()
    labels = ids.masked_fill(mask == 0, -100)

    def step(**kwargs):
        model.zero_grad()
        outputs = model(ids, attention_mask=mask, labels=labels, **kwargs)
        outputs.loss.backward()
        return outputs, [parameter.grad.clone() for parameter in model.parameters()]

    for kwargs in ({}, {"num_items_in_batch": 100}, {"shift_labels": labels}):
        model.config.loss_chunk_size = None
        plain, expected = step(**kwargs)
        model.config.loss_chunk_size = 4
        chunked, gradients = step(**kwargs)
        assert plain.logits is not None
        assert chunked.logits is None
        torch.testing.assert_close(chunked.loss, plain.loss)
        torch.testing.assert_close(gradients, expected)
    # Evaluation gives logits, and a loss that is not smoothed.
    evaluated = model.eval()(ids, attention_mask=mask, labels=labels)
    torch.testing.assert_close(evaluated.loss, causal_language_model_loss(evaluated.logits, labels))


def test_initialization():
    model = RecurrentModel(config_of(hidden_size=16))
    cell = model.layers[0].forward_cell
    for block in cell.recurrent_proj.weight.split(16):
        torch.testing.assert_close(block @ block.T, torch.eye(16), rtol=0, atol=1e-5)
    bias = cell.input_proj.bias.view(4, 16)
    assert (bias[1] == 1).all()  # the forget gate's
    assert (bias[[0, 2, 3]] == 0).all()
    assert (cell.recurrent_proj.bias == 0).all()
    assert (model.embed_tokens.weight[0] == 0).all()  # padding

    head = RecurrentForCausalLM(config_of(hidden_size=64, vocab_size=2000)).lm_head.weight
    assert 0.49 < head.std() < 0.51  # 4 / sqrt(64)
    elman = config_of(cell_type="elman", hidden_size=64, vocab_size=2000, tie_word_embeddings=True)
    tied = RecurrentForCausalLM(elman).lm_head.weight
    assert 0.24 < tied.std() < 0.26  # 2 / sqrt(64)
    assert (tied[0] == 0).all()  # padding

    identity = config_of(cell_type="elman", recurrent_initializer="identity", hidden_act="relu")
    cell = RecurrentModel(identity).layers[1].forward_cell
    assert torch.equal(cell.recurrent_proj.weight, torch.eye(12))
    assert 0.0007 < cell.input_proj.weight.std() < 0.0013  # Le et al. 2015, section 3: 0.001
    uniform = RecurrentModel(config_of(recurrent_initializer="uniform")).layers[0].forward_cell.recurrent_proj.weight
    assert 0.9 * 12**-0.5 < uniform.abs().max() <= 12**-0.5


# What a unit keeps of its state in a step without input, by the equations of each cell.
KEPT = {
    "lstm": lambda gates: gates["forget_gate"],
    "gru": lambda gates: gates["update_gate"],
    "mingru": lambda gates: 1 - gates["update_gate"],
    "minlstm": lambda gates: gates["forget_gate"],
}


def gates_at_first(cell_type, **fields):
    config = config_of(cell_type=cell_type, hidden_size=2000, embedding_size=2, num_hidden_layers=1, **fields)
    cell = RecurrentModel(config).layers[0].forward_cell
    zeros = (torch.zeros(1, 2000),) * cell.num_states
    return cell(cell.input_proj(torch.zeros(1, 2)), zeros)[1]


@pytest.mark.parametrize("cell_type", KEPT)
def test_chrono_gates_keep_over_times_up_to_the_longest_that_is_asked_for(cell_type):
    gates = gates_at_first(cell_type, gate_initializer="chrono", max_dependency_length=101)
    # b = log U([1, 100]) is a share of sigmoid(b) = u / (u + 1), the memory of u + 1 steps (Tallec & Ollivier 2018).
    times = 1 / (1 - KEPT[cell_type](gates)) - 1
    assert 0.99 < times.min() < 1.3
    assert 99 < times.max() < 100.1
    assert 49 < times.mean() < 52
    if "input_gate" in gates:
        torch.testing.assert_close(gates["input_gate"], 1 - KEPT[cell_type](gates))


@pytest.mark.parametrize("cell_type", KEPT)
def test_uniform_gates_keep_shares_of_every_size(cell_type):
    kept = KEPT[cell_type](gates_at_first(cell_type, gate_initializer="uniform"))
    assert 1 / 2000 <= kept.min() < 0.01  # Gu et al. 2020: U([1/d, 1 - 1/d])
    assert 0.99 < kept.max() <= 1 - 1 / 2000 + 1e-6
    assert 0.48 < kept.mean() < 0.52
    assert 0.27 < kept.std() < 0.31  # 1 / sqrt(12)


def test_gates_that_cannot_start_so_are_refused():
    with pytest.raises(StrictDataclassError, match="'elman' has none"):
        config_of(cell_type="elman", gate_initializer="uniform")
    with pytest.raises(StrictDataclassError, match="needs the longest time"):
        config_of(gate_initializer="chrono")
    with pytest.raises(StrictDataclassError, match="nothing else does"):
        config_of(max_dependency_length=50)


def test_a_net_of_rectified_units_that_starts_with_the_identity_begins_at_the_loss_of_a_guess():
    config = config_of(
        cell_type="elman", recurrent_initializer="identity", hidden_act="relu", hidden_size=64, vocab_size=300
    )
    ids = torch.randint(300, (4, 200))
    loss = RecurrentForCausalLM(config).eval()(ids, labels=ids).loss
    assert abs(loss - math.log(300)) < 0.05


def test_losses_divide_by_num_items_in_batch_whatever_the_problem():
    ids = torch.randint(30, (4, 6))
    problems = {
        "single_label_classification": torch.tensor([0, 1, 2, 0]),
        "multi_label_classification": torch.randint(2, (4, 3)).float(),
        "regression": torch.randn(4, 3),
    }
    for problem, labels in problems.items():
        model = RecurrentForSequenceClassification(config_of(num_labels=3, problem_type=problem)).eval()
        mean = model(ids, labels=labels).loss
        torch.testing.assert_close(model(ids, labels=labels, num_items_in_batch=labels.numel() * 5).loss, mean / 5)
    model = RecurrentForSequenceClassification(config_of(num_labels=1)).eval()
    outputs = model(ids, labels=torch.tensor([0.5, 1.0, -1.0, 2.0]))
    torch.testing.assert_close(
        outputs.loss, (outputs.logits[:, 0] - torch.tensor([0.5, 1.0, -1.0, 2.0])).pow(2).mean()
    )


def test_causal_loss_is_the_cross_entropy_of_the_next_token():
    model = language_model()
    ids = torch.randint(4, 30, (2, 7))
    outputs = model(ids, labels=ids.clone())
    expected = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(outputs.loss, expected)
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, outputs.logits[:, -2:])


@pytest.mark.parametrize(
    "model_class", [model_class for model_class in AUTO_CLASSES if model_class is not RecurrentModel]
)
def test_trainer_learns_and_saves(model_class, tmp_path):
    ids = torch.randint(4, 30, (32, 6))
    if model_class is RecurrentForCausalLM:
        ids = (ids[:, :1] + torch.arange(6)).clamp(max=29)  # each token is the one before plus one
    is_high = (ids > 16).long()
    labels = {
        RecurrentForCausalLM: ids,
        RecurrentForSequenceClassification: is_high[:, -1],
        RecurrentForTokenClassification: is_high,
    }[model_class]
    data = [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=150, learning_rate=0.03, report_to="none", use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(model=model_class(config_of(cell_type="gru")), args=arguments, train_dataset=data)
    trainer.train()
    predicted, expected = trainer.predict(data).predictions.argmax(-1), labels.numpy()
    if model_class is RecurrentForCausalLM:
        predicted, expected = predicted[:, :-1], expected[:, 1:]
    assert (predicted == expected).mean() > 0.95
    trainer.save_model(str(tmp_path / "final"))
    assert isinstance(AUTO_CLASSES[model_class].from_pretrained(tmp_path / "final"), model_class)


def test_a_language_model_overfits_one_batch():
    model = RecurrentForCausalLM(config_of(hidden_size=32))
    ids = torch.randint(4, 30, (4, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
    # The first token is not predicted; the nine after it follow from their beginnings alone.
    assert loss < 0.1


def test_pipelines(tmp_path, caplog):
    tokenizer = train_tokenizer(TEXTS, "word", 60)
    classifier = RecurrentForSequenceClassification(
        config_of(vocab_size=len(tokenizer), id2label={0: "sad", 1: "glad"}, label2id={"sad": 0, "glad": 1})
    )
    for model, folder in ((classifier, "classifier"), (language_model(vocab_size=len(tokenizer)), "lm")):
        model.save_pretrained(tmp_path / folder)
        tokenizer.save_pretrained(tmp_path / folder)
    with caplog.at_level("WARNING", logger="transformers"):
        classify = pipeline("text-classification", model=str(tmp_path / "classifier"), device="cpu")
        alone = [classify(text)[0] for text in TEXTS]
        together = classify(TEXTS, batch_size=3, padding=True)
        assert [answer["label"] for answer in alone] == [answer["label"] for answer in together]
        np.testing.assert_allclose([a["score"] for a in alone], [a["score"] for a in together], rtol=1e-5)
        generate = pipeline("text-generation", model=str(tmp_path / "lm"), device="cpu")
        generate.tokenizer.padding_side = "left"
        answers = generate(TEXTS[:3], batch_size=3, max_new_tokens=4, do_sample=False, num_beams=2)
        assert all(answer[0]["generated_text"] for answer in answers)
    assert "not supported" not in caplog.text
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path / "lm"), type(tokenizer))


def test_published_code_loads_where_seqnlp_cannot_be_imported(run_without_seqnlp, tmp_path):
    RecurrentForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    RecurrentConfig.register_for_auto_class()
    model = language_model(cell_type="gru")
    try:
        model.save_pretrained(tmp_path)
    finally:
        RecurrentForCausalLM._auto_class = RecurrentConfig._auto_class = None
    ids = torch.randint(4, 30, (1, 6))
    torch.save({"ids": ids, "logits": model(ids).logits}, tmp_path / "expected.pt")
    code = f"""
        import torch
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, trust_remote_code=True).eval()
        expected = torch.load({str(tmp_path / "expected.pt")!r})
        torch.testing.assert_close(model(expected["ids"]).logits, expected["logits"])  # threads may differ
        model.generate(expected["ids"], max_new_tokens=3, num_beams=2)
    """
    run_without_seqnlp(code)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        ({"cell_type": "lsmt"}, "lsmt"),
        ({"pooling": "first"}, "first"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"recurrent_initializer": "identity"}, "is for cell_type='elman'"),
        ({"hidden_act": "relu"}, "is for cell_type='elman'"),
        ({"tie_word_embeddings": True, "embedding_size": 5}, "needs embedding_size == hidden_size"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        config_of(**fields)


def test_wrong_calls_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="cannot be bidirectional"):
        RecurrentForCausalLM(config_of(bidirectional=True))
    both_ways = RecurrentModel(config_of(bidirectional=True))
    ids = torch.randint(30, (2, 5))
    with pytest.raises(ValueError, match="cannot go on from a state"):
        both_ways(ids, cache=both_ways(ids).cache)
    model = RecurrentModel(config_of())
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 3\) does not fit 5 tokens in 2 rows"):
        model(ids, attention_mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 7\) does not fit 5 tokens in 2 rows"):
        model(ids, attention_mask=torch.ones(2, 7))
    for length in (5, 10):  # of these tokens, or of those read before too
        cache = model(ids).cache
        model(ids, attention_mask=torch.ones(2, length), cache=cache)
    with pytest.raises(ValueError, match=r"attention_mask of shape \(2, 16\) does not fit 5 tokens in 2 rows"):
        model(ids, attention_mask=torch.ones(2, 16), cache=cache)
    with pytest.raises(ValueError, match="recurrence_implementation='fast'"):
        model.set_recurrence_implementation("fast")


def test_texts_that_share_a_row_are_refused():
    """As transformers' collator packs them; positions of one text, padded on either side, are taken, not needed."""
    model = RecurrentForCausalLM(config_of()).eval()
    texts = [{"input_ids": torch.randint(3, 30, (length,)).tolist()} for length in (3, 4)]
    with pytest.raises(ValueError, match="position_ids begin anew at token 3 of row 0: a recurrent network reads all"):
        model(**DataCollatorWithFlattening()(texts))
    ids = torch.randint(3, 30, (2, 5))
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    positions = torch.tensor([[1, 1, 0, 1, 2], [4, 5, 6, 0, 0]])
    logits = model(ids, attention_mask=mask, position_ids=positions).logits
    assert torch.equal(logits, model(ids, attention_mask=mask).logits)
