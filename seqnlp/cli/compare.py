"""`seqnlp compare`: the same recipe with each architecture, at equal parameters, operations or time."""

import dataclasses
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from scipy.stats import t as student
from tabulate import tabulate

from .. import models
from ..visualization.comparison import comparison_page, plot_comparison
from .costs import class_of, count_flops
from .sizes import ARCHITECTURES, Sizes, count_parameters, match_sizes, parse_list, with_fields


RECURRENT = (models.RecurrentConfig, models.RecurrentSeq2SeqConfig)
TRANSFORMERS = (models.TransformerConfig, models.TransformerDecoderConfig, models.TransformerEncoderConfig)
SIZE_FIELDS = ("hidden_size", "intermediate_size", "embedding_size")
UNITS = {"parameters": "parameters", "seconds": "parameters", "flops": "operations"}
IN_UNITS_OF_THE_DATA = ("mae", "rmse", "rmse_last")


class CompareError(ValueError):
    """A comparison that cannot be made; the message says why and what would do."""


@dataclasses.dataclass
class Comparison:
    """
    What is compared.

    Attributes:
        config: The YAML.
        recipe: The recipe that it names.
        overrides: The YAML's fields of the model's configuration.
        flags: Further flags of the recipe.
        folder: Where runs and results go.
        hyperparameters: The YAML's other keys.
    """

    config: Path
    recipe: Path
    overrides: dict[str, Any]
    flags: list[str]
    folder: Path
    hyperparameters: dict[str, Any]


def read_comparison(config: Path, flags: str, folder: Path | None) -> Comparison:
    """
    Find the recipe that a YAML names, beside the YAML's folder or in `recipes/` of the working folder.

    Raises:
        CompareError: If the YAML cannot be read or names no recipe that is there.
    """
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CompareError(f"{config} cannot be read: {' '.join(str(error).split())[:200]}.") from error
    name = content.pop("recipe", None) if isinstance(content, dict) else None
    if not name:
        raise CompareError(f"{config} names no recipe: add a line such as `recipe: sentiment_analysis`.")
    places = [config.resolve().parent.parent / f"{name}.py", Path("recipes") / f"{name}.py"]
    recipe = next((place for place in places if place.is_file()), None)
    if recipe is None:
        raise CompareError(f"{config}: there is no recipe {name!r}; looked for {' and '.join(map(str, places))}.")
    overrides = content.pop("config_overrides", None) or {}
    if isinstance(overrides, str):
        overrides = {k.strip(): yaml.safe_load(v) for k, v in (part.split("=", 1) for part in overrides.split(","))}
    folder = folder or Path("outputs") / f"compare_{config.stem}"
    return Comparison(config, recipe, overrides, shlex.split(flags), folder, content)


def overrides_for(architecture: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """The fields that mean something to an architecture: a Transformer has no forget gate, an LSTM no heads."""

    def fields(classes) -> set[str]:
        return {field.name for config_class in classes for field in dataclasses.fields(config_class)}

    own, other = (RECURRENT, TRANSFORMERS) if architecture != "transformer" else (TRANSFORMERS, RECURRENT)
    foreign = fields(other) - fields(own)
    return {name: value for name, value in overrides.items() if name not in foreign}


def launch(comparison: Comparison, architecture: str, overrides: dict[str, Any], folder: Path, *flags: str) -> dict:
    """
    Run the recipe through `accelerate launch`, unless its finished record with the same settings is there, and go on
    with it where it was interrupted. Returns its record.

    Raises:
        CompareError: If it fails; with its last line.
    """
    written = ",".join(f"{name}={json.dumps(value)}" for name, value in overrides.items())
    asked = {"architecture": architecture, "config_overrides": written or None}
    asked |= {name.lstrip("-"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}
    record = read_record(folder / "run.json")
    settings_file = folder / "compare.json"
    settings = {"asked": asked, "flags": comparison.flags, "yaml": str(comparison.hyperparameters)}
    same = settings_file.is_file() and json.loads(settings_file.read_text(encoding="utf-8")) == settings
    if record is not None and same:
        return record
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)
    settings_file.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    unfinished = (folder / "checkpoints" / "unfinished").is_file() and any(folder.glob("checkpoints/step-*"))
    again = ["--resume_from_checkpoint", "latest"] if same and unfinished else ["--overwrite_output_dir", "true"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    one_process = comparison.recipe.parent / "accelerate" / "one_process.yaml"
    launcher += ["--config_file", str(one_process)] if one_process.is_file() else []
    command = [*launcher, str(comparison.recipe), "--config", str(comparison.config), "--architecture", architecture]
    # An empty one too, where the YAML has fields and none of them is for this architecture.
    command += ["--config_overrides", written] if written or comparison.overrides else []
    command += ["--output_dir", str(folder), *comparison.flags, *flags, *again]
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ}).returncode
    record = read_record(folder / "run.json")
    if code != 0 or record is None:
        lines = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        reason = next((line for line in reversed(lines) if line.startswith("error: ")), (lines or ["no output"])[-1])
        raise CompareError(
            f"{comparison.recipe.stem}, {architecture}: {reason.removeprefix('error: ').strip()[:300]} (all its "
            f"output: {folder / 'output.txt'})"
        )
    return record


