"""Every head as graphs for any number of rows and tokens: traced programs give what the model's code gives."""

import pytest
import torch
from exported_heads import HEADS, head
from transformers import BertConfig, BertForMaskedLM

from seqnlp import RecurrentConfig, RecurrentForTokenClassification, RecurrentModel, models
from seqnlp.export import ExportError, create_export
from seqnlp.export.graph_checks import check_outputs, compare, examples_of
from seqnlp.export.graphs import NUM_TOKENS, graphs_of, has_cells, ready_to_trace


def test_no_head_is_left_out():
    heads = {name for name in models.__all__ if "For" in name and not name.endswith("Config")}
    assert heads == {model_class.__name__ for model_class, _ in HEADS.values()}


def runner(program, graph):
    def run(inputs):
        return dict(zip(graph.outputs, program(*(inputs[name] for name in graph.inputs)), strict=True))

    return run


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_a_trace_computes_for_every_size_what_the_model_computes(name):
    model = head(name)
    graphs = graphs_of(model)
    with ready_to_trace(model):
        programs = {graph.name: graph.trace().module(check_guards=False) for graph in graphs}
    with ready_to_trace(model, "eager"):
        for graph in graphs:
            for inputs in examples_of(graph, model.config):
                found, expected = programs[graph.name](*inputs), graph.module(*inputs)
                assert len(found) == len(expected) == len(graph.outputs)
                assert all(map(torch.equal, found, expected)), f"{graph.name}: {inputs[0].shape}"
    comparisons = compare(model, graphs, {graph.name: runner(programs[graph.name], graph) for graph in graphs})
    check = check_outputs(model, comparisons, 1e-5)
    assert check.passed, check
    assert min(float(one.expected.std()) for one in comparisons if one.expected.numel() > 5) > 1e-3  # not all alike
    if has_cells(model.config):
        assert model.config.recurrence_implementation == "fused"


@pytest.mark.parametrize("shared", [False, True])
def test_single_tokens_are_held_to_the_bit_but_where_heads_share_keys(shared):
    model = head("transformer writer", num_key_value_heads=1 if shared else 2)
    (graph,) = graphs_of(model)
    ids, masks = zip(*(inputs[:2] for inputs in examples_of(graph, model.config)), strict=True)
    assert {one.shape[0] for one in ids} == {1, 2, 3}
    assert any(one.shape[1] == 1 for one in ids) is not shared
    assert {bool(mask.all()) for mask in masks} == {True, False}


def test_memory_has_names_and_shapes_that_fit():
    encoder, decoder = graphs_of(head("feeding translator"))
    assert list(encoder.inputs) == ["input_ids", "attention_mask"]
    assert encoder.outputs[:2] == ["encoder_hidden_states", "projected_keys"]
    assert set(encoder.outputs) < set(decoder.inputs)
    assert decoder.inputs["past_key_values.0.hidden"] == ("rows", 1, 6)
    assert decoder.outputs == ["logits", "present.0.hidden", "present.attentional_vector"]
    _, counting = graphs_of(head("counting translator"))
    assert list(counting.inputs)[-1] == NUM_TOKENS
    for seed in range(9):  # a position at random may be none of the table
        count = counting.examples({"rows": 2, "tokens": 1, "past_tokens": 3, "source_tokens": 4}, 9, seed)[-1]
        assert count.tolist() == [[3.0], [3.0]]
    (step,) = graphs_of(head("transformer writer"))
    assert step.inputs["past_key_values.1.value"] == ("rows", 1, "past_tokens", 4)
    assert step.outputs[-1] == "present.1.value"


@pytest.mark.parametrize("target", ["onnx", "torch"])
def test_a_model_that_has_no_head_here_is_refused_by_name(target):
    with pytest.raises(ExportError, match="RecurrentModel has no head"):
        create_export(RecurrentModel(RecurrentConfig(vocab_size=9, hidden_size=4)), target)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(ExportError, match="model_type='bert'"):
        create_export(BertForMaskedLM(config), target)
    spelled = RecurrentForTokenClassification(RecurrentConfig(vocab_size=9, hidden_size=4, first_continuing_id=5))
    with pytest.raises(ExportError, match=r"reads words by their spelling \(first_continuing_id=5\) is no graph"):
        create_export(spelled, target)
