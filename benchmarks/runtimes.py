"""Models in other runtimes than torch: how fast beside `generate`, and whether a translator translates the same."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from sacrebleu.metrics import BLEU as SacreBLEU
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from benchmarks.generation import generating
from benchmarks.machine import where_and_when
from benchmarks.peers import Sizes, llama, marian, our_decoder, our_translator, random_tokens
from benchmarks.speed_tables import EXPORTED, RUNTIMES, write_readme
from benchmarks.timing import Action, Contest, alternate, ratio_of_pairs, seconds_of
from seqnlp.cli.models import load_model
from seqnlp.export import Check, ExportError, create_export
from seqnlp.export.ctranslate2 import load_ctranslate2
from seqnlp.metrics import BLEU
from seqnlp.publishing.recomputation import task_of
from seqnlp.tasks.translation import longest_translation
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import write_json


PROMPT, NEW_TOKENS = 16, 32
BATCHES = (1, 32)
MODELS: dict[str, Callable[[Sizes], PreTrainedModel]] = {"decoder": our_decoder, "translator": our_translator}
PEERS = {"decoder": llama, "translator": marian}
PEER = "Llama, Marian"
"""Models of transformers itself, of the same parts and sizes, that write by `generate` too; their name in a table."""
QUANTIZATIONS = {"CTranslate2": None, "CTranslate2 int8": "int8"}
"""Names of the runtimes that CTranslate2 is, and how its weights are kept."""


def checked(checks: list[Check]) -> None:
    """
    Go on only with an export that was written.

    Raises:
        ExportError: If it failed a check.
    """
    if failed := [check for check in checks if not check.passed]:
        raise ExportError(f"{failed[0].name}: {failed[0].found}, and not {failed[0].limit}.")


def exported_to_ctranslate2(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, quantization: str | None, folder: str
) -> tuple[Any, list[str]]:
    """The runtime with one thread, and its vocabulary."""
    exporter = create_export(model, "ctranslate2", processor=tokenizer, quantization=quantization)
    checked(exporter.save(folder))
    ctranslate2 = load_ctranslate2()
    kind = ctranslate2.Translator if model.config.is_encoder_decoder else ctranslate2.Generator
    return kind(folder, device="cpu", inter_threads=1, intra_threads=1), exporter.vocabulary(tokenizer)


def writing(runtime: Any, tokens: list[list[str]], new_tokens: int) -> Action:
    """Write a fixed number of tokens greedily."""
    if isinstance(runtime, load_ctranslate2().Translator):
        options = {"beam_size": 1, "max_decoding_length": new_tokens, "end_token": []}
        return lambda: runtime.translate_batch(tokens, **options)
    options = {"max_length": new_tokens, "end_token": [], "include_prompt_in_result": False}
    return lambda: runtime.generate_batch(tokens, **options)


def writing_by_onnx(folder: str, prompt: np.ndarray, new_tokens: int) -> Action:
    """Write a fixed number of tokens greedily by the graphs in a folder, with one thread; gives `(rows, tokens)`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    facts = json.loads(Path(folder, "runtime.json").read_text(encoding="utf-8"))
    *encoder, step = [onnxruntime.InferenceSession(f"{folder}/{name}.onnx", options) for name in facts["graphs"]]
    rows, length = prompt.shape
    known = {value.name for value in step.get_inputs()}
    after = [value.name.replace("present.", "past_key_values.") for value in step.get_outputs()][1:]

    def run():
        memory = {"attention_mask": np.ones((rows, length), np.int64)}
        for value in step.get_inputs():
            if value.name.startswith("past_key_values."):
                sizes = [{"rows": rows, "past_tokens": 0}.get(size, size) for size in value.shape]
                memory[value.name] = np.zeros(sizes, np.float32)
        name, new = "input_ids", prompt
        if encoder:
            outputs = encoder[0].run(None, {"input_ids": prompt, "attention_mask": memory["attention_mask"]})
            memory.update(zip([value.name for value in encoder[0].get_outputs()], outputs, strict=True))
            name, new = "decoder_input_ids", np.full((rows, 1), facts["decoder_start_token_id"])
        read, written = 0, []
        for _ in range(new_tokens):
            read += new.shape[1]
            if not encoder:
                memory["attention_mask"] = np.ones((rows, read), np.int64)
            memory[name] = new
            logits, *states = step.run(None, {key: value for key, value in memory.items() if key in known})
            memory.update(zip(after, states, strict=True))
            new = logits[:, -1].argmax(-1, keepdims=True)
            written.append(new)
        return np.concatenate(written, 1)

    return run


