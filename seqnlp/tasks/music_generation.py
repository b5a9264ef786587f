"""Music: tunes in ABC notation, read and written as text."""

import html
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..data import (
    HeldOutSegments,
    LanguageModelCollator,
    LoadedData,
    Melody,
    ReadTune,
    TuneArguments,
    form_of,
    key_of,
    load_tunes,
    normalize_form,
    notes_of,
    prompt_for,
    rhythms_of,
    scale_of,
    to_abc,
    values_of,
    with_transpositions,
)
from ..extras import install
from ..metrics import LANGUAGE_MODELING_SCORES, Score
from ..metrics.tune_statistics import (
    STATISTICS,
    STATISTICS_SCORES,
    FormFinder,
    compare_tunes,
    keep_to_key,
    mean_histogram,
)
from ..metrics.tune_validity import TUNE_SCORES, TuneCheck, check_tune, copied_share, valid_share
from ..tokenization import encode_documents
from ..training import TrainingLoop
from ..training.flags import flag, flag_as_in
from ..visualization.music import save_tune, sound_remark
from ..visualization.page import data_uri, drawing_of, folded, picture_of
from ..visualization.sheet_music import save_sheet_music
from ..visualization.tune_histograms import Panel, plot_tune_histograms
from .arguments import WritingArguments
from .base import OF_ITS_DATA, Evaluator, Outcome, PreparedData
from .language_modeling import LanguageModelArguments, LanguageModeling, SampleArguments, count_spelled
from .reporting.results import decimals_over_seeds, of_baseline, spread
from .reporting.run_page import is_of_this_run
from .writing import write_texts


GENERATED = "generated"
"""The "split" of what a model wrote by itself."""

COPIED = Score(
    "copied",
    "Copied",
    "share of the runs of 12 characters in the tunes it writes ({sample}) that occur in a training tune, in any key "
    "that it was read in",
    greater_is_better=False,
    is_share=True,
    digits=1,
    is_sampled=True,
)
MOST_PROMPT = 64
"""Tokens of what a tune begins with, at most: metre, unit and key."""
MOST_CHECKED = 1000
"""Tunes that are written anew, at most, where a published model is verified."""
COMPARED = 100
"""Held-out tunes that stand beside what a model writes, at most, unless it writes more."""
HISTOGRAMS = "tune_statistics.png"
TRAINING_TUNES = f"training tunes ({GENERATED})"
"""What a report calls what training tunes would get for being generated."""


@dataclass
class MusicModelArguments(LanguageModelArguments):
    """What is trained, and the tokenizer that makes its inputs."""

    tokenizer_type: str = flag_as_in(
        LanguageModelArguments,
        "tokenizer_type",
        default="char",
        help="The kind of tokenizer trained on the training tunes.",
    )
    vocab_size: int = flag_as_in(LanguageModelArguments, "vocab_size", default=1000)
    max_length: int = flag_as_in(
        LanguageModelArguments,
        "max_length",
        default=800,
        help="Largest number of tokens of a tune that are read or written.",
    )


@dataclass
class TuneWritingArguments(WritingArguments):
    """The tunes that the trained model writes."""

    key: str | None = flag(None, "Key of the tunes to write, e.g. D, Emin, Ador.", "after training")
    metre: str | None = flag(
        None, "Metre of these tunes, e.g. 6/8; drawn by the model if not given.", "after training"
    )
    form: str | None = flag(
        None,
        "Form of these tunes, by its name in lines R: of the training tunes, e.g. jig, reel; key and metre are the "
        "usual ones of that form if not given.",
        "after training",
    )
    num_tunes: int = flag(
        100, "Number of tunes to write; the share of valid ones is reported.", "after training", "[0, 1000000]"
    )
    num_files: int = flag(
        3, "Number of tunes to save as .abc, .mid, .wav, .png and .svg.", "after training", "[0, 1000]"
    )
    temperature: float = flag_as_in(SampleArguments, "temperature")


