"""Which weights are trained, and at which rate."""

import pytest
import torch
from tiny_runs import make_loop, weights
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerForConditionalGeneration,
)
from seqnlp.training import ArgumentsError, TrainingArguments, create_optimizer
from seqnlp.training.parameters import depths, freeze, freeze_unsaved, hidden_matrices


SIZES = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 3}


def lstm():
    return RecurrentForSequenceClassification(RecurrentConfig(**SIZES, embedding_size=4))


def frozen(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_a_pattern_freezes_the_module_with_all_that_is_in_it():
    model = lstm()
    count = freeze(model, ["model.embed_tokens", "model.layers.[01]"])
    # 9 words of 4; per layer 16 x 4 weights twice and 16 biases twice.
    assert count == 9 * 4 + 2 * (2 * 16 * 4 + 2 * 16)
    names = {name for name, _ in model.named_parameters()}
    assert frozen(model) == {n for n in names if n.startswith(("model.embed", "model.layers.0.", "model.layers.1."))}
    assert freeze(lstm(), ["*.bias"]) == 3 * 2 * 16 + 2  # of single weights too


def test_a_tied_weight_goes_by_each_of_its_names():
    model = RecurrentForCausalLM(RecurrentConfig(**SIZES, embedding_size=4, tie_word_embeddings=True))
    freeze(model, ["lm_head"])
    assert not model.model.embed_tokens.weight.requires_grad


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["score", "encoder"],
            "--freeze encoder: no module or weight has such a name; there is head_dropout, model, ",
        ),
        (["*"], "nothing is left to train"),
    ],
)
def test_a_pattern_that_is_wrong_is_refused(patterns, message):
    with pytest.raises(ArgumentsError, match=message if message != "*" else None):
        freeze(lstm(), patterns)


def test_depths_go_from_the_embeddings_by_the_layers_to_the_head():
    found = depths(lstm())
    assert found["model.embed_tokens.weight"] == 0
    assert [found[f"model.layers.{index}.forward_cell.input_proj.weight"] for index in range(3)] == [1, 2, 3]
    assert found["score.weight"] == found["score.bias"] == 4
    sizes = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 4, "intermediate_size": 4}
    found = depths(BertForSequenceClassification(BertConfig(**sizes, vocab_size=9)))
    assert found["bert.embeddings.word_embeddings.weight"] == found["bert.embeddings.LayerNorm.bias"] == 0
    assert found["bert.encoder.layer.1.output.dense.weight"] == 2
    assert found["bert.pooler.dense.weight"] == found["classifier.weight"] == 3


def test_a_decoder_stands_on_its_encoder():
    config = TransformerConfig(vocab_size=9, hidden_size=4, num_attention_heads=2, num_hidden_layers=2)
    found = depths(TransformerForConditionalGeneration(config))
    layers = [
        [d for n, d in found.items() if f"{side}.layers.{i}." in n] for side in ("encoder", "decoder") for i in (0, 1)
    ]
    assert [set(layer) for layer in layers] == [{1}, {2}, {3}, {4}]


def test_a_bridge_between_encoder_and_decoder_is_no_stack_of_layers():
    """Its maps stand side by side: between the encoder's top layer and the decoder's lowest there is one step."""
    config = RecurrentSeq2SeqConfig(**{**SIZES, "num_hidden_layers": 2}, cell_type="lstm")
    model = RecurrentSeq2SeqForConditionalGeneration(config)
    found = depths(model)
    layers = [
        {d for n, d in found.items() if f"{side}.layers.{i}." in n} for side in ("encoder", "decoder") for i in (0, 1)
    ]
    assert layers == [{1}, {2}, {3}, {4}]
    assert {d for n, d in found.items() if ".bridge." in n} == {2}  # it goes with what stands before it
    assert found["lm_head.weight"] == 5
    assert {f"model.decoder.bridge.projs.{i}.{j}.weight" for i in (0, 1) for j in (0, 1)} <= {
        name for name, p in model.named_parameters() if any(p is matrix for matrix in hidden_matrices(model))
    }


def test_each_layer_learns_at_the_rate_of_the_one_above_times_the_decay():
    """Howard & Ruder 2018, section 3.2: 2.6 times slower with each layer."""
    model = lstm()
    optimizer = create_optimizer(model, TrainingArguments(learning_rate=1.0, layerwise_lr_decay=0.5))
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, depth in depths(model).items():
        assert rate_of[id(model.get_parameter(name))] == 0.5 ** (4 - depth), name
    assert optimizer.param_groups[0]["lr"] == 1.0
    with pytest.raises(ArgumentsError, match="a Linear has no layers to tell apart"):
        create_optimizer(torch.nn.Linear(2, 2), TrainingArguments(layerwise_lr_decay=0.5))


def test_what_is_frozen_stays_and_the_rest_learns_and_resumes_to_the_bit(tmp_path, capsys):
    flags = {"freeze": ["model.embed_tokens"], "layerwise_lr_decay": 0.5}
    flags |= {"checkpointing_steps": "9", "save_total_limit": 9}
    _, loop = make_loop(tmp_path / "one", **flags)
    before = weights(loop)
    loop.train()
    assert "Frozen: 160 of " in capsys.readouterr().out
    after = weights(loop)
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    assert not any(torch.equal(before[name], after[name]) for name in after if name != "model.embed_tokens.weight")
    checkpoint = tmp_path / "one" / "checkpoints" / "step-00000009"
    _, again = make_loop(tmp_path / "two", **flags, resume_from_checkpoint=str(checkpoint))
    again.train()
    assert all(torch.equal(after[name], weight) for name, weight in weights(again).items())


def test_what_a_model_does_not_save_is_not_trained():
    """A weight that is saved by another name is."""
    model = nn.ModuleDict({"positions": nn.Embedding(3, 2), "head": nn.Linear(2, 3), "tokens": nn.Embedding(3, 2)})
    model.head.weight = model.tokens.weight
    model._keys_to_ignore_on_save = {"positions.weight", "head.weight", "not_there.weight"}
    freeze_unsaved(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"head.weight", "head.bias"}
