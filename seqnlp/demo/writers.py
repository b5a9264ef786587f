"""Answers of models that write: how a text goes on, tunes, translations."""

import importlib.util
import queue
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation import BaseStreamer

from ..data import DataError, ReadTune, prompt_for, to_abc
from ..diagnostics import AttentionMap
from ..extras import install
from ..metrics.tune_validity import check_tune
from ..pipelines import TranslationPipeline
from ..visualization.music import save_tune, sound_remark
from ..visualization.sheet_music import SheetMusicError, save_sheet_music
from .answerers import Answerer, Named, ranked
from .answers import Options, Scored, TextAnswer, TranslationAnswer, TuneAnswer
from .errors import DemoError


CANDIDATES = 5
"""Likeliest next tokens that are told."""
TEMPERATURE = 0.8
NEW_TOKENS = 100
MOST_TRANSLATED = 1_000
"""Tokens of a text that is translated at once: memory grows by their square, and no bound is learned."""


class TextWriter(Answerer):
    """
    How a text goes on, as it is written.

    A model of a recipe reads `<s>` first, as in training; special tokens other than the one that ends a text are ruled
    out. Without `num_beams` or a temperature of 0, tokens are drawn. Beams are searched without drawing.
    """

    auto_class = AutoModelForCausalLM
    title = "Go on with a text"
    explanation = "Type how a text begins: see which tokens the model expects next, and what it writes."
    column = None
    options = frozenset({"temperature", "num_beams", "max_new_tokens", "seed"})
    kind_of_answer: type[TextAnswer] = TextAnswer
    new_tokens_setting = "sample_length"

    def respond(self, given: str, options: Options) -> Iterator[TextAnswer]:
        """Piece by piece; beams come at once."""
        given = self.beginning(given)
        ids, remarks = self._prompt_ids(given)
        count, more = self._count(len(ids), options)
        answer = self.kind_of_answer(given, "", self._candidates(ids), remarks=[*remarks, *more])
        yield answer
        how, is_streamed = self._how(options), (options.num_beams or 1) == 1
        with closing(self._generate(ids, count, how, is_streamed)) as parts:  # or the writer outlives its reader
            for new in parts:
                text = text_after(self.tokenizer, ids, new)
                if is_streamed and not text.endswith("\ufffd"):  # part of a character
                    answer.text = text
                    yield answer
        answer.text = text_after(self.tokenizer, ids, new)
        probabilities = self._probabilities(ids + new)[len(ids) - 1 :].tolist()
        texts = self.tokens_of(new)
        answer.tokens = [Scored(*pair) for pair in zip(texts, probabilities, strict=True)]
        answer.end = "end" if new and new[-1] in end_tokens(self.model.generation_config) else "length"
        self.finish(answer)
        yield answer

    def beginning(self, given: str) -> str:
        """What the text begins with, of what a person gave."""
        return given

    def finish(self, answer: TextAnswer) -> None:
        """What is to be said of the whole."""

    def usual_options(self) -> Options:
        """The temperature of the run, one beam, and as many tokens as the run wrote."""
        temperature = float(self.settings.get("temperature", TEMPERATURE))
        return Options(temperature, 1, int(self.settings.get(self.new_tokens_setting) or NEW_TOKENS))

    def _prompt_ids(self, prompt: str) -> tuple[list[int], list[str]]:
        ids = self.tokenizer(prompt, add_special_tokens=not self.run, verbose=False).input_ids
        remarks = self.unknown_remark(prompt)
        if self.run and self.tokenizer.bos_token_id is not None:
            ids = [self.tokenizer.bos_token_id, *ids]
        if not ids:
            raise DemoError(f"{self.model_name}, of {self.name!r}, cannot begin with nothing: type a word at least.")
        room = self.longest() - 1  # for one token at least
        if len(ids) > room:
            remarks.append(
                f"The first {len(ids) - room} of {len(ids)} tokens are not read: the model reads {room + 1}."
            )
            ids = ids[-room:]
        return ids, remarks

    def _count(self, length: int, options: Options) -> tuple[int, list[str]]:
        wanted = options.max_new_tokens or self.usual_options().max_new_tokens
        count = min(wanted, self.longest() - length)
        told = f"{count} tokens are written at most, not {wanted}: the model reads {self.longest()} in all."
        return count, [told] if count < wanted and options.max_new_tokens else []

    def _how(self, options: Options) -> dict[str, Any]:
        beams = options.num_beams or 1
        temperature = options.temperature
        if temperature is None:
            temperature = self.usual_options().temperature if beams == 1 else 0.0
        how = {"num_beams": beams, "do_sample": temperature > 0}
        how |= {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
        ends = end_tokens(self.model.generation_config)
        suppressed = [token for token in self.tokenizer.all_special_ids if token not in ends]
        return {**how, **({"suppress_tokens": suppressed} if suppressed else {})}

    def _candidates(self, ids: list[int]) -> list[Scored]:
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, -1].float()
        top = logits.softmax(dim=-1).topk(min(CANDIDATES, len(logits)))
        return ranked(self.tokens_of(top.indices.tolist()), top.values)

    def _probabilities(self, ids: list[int]) -> torch.Tensor:
        """`(len(ids) - 1,)`: of each token but the first, given those before it."""
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, :-1].float()
        return logits.softmax(dim=-1).gather(1, torch.tensor(ids[1:]).unsqueeze(1)).squeeze(1)

    def _generate(self, ids: list[int], count: int, how: dict, is_streamed: bool) -> Iterator[list[int]]:
        """The ids of all that is written so far."""
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        pad = self.tokenizer.pad_token_id
        how = {**how, "max_new_tokens": count, "max_length": None, **({} if pad is None else {"pad_token_id": pad})}
        if not is_streamed:
            yield self.model.generate(**inputs, **how)[0, len(ids) :].tolist()
            return
        streamer, stop, errors = _Tokens(), _Stop(), []

        def write() -> None:
            try:
                self.model.generate(**inputs, **how, streamer=streamer, stopping_criteria=StoppingCriteriaList([stop]))
            except Exception as error:  # raised where it is waited for
                errors.append(error)
                streamer.end()

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        new: list[int] = []
        try:
            while (token := streamer.queue.get()) is not None:
                new = [*new, token]
                yield new
        finally:
            stop.is_asked = True
            thread.join()
        if errors:
            raise errors[0]


