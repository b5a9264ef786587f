"""The models among the tools of others: LoRA by PEFT, sharding, tensor and pipeline parallelism, serving."""

import copy
import os

import pytest
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AttentionInterface, GenerationMixin
from transformers.distributed import DistributedConfig

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerDecoderForCausalLM,
    TransformerDecoderForSequenceClassification,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerForConditionalGeneration,
    VisionTransformerForImageClassification,
)
from seqnlp.training.sharding import let_shards_generate


WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
RECURRENT = {**WORDS, "hidden_size": 16, "num_hidden_layers": 2}
ATTENTION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
TRANSFORMER = {**WORDS, **ATTENTION, "dropout": 0.0}
CONFIGURATIONS = {
    RecurrentForCausalLM: {**RECURRENT, "cell_type": "gru"},
    RecurrentForSequenceClassification: {**RECURRENT, "bidirectional": True},
    RecurrentForTokenClassification: {**RECURRENT, "bidirectional": True},
    RecurrentSeq2SeqForConditionalGeneration: RECURRENT,
    TransformerDecoderForCausalLM: {**TRANSFORMER, "num_key_value_heads": 2},
    TransformerDecoderForSequenceClassification: TRANSFORMER,
    TransformerEncoderForMaskedLM: {**TRANSFORMER, "position_embedding_type": "rotary", "embedding_norm": False},
    TransformerEncoderForSequenceClassification: TRANSFORMER,
    TransformerEncoderForTokenClassification: TRANSFORMER,
    TransformerForConditionalGeneration: TRANSFORMER,
    VisionTransformerForImageClassification: {**ATTENTION, "dropout": 0.0, "image_size": (4, 10), "patch_size": 2},
}
# What a low-rank step is usually learned for: the maps of the cells, and those of attention.
LORA_TARGETS = {
    "Recurrent": ["input_proj", "recurrent_proj"],
    "RecurrentSeq2Seq": ["input_proj", "recurrent_proj", "q_proj", "k_proj", "attentional_proj"],
    "Transformer": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "TransformerDecoder": ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"],
    "TransformerEncoder": ["q_proj", "v_proj"],
    "VisionTransformer": "all-linear",
}
TRANSFORMERS = [model_class for model_class in CONFIGURATIONS if "Transformer" in model_class.__name__]
PIPELINED = [TransformerDecoderForCausalLM, TransformerEncoderForMaskedLM]
SHARDED = [RecurrentForCausalLM, TransformerDecoderForCausalLM]


def create_model(model_class):
    torch.manual_seed(0)
    return model_class(model_class.config_class(**CONFIGURATIONS[model_class]))


