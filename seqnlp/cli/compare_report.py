"""What a comparison says: the outcome in words, the tables, the page."""

from typing import Any, NamedTuple

from tabulate import tabulate

from ..training.bar import counted
from ..visualization.comparison import TableRow, comparison_page, plot_comparison
from .compare_runs import Comparison
from .compare_scores import Scores, common_baselines
from .costs import class_of, unit_read


class Matching(NamedTuple):
    """
    What was held equal.

    Attributes:
        match: `parameters`, `flops` or `seconds`.
        target: The count that was matched.
        length: Tokens of a text for which operations are counted.
        minutes: Training time of each run, if that was matched.
        given: The models that exist and were fine-tuned beside the others, which nothing is matched of.
        given_flags: The flags that they alone had.
    """

    match: str
    target: float
    length: int
    minutes: float
    given: tuple[str, ...] = ()
    given_flags: str = ""

    def exceptions(self) -> str:
        """A sentence on the models that exist, if there are any."""
        if not self.given:
            return ""
        flags = f", by {self.given_flags}" if self.given_flags else ""
        return f" {', '.join(self.given)}: with the tokenizer and the size of the model that it starts from{flags}."

    def words(self, read: str) -> str:
        """In words; `read` is what a text consists of, tokens or steps."""
        if self.match == "flops":
            return f"{self.target / 1e6:,.2f} MFLOP for a forward pass over {self.length} {read} each, within 2 %"
        parameters = f"{self.target:,.0f} parameters"
        if self.match == "seconds":
            return f"{self.minutes:g} minutes of training each, at {parameters} within 2 %"
        return f"{parameters} each, within 2 %"


class Measure(NamedTuple):
    """
    How the metric is written.

    Attributes:
        name: Split and metric.
        unit: Its unit, or nothing.
        scale: By what its values are multiplied.
        digits: Decimals that are shown.
        greater_is_better: Whether more is better.
    """

    name: str
    unit: str
    scale: int
    digits: int
    greater_is_better: bool

    @property
    def header(self) -> str:
        """As a column's header."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def shown(self, value: float, interval: float | None = None) -> str:
        """A value, and half its interval if it has one."""
        around = "" if interval is None else f" ± {self.scale * interval:.{self.digits}f}"
        return f"{self.scale * value:.{self.digits}f}{around}"

    def with_unit(self, value: float, interval: float | None = None) -> str:
        """The same with the unit, as in a sentence."""
        return f"{self.shown(value, interval)} {self.unit}".rstrip()

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one as both are shown: what is shown alike is equal."""
        value, other = float(self.shown(value)), float(self.shown(other))
        return value > other if self.greater_is_better else value < other


def measure_of(scores: list[Scores]) -> Measure:
    """How the metric of a comparison is written: shares in percent."""
    score = scores[0].score
    small = score.name[1:2].islower()  # Accuracy, but RMSE and F1
    name = f"{scores[0].split} {score.name[0].lower() if small else score.name[0]}{score.name[1:]}"
    if score.is_share:
        return Measure(name, "%", 100, 1, score.greater_is_better)
    return Measure(name, scores[0].unit, 1, 4, score.greater_is_better)


def best_of(scores: list[Scores], measure: Measure) -> list[Scores]:
    """The architectures that none is better than: several, if their means are shown alike."""
    return [one for one in scores if not any(measure.is_better(other.mean, one.mean) for other in scores)]


def answer(scores: list[Scores], measure: Measure) -> list[str]:
    """The outcome in sentences: who is best, by more than chance or not, and whether a baseline does as well."""
    best = best_of(scores, measure)
    if len(best) == 1:
        shown = measure.with_unit(best[0].mean, best[0].interval)
        sentences = [f"The best {measure.name} is {best[0].architecture}'s, {shown}."]
    else:
        sentences = [f"{_listed(best)} share the best {measure.name}, {measure.with_unit(best[0].mean)}."]
    others = [one for one in scores if one not in best]
    if others and len(scores[0].values) == 1:
        sentences.append("With one seed each, differences may be chance.")
    elif others and len(best) == 1:
        apart = [one for one in others if best[0].is_apart(one)]
        near = [one for one in others if one not in apart]
        if apart:
            sentences.append(f"Its 95 % interval lies apart from that of {_listed(apart)}.")
        if near:
            sentences.append(f"Its 95 % interval overlaps with that of {_listed(near)}: there may be no difference.")
    return [*sentences, *_beside_baseline(scores, measure)]


def _beside_baseline(scores: list[Scores], measure: Measure) -> list[str]:
    """What the best baseline leaves of the outcome, in a sentence or none."""
    baselines = common_baselines(scores)
    if not baselines:
        return []
    name = (max if measure.greater_is_better else min)(baselines, key=baselines.get)
    value = baselines[name]
    baseline = f"the baseline {_spelled(name)}, {measure.with_unit(value)}"
    beaten = [one for one in scores if not measure.is_better(one.mean, value)]
    if len(beaten) == len(scores):
        return [f"No architecture is better than {baseline}."]
    sentences = [f"Not better than {baseline}: {_listed(beaten)}."] if beaten else []
    near = [one for one in scores if one not in beaten and abs(one.mean - value) <= (one.interval or 0.0)]
    if near:
        sentences.append(f"Within the 95 % interval of {_listed(near)} lies {baseline}: there may be no difference.")
    return sentences