def text_after(tokenizer: PreTrainedTokenizerBase, ids: list[int], new: list[int]) -> str:
    """The text of new tokens behind those of a prompt, with the space before them where some tokenizers decode one."""
    head, whole = (tokenizer.decode(part, skip_special_tokens=True) for part in (ids, ids + new))
    return whole[len(head) :] if whole.startswith(head) else tokenizer.decode(new, skip_special_tokens=True)


def end_tokens(config: GenerationConfig) -> list[int]:
    """The tokens of which each ends a text; none where `eos_token_id` is `None`."""
    end = config.eos_token_id
    return end if isinstance(end, list) else [] if end is None else [end]


class _Tokens(BaseStreamer):
    """Hands on each token as `generate` writes it, and `None` at the end."""

    def __init__(self):
        self.queue: queue.Queue[int | None] = queue.Queue()
        self.is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """The prompt first, which is left out."""
        if not self.is_prompt:
            self.queue.put(int(value))
        self.is_prompt = False

    def end(self) -> None:
        """All of it is written."""
        self.queue.put(None)


class _Stop(StoppingCriteria):
    """Ends the writing when nobody waits for it any more."""

    is_asked = False

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.is_asked, dtype=torch.bool)


_MODE = re.compile(r"maj(or)?|min(or)?|(ion|aeol|dor|mixolyd|lyd|phryg|locr)(ian)?|mix|aeo|phr|loc|m", re.IGNORECASE)


