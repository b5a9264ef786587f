"""How fast it is on a GPU: training steps, layers, generation and memory beside the peers and the card's own limit."""

import copy
from collections.abc import Iterator

import torch

from benchmarks.generation import generating
from benchmarks.gpu_setting import Row, Setting
from benchmarks.peers import (
    LOSS_CHUNK,
    Sizes,
    bert,
    gpt2,
    llama,
    marian,
    our_decoder,
    our_encoder,
    our_lstm,
    our_translator,
    ragged_lengths,
    ragged_texts,
    random_tokens,
)
from benchmarks.recurrent_layers import MODULES, our_layer, packed
from benchmarks.timing import Action, products_of
from benchmarks.training_steps import training_step
from seqnlp import RecurrentConfig, RecurrentForCausalLM, RecurrentModel


def _step(setting: Setting, model, batch: dict[str, torch.Tensor], compiled: bool = False) -> Action:
    """A step of training in bfloat16 on the device."""
    model = model.to(setting.device)
    batch = {name: tensor.to(setting.device) for name, tensor in batch.items()}
    return training_step(torch.compile(model) if compiled else model, batch, "bfloat16")


def _batches(setting: Setting) -> dict[str, tuple[dict, int]]:
    """By task a batch and the tokens in it."""
    vocab_size = setting.sizes.vocab_size
    rows, length = setting.pick((8, 1024), (8, 1024), (2, 16))
    tokens = random_tokens(rows, length, vocab_size)
    short = setting.pick(64, 64, 8)
    texts = ragged_texts(4 * rows, short, vocab_size)
    mask = texts["attention_mask"].bool()
    pairs = {**texts, "labels": random_tokens(4 * rows, short, vocab_size).masked_fill(~mask, -100)}
    return {
        "language model": ({"input_ids": tokens, "labels": tokens}, tokens.numel()),
        "classifier": ({**texts, "labels": torch.randint(2, (4 * rows,))}, int(mask.sum())),
        "translator": (pairs, 2 * int(mask.sum())),
    }


def training_steps(setting: Setting) -> Iterator[Row]:
    """A step of each kind of Transformer against its peer, and what share of the card's rate its products take."""
    sizes, batches = setting.sizes, _batches(setting)
    limit = setting.product_rate(torch.bfloat16)
    yield Row("matrix products of 8192 x 8192 in bfloat16", limit, "TFLOP/s")
    small = sizes if setting.is_tiny else Sizes(vocab_size=sizes.vocab_size, width=512, layers=6, heads=8)
    contests = [
        ("language model", "GPT-2", our_decoder, gpt2, sizes),
        ("language model", "Llama", our_decoder, llama, sizes),
        ("classifier", "BERT", our_encoder, bert, sizes),
        ("translator", "Marian", our_translator, marian, small),
    ]
    for task, peer_name, our_model, peer_model, used in contests:
        batch, tokens = batches[task]
        ours, peer = (_step(setting, make(used), batch) for make in (our_model, peer_model))
        seconds, ratio = setting.alternate(ours, peer)
        yield Row(f"{task}: ours", tokens / seconds, "tokens/s")
        yield Row(f"{task}: ours", ratio, f"x {peer_name}")
        share = products_of(ours) / 1e12 / seconds / limit
        yield Row(f"{task}: products", 100 * share, "% of the card's rate", remark="counted products, measured rate")


def layers(setting: Setting) -> Iterator[Row]:
    """A layer over ragged rows, forward and backward: ours against torch's packed one, and minGRU against our LSTM."""
    rows, length, width = setting.pick((64, 256, 512), (64, 256, 512), (3, 8, 8))
    lengths = ragged_lengths(rows, length)
    mask = (torch.arange(length) < lengths.unsqueeze(1)).long().to(setting.device)
    inputs = torch.randn(rows, length, width, device=setting.device)
    for cell_type, module_class in MODULES.items():
        module = module_class(width, width, batch_first=True).to(setting.device)
        model = RecurrentModel.from_torch(module)
        ours, peer = our_layer(model, inputs, mask, as_bfloat16=False), packed(module, inputs, lengths)
        seconds, ratio = setting.alternate(ours, peer, calls=3)
        yield Row(f"{cell_type}, float32: ours", ratio, "x torch packed", remark=f"{1000 * seconds:.2f} ms")
    for length in setting.pick((128, 1024, 4096), (128, 4096), (16,)):
        steps = []
        for cell_type in ("mingru", "lstm"):
            config = RecurrentConfig(cell_type=cell_type, hidden_size=width, num_hidden_layers=2)
            model = RecurrentModel(config).to(setting.device)
            long = torch.randn(8, length, width, device=setting.device)
            steps.append(
                lambda m=model, x=long: m(inputs_embeds=x, use_cache=False).last_hidden_state.sum().backward()
            )
        _, ratio = setting.alternate(*steps)
        yield Row(f"minGRU over {length} steps", ratio, "x our LSTM", remark="8 rows, two layers, float32")