def batch_of(model_class):
    """Inputs and labels of four rows, without padding, so that each half of them weighs the same."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 20, (4, 6), generator=generator)
    classes = torch.tensor([0, 1, 1, 0])
    if model_class.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(4, 3, 4, 10, generator=generator), "labels": classes}
    if model_class.__name__.endswith("SequenceClassification"):
        return {"input_ids": ids, "labels": classes}
    return {"input_ids": ids, "labels": ids % 2 if "TokenClassification" in model_class.__name__ else ids.clone()}


def outputs_of(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def forecaster():
    """A model of series, and how it draws paths: with their noise."""
    torch.manual_seed(0)
    config = RecurrentConfig(hidden_size=16, num_hidden_layers=2, input_size=2, distribution_output="student_t")
    given = {"past_values": torch.randn(3, 5, 2), "prediction_length": 4, "num_parallel_samples": 6}
    return RecurrentForTimeSeriesPrediction(config).eval(), {**given, "noise": torch.rand(3, 6, 4, 2, 2)}


def train(model, batch, steps=5, lr=1e-2):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("model_class", [each for each in CONFIGURATIONS if issubclass(each, GenerationMixin)])
def test_a_cache_is_taken_by_the_name_that_it_had(model_class):
    """PEFT gives one by it, and a model passes over a name that it does not know."""
    model, ids = create_model(model_class).eval(), batch_of(model_class)["input_ids"]
    source = {"input_ids": ids} if model.config.is_encoder_decoder else {}
    text = "decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"
    with torch.no_grad():
        cache = model(**source, **{text: ids[:, :4]}, use_cache=True).cache
        same = copy.deepcopy(cache)
        expected = model(**source, **{text: ids[:, 4:]}, cache=cache).logits
        with pytest.warns(FutureWarning, match="`past_key_values` is deprecated"):
            found = model(**source, **{text: ids[:, 4:]}, past_key_values=same).logits
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="Both `past_key_values` and `cache` are set"):
        model(**source, **{text: ids[:, 4:]}, past_key_values=same, cache=cache)


@pytest.mark.parametrize("model_class", CONFIGURATIONS)
def test_lora_attaches_trains_and_merges(model_class):
    model, batch = create_model(model_class), batch_of(model_class)
    plain = outputs_of(model.eval(), batch)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    targets = LORA_TARGETS[model_class.config_class.__name__.removesuffix("Config")]
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets))
    torch.testing.assert_close(outputs_of(adapted.eval(), batch), plain)  # a new adapter adds nothing

    names = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    for target in [] if targets == "all-linear" else targets:
        assert any(f".{target}." in name for name in names), target
    losses = train(adapted.train(), batch)
    assert losses[-1] < losses[0]
    with adapted.disable_adapter():
        torch.testing.assert_close(outputs_of(adapted.eval(), batch), plain)
    for name, tensor in adapted.get_base_model().state_dict().items():
        if "lora_" not in name:
            assert torch.equal(tensor, before[name.replace("base_layer.", "")]), name

    learned = outputs_of(adapted.eval(), batch)
    assert not torch.allclose(learned, plain, atol=1e-3)
    merged = adapted.merge_and_unload()
    assert type(merged) is model_class
    assert merged.state_dict().keys() == before.keys()
    torch.testing.assert_close(outputs_of(merged.eval(), batch), learned, rtol=1e-4, atol=1e-5)


def in_one_of_two_processes(rank, folder):
    """Train sharded, run tensor-parallel, and leave what came out in `folder`."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {}
    for model_class in SHARDED:
        model = create_model(model_class)
        mesh = init_device_mesh("cpu", (2,))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        sizes = [(p.to_local().numel(), p.numel()) for p in model.parameters()]
        batch = {name: tensor.chunk(2)[rank] for name, tensor in batch_of(model_class).items()}
        losses = train(model, batch)
        dist.all_reduce(losses)
        results["sharded", model_class.__name__] = (losses / 2, sizes)
    model, given = forecaster()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    let_shards_generate(fully_shard(model, mesh=mesh))
    results["paths"] = model.draw_paths(**given).sequences
    for model_class in TRANSFORMERS:
        distributed = DistributedConfig(tp_plan="auto", tp_size=2)
        model = model_class.from_pretrained(f"{folder}/{model_class.__name__}", distributed_config=distributed).eval()
        split = [name for name, p in model.named_parameters() if hasattr(p, "to_local")]
        results["tensor parallel", model_class.__name__] = (outputs_of(model, batch_of(model_class)), split)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    for model_class in TRANSFORMERS:
        create_model(model_class).save_pretrained(folder / model_class.__name__)
    torch.multiprocessing.spawn(in_one_of_two_processes, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("model_class", SHARDED)
def test_sharded_over_two_processes_has_the_loss_of_one(model_class, two_processes):
    expected = train(create_model(model_class), batch_of(model_class))
    assert expected[-1] < expected[0]
    for results in two_processes:
        losses, _ = results["sharded", model_class.__name__]
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    (_, first), (_, second) = (results["sharded", model_class.__name__] for results in two_processes)
    assert all(mine < whole and mine + yours == whole for (mine, whole), (yours, _) in zip(first, second, strict=True))


def test_sharded_over_two_processes_a_model_of_series_draws_the_paths_of_one(two_processes):
    model, given = forecaster()
    for results in two_processes:
        torch.testing.assert_close(results["paths"], model.draw_paths(**given).sequences)


@pytest.mark.parametrize("model_class", TRANSFORMERS)
def test_tensor_parallel_over_two_processes_has_the_logits_of_one(model_class, two_processes):
    expected = outputs_of(create_model(model_class).eval(), batch_of(model_class))
    for results in two_processes:
        logits, split = results["tensor parallel", model_class.__name__]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        assert any("q_proj" in name for name in split)


@pytest.mark.parametrize("hidden_act", ["swiglu", "gelu"])
@pytest.mark.parametrize("model_class", TRANSFORMERS)
def test_the_tensor_parallel_plan_names_what_exists_and_leaves_no_map_of_a_layer_out(model_class, hidden_act):
    model = model_class(model_class.config_class(**{**CONFIGURATIONS[model_class], "hidden_act": hidden_act}))
    assert model.supports_tp_plan
    modules = {
        ".".join("*" if part.isdigit() else part for part in name.split("."))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Embedding))
    }
    assert set(model.tp_plan) <= modules
    assert {name for name in model.tp_plan if ".layers." in name} == {name for name in modules if ".layers." in name}