def contests() -> Iterator[tuple[str, int, Contest]]:
    """Greedy generation behind 16 tokens by models of 5.3 and 9.5 million weights: model, batch, and who is timed."""
    sizes = Sizes()
    tokenizer = train_tokenizer(["any text"], "bpe", 280)  # rows of the embeddings without a token have names too
    for name, build in MODELS.items():
        model = build(sizes).eval()
        model.generation_config.eos_token_id = None
        with tempfile.TemporaryDirectory() as folder:
            prompts = {rows: random_tokens(rows, PROMPT, sizes.vocab_size) for rows in BATCHES}
            peer = PEERS[name](sizes)
            actions: list[tuple[str, int, Action]] = [
                (PEER, rows, generating(peer, prompt, NEW_TOKENS)) for rows, prompt in prompts.items()
            ]
            checked(create_export(model, "onnx", processor=tokenizer).save(f"{folder}/onnx"))
            for rows, prompt in prompts.items():
                actions.append(("ONNX", rows, writing_by_onnx(f"{folder}/onnx", prompt.numpy(), NEW_TOKENS)))
            for runtime, quantization in QUANTIZATIONS.items():
                exported, words = exported_to_ctranslate2(model, tokenizer, quantization, f"{folder}/{runtime}")
                for rows, prompt in prompts.items():
                    tokens = [[words[token] for token in row] for row in prompt.tolist()]
                    actions.append((runtime, rows, writing(exported, tokens, NEW_TOKENS)))
            for runtime, rows, action in actions:
                ours = generating(model, prompts[rows], NEW_TOKENS)
                yield name, rows, Contest(runtime, "generate", action, ours, items=("tokens", rows * NEW_TOKENS))


def measure_speed(rounds: int, keep: bool) -> dict[str, Any]:
    """
    Time every runtime and `generate` by turns, with one thread.

    Args:
        rounds: Turns of each side.
        keep: Whether to keep the results as JSON and in benchmarks/README.md.
    """
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    torch.manual_seed(0)
    rows = []
    for model, batch, contest in contests():
        result = alternate(contest, rounds)
        rows.append(
            {
                "model": model,
                "batch": batch,
                "runtime": contest.name,
                "tokens_per_second": result.ours,
                "generate_tokens_per_second": result.peer,
                "ratio": result.ratio,
            }
        )
    record = {"rounds": rounds, **where_and_when(), "results": rows}
    if keep:
        write_json(RUNTIMES / "generation.json", record)
        write_readme()
    return record


def measure_translator(source: str, split: str, beams: int, dataset: str | None, keep: bool) -> dict[str, Any]:
    """
    Translate a split of a trained translator's data by `generate` and by CTranslate2, batch by batch in turns.

    Args:
        source: The folder of the run or the model's id.
        split: What is translated.
        beams: Of both sides; 1 takes the likeliest token each time.
        dataset: A folder with the data, where the record's name does not lead to it.
        keep: Whether to keep the result as JSON and in benchmarks/README.md.
    """
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    named = load_model(source)
    loaded = task_of(named.run, dataset).load()
    tokenizer, pairs = named.tokenizer(), loaded.splits[split]
    ids = [tokenizer(text)["input_ids"] for text in pairs["source"]]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    batches = [[ids[row] for row in order[start : start + 32]] for start in range(0, len(order), 32)]
    with tempfile.TemporaryDirectory() as folder:
        runtimes = {
            name: exported_to_ctranslate2(named.model, tokenizer, quantization, f"{folder}/{name}")
            for name, quantization in QUANTIZATIONS.items()
        }
        found = [_translate(named.model, tokenizer, runtimes, batch, beams) for batch in batches]
        texts = {}
        for side in ("generate", *runtimes):
            tokens = [row for batch in found for row in batch[side].tokens]
            of_row = dict(zip(order, tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True))
            texts[side] = [of_row[row].strip() for row in range(len(order))]
        runs = [_compared(found, name, beams, texts, pairs["target"]) for name in runtimes]
    config = named.model.config
    record = {
        "model": type(named.model).__name__,
        "sizes": {name: getattr(config, name) for name in ("hidden_size", "num_hidden_layers", "decoder_layers")},
        "parameters": named.model.num_parameters(),
        "dataset": named.run["dataset"].get("name"),
        "split": split,
        "rows": len(ids),
        **where_and_when(),
        "runs": runs,
    }
    if keep:
        write_json(EXPORTED / f"translator-{beams}.json", record)
        write_readme()
    return record