def compiled_training(setting: Setting) -> Iterator[Row]:
    """A step through `torch.compile` against the same step without, and after how many steps it has paid."""
    batch, tokens = _batches(setting)["language model"]
    contests = {"ours": our_decoder, "GPT-2": gpt2, "Llama": llama}
    for name in setting.pick(contests, ["ours"], contests):
        make = contests[name]
        model = make(setting.sizes)
        eager = _step(setting, copy.deepcopy(model), batch)
        compiled = _step(setting, model, batch, compiled=True)
        first = setting.seconds_of(compiled)
        seconds, ratio = setting.alternate(compiled, eager)
        yield Row(f"{name}, compiled", ratio, "x the same without", remark=f"{first:.0f} s to compile")
        yield Row(f"{name}, compiled", tokens / seconds, "tokens/s")
        saved = seconds * (ratio - 1)
        if saved > 0:
            yield Row(f"{name}, compiled: paid after", first / saved, "steps")


def generation(setting: Setting) -> Iterator[Row]:
    """Greedy tokens of a decoder and an LSTM by the usual cache and by a static one with a compiled step: the same."""
    new_tokens = setting.pick(128, 64, 4)
    models = {
        "decoder": our_decoder(setting.sizes, loss_chunk_size=None),
        "LSTM": our_lstm(setting.sizes, **({"width": 16} if setting.is_tiny else {"width": 1024})),
    }
    for name, model in models.items():
        model = model.to(setting.device)
        for rows in setting.pick((1, 32), (1,), (2,)):
            prompt = random_tokens(rows, 16, setting.sizes.vocab_size).to(setting.device)
            plain = generating(model, prompt, new_tokens)
            static = generating(model, prompt, new_tokens, cache_implementation="static")
            expected = plain()
            first = setting.seconds_of(static)  # on a card transformers compiles the step here
            same = float((static() == expected).float().mean())
            yield Row(
                f"{name}, batch {rows}: same tokens", 100 * same, "%", 99 if setting.device == "cuda" else 100, ">="
            )
            seconds, ratio = setting.alternate(static, plain)
            speed = rows * new_tokens / seconds
            yield Row(f"{name}, batch {rows}, static", ratio, "x dynamic", remark=f"{first:.0f} s to compile")
            yield Row(f"{name}, batch {rows}, static", speed, "tokens/s")


def memory(setting: Setting) -> Iterator[Row]:
    """Peak memory of a language model's step, with all the logits and in chunks, beside GPT-2's."""
    batch, _ = _batches(setting)["language model"]
    cases = {
        f"ours, loss_chunk_size {LOSS_CHUNK}": our_decoder(setting.sizes),
        "ours, all logits at once": our_decoder(setting.sizes, loss_chunk_size=None),
        "GPT-2": gpt2(setting.sizes),
        "minGRU, two layers of 1,024": RecurrentForCausalLM(
            RecurrentConfig(
                vocab_size=setting.sizes.vocab_size,
                hidden_size=16 if setting.is_tiny else 1024,
                num_hidden_layers=2,
                cell_type="mingru",
                loss_chunk_size=LOSS_CHUNK,
            )
        ),
    }
    if setting.device != "cuda":
        for model in cases.values():
            _step(setting, model, batch)()
        return
    for name in list(cases):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step = _step(setting, cases.pop(name), batch)
        for _ in range(2):
            step()
        yield Row(name, torch.cuda.max_memory_allocated() / 2**20, "MiB")
        del step
