"""Loads a model as a stranger does and asks it what can be asked; `verify` runs this file in a process of its own.

    python -P probe.py REQUEST.json ANSWER.json

It imports nothing of seqnlp unless the request says so, reads safetensors alone and has no network.
"""

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto


LENGTHS = (3, 7, 5)
NEW_TOKENS = 6
ANY_IMAGE_SIZE = 224  # of images for a model whose configuration sets no size, as that of a convolution


class NotCheckedError(Exception):
    """A check that this model does not allow, with the reason."""


class Probe:
    """A loaded model, its processor, and the checks."""

    def __init__(self, folder: str, trust_remote_code: bool):
        self.folder = Path(folder)
        self.options = options = {"trust_remote_code": trust_remote_code}
        self.config = transformers.AutoConfig.from_pretrained(folder, **options)
        auto_class = self._auto_class()
        self.model, self.report = auto_class.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, dtype="auto", **options
        )
        # In whole precision: the checks compare numbers.
        self.model = self.model.float().eval()
        self.is_text = self.model.main_input_name == "input_ids"
        self.is_series = self.model.main_input_name == "past_values"
        self.is_encoder_decoder = bool(getattr(self.config, "is_encoder_decoder", False))
        # As T5's and BART's classifiers, whose decoder reads the same text, and whose answer is that of its end token.
        self.answers_at_end = self.is_encoder_decoder and type(self.model).__name__.endswith("SequenceClassification")
        self.tokenizer = None
        if any((self.folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)

    def _auto_class(self):
        """The Auto class of the head that the configuration names: by its own `auto_map`, or by the tables."""
        wanted = (self.config.architectures or [""])[0]
        for name, reference in (getattr(self.config, "auto_map", None) or {}).items():
            if isinstance(reference, str) and reference.endswith(f".{wanted}"):
                return getattr(transformers, name)
        for name, auto_class in vars(modeling_auto).items():
            mapping = getattr(auto_class, "_model_mapping", None)
            if name.startswith("AutoModel") and mapping is not None and type(self.config) in mapping:
                known = mapping[type(self.config)]
                if wanted in [one.__name__ for one in (known if isinstance(known, tuple) else (known,))]:
                    return auto_class
        return transformers.AutoModel

    def weights_fit(self) -> str:
        """Whether every weight of the model was in the files, and every one in the files belongs to it."""
        for kind, names in self.report.items():
            if names:
                raise AssertionError(f"{kind.replace('_', ' ')}: {sorted(map(str, names))[0]}")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{parameters:,} parameters, {type(self.model).__name__}"

    def tokenizer_agrees(self) -> str:
        """Whether the tokens that the tokenizer gives are tokens that the model knows."""
        if self.tokenizer is None:
            raise NotCheckedError("there is no tokenizer") if self.is_text else SkippedError("it reads no text")
        size = self.config.get_text_config().vocab_size
        if len(self.tokenizer) > size:
            raise AssertionError(f"the tokenizer has {len(self.tokenizer)} tokens, the model knows {size}")
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            ours, theirs = getattr(self.config, name, None), getattr(self.tokenizer, name)
            ids = ours if isinstance(ours, list) else [ours]
            if ours is not None and theirs is not None and theirs not in ids:
                raise AssertionError(f"{name} is {ours} in the configuration, {theirs} in the tokenizer")
        positions = getattr(self.config, "max_position_embeddings", None)
        longest = self.tokenizer.model_max_length
        # Of ours those alone that are learned end somewhere. An unset length is a huge number.
        is_computed = getattr(self.config, "position_embedding_type", None) in ("sinusoidal", "rotary", "none")
        if positions and not is_computed and positions < longest < 10**9:
            raise AssertionError(f"the tokenizer gives up to {longest} tokens, the model reads {positions}")
        if target := getattr(self.config, "target_tokenizer", None):  # a translator of two vocabularies
            if not re.fullmatch(r"\w[\w-]*", str(target)):
                raise AssertionError(f"target_tokenizer is {target!r}, which is no folder beside the model")
            known = len(transformers.AutoTokenizer.from_pretrained(self.folder, subfolder=target, **self.options))
            if known > size:
                raise AssertionError(f"the tokenizer in {target} has {known} tokens, the model knows {size}")
        return f"{len(self.tokenizer)} of {size} tokens"

    def batch_is_alone(self) -> str:
        """Whether an example's outputs depend on what else is in its batch, and on the padding."""
        rows = self.examples()
        with torch.no_grad():
            together = self.outputs(self.batch(rows))
            alone = [self.outputs(self.batch([row])) for row in rows]
        worst = 0.0
        for index, (row, single) in enumerate(zip(rows, alone, strict=True)):
            one = together[index]
            if self.is_text and one.dim() == 2 and not self.is_encoder_decoder:
                own = slice(len(one) - len(row), None) if self.pads_left() else slice(0, len(row))
                one = one[own]  # the padding's own outputs mean nothing
            difference = (one - single[0]).abs().max().item()
            worst = max(worst, difference)
            if not difference <= 1e-4 * max(1.0, single.abs().max().item()):  # NaN is alike to nothing
                raise AssertionError(f"row {index} differs by {difference:.2g} between its batch and alone")
        return f"greatest difference {worst:.1g}"

    def cached_is_uncached(self) -> str:
        """Whether generation that keeps a state gives what generation from the whole text at each step gives."""
        if self.is_series:
            return self.rolled_out_is_step_by_step()
        row = self.batch(self.examples()[1:2], generates=True)
        return self.same_text(self.generate(row, use_cache=True), self.generate(row, use_cache=False))

    def rolled_out_is_step_by_step(self) -> str:
        """Whether a series is predicted as if the whole of it were read anew at each step."""
        if "prediction_length" not in inspect.signature(self.model.forward).parameters:
            raise SkippedError("it predicts all steps at once")
        row = self.batch(self.examples()[1:2])
        with torch.no_grad():
            rolled_out = self.model(**row, prediction_length=NEW_TOKENS).prediction_outputs
            for step in range(NEW_TOKENS):
                one = self.model(**row, prediction_length=1).prediction_outputs
                difference = (one[:, 0] - rolled_out[:, step]).abs().max().item()
                if not difference <= 1e-4 * max(1.0, one.abs().max().item()):
                    raise AssertionError(f"step {step + 1} differs by {difference:.2g}")
                observed = torch.ones_like(one, dtype=torch.bool)
                row = {name: torch.cat([row[name], new], 1) for name, new in zip(row, (one, observed), strict=True)}
        return f"{NEW_TOKENS} steps"

    def generates_in_batch_as_alone(self) -> str:
        """Whether a batch of texts of several lengths is continued as each of them alone."""
        rows = self.examples()
        together = self.generate(self.batch(rows, generates=True))
        told = ""
        for index, row in enumerate(rows):
            alone = self.generate(self.batch([row], generates=True))
            part = (together[0][index : index + 1], [score[index : index + 1] for score in together[1]])
            told = self.same_text(part, alone)
        return told

    def examples(self) -> list[torch.Tensor]:
        """The same inputs in every process: token ids of several lengths, images, or series of numbers."""
        generator = torch.Generator().manual_seed(0)
        if self.is_text:
            config = self.config.get_text_config()
            known = min(config.vocab_size, len(self.tokenizer) if self.tokenizer is not None else config.vocab_size)
            special = set(self.tokenizer.all_special_ids if self.tokenizer is not None else ())
            special |= {getattr(config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
            plain = torch.tensor([token for token in range(known) if token not in special] or [0])
            rows = [plain[torch.randint(len(plain), (length,), generator=generator)] for length in LENGTHS]
            end = torch.tensor([config.eos_token_id] if self.answers_at_end else [], dtype=torch.long)
            return [torch.cat([row, end]) for row in rows]
        if self.model.main_input_name == "pixel_values":
            size = getattr(self.config, "image_size", None) or ANY_IMAGE_SIZE
            height, width = (size, size) if isinstance(size, int) else size
            channels = getattr(self.config, "num_channels", 3)
            return [torch.rand(channels, height, width, generator=generator) for _ in LENGTHS]
        channels = getattr(self.config, "input_size", None) or getattr(self.config, "num_input_channels", None)
        if self.is_series and isinstance(channels, int):
            fixed = getattr(self.config, "context_length", None)
            lengths = [fixed] * len(LENGTHS) if isinstance(fixed, int) else LENGTHS
            mean = torch.tensor(getattr(self.config, "input_mean", None) or 0.0)
            scale = torch.tensor(getattr(self.config, "input_scale", None) or 1.0)
            return [mean + scale * torch.randn(length, channels, generator=generator) for length in lengths]
        raise NotCheckedError(f"what goes into it ({self.model.main_input_name}) is not known here")

    def pads_left(self, generates: bool = False) -> bool:
        """Whether padding is on the left: where a decoder goes on from the last token, or a tokenizer has it so."""
        is_told = getattr(self.tokenizer, "padding_side", "right") == "left" and not self.model.can_generate()
        return not self.is_encoder_decoder and (generates or is_told)

    def batch(self, rows: list[torch.Tensor], generates: bool = False) -> dict[str, torch.Tensor]:
        """Several examples padded to one length."""
        if self.is_series:  # shorter ones end where the others do
            padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
            ones = [torch.ones_like(row, dtype=torch.bool) for row in rows]
            observed = torch.nn.utils.rnn.pad_sequence(ones, batch_first=True, padding_side="left")
            return {"past_values": padded, "past_observed_mask": observed}
        if not self.is_text:
            return {self.model.main_input_name: torch.stack(rows)}
        config = self.config.get_text_config()
        pad = next((i for i in (config.pad_token_id, getattr(config, "eos_token_id", None)) if isinstance(i, int)), 0)
        width = max(map(len, rows))
        input_ids = torch.full((len(rows), width), pad)
        attention_mask = torch.zeros_like(input_ids)
        for index, row in enumerate(rows):
            place = slice(width - len(row), width) if self.pads_left(generates) else slice(0, len(row))
            input_ids[index, place], attention_mask[index, place] = row, 1
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.is_encoder_decoder and not generates and not self.answers_at_end:
            inputs["decoder_input_ids"] = self.examples()[0][:3].repeat(len(rows), 1)
        return inputs

    def outputs(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits, predicted values, or the last hidden states of a model without a head."""
        outputs = self.model(**inputs)
        named = (getattr(outputs, name, None) for name in ("logits", "prediction_outputs"))
        return next((found for found in named if found is not None), getattr(outputs, "last_hidden_state", None))

    def generate(self, inputs: dict[str, torch.Tensor], use_cache: bool = True):
        """The new tokens and the scores of each step."""
        if not self.is_text or not self.model.can_generate():
            raise SkippedError("it does not generate")
        prompt = inputs["input_ids"].shape[1]
        outputs = self.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            use_cache=use_cache,
            output_scores=True,
            return_dict_in_generate=True,
        )
        start = outputs.sequences.shape[1] - NEW_TOKENS if self.is_encoder_decoder else prompt
        return outputs.sequences[:, start:], list(outputs.scores)

    def same_text(self, first, second) -> str:
        """Fails at the first step whose scores differ; a tie that rounding breaks is the same text."""
        for step, (one, other) in enumerate(zip(first[1], second[1], strict=True)):
            # A token that is ruled out is so in both; NaN is alike to nothing.
            difference = torch.where(one == other, 0.0, (one - other).abs()).max().item()
            largest = torch.where(torch.isfinite(other), other, 0.0).abs().max().item()
            if not difference <= 1e-3 * max(1.0, largest):
                raise AssertionError(f"the scores of new token {step + 1} differ by {difference:.2g}")
            if first[0][0, step] != second[0][0, step]:
                return f"{step} tokens, then a tie"
        return f"{NEW_TOKENS} tokens"


class SkippedError(Exception):
    """A check that means nothing for this kind of model."""


CHECKS = {
    "weights fit the configuration": Probe.weights_fit,
    "configuration and tokenizer agree": Probe.tokenizer_agrees,
    "batch and padding change nothing": Probe.batch_is_alone,
    "cached generation is uncached generation": Probe.cached_is_uncached,
    "a batch generates as each row alone": Probe.generates_in_batch_as_alone,
}


def one_line(error: BaseException) -> str:
    """An error's message for a table."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether more memory was asked for than there is, or than the process may take."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def main(request_file: str, answer_file: str) -> None:
    """Load, check, and write what was found."""
    request = json.loads(Path(request_file).read_text())
    if request["with_seqnlp"]:
        importlib.import_module("seqnlp")  # registers the architectures
    else:
        sys.modules["seqnlp"] = None  # importing it fails, as where it is not installed
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    answer: dict[str, Any] = {"loaded": False, "checks": [], "outputs": None}
    try:
        probe = Probe(request["folder"], request["trust_remote_code"])
    except Exception as error:  # whatever the code of a stranger raises
        answer["error"] = one_line(error)
        Path(answer_file).write_text(json.dumps(answer))
        return
    answer["loaded"] = True
    origin = type(probe.model).__module__.split(".")[0]
    origin = "its own code" if origin == "transformers_modules" else origin  # where transformers keeps a copy of it
    answer["class"] = f"{type(probe.model).__name__}, by {origin}"
    for name, check in CHECKS.items() if request["checks"] else ():
        try:
            answer["checks"].append([name, "passed", check(probe)])
        except AssertionError as error:
            answer["checks"].append([name, "failed", str(error)])
        except SkippedError as error:
            answer["checks"].append([name, "-", str(error)])
        except NotCheckedError as error:
            answer["checks"].append([name, "not checked", str(error)])
        except Exception as error:  # a model may not take what is asked of it
            outcome = "failed" if is_out_of_memory(error) else "not checked"
            answer["checks"].append([name, outcome, one_line(error)])
    try:
        with torch.no_grad():
            answer["outputs"] = probe.outputs(probe.batch(probe.examples())).flatten()[:2000].tolist()
    except Exception as error:
        answer["outputs_error"] = one_line(error)
    Path(answer_file).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
