"""Whether exported graphs compute what the model computes, whatever runs them."""

from collections.abc import Callable, Iterator

import torch
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from .base import Check
from .graphs import PAST, Graph, after, is_mask
from .inputs import NEW_TOKENS, Comparison, check_difference, padded, random_texts, writing_options


Tensors = dict[str, torch.Tensor]
Runners = dict[str, Callable[[Tensors], Tensors]]
"""By the name of a graph, what runs it."""


def examples_of(graph: Graph, config: PreTrainedConfig) -> list[tuple[torch.Tensor, ...]]:
    """
    Inputs of several sizes, with padding and without, for which a traced graph gives to the bit what the model gives.

    A single token is left out where query heads share keys and values: behind padding transformers then makes rows of
    one product of the heads that share, which no trace for any number of tokens does, and it adds in another order.
    """
    num_tokens = getattr(config, "vocab_size", 1)
    sizes = [(2, 2, 0, 2), (2, 3, 0, 3), (3, 2, 5, 4), (3, 6, 4, 8), (1, 7, 0, 5), (1, 2, 3, 1)]
    sizes += [] if shares_heads(config) else [(1, 1, 0, 1), (1, 1, 4, 6), (3, 1, 9, 4)]
    if hasattr(config, "vocab_size") and getattr(config, "position_embedding_type", None) == "learned":
        longest = config.max_position_embeddings
        sizes = [size for size in sizes if max(size[1] + size[2], size[3]) <= longest]
    found = []
    for seed, (rows, tokens, past, source) in enumerate(sizes):
        named = {"rows": rows, "tokens": tokens, "past_tokens": past, "source_tokens": source, "steps": tokens}
        named["total_tokens"] = past + tokens
        padded = graph.examples(named, num_tokens, seed)
        found.append(padded)
        if any(map(is_mask, graph.inputs)):
            named = zip(graph.inputs, padded, strict=True)
            found.append(tuple(torch.ones_like(tensor) if is_mask(name) else tensor for name, tensor in named))
    return found


def shares_heads(config: PreTrainedConfig) -> bool:
    """Whether several query heads share keys and values."""
    heads = getattr(config, "num_attention_heads", None)
    return getattr(config, "num_key_value_heads", heads) != heads


def compare(model: PreTrainedModel, graphs: list[Graph], runners: Runners) -> list[Comparison]:
    """
    Outputs of the graphs beside those of the model, called as anybody calls it.

    Texts of several lengths, alone and padded on the right, on the left and inside; what writes reads them in steps,
    the first of several tokens.
    """
    if model.main_input_name == "pixel_values":
        batches = _images(model)
    elif model.main_input_name == "past_values":
        batches = _series(model)
    else:
        batches = _texts(model)
    if not model.can_generate():
        return [_at_once(model, graphs[0], runners, batch) for batch in batches]
    if model.config.is_encoder_decoder:
        return [_translated(model, graphs[1], runners, batch) for batch in batches]
    return [_read(model, graphs[0], runners, batch) for batch in batches]


def check_outputs(model: PreTrainedModel, comparisons: list[Comparison], limit: float) -> Check:
    """[`check_difference`] of the outputs of graphs."""
    padded = "" if model.main_input_name == "pixel_values" else ", whole and padded"
    return check_difference(f"outputs of {len(comparisons)} batches{padded}", comparisons, limit)


def check_agreement(comparisons: list[Comparison], limit: float) -> Check:
    """The share of answers that are the same ones; of numbers, the correlation."""
    if comparisons[0].expected.shape[-1] == 1:  # one number: there is no choice
        pair = [
            torch.cat([one.found.flatten() for one in comparisons]),
            torch.cat([one.expected.flatten() for one in comparisons]),
        ]
        share = float(torch.corrcoef(torch.stack(pair))[0, 1])
        return Check("correlation with the answers", share >= limit, f"{share:.3f}", f"at least {limit}")
    counts = torch.tensor([one.agreeing() for one in comparisons]).sum(dim=0).tolist()
    found = f"{counts[0]} of {counts[1]} ({counts[0] / counts[1]:.1%})"
    return Check("same answers", counts[0] >= limit * counts[1], found, f"at least {limit:.0%}")


def _at_once(model: PreTrainedModel, graph: Graph, runners: Runners, batch: Tensors) -> Comparison:
    name = graph.outputs[0]
    expected = model(**batch)[name]
    mask = batch.get("attention_mask") if name == "logits" and expected.dim() == 3 else None
    return Comparison(runners[graph.name](batch)[name], expected, mask)