class MusicGeneration(LanguageModeling):
    """Tunes in ABC notation, character by character."""

    name = "music_generation"
    title = "Music generation"
    use = "Writing tunes in the notation of its training data; teaching and study of sequence models."
    compared_with = "the tunes that it was trained on"
    limits = (OF_ITS_DATA, "A tune may resemble one of the training data closely.")
    longest_input = "It was trained on tunes of up to {} tokens, and on longer ones in pieces."
    pictures = {HISTOGRAMS: "Intervals, rhythms and phrases of the tunes it wrote, beside those of people's"}
    widget = ("M:6/8\nL:1/8\nK:Gmaj\n", "M:4/4\nL:1/8\nK:Dmaj\n")

    data_arguments = TuneArguments
    model_arguments = MusicModelArguments
    generation_arguments = TuneWritingArguments
    example_flags = "--train_file tunes.abc --transpositions 3 --metre 6/8 --key G"
    default_dataset = "sample:music21"
    scores = (*LANGUAGE_MODELING_SCORES, *TUNE_SCORES, COPIED, *STATISTICS_SCORES)
    written = {GENERATED: f"tunes are judged by music21, which is not installed: {install('music')}"}

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.segments = {"context": 0, "stride": self.model_args.max_length}
        self._training_texts: list[str] | None = None
        self._finder: FormFinder | None = None
        self._melodies: dict[str, list[Melody]] = {}  # by set of tunes
        self._remarks: dict[str, str] = {}  # on tunes that were kept, by the names of their files
        arguments = self.generation_args  # refused before anything is read, or not at all
        if arguments.form is None:
            prompt_for(arguments.key, arguments.metre)
        else:
            normalize_form(arguments.form)
            prompt_for(arguments.key, arguments.metre or "4/4")

    @classmethod
    def samples_of(cls, record: dict[str, Any]) -> int:
        """The tunes that were written, or as many as are written anew."""
        return min(max(1, int(record["metrics"][GENERATED]["tunes"])), MOST_CHECKED)

    @classmethod
    def terms_of(cls, record: dict[str, Any], split: str, key: str) -> dict[str, Any]:
        """Which tunes were judged."""
        scores = record["metrics"][split]
        drawn = f", drawn at temperature {scores['temperature']}" if "temperature" in scores else ""
        return {"sample": f"{scores.get('tunes', 'their number is not recorded')}{drawn}"}

    @classmethod
    def from_record(cls, record: dict[str, Any], **changes: Any):
        """With as many tunes as the record claims shares of, and not too many."""
        if GENERATED in record.get("metrics", {}):
            changes["num_tunes"] = cls.samples_of(record)
        return super().from_record(record, **changes)

    @property
    def carries_state(self) -> bool:
        """Never: a tune is read whole."""
        return False

    @property
    def positions(self) -> int:
        """Of the longest tune, its `<s>` and what it may be asked to begin with."""
        return self.model_args.max_length + MOST_PROMPT

    def count_tokens(self, loop: TrainingLoop, data: PreparedData) -> dict[str, int]:
        """What is predicted of the tunes of each split."""
        return {split: tunes.num_targets for split, tunes in data.examples.items()}

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """The first line of a tune: its metre."""
        return ["--text", self.widget[0].splitlines()[0]]

    def load(self) -> LoadedData:
        """Tunes in one form, in the column `text`."""
        return load_tunes(self.data_args)

    def training_texts(self, loaded: LoadedData) -> list[str]:
        """The training tunes, and the same in other keys."""
        if self._training_texts is None:
            self._training_texts = with_transpositions(loaded.splits["train"], self.data_args.transpositions)
        return self._training_texts

    def prepare(
        self, loaded: LoadedData, processor: PreTrainedTokenizerBase, splits: Iterable[str] | None = None
    ) -> PreparedData:
        """
        A tune is a row, from `<s>` to `</s>`, whose characters and `</s>` are predicted.

        Raises:
            DataError: Before a training whose tunes are to begin with what no training tune has.
        """
        if self.generation_args.num_tunes and splits is None:
            self.prompt(loaded)
        examples, counts = {}, {}
        for split in splits or loaded.splits:
            texts = self.training_texts(loaded) if split == "train" else list(values_of(loaded.splits[split], "text"))
            ids = encode_documents(processor, texts)
            ends = processor.bos_token_id, processor.eos_token_id
            examples[split] = HeldOutSegments(ids, *ends, **self.segments)
            if split != "train":
                counts[split] = count_spelled(processor, texts, ids)
                counts[split]["tokens"] = examples[split].num_targets
        details = {"training_tunes": len(self.training_texts(loaded))}
        collator = LanguageModelCollator(processor.pad_token_id)
        return PreparedData(loaded, processor, examples, collator, details, counts)

    def evaluate(self, evaluator: Evaluator, data: PreparedData, splits: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Of each split, and of tunes written anew where `splits` holds `generated` and music21 is installed."""
        splits = list(splits)
        found = super().evaluate(evaluator, data, [split for split in splits if split != GENERATED])
        if GENERATED in splits and importlib.util.find_spec("music21"):
            split = next((one for one in splits if one not in ("validation", GENERATED)), "validation")
            found[GENERATED] = self.judge(self.write(evaluator, data), data, split)[0]
        return found

    def prompt(self, loaded: LoadedData) -> str:
        """What each tune that is written begins with."""
        arguments = self.generation_args
        return prompt_for(arguments.key, arguments.metre, self.training_texts(loaded), arguments.form)

    def write(self, evaluator: Evaluator, data: PreparedData) -> list[str]:
        """Tunes by the model, in the form of the data. Called by every process."""
        arguments, length = self.generation_args, self.model_args.max_length
        prompt = self.prompt(data.loaded)
        return write_texts(evaluator, data.processor, prompt, arguments.num_tunes, length, arguments.temperature)

    def judge(self, tunes: list[str], data: PreparedData, split: str) -> tuple[dict[str, Any], list[TuneCheck]]:
        """
        How many of some tunes are valid, how much of them was copied, how like the held-out tunes of a split they are,
        and how well they keep to key and form; and what was found of each.
        """
        read = [ReadTune(to_abc(tune)) for tune in tunes]
        checks = [check_tune(tune) for tune in read]
        copied = copied_share(notes_of(tunes), notes_of(self.training_texts(data.loaded)), 12)
        self._melodies[GENERATED] = melodies_of(tunes, read)
        alike, overlaps = compare_tunes(self._melodies[GENERATED], self._held_out(data, split))
        scores = {**valid_share(checks), "copied": copied, **alike, **keep_to_key(self._melodies[GENERATED])}
        scores |= self._keep_to_form(tunes, data)
        scores["compared"] = len(self._melodies[GENERATED])
        return {**scores, "overlaps": overlaps, "temperature": self.generation_args.temperature}, checks

    def _some(self, tunes: Iterable[str], at_least: int = 0) -> list[str]:
        """Of some tunes as many as the model writes, from all over, since they may lie by their books."""
        rows = list(tunes)
        most = max(at_least, self.generation_args.num_tunes or COMPARED)
        return [rows[place * len(rows) // most] for place in range(most)] if len(rows) > most else rows

    def _held_out(self, data: PreparedData, split: str) -> list[Melody]:
        if split not in self._melodies:
            tunes = self._some(values_of(data.loaded.splits[split], "text"), COMPARED)
            self._melodies[split] = melodies_of(tunes, [ReadTune(to_abc(tune)) for tune in tunes])
        return self._melodies[split]

    def _keep_to_form(self, tunes: list[str], data: PreparedData) -> dict[str, float]:
        """The share of tunes with a form in which it is found; nothing where training tunes have less than two."""
        if self._finder is None:
            known = {text: form for text in values_of(data.loaded.splits["train"], "text") if (form := form_of(text))}
            if len(set(known.values())) < 2:
                return {}
            self._finder = FormFinder(map(rhythms_of, known), list(known.values()))
        with_form = {text: form for text in tunes if (form := form_of(text))}
        if not with_form:
            return {}
        return {"in_form": self._finder.share_found(map(rhythms_of, with_form), list(with_form.values()))}

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Any) -> str:
        """The beginning of a tune."""
        arguments = self.generation_args
        if arguments.num_tunes == 0:
            return ""
        return self.continuation(evaluator, data, self.prompt(data.loaded), arguments.temperature)

    def use_model(self, evaluator: Evaluator, outcome: Outcome) -> None:
        """Write tunes, judge them, and keep some to hear and to see."""
        if self.generation_args.num_tunes == 0:
            return
        written = self.write(evaluator, outcome.data)
        outcome.run.attempt("The tunes", lambda: self._keep(written, outcome))

    def _keep(self, written: list[str], outcome: Outcome) -> None:
        abc = [to_abc(text, number) for number, text in enumerate(written, start=1)]
        outcome.file("tunes.abc").write_text("\n".join(abc), encoding="utf-8")
        outcome.run.record.metrics[GENERATED], checks = self.judge(written, outcome.data, outcome.split)
        # Valid ones first; of the others those that can be played.
        order = sorted(range(len(abc)), key=lambda row: not checks[row].is_valid)
        parsed = (ReadTune(abc[row]) for row in order if checks[row].parses)
        played = islice((tune for tune in parsed if tune.melody), self.generation_args.num_files)
        for number, tune in enumerate(played, start=1):
            path = outcome.file(f"tune-{number}")
            save_tune(tune, path)
            if remark := sound_remark(tune.melody):
                self._remarks[path.name] = remark
                outcome.run.tell(f"\n{path.name}: {remark}")
            outcome.run.attempt(f"The sheet music of {path.name}", partial(save_sheet_music, tune.abc, path))
            outcome.run.tell(f"\n{tune.abc}")

    def texts(self, outcome: Outcome) -> dict[str, str]:
        """All the tunes, whether they can be played or not."""
        return (
            {"All tunes": outcome.file("tunes.abc").read_text(encoding="utf-8")}
            if self.generation_args.num_tunes
            else {}
        )

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, Any]]]:
        """
        How many training tunes are valid, how like held-out tunes they are, and how much of held-out tunes occurs in
        them; how well held-out tunes keep to key and form.
        """
        known, held_out = (list(values_of(data.loaded.splits[part], "text")) for part in ("train", split))
        known = self._some(known)
        melodies, read = self._held_out(data, split), [ReadTune(to_abc(tune)) for tune in known]
        self._melodies["train"] = melodies_of(known, read)
        alike, overlaps = compare_tunes(self._melodies["train"], melodies)
        valid = valid_share(check_tune(tune) for tune in read)
        copied = copied_share(notes_of(held_out), notes_of(self.training_texts(data.loaded)), 12)
        kept = {**keep_to_key(melodies), **self._keep_to_form(held_out, data)}
        return {
            "training_tunes": {
                GENERATED: {**valid, **alike, "overlaps": overlaps, "compared": len(self._melodies["train"])},
                split: {"copied": copied},
            },
            "held_out_tunes": {GENERATED: kept},
        }

    def draw(self, outcome: Outcome) -> None:
        """Histograms of what the model wrote, of held-out and of training tunes."""
        sets = {"written": GENERATED, "held out": outcome.split, "training": "train"}
        if not all(self._melodies.get(one) for one in sets.values()):
            return
        found = outcome.run.record.metrics[GENERATED]["overlaps"]
        known = outcome.run.record.baselines.get("training_tunes", {}).get(GENERATED, {}).get("overlaps", {})
        panels = [
            Panel(
                statistic.name,
                f"overlap {found[statistic.key]:.0%}, training {known[statistic.key]:.0%}",
                statistic.is_ordered,
                [mean_histogram(map(statistic.histogram, self._melodies[one])) for one in sets.values()],
            )
            for statistic in STATISTICS
            if statistic.key in found and statistic.key in known
        ]
        labels = [f"{label} ({len(self._melodies[one]):,})" for label, one in sets.items()]
        title = "Tunes that the model wrote, beside tunes that people wrote"
        plot_tune_histograms(panels, labels, outcome.file(HISTOGRAMS), title)

    def page_parts(self, outcome: Outcome) -> list[str]:
        """A player, the notes, the piano roll and the notation of each tune that was kept."""
        parts = []
        for path in sorted(outcome.file(".").glob("tune-*.abc"), key=lambda path: (len(path.name), path.name)):
            if not is_of_this_run(path, outcome):
                continue
            abc = path.read_text(encoding="utf-8")
            title = next((line[2:].strip() for line in abc.splitlines() if line.startswith("T:")), "")
            parts.append(f"<h3>{html.escape(f'{path.stem}: {title}' if title else path.stem)}</h3>")
            sound = data_uri(path.with_suffix(".wav").read_bytes(), "audio/wav")
            parts.append(f'<audio controls src="{sound}" aria-label="{html.escape(path.stem)}"></audio>')
            if remark := self._remarks.get(path.stem):
                parts.append(f"<p>{html.escape(remark)}</p>")
            notes = path.with_suffix(".svg")
            if is_of_this_run(notes, outcome):
                parts.append(drawing_of(notes.read_bytes(), f"Sheet music of {path.stem}"))
            parts.append(picture_of(path.with_suffix(".png").read_bytes(), f"Piano roll of {path.stem}"))
            parts.append(folded("In ABC notation", abc))
        return ["<h2>Tunes</h2>", *parts] if parts else []

    def report(self, outcome: Outcome) -> str:
        """Scores by split, and of what the model wrote beside the tunes of the data."""
        results = {**outcome.run.record.metrics}
        for name, parts in outcome.run.record.baselines.items():
            results |= {f"{name.replace('_', ' ')} ({split})": scores for split, scores in parts.items()}
        lines = []
        for name, found in results.items():
            known = [(self.score_of(key), value) for key, value in found.items()]
            lines.append(
                f"{name}: " + ", ".join(f"{score.name} {score.shown(value)}" for score, value in known if score)
            )
        return "\n".join([*lines, *self._overlaps(results)])

    def _overlaps(self, results: dict[str, dict[str, Any]]) -> list[str]:
        """The overlap of each statistic with held-out tunes, a line each."""
        found, known = (results.get(name, {}).get("overlaps", {}) for name in (GENERATED, TRAINING_TUNES))
        rows = [
            (one.name, f"{found[one.key]:.1%}", f"{known[one.key]:.1%}" if one.key in known else "")
            for one in STATISTICS
            if one.key in found
        ]
        head = ("overlap with held-out tunes in", "written", "training tunes")
        return ["", *(f"{name:<52} {left:>8} {right:>15}" for name, left, right in (head, *rows))] if rows else []

    @classmethod
    def results_row(cls, records: list[dict], split: str) -> dict[str, str]:
        """Bits per character; the share of valid tunes beside that of training tunes; what was copied."""
        tunes = [record["metrics"][GENERATED] for record in records]
        known = {
            "valid": spread(of_baseline(records, "training_tunes", GENERATED, "valid")),
            "copied": spread(of_baseline(records, "training_tunes", split, "copied")),
        }
        known = {key: f" ({shown})" if shown else "" for key, shown in known.items()}
        valid = f"{spread(tune['valid'] for tune in tunes)} of {tunes[0]['tunes']}"
        return {
            "validation": decimals_over_seeds(records, "validation", "bits_per_character"),
            "bits per character": f"{decimals_over_seeds(records, split, 'bits_per_character')} ({split})",
            "valid tunes, % (training tunes)": f"{valid}{known['valid']}",
            "copied runs, % (held-out tunes)": f"{spread(tune['copied'] for tune in tunes)}{known['copied']}",
        }

    @classmethod
    def in_short(cls, records: list[dict], split: str) -> tuple[str, str]:
        """The share of valid tunes, with that of the tunes which people wrote."""
        tunes = [record["metrics"][GENERATED] for record in records]
        valid = spread(tune["valid"] for tune in tunes)
        known = spread(of_baseline(records, "training_tunes", GENERATED, "valid"))
        return f"valid tunes, %: {valid} of {tunes[0]['tunes']}", f"{known} (training tunes)" if known else ""


def melodies_of(tunes: Iterable[str], read: Iterable[ReadTune]) -> list[Melody]:
    """Tunes in the form of the data, as they sound: those that music21 reads and that name a key."""
    melodies = []
    for tune, found in zip(tunes, read, strict=True):
        key = scale_of(key_of(tune) or "")
        if key is not None and not found.problem and found.melody is not None:
            melodies.append(found.melody.in_key(*key))
    return melodies