def _listed(scores: list[Scores]) -> str:
    *most, last = (one.architecture for one in scores)
    return f"{', '.join(most)} and {last}" if most else last


def _spelled(name: str) -> str:
    return name.replace("_", " ")


def comparison_rows(scores: list[Scores], measure: Measure) -> list[TableRow]:
    """The rows of the table: architectures, then baselines."""
    baselines = common_baselines(scores)
    best = best_of(scores, measure)
    rows = [
        TableRow(
            [
                one.architecture,
                measure.shown(one.mean, one.interval),
                f"{one.parameters:,}",
                f"{one.flops / 1e6:,.2f}",
                f"{one.targets_per_second:,.0f}",
                f"{one.seconds:,.0f}",
                f"{one.memory:,.0f}",
            ],
            is_best=one in best and not any(measure.is_better(value, one.mean) for value in baselines.values()),
        )
        for one in scores
    ]
    for name, value in baselines.items():
        rivals = [*(one.mean for one in scores), *baselines.values()]
        is_best = not any(measure.is_better(rival, value) for rival in rivals)
        rows.append(TableRow([_spelled(name), measure.shown(value), *[""] * 5], is_best, is_baseline=True))
    return rows


def _notes(first: Scores) -> list[str]:
    """How to read the numbers."""
    seeds = len(first.values)
    around = f"± is half the 95 % interval of the mean over {seeds} seeds (Student's t): weights, order and dropout."
    return [
        around if seeds > 1 else "One seed: no interval.",
        f"The model of each run was chosen on validation; the {first.split} split was looked at once.",
        "MFLOP counts the matrix products of one forward pass; a step of training takes about three times as many.",
        "A target is a token or a step that is predicted, or a text that is classified. Speed is the median over the "
        "runs, memory the most that a process held (on a GPU if there is one); both were measured on this machine "
        "beside whatever else ran on it.",
    ]


def _details(scores: list[Scores], commands: list[str], record: dict[str, Any]) -> dict[str, str]:
    hardware = ", ".join(f"{name}: {value}" for name, value in record["hardware"].items())
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    sizes = (
        f"{one.architecture}: {', '.join(f'{_spelled(field)} {value}' for field, value in one.sizes.items())}"
        for one in scores
    )
    return {
        "Commands": "\n".join(commands),
        "Sizes": "\n".join(sizes),
        "Machine and versions": f"{hardware}\n{versions}",
    }


def write_report(
    comparison: Comparison, scores: list[Scores], matching: Matching, commands: list[str], record: dict[str, Any]
) -> str:
    """
    Write `compare.md`, `compare.html` and `compare.png`.

    Args:
        comparison: What was compared.
        scores: Of each architecture.
        matching: What was held equal.
        commands: Those that make every run again.
        record: Of one of the runs, for the data, the machine and the versions.

    Returns:
        The text of `compare.md`.
    """
    measure, first, seeds = measure_of(scores), scores[0], len(scores[0].values)
    read = unit_read(class_of(record["model"]["class"]))
    equal = matching.words(read)
    conditions = (
        f"{comparison.recipe.stem} on {record['dataset']['name']}: same data, tokenizer, schedule and metric. "
        f"{equal}; {counted(seeds, 'seed')}. {'More' if first.score.greater_is_better else 'Less'} is better."
        f"{matching.exceptions()}"
    )
    headers = ["architecture", measure.header, "parameters", f"MFLOP / {matching.length} {read}"]
    headers += ["targets / s", "training, s", "memory, MiB"]
    finding, *others = answer(scores, measure)
    title, more = finding.removesuffix("."), " ".join(others)
    rows, notes = comparison_rows(scores, measure), _notes(first)
    drawn_under = f"{equal}; fine-tuned models as they are" if matching.given else equal
    picture = plot_comparison(
        [_drawn(one, measure) for one in scores],
        measure.header,
        _curve_header(first, measure),
        f"{title} ({drawn_under})",
    )
    details = _details(scores, commands, record)
    page = comparison_page(title, more, conditions, headers, rows, picture, notes, details)
    tables = [
        tabulate([row.cells for row in rows], headers, tablefmt="github", disable_numparse=True),
        "Sizes of the models:",
        tabulate([{"architecture": one.architecture, **one.sizes} for one in scores], "keys", tablefmt="github"),
    ]
    listed = "\n".join(f"- {note}" for note in notes)
    text = "\n\n".join(filter(None, [f"# {title}", conditions, more, *tables, listed])) + "\n"
    (comparison.folder / "compare.md").write_text(text, encoding="utf-8")
    (comparison.folder / "compare.html").write_text(page, encoding="utf-8")
    (comparison.folder / "compare.png").write_bytes(picture)
    return text


def _curve_header(one: Scores, measure: Measure) -> str:
    """The metric of the learning curves, with its unit where that is known."""
    name = _spelled(one.curve_metric)
    return f"{name}, {measure.unit}" if one.curve_metric == one.metric and measure.unit else name


def _drawn(one: Scores, measure: Measure) -> dict[str, Any]:
    """An architecture as the picture takes it, in the measure's unit."""
    scale = measure.scale if one.curve_metric == one.metric else 1
    return {
        "architecture": one.architecture,
        "values": [measure.scale * value for value in one.values],
        "mean": measure.scale * one.mean,
        "interval": None if one.interval is None else measure.scale * one.interval,
        "curves": [[(epoch, scale * value) for epoch, value in curve] for curve in one.curves],
        "targets_per_second": one.targets_per_second,
    }