def _read(model: PreTrainedModel, graph: Graph, runners: Runners, batch: Tensors) -> Comparison:
    """A prompt in one step, and then token by token, beside the whole text at once."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    memory, logits, read = empty_memory(graph, len(ids)), [], 0
    for size in _steps(ids.shape[1], max(1, ids.shape[1] // 2)):
        now = slice(read, read + size)
        read += size
        outputs = runners[graph.name]({"input_ids": ids[:, now], "attention_mask": mask[:, :read], **memory})
        memory = {name: outputs[after(name)] for name in memory}
        logits.append(outputs["logits"])
    return Comparison(torch.cat(logits, dim=1), model(**batch).logits, mask)


def _translated(model: PreTrainedModel, graph: Graph, runners: Runners, batch: Tensors) -> Comparison:
    """A target read in steps behind an encoded source, beside both at once."""
    rows = len(batch["input_ids"])
    target = random_texts(model.config, (6,) * rows, seed=1)
    target = torch.cat(target)
    encoded = runners["encoder"](batch)
    constant = {"attention_mask": batch["attention_mask"]}
    constant |= {name: tensor for name, tensor in encoded.items() if not name.startswith(PAST)}
    memory = empty_memory(graph, rows) | {name: tensor for name, tensor in encoded.items() if name.startswith(PAST)}
    logits, read = [], 0
    first = 1 if graph.inputs["decoder_input_ids"][1] == 1 else 3
    for size in _steps(target.shape[1], first):
        inputs = {"decoder_input_ids": target[:, read : read + size], **constant, **memory}
        outputs = runners["decoder"]({name: inputs[name] for name in graph.inputs})
        memory = {name: outputs[after(name)] for name in memory}
        logits.append(outputs["logits"])
        read += size
    return Comparison(torch.cat(logits, dim=1), model(**batch, decoder_input_ids=target).logits)


def _steps(length: int, first: int) -> Iterator[int]:
    yield min(first, length)
    yield from [1] * (length - first)


def empty_memory(graph: Graph, rows: int) -> Tensors:
    """What a step remembers before the first token: zeros, and no keys and values."""
    sizes = {"rows": rows, "past_tokens": 0}
    return {
        name: torch.zeros([sizes.get(size, size) for size in shape])
        for name, shape in graph.inputs.items()
        if name.startswith(PAST)
    }


def _texts(model: PreTrainedModel) -> list[Tensors]:
    found = padded(random_texts(model.config), model.config.pad_token_id)
    batches = [{"input_ids": batch.input_ids, "attention_mask": batch.attention_mask} for batch in found]
    holes = found[-1].attention_mask.clone()
    holes[:, -3:-2] = 0  # of texts on the right: all but the shortest have a token there
    return [*batches, {"input_ids": found[-1].input_ids, "attention_mask": holes}]


def _images(model: PreTrainedModel) -> list[Tensors]:
    generator = torch.Generator().manual_seed(0)
    shape = (model.config.num_channels, *model.config.image_shape)
    return [{"pixel_values": torch.randn(rows, *shape, generator=generator)} for rows in (1, 8)]


def _series(model: PreTrainedModel) -> list[Tensors]:
    """Series of several lengths: whole, and with gaps and padding before the first step."""
    generator, config = torch.Generator().manual_seed(0), model.config
    mean, scale = torch.tensor(config.input_mean or 0.0), torch.tensor(config.input_scale or 1.0)
    batches = []
    for rows, steps in ((1, 1), (1, 20), (4, 31)):
        observed = torch.ones(rows, steps, config.input_size, dtype=torch.long)
        if rows > 1:
            observed = (torch.rand(observed.shape, generator=generator) < 0.8).long()
            observed[1, : steps // 2] = 0
        values = mean + scale * torch.randn(observed.shape, generator=generator)
        batches.append({"past_values": values, "past_observed_mask": observed})
    return batches


def check_greedy(
    model: PreTrainedModel, write: Callable[[list[int], int], list[int]], start: int | None, texts: int, limit: float
) -> Check:
    """
    Whether as many texts of random tokens are gone on from, or translated, as `generate` does greedily.

    Args:
        model: The model.
        write: Gives the ids behind some ids, a number of them at most.
        start: The token that a decoder reads first.
        texts: How many.
        limit: Two tokens whose logits differ by no more, relative to what is above 1, are tied: either may follow.
    """
    lengths = tuple(1 + place % 20 for place in range(texts))
    same, tied = 0, 0
    for text in random_texts(model.config, lengths, seed=2):
        ids = text[0].tolist()
        expected, logits = _greedy(model, ids, _room(model, ids), start)
        found = write(ids, len(expected))
        pairs = enumerate(zip(found, expected, strict=False))
        first = next((place for place, (token, other) in pairs if token != other), None)
        if first is None:
            same += found == expected
        else:
            best, second = logits[first][0].topk(2).values.tolist()
            tied += best - second <= limit * max(1.0, abs(best))
    told = f"{same} of {texts} texts alike" + (f", {tied} but for a tie" if tied else "")
    return Check(f"tokens, greedy, up to {NEW_TOKENS}", same + tied == texts, told, "all of them")


def _room(model: PreTrainedModel, ids: list[int]) -> int:
    """How many tokens are written: fewer where the positions end."""
    if getattr(model.config, "position_embedding_type", None) != "learned":
        return NEW_TOKENS
    begun = 1 if model.config.is_encoder_decoder else len(ids)
    return max(1, min(NEW_TOKENS, model.config.max_position_embeddings - begun))


def _greedy(model: PreTrainedModel, ids: list[int], max_new_tokens: int, start: int | None):
    """The new tokens by `generate`, and the logits of each step."""
    config = GenerationConfig(
        **writing_options(model.config, len(ids), max_new_tokens),
        eos_token_id=model.generation_config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        decoder_start_token_id=start,
        output_logits=True,
        return_dict_in_generate=True,
    )
    input_ids = torch.tensor([ids])
    outputs = model.generate(input_ids, attention_mask=torch.ones_like(input_ids), generation_config=config)
    return outputs.sequences[0, -len(outputs.logits) :].tolist(), outputs.logits