class Translated(NamedTuple):
    """A batch as one side translates it: the tokens of each row up to its end, and seconds."""

    tokens: list[list[int]]
    seconds: float


def _translate(model, tokenizer, runtimes, ids: list[list[int]], beams: int) -> dict[str, Translated]:
    """One batch by `generate` and by each runtime in turn."""
    batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    longest = longest_translation(model.config, batch["input_ids"].shape[1])
    made: list[Any] = []

    def generate():
        made.append(model.generate(**inputs, num_beams=beams, do_sample=False, max_new_tokens=longest))

    seconds = seconds_of(generate)
    end = model.generation_config.eos_token_id
    rows = [row[: row.index(end)] if end in row else row for row in made.pop()[:, 1:].tolist()]
    sides = {"generate": Translated(rows, seconds)}
    options = {"beam_size": beams, "max_decoding_length": longest, "max_input_length": 0}
    for name, (runtime, words) in runtimes.items():
        tokens = [[words[token] for token in row] for row in ids]
        index = {word: token for token, word in enumerate(words)}
        seconds = seconds_of(lambda run=runtime, read=tokens: made.append(run.translate_batch(read, **options)))
        rows = [[index[word] for word in result.hypotheses[0]] for result in made.pop()]
        sides[name] = Translated(rows, seconds)
    return sides


def _compared(
    found: list[dict[str, Translated]], name: str, beams: int, texts: dict[str, list[str]], references: list[str]
) -> dict[str, Any]:
    """Rows alike token by token, BLEU and its difference, seconds of each batch, and the median of their ratios."""
    pairs = [pair for sides in found for pair in zip(sides["generate"].tokens, sides[name].tokens, strict=True)]
    seconds = {side: [sides[side].seconds for sides in found] for side in ("generate", name)}
    how = {"tokenize": "13a", "lowercase": True, "references": references}
    bleu = {side: BLEU().compute(predictions=texts[side], **how)["bleu"] for side in ("generate", name)}
    return {
        "runtime": name,
        "beams": beams,
        "alike": sum(one == other for one, other in pairs),
        "bleu_lowercase": {"generate": bleu["generate"], "exported": bleu[name]},
        "bleu_difference_interval": difference_interval(texts[name], texts["generate"], references),
        "seconds": {"generate": seconds["generate"], "exported": seconds[name]},
        "ratio": ratio_of_pairs(seconds[name], seconds["generate"]),
    }


def difference_interval(
    texts: list[str], peer: list[str], references: list[str], samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """
    The 95 % interval of the first side's BLEU minus the second's, of lower-cased text (13a).

    Both are of the same sentences, drawn with replacement: paired bootstrap resampling (Koehn 2004, W04-3250).

    Args:
        texts: Translations of one side.
        peer: Those of the other.
        references: The right ones.
        samples: How often as many sentences are drawn as there are.
        seed: Fixes which.
    """
    metric = SacreBLEU(lowercase=True, tokenize="13a", effective_order=True)

    def counts(translations: list[str]) -> np.ndarray:
        """`(sentences, 10)`: n-grams that fit and all, for n from 1 to 4, and the lengths of both texts."""
        pairs = zip(translations, references, strict=True)
        scores = [metric.sentence_score(text, [reference]) for text, reference in pairs]
        return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores])

    def score(sums: np.ndarray) -> float:
        *ngrams, length, reference_length = sums.tolist()
        return SacreBLEU.compute_bleu(ngrams[:4], ngrams[4:], length, reference_length).score

    sides = counts(texts), counts(peer)
    drawn = np.random.default_rng(seed).integers(len(references), size=(samples, len(references)))
    differences = [score(sides[0][rows].sum(0)) - score(sides[1][rows].sum(0)) for rows in drawn]
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)