class TuneWriter(TextWriter):
    """
    A tune in ABC notation, as it is written.

    What is given is a metre and perhaps a key and a form (`6/8 Emin jig`), the lines that a tune begins with (`M:6/8`,
    `\\n` for a line break), or nothing.
    """

    task = "music_generation"
    title = "Write a tune"
    explanation = (
        "Type a metre and a key, such as 6/8 Gmaj, and perhaps a form, such as jig; or nothing: read, see and hear "
        "the tune that it writes."
    )
    takes_nothing = True
    extras = ("music",)
    kind_of_answer = TuneAnswer
    new_tokens_setting = "max_length"

    def as_typed(self, prompt: str) -> str:
        """The metre and the key of a tune's first lines."""
        fields = dict(line.split(":", 1) for line in prompt.splitlines())
        return f"{fields['M']} {fields['K']}"

    def beginning(self, given: str) -> str:
        """
        The lines that a tune begins with.

        Raises:
            DemoError: For what is no metre, key or line of a tune.
        """
        if ":" in given:
            lines = given.replace("\\n", "\n").split("\n")
            return "\n".join(line for line in lines if not line.startswith("X:"))  # the number of a tune in a book
        words = given.split()
        metres = [word for word in words if re.fullmatch(r"\d+/\d+|C\|", word)]
        others = [word for word in words if word not in metres]
        split = 2 if len(others) > 1 and _MODE.fullmatch(others[1]) else 1
        key, form = " ".join(others[:split]) or None, " ".join(others[split:]) or None
        if len(metres) > 1 or (form and not metres):
            raise DemoError(
                f"{given[:60]!r} is no metre, key and form: type e.g. 6/8 Gmaj jig, 6/8 G, 4/4 or nothing."
            )
        try:
            return prompt_for(key, *metres or ["4/4" if key else None], form=form)
        except DataError as error:
            raise DemoError(str(error)) from error

    def finish(self, answer: TuneAnswer) -> None:
        """Its notation, and whether it can be played."""
        answer.abc = to_abc(answer.prompt + answer.text)
        lacking = [name for name in ("music21", "pretty_midi") if importlib.util.find_spec(name) is None]
        if lacking:
            answer.problem = f"{lacking[0]} is not installed: {install('music')}"
            return
        tune = ReadTune(answer.abc)
        answer.is_valid = check_tune(tune).is_valid
        problem = tune.problem or ("" if tune.melody else "its accidentals cannot be spelled out")
        answer.problem = f"music21 cannot read it: {problem}" if problem else ""

    def play(self, answer: TuneAnswer, path: Path | None = None) -> list[Path]:
        """
        Write `.abc`, `.mid`, `.wav`, `.png` and, as sheet music, `.svg` of a tune that can be played, and note their
        names in the answer, or why there is no sheet music.

        Args:
            answer: The whole answer.
            path: The files' name without its ending; in a new folder by default.
        """
        path = path or Path(tempfile.mkdtemp()) / "tune"
        tune = ReadTune(answer.abc)
        files = save_tune(tune, path)
        answer.remarks += filter(None, [sound_remark(tune.melody)])
        try:
            files.append(save_sheet_music(answer.abc, path))
        except SheetMusicError as error:
            answer.remarks.append(f"There is no sheet music of this tune: {error}.")
        answer.files = [str(file) for file in files]
        return files


class Translator(Answerer):
    """The translation of a sentence, and which words it was made from."""

    auto_class = AutoModelForSeq2SeqLM
    title = "Translate a sentence"
    explanation = "Type a sentence: see its translation, and where the model looked for each word of it."
    column = "source"
    options = frozenset({"temperature", "num_beams", "max_new_tokens", "seed"})

    def prepare(self, named: Named) -> None:
        """Both tokenizers."""
        super().prepare(named)
        self.pipeline = TranslationPipeline(
            self.model, tokenizer=self.tokenizer, target_tokenizer=named.target_tokenizer()
        )
        self.aligns = getattr(self.model.config, "attention_type", None) != "none"

    def usual_options(self) -> Options:
        """The beams that the model was saved with, and nothing drawn."""
        return Options(0.0, self.model.generation_config.num_beams or 1)

    def respond(self, given: str, options: Options) -> Iterator[TranslationAnswer]:
        """At once."""
        length = len(self.tokenizer(given, verbose=False).input_ids)
        if length > MOST_TRANSLATED:
            raise DemoError(
                f"The text is {length:,} tokens long, and {MOST_TRANSLATED:,} are translated at once: give its "
                "sentences one by one, or a file of them to `seqnlp translate`."
            )
        how: dict[str, Any] = {"do_sample": False}
        if options.temperature:
            how = {"do_sample": True, "temperature": options.temperature, "top_k": 0}
        for name in ("num_beams", "max_new_tokens"):
            if getattr(options, name) is not None:
                how[name] = getattr(options, name)
        if options.temperature and options.num_beams is None:
            how["num_beams"] = 1
        try:
            found = self.pipeline(given, return_score=True, return_alignment=self.aligns, **how)
        except ValueError as error:  # longer than the positions it learned
            raise DemoError(str(error)) from error
        remarks = self.unknown_remark(given)
        if not self.aligns:
            remarks.append("The model has no attention, so there is no alignment.")
        yield TranslationAnswer(
            given,
            found["translation_text"],
            found["score"],
            found.get("source_tokens", []),
            found.get("target_tokens", []),
            found.get("alignment"),
            remarks=remarks,
        )


def alignment_map(answer: TranslationAnswer) -> AttentionMap:
    """The alignment of a translation, to be drawn."""
    weights = torch.tensor(answer.alignment).unsqueeze(0)  # (1, T, S)
    return AttentionMap("alignment", [weights], answer.target_tokens, answer.source_tokens)