def read_record(path: Path) -> dict | None:
    """A finished run's record, if it is there and whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def size_models(
    probes: dict[str, dict], match: str, length: int, target: float | None
) -> tuple[float, dict[str, Sizes]]:
    """
    Sizes for each architecture, so that all count to the target, or to what the first one counts to as it stands.

    Args:
        probes: A record for each architecture, from which class and configuration are taken.
        match: What is to be equal.
        length: Tokens of a text, for the operations.
        target: The count to match.
    """
    sizes = {}
    for architecture, probe in probes.items():
        model_class = class_of(probe["model"]["class"])
        config = model_class.config_class(**probe["model"]["config"])

        def count(fields: dict[str, int], model_class=model_class, config=config) -> float:
            changed = with_fields(config, **fields) if fields else config
            if match == "flops":
                return count_flops(model_class, changed, length)
            return count_parameters(lambda: model_class(changed))

        if target is None:  # the first architecture stays as the YAML has it
            target = count({})
            sizes[architecture] = Sizes({}, target)
            continue
        is_tied = architecture != "transformer" and (
            getattr(config, "tie_word_embeddings", False) or not hasattr(config, "embedding_size")
        )
        heads = getattr(config, "num_attention_heads", 1)
        sizes[architecture] = match_sizes(architecture, count, target, heads, is_tied, unit=UNITS[match])
    return target, sizes


def summarise(architecture: str, records: list[dict], length: int) -> dict[str, Any]:
    """One row: quality over the seeds, cost, speed and memory."""
    first = records[0]
    split = "test" if "test" in first["metrics"] else "validation"
    wanted = first["hyperparameters"]["metric_for_best_model"].removeprefix("validation_")
    metric = wanted if wanted in first["metrics"][split] else next(iter(first["metrics"][split]))
    values = [record["metrics"][split][metric] for record in records]
    interval = None
    if len(values) > 1:
        interval = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    name = f"validation_{wanted}"
    model_class = class_of(first["model"]["class"])
    speeds = [entry["targets_per_second"] for r in records for entry in r["history"] if "targets_per_second" in entry]
    memory = [record.get("memory", {}) for record in records]
    return {
        "architecture": architecture,
        "split": split,
        "metric": metric,
        "unit": _unit(metric, first["hyperparameters"]),
        "curve_metric": wanted,
        "greater_is_better": first["hyperparameters"]["greater_is_better"],
        "values": values,
        "mean": statistics.mean(values),
        "interval": interval,
        "parameters": first["model"]["parameters"],
        "flops": count_flops(model_class, model_class.config_class(**first["model"]["config"]), length),
        "targets_per_second": statistics.median(speeds) if speeds else 0.0,
        "seconds": statistics.mean(record["seconds"]["training"] for record in records),
        "memory": max((m.get("gpu", m.get("resident", 0.0)) for m in memory), default=0.0),
        "curves": [[(e["epoch"], e[name]) for e in r["history"] if name in e] for r in records],
        "sizes": {
            field: first["model"]["config"].get(field) for field in SIZE_FIELDS if field in first["model"]["config"]
        },
        "baselines": {key: parts[split].get(metric) for key, parts in first["baselines"].items() if split in parts},
    }


def compare(
    config: Annotated[Path, typer.Argument(metavar="YAML", help="One of recipes/configs, which names its recipe.")],
    architectures: Annotated[
        str, typer.Option("--architectures", help="Which ones; the first sets the size.")
    ] = ",".join(ARCHITECTURES),
    match: Annotated[
        Literal["parameters", "flops", "seconds"],
        typer.Option(
            "--match", help="What is equal: parameters, operations a text, or training time at equal parameters."
        ),
    ] = "parameters",
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each architecture.", min=1)] = 3,
    first_seed: Annotated[int, typer.Option("--first_seed", help="The first seed.")] = 1,
    target: Annotated[
        float | None, typer.Option("--target", help="Size to match; the first architecture's if not given.")
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="Training time of each run with --match seconds.", min=0.01)
    ] = 5.0,
    length: Annotated[
        int, typer.Option("--length", help="Tokens of a text for which operations are counted.", min=1)
    ] = 64,
    flags: Annotated[
        str, typer.Option("--flags", help="Further flags of the recipe, e.g. '--max_train_samples 500'.")
    ] = "",
    output_dir: Annotated[Path | None, typer.Option("--output_dir", help="outputs/compare_NAME if not given.")] = None,
) -> None:
    """
    The same recipe with each architecture: same data, tokenizer and metric, sizes matched within 2 %.

    Starts the recipe that the YAML names through accelerate launch, once for each architecture and seed. What has
    finished is not run again, and what was interrupted goes on, so the command can be repeated. Writes compare.md,
    compare.html (one page that opens offline) and compare.png.

    Example: seqnlp compare recipes/configs/sentiment_sst2_sentences.yaml --architectures lstm,transformer --seeds 3
    """
    kinds = parse_list(architectures, ARCHITECTURES, "--architectures")
    comparison = read_comparison(config, flags, output_dir)
    probes = {}
    for kind in kinds:  # one step each, to learn class, vocabulary and other sizes
        typer.echo(f"{kind}: one step, to know the model")
        overrides = overrides_for(kind, comparison.overrides)
        probes[kind] = launch(
            comparison, kind, overrides, comparison.folder / "probes" / kind, "--max_train_steps", "1"
        )
    target, sizes = size_models(probes, match, length, target)
    timed = ["--max_train_minutes", str(minutes)] if match == "seconds" else []
    rows, commands = [], []
    for kind in kinds:
        overrides = {**overrides_for(kind, comparison.overrides), **sizes[kind].fields}
        records = []
        for seed in range(first_seed, first_seed + seeds):
            folder = comparison.folder / f"{kind}-{seed}"
            typer.echo(f"{kind}, seed {seed}: {sizes[kind].count:,.0f} {UNITS[match]}")
            records.append(launch(comparison, kind, overrides, folder, "--seed", str(seed), *timed))
            commands.append(f"accelerate launch {records[-1]['command']}")
        rows.append(summarise(kind, records, length))
    write_results(comparison, rows, match, target, length, minutes, commands, records[-1])
    typer.echo((comparison.folder / "compare.md").read_text(encoding="utf-8"))
    typer.echo(f"The page to show is {comparison.folder / 'compare.html'}.")


def write_results(comparison, rows, match, target, length, minutes, commands, record) -> None:
    """Write the table, the picture and the page."""
    measure, scale, digits = _scale(rows)
    read = "steps" if record["model"]["class"].endswith("ForTimeSeriesPrediction") else "tokens"
    headers = ["architecture", measure, "parameters", f"MFLOP / {length} {read}"]
    headers += ["targets / s", "training, s", "memory, MiB", "sizes"]
    cells, kinds = _cells(rows, scale, digits)
    equal = {
        "parameters": f"{target:,.0f} parameters each, within 2 %",
        "flops": f"{target / 1e6:,.2f} MFLOP for a forward pass over {length} {read} each, within 2 %",
        "seconds": f"{minutes:g} minutes of training each, at {target:,.0f} parameters within 2 %",
    }[match]
    seeds, split = len(rows[0]["values"]), rows[0]["split"]
    where = f"{comparison.recipe.stem} on {record['dataset']['name']}"
    better = "More" if rows[0]["greater_is_better"] else "Less"
    matching = (
        f"{where}: same data, tokenizer, schedule and metric. {equal}; {seeds} seed{'s' * (seeds > 1)}. "
        f"{better} is better."
    )
    answer = _answer(rows, measure, scale, digits)
    notes = [
        f"± is half the 95 % interval of the mean over {seeds} seeds (Student's t): weights, order and dropout."
        if seeds > 1
        else "One seed: no interval.",
        f"The model of each run was chosen on validation; the {split} split was looked at once.",
        "MFLOP counts the matrix products of one forward pass; a step of training takes about three times as many.",
        "A target is a token or a step that is predicted, or a text that is classified. Speed is the median over the "
        "runs, memory the most that a process held (on a GPU if there is one); both were measured on this machine "
        "beside whatever else ran on it.",
    ]
    hardware = ", ".join(f"{name}: {value}" for name, value in record["hardware"].items())
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    details = {
        "Commands": "\n".join(commands),
        "Sizes": "\n".join(f"{cell[0]}: {cell[-1]}" for cell in cells[: len(rows)]),
        "Machine and versions": f"{hardware}\n{versions}",
    }
    title = f"{', '.join(row['architecture'] for row in rows)} side by side"
    shown = [
        {**row, "mean": scale * row["mean"], "interval": row["interval"] and scale * row["interval"]}
        | {"values": [scale * value for value in row["values"]]}
        for row in rows
    ]
    picture = plot_comparison(shown, measure, rows[0]["curve_metric"], equal)
    # On the page the sizes are folded away, so that the table fits a window.
    narrow = headers[:-1], [row[:-1] for row in cells]
    page = comparison_page(title, answer, matching, *narrow, kinds, picture, notes, details)
    table = tabulate(cells, headers, tablefmt="github", disable_numparse=True)
    text = f"# {title}\n\n{matching}\n\n{answer}\n\n{table}\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"
    folder = comparison.folder
    (folder / "compare.md").write_text(text, encoding="utf-8")
    (folder / "compare.html").write_text(page, encoding="utf-8")
    (folder / "compare.png").write_bytes(picture)


def _scale(rows: list[dict[str, Any]]) -> tuple[str, int, int]:
    """What is measured, in words with its unit; by what its values are multiplied; and the decimals that are shown."""
    measure = f"{rows[0]['split']} {rows[0]['metric']}"
    if rows[0]["greater_is_better"] and all(0 <= value <= 1 for row in rows for value in row["values"]):
        return f"{measure}, %", 100, 1
    return measure + (f", {rows[0]['unit']}" if rows[0]["unit"] else ""), 1, 4


def _shown(row: dict[str, Any], scale: int, digits: int) -> str:
    interval = "" if row["interval"] is None else f" ± {scale * row['interval']:.{digits}f}"
    return f"{scale * row['mean']:.{digits}f}{interval}"


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return (max if rows[0]["greater_is_better"] else min)(rows, key=lambda row: row["mean"])


def _cells(rows: list[dict[str, Any]], scale: int, digits: int) -> tuple[list[list[str]], list[str]]:
    """The table's cells, and for each of its rows whether it is the best one or a baseline."""
    cells = [
        [
            row["architecture"],
            _shown(row, scale, digits),
            f"{row['parameters']:,}",
            f"{row['flops'] / 1e6:,.2f}",
            f"{row['targets_per_second']:,.0f}",
            f"{row['seconds']:,.0f}",
            f"{row['memory']:,.0f}",
            " ".join(f"{field.split('_')[0]} {value}" for field, value in row["sizes"].items()),
        ]
        for row in rows
    ]
    kinds = ["best" if row is _best(rows) else "" for row in rows]
    for name, value in rows[0]["baselines"].items():
        # One that differs from run to run says something of a model and not of the data.
        if value is not None and all(row["baselines"].get(name) == value for row in rows):
            cells.append([name.replace("_", " "), f"{scale * value:.{digits}f}", *[""] * 6])
            kinds.append("baseline")
    return cells, kinds