class ElsewhereLayer(nn.Module):
    """Where another stage has a module: hands its input on."""

    def forward(self, hidden_states, *args, **kwargs):
        return hidden_states


@pytest.mark.parametrize("model_class", PIPELINED)
def test_two_pipeline_stages_give_what_the_whole_gives(model_class):
    whole = create_model(model_class).model.eval()
    ids = batch_of(model_class)["input_ids"]
    assert whole.supports_pp_plan
    assert list(whole.pp_plan) == ["embed_tokens", "layers", "norm"]
    first, second = (create_model(model_class).model.eval() for _ in range(2))
    first.layers[1] = first.norm = second.embed_tokens = second.layers[0] = ElsewhereLayer()
    with torch.no_grad():
        states = first(input_ids=ids).last_hidden_state
        states = second(inputs_embeds=states).last_hidden_state
        torch.testing.assert_close(states, whole(input_ids=ids).last_hidden_state)


@pytest.mark.parametrize("model_class", PIPELINED)
@pytest.mark.parametrize("fields", [{"position_embedding_type": "learned"}, {"scale_embedding": True}])
def test_no_pipeline_plan_where_a_stage_would_prepare_embeddings_twice(model_class, fields):
    config = model_class.config_class(**{**CONFIGURATIONS[model_class], **fields})
    assert config.base_model_pp_plan is None


@pytest.mark.parametrize("model_class", TRANSFORMERS)
def test_a_serving_backend_brings_its_own_attention(model_class):
    # vLLM's Transformers backend registers a function by name, asks each attention whether it is causal, and hands
    # over what else it needs through keyword arguments of the model.
    seen = []

    def backend(module, query, key, value, attention_mask, scaling, dropout=0.0, attention_instances=None, **kwargs):
        seen.append((module, module.is_causal, attention_instances))
        return query.transpose(1, 2), None

    AttentionInterface.register("recording", backend)
    model = create_model(model_class).eval()
    assert model.is_backend_compatible() == (not model.config.is_encoder_decoder)
    model.set_attn_implementation("recording")
    instances = object()
    model(**batch_of(model_class), attention_instances=instances)
    attentions = {name: module for name, module in model.named_modules() if name.endswith("_attn")}
    assert [module for module, _, _ in seen] == list(attentions.values())
    is_decoder = {name: "Decoder" in model_class.__name__ or "decoder." in name for name in attentions}
    assert [causal for _, causal, _ in seen] == [
        is_decoder[name] and name.endswith("self_attn") for name in attentions
    ]
    assert all(handed is instances for _, _, handed in seen)
