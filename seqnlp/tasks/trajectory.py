"""Trajectories: the next values of a series from those before."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import default_collate
from transformers import AutoModelForTimeSeriesPrediction, PreTrainedConfig

from ..data import BOX, SIMULATION, LoadedData, SeriesArguments, channel_statistics, cut_windows, load_series
from ..data.seasons import season_of
from ..digits import significant
from ..extras import install
from ..metrics import (
    DATA_UNIT,
    FORECAST_SCORES,
    LEVELS,
    Score,
    forecast_report,
    forecast_scores,
    last_value_forecast,
    straight_line_forecast,
)
from ..models import RecurrentForTimeSeriesPrediction, TransformerDecoderForTimeSeriesPrediction
from ..training import ArgumentsError
from ..training.step_loss import needs_classes
from ..visualization import plot_examples, plot_memory
from .base import OF_ITS_DATA, Evaluator, Outcome, PreparedData, Task
from .reporting.results import mean_and_deviation, of_baseline, plain_name
from .series_baselines import Baseline, Histories, exponential_smoothing, seasonal_naive
from .series_paths import summarize_paths


Forecasts = dict[str, np.ndarray]
VALIDATION_PATHS = 20
"""Per forecast, in the validations during training; the CRPS is as large for few paths as for many."""
LOSS = Score(
    "loss",
    "Loss",
    "mean squared error of whole forecasts, each channel divided by its standard deviation over the training series",
    greater_is_better=False,
)


def unit_of_values(arguments: dict[str, Any]) -> str:
    """The unit of what is predicted: that of the data, or its logarithm."""
    return ("ln " if arguments.get("logarithm") else "") + arguments.get("value_unit", "")


class Trajectory(Task):
    """The next positions of a ball in a box, or the next values of any table of numbers."""

    name = "trajectory"
    title = "Time-series prediction"
    pipeline_tag = "time-series-forecasting"
    use = "Predicting series like those it was trained on; teaching and study of sequence models."
    limits = (OF_ITS_DATA, "Errors grow with every step that is predicted from predictions.")

    data_arguments = SeriesArguments
    processor_name = None
    example_flags = "--dataset_name measured.csv --context_length 48 --prediction_length 12 --architecture gru"
    default_dataset = SIMULATION
    auto_class = AutoModelForTimeSeriesPrediction
    model_classes = {
        "recurrent": RecurrentForTimeSeriesPrediction,
        "transformer": TransformerDecoderForTimeSeriesPrediction,
    }
    scores = (LOSS, *FORECAST_SCORES)
    validated = ("loss", "ncrps")
    pictures = {
        "predictions.png": "Forecasts beside what came",
        "memory.png": "The error by how much of the past the model was shown",
    }
    starts_from_others = False
    fields_of_data = ("input_mean", "input_scale", "prediction_length")
    loss_unit = "mean squared error, normalized"
    score_unit = "normalized"
    own_fields = ("prediction_length",)
    losses_of = ("single steps", loss_unit), ("whole forecasts", loss_unit)
    targets = "steps"
    compared_with = "the last value, the straight line, the season before and exponential smoothing"
    remarks_on_baselines: Sequence[str] = ()

    @classmethod
    def meaningless_fields(cls) -> set[str]:
        """Those of models that read tokens, too."""
        of_texts = {"vocab_size", "tie_word_embeddings", "pooling", "label_smoothing", "loss_chunk_size"}
        return super().meaningless_fields() | of_texts

    @classmethod
    def example(cls, record: dict[str, Any], revision: str) -> str:
        """A past of means, of as many steps as the run had."""
        config = record["model"]["config"]
        size, steps = config.get("input_size", 1), (record.get("hyperparameters") or {}).get("context_length", 20)
        channels = ", ".join(record.get("dataset", {}).get("channels", [])) or f"{size} of them"
        past = [float(f"{value:.4g}") for value in config.get("input_mean") or [0.0] * size]
        lines = [
            f"past_values = torch.tensor([[{past}] * {steps}])  # series, steps, channels: {channels}",
            "print(model(past_values).prediction_outputs)  # the steps after them",
        ]
        if config.get("distribution_output"):
            lines.append("paths = model.draw_paths(past_values).sequences  # series, paths, steps, channels")
            lines.append("print(paths.quantile(torch.tensor([0.1, 0.9]), dim=1))  # the central 80 % of each step")
        return "\n".join(lines)

    def check_start(self) -> None:
        """
        Refuse what a model of numbers cannot do.

        Raises:
            ArgumentsError: For `--r_drop`.
        """
        super().check_start()
        if self.training_args.r_drop:
            raise needs_classes(self.training_args.r_drop)

    @property
    def unit(self) -> str:
        """Of the values that are predicted."""
        return unit_of_values(vars(self.data_args))

    @classmethod
    def unit_of(cls, key: str, hyperparameters: dict[str, Any]) -> str:
        """That of the values, for errors in the data's units."""
        score = cls.score_of(key)
        return unit_of_values(hyperparameters) if score is not None and score.unit == DATA_UNIT else ""

    def has_attention(self, config: PreTrainedConfig) -> bool:
        """`seqnlp attention` reads no numbers."""
        return False

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """A past of validation, in the form in which `seqnlp try` takes numbers."""
        past = data.examples["validation"][0]["past_values"]
        return ["--text", "; ".join(" ".join(f"{value:.6g}" for value in step) for step in past.tolist())]

    @property
    def shorter_pasts(self) -> dict[str, int]:
        """Steps of the past that the trained model is shown for the scores of this name: powers of two, not all."""
        count = (self.data_args.context_length - 1).bit_length()
        return {f"last_{2**power}_steps_seen": 2**power for power in range(count)}

    def rivals(self, baselines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Without the model that is shown less of the past."""
        return {name: scores for name, scores in baselines.items() if name not in self.shorter_pasts}

    def load(self) -> LoadedData:
        """Each split holds series, of steps by channels."""
        return load_series(self.data_args)

    def build_config(self, **fields: Any) -> PreTrainedConfig:
        """The configuration of the model, whose channels are those of the data."""
        config, count = super().build_config(**fields), fields["input_size"]
        if self.start_model is not None and config.input_size != count:
            raise ArgumentsError(
                f"--model_name_or_path {self.start_model.source.name}: it reads {config.input_size} channels, and the "
                f"data has {count}."
            )
        if config.distribution_output is not None:
            self.losses_of = ("single steps", "nats, normalized"), ("forecasts", "squared error, normalized")
        return config

    def load_processor(self, folder: Path) -> None:
        """None: models read the numbers."""

    @property
    def positions(self) -> int:
        """Of a past and its future."""
        return self.data_args.context_length + self.data_args.prediction_length

    @property
    def longest_flag(self) -> str:
        """The lengths of both."""
        arguments = self.data_args
        return f"--context_length {arguments.context_length} --prediction_length {arguments.prediction_length}"

    def prepare(self, loaded: LoadedData, processor: Any, splits: Iterable[str] | None = None) -> PreparedData:
        """Every stretch of a past and a future."""
        arguments = self.data_args
        lengths = arguments.context_length, arguments.prediction_length
        wanted = {split: loaded.splits[split] for split in splits or loaded.splits}
        windows = cut_windows(wanted, *lengths, arguments.window_stride)
        _, std = channel_statistics(loaded.splits["train"]["values"])
        return PreparedData(loaded, processor, windows, default_collate, counts={"train": {"std": np.array(std)}})

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Forecasts:
        """Past, future and forecast of each stretch; with a distribution, CRPS and intervals of sample paths."""
        paths = evaluator.unwrapped_model.num_parallel_samples
        return self.forecasts(evaluator, data, split, self.data_args.context_length, paths)

    def forecasts(
        self, evaluator: Evaluator, data: PreparedData, split: str, steps_seen: int, num_paths: int = 0
    ) -> Forecasts:
        """The same, rolled out from the last `steps_seen` steps of the past alone, with `num_paths` sample paths."""

        def predict(model, batch):
            past, future, observed = batch["past_values"], batch["future_values"], batch["past_observed_mask"].clone()
            observed[:, : past.shape[1] - steps_seen] = False  # as if the model had only begun to look then
            predicted = model(past, observed, prediction_length=future.shape[1]).prediction_outputs
            rows = {**batch, "predictions": predicted.double()}  # the values are, far from 0
            if num_paths:
                rows |= summarize_paths(model, past, observed, future, num_paths, evaluator.eval_batch_size)
            return [
                dict(zip(rows, row, strict=True)) for row in zip(*(rows[name].cpu() for name in rows), strict=True)
            ]

        found = default_collate(evaluator.evaluate_rows(data.examples[split], predict, data.collator))
        return {name: array.numpy() for name, array in found.items()}

    def score(self, predictions: Forecasts, data: PreparedData, split: str) -> dict[str, float]:
        """Errors in the data's units, and normalized."""
        said = (predictions.get(name) for name in ("predictions", "crps", "intervals"))
        return self._scores(predictions, data, *said)

    def validate(self, loop, data: PreparedData) -> dict[str, float]:
        """Of whole forecasts, where the training loss is of single steps; all of normalized values."""
        paths = min(VALIDATION_PATHS, loop.unwrapped_model.num_parallel_samples)
        predictions = self.forecasts(loop, data, "validation", self.data_args.context_length, paths)
        found = self.score(predictions, data, "validation")
        loop.run.sample = self.sample(loop, data, predictions)
        return {"loss": found["nrmse"] ** 2, "ncrps": found["ncrps"]}

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Forecasts) -> str:
        """The worst forecast: its error, and its last step beside the true one."""
        error = np.where(
            predictions["future_observed_mask"], predictions["predictions"] - predictions["future_values"], 0.0
        )
        errors = np.sqrt((error**2).mean(axis=(1, 2)))
        row = int(errors.argmax())
        ends = (predictions[name][row, -1] for name in ("predictions", "future_values"))
        said, came = (", ".join(map(significant, end)) for end in ends)
        error = f"{significant(errors[row], 3)} {self.unit}".rstrip()
        return f"Worst forecast of {len(errors):,}: off by {error} (RMSE); at its end {said}, where {came} came."

    def use_model(self, evaluator: Evaluator, outcome: Outcome) -> None:
        """Without most of the past: how much the model remembers."""
        split = outcome.split
        has_paths = evaluator.unwrapped_model.num_parallel_samples > 0
        for name, count in self.shorter_pasts.items():
            found = self.forecasts(evaluator, outcome.data, split, count)
            scores = self.score(found, outcome.data, split)
            if has_paths:  # none was drawn here
                scores = {key: value for key, value in scores.items() if key not in ("crps", "ncrps")}
            outcome.run.record.baselines[name] = {split: scores}

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """The last value, the straight line through the last two, the season before and exponential smoothing."""
        windows = data.examples[split]
        found = {name: array.numpy() for name, array in default_collate(list(windows)).items()}
        known = found["past_values"], found["past_observed_mask"], self.data_args.prediction_length
        forecasts = {"last_value": last_value_forecast, "straight_line": straight_line_forecast}
        scores = {name: self._scores(found, data, forecast(*known)) for name, forecast in forecasts.items()}
        histories, remarks = Histories(data.loaded.splits, split, windows), []
        if histories.num_filled:
            remarks.append(f"To the next two, {histories.num_filled:,} numbers in gaps are the last ones before them.")
        season = self.data_args.season_length or season_of(self.data_args.frequency)

        def add(name: str, baseline: Baseline) -> None:
            own = {key: values[baseline.rows] for key, values in found.items()}
            scores[name] = self._scores(own, data, baseline.predictions, baseline.crps, baseline.intervals)
            scores[name]["forecasts"] = len(baseline.rows)
            remarks.extend(baseline.remarks)

        add("seasonal_naive", seasonal_naive(histories, season))
        try:
            add("ets", exponential_smoothing(histories, season))
        except ImportError:
            remarks.append(f"Exponential smoothing is left out: it needs statsmodels. {install('series')}")
        self.remarks_on_baselines = remarks
        return {name: {split: found} for name, found in scores.items()}

    def _scores(self, found: Forecasts, data: PreparedData, predictions: np.ndarray, *said: Any) -> dict[str, float]:
        std = data.counts["train"]["std"]
        return forecast_scores(predictions, found["future_values"], found["future_observed_mask"], std, *said)

    def report(self, outcome: Outcome) -> str:
        """Errors beside those of forecasts that need no model."""
        count, name = len(outcome.data.examples[outcome.split]), self.label
        report = forecast_report(count, {name: outcome.metrics, **outcome.baselines}, self.unit)
        return "\n\n".join([f"{outcome.split.capitalize()}: {report}", *self.remarks_on_baselines])

    def draw(self, outcome: Outcome) -> None:
        """Some forecasts, and the error by how much of the past is seen."""
        arguments, loaded = self.data_args, outcome.data.loaded
        title = f"Forecasts of {plain_name(loaded.source.name)}, {self.architecture}"
        axes = {"channels": loaded.details["channels"], "unit": self.unit, "levels": LEVELS}
        axes |= {"step": arguments.step, "step_unit": arguments.step_unit}
        box = BOX if arguments.dataset_name == SIMULATION else None
        plot_examples(outcome.predictions[outcome.split], outcome.file("predictions.png"), title, box=box, **axes)
        errors = {name: scores["rmse"] for name, scores in outcome.baselines.items()}
        by_past = {steps: errors.pop(name) for name, steps in self.shorter_pasts.items() if name in errors}
        by_past[arguments.context_length] = outcome.metrics["rmse"]
        plot_memory(by_past, errors, outcome.file("memory.png"), title, self.unit, self.architecture)

    @classmethod
    def results_row(cls, records: list[dict], split: str) -> dict[str, str]:
        """
        The error of whole forecasts beside that of the last value and of ETS; where intervals were forecast, the CRPS
        beside that of the season before and of ETS, and how much of what came was in the 80 % interval.
        """
        arguments = records[0]["hyperparameters"]
        steps, unit = arguments["prediction_length"], unit_of_values(arguments)

        def cell(key: str, form: str, *others: str) -> str:
            own = [record["metrics"][split][key] for record in records if key in record["metrics"][split]]
            beside = [value for name in others for value in of_baseline(records, name, split, key)]
            shown = ", ".join(f"{value:{form}}" for value in beside)
            return " ".join([mean_and_deviation(own, form), *([f"({shown})"] if shown else [])]) if own else ""

        return {
            "forecast": f"{steps} steps, {steps * arguments['step']:g} {arguments['step_unit']}, in {unit}",
            f"RMSE, {split} (last value, ETS)": cell("rmse", "#.3g", "last_value", "ets"),
            "CRPS (season before, ETS)": cell("crps", "#.3g", "seasonal_naive", "ets"),
            "in the 80 % interval (ETS)": cell("coverage_80", ".1%", "ets"),
        }

    @classmethod
    def in_short(cls, records: list[dict], split: str) -> tuple[str, str]:
        """The error of whole forecasts, with that of the last value."""
        forecast, *_ = cls.results_row(records, split).values()
        error = mean_and_deviation([record["metrics"][split]["rmse"] for record in records], "#.3g")
        last = mean_and_deviation(of_baseline(records, "last_value", split, "rmse"), "#.3g")
        return f"RMSE over {forecast}: {error} ({split})", f"{last} (last value)" if last else ""