def _answer(rows: list[dict[str, Any]], measure: str, scale: int, digits: int) -> str:
    """The outcome in a sentence or two."""
    best = _best(rows)
    others = [row for row in rows if row is not best]
    name, _, unit = measure.partition(", ")
    answer = f"The best {name} is {best['architecture']}'s, {_shown(best, scale, digits)} {unit}".rstrip() + "."
    if others and len(best["values"]) > 1:
        apart = ", ".join(row["architecture"] for row in others if _is_apart(best, row))
        near = ", ".join(row["architecture"] for row in others if not _is_apart(best, row))
        answer += f" Its 95 % interval lies apart from that of {apart}." if apart else ""
        answer += f" Its 95 % interval overlaps with that of {near}: there may be no difference." if near else ""
    elif others:
        answer += " With one seed each, differences may be chance."
    return answer


def _unit(metric: str, hyperparameters: dict[str, Any]) -> str:
    """What a metric is counted in, where its name does not say; of numbers, what the recipe was told."""
    if metric not in IN_UNITS_OF_THE_DATA:
        return ""
    return ("ln " if hyperparameters.get("logarithm") else "") + hyperparameters.get("value_unit", "")


def _is_apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return abs(one["mean"] - other["mean"]) > (one["interval"] or 0.0) + (other["interval"] or 0.0)
