"""Where will the ball be? The next positions of a ball in a box, or the next values of any table of numbers.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/trajectory.py

Data: simulated balls (gravity, bounces, noise); with --dataset_name a table in a csv, json or parquet file or on the
Hub, or sample:glucose or sample:stocks (recipes/configs/series_*.yaml), divided by time: the last 15 % are the test.
Model: an LSTM, or --architecture elman, gru, transformer (decoder). It learns each next step from the true ones before
it, predicts by reading its own predictions, and stands beside the last value and the straight line carried on.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch.utils.data import default_collate

from seqnlp import RecurrentForTimeSeriesPrediction, TransformerDecoderForTimeSeriesPrediction
from seqnlp.data import SIMULATION, LengthGroupedBatchSampler, channel_statistics, cut_windows, describe, load_series
from seqnlp.metrics import constant_velocity_forecast, forecast_report, forecast_scores, last_value_forecast
from seqnlp.models.time_series import count_targets
from seqnlp.publishing import push_to_hub
from seqnlp.training import TrainingArguments, TrainingLoop, build_config, parse_arguments, run_recipe, start_run
from seqnlp.visualization import plot_examples, plot_learning_curves, plot_memory


# This recipe's defaults; --config_overrides changes any of them.
RECURRENT = {"hidden_size": 128, "num_hidden_layers": 2}
TRANSFORMER = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
BOX = (4.0, 3.0)  # of the simulation, in m


@dataclass
class SeriesArguments:
    dataset_name: str = field(default=SIMULATION, metadata={"help": "A file, a dataset on the Hub, or a sample."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    columns: list[str] | None = field(default=None, metadata={"help": "Columns of numbers; all if not given."})
    time_column: str | None = field(default=None, metadata={"help": "Column to sort by."})
    series_column: str | None = field(default=None, metadata={"help": "Column that tells several series apart."})
    frequency: str | None = field(default=None, metadata={"help": "Step of a regular grid in time, e.g. 5min."})
    logarithm: bool = field(default=False, metadata={"help": "Predict the logarithm of the values."})
    num_trajectories: int = field(default=4000, metadata={"help": "Simulated trajectories to train on."})
    context_length: int = field(default=20, metadata={"help": "Steps of the past that the model sees."})
    prediction_length: int = field(default=20, metadata={"help": "Steps of the future that it predicts."})
    window_stride: int = field(default=1, metadata={"help": "Steps between two stretches taken from a series."})
    step: float = field(default=0.05, metadata={"help": "Time between two values, for the pictures."})
    step_unit: str = field(default="s", metadata={"help": "Unit of that time."})
    value_unit: str = field(default="m", metadata={"help": "Unit of the values."})


@dataclass
class SeriesModelArguments:
    architecture: Literal["elman", "gru", "lstm", "transformer"] = field(
        default="lstm", metadata={"help": "The kind of model."}
    )
    config_overrides: str | None = field(default=None, metadata={"help": "E.g. hidden_size=256,num_hidden_layers=1."})


@dataclass
class SeriesTrainingArguments(TrainingArguments):
    num_train_epochs: float = 30.0
    per_device_train_batch_size: int = 64
    learning_rate: float = 3e-3


def forecasts(loop: TrainingLoop, windows, steps_seen: int) -> dict[str, np.ndarray]:
    """Past, future and prediction of each stretch, rolled out from the last `steps_seen` steps of the past alone."""

    def predict(model, batch):
        past, observed = batch["past_values"], batch["past_observed_mask"].clone()
        observed[:, : past.shape[1] - steps_seen] = False  # as if the model had only begun to look then
        predicted = model(past, observed, prediction_length=batch["future_values"].shape[1]).prediction_outputs
        rows = {**batch, "predictions": predicted}
        return [dict(zip(rows, row, strict=True)) for row in zip(*(rows[name].cpu() for name in rows), strict=True)]

    return {name: array.numpy() for name, array in default_collate(loop.evaluate_rows(windows, predict)).items()}


def scores(found: dict[str, np.ndarray], std: list[float], predictions: np.ndarray | None = None) -> dict[str, float]:
    predictions = found["predictions"] if predictions is None else predictions
    return forecast_scores(predictions, found["future_values"], found["future_observed_mask"], np.array(std))


def main() -> None:
    data_args, model_args, args = parse_arguments(
        SeriesArguments, SeriesModelArguments, SeriesTrainingArguments, recipe="trajectory", description=__doc__
    )
    run = start_run("trajectory", model_args.architecture, args, data_args, model_args)
    lengths = data_args.context_length, data_args.prediction_length

    # Data: each split holds series, of steps by channels; the model gets every stretch of a past and a future.
    splits, channels, source = load_series(data_args)
    run.record.dataset = {**describe(splits, source), "channels": channels}
    windows = cut_windows(splits, *lengths, data_args.window_stride)
    mean, std = channel_statistics(splits["train"]["values"])

    if model_args.architecture == "transformer":
        model_class, fields = TransformerDecoderForTimeSeriesPrediction, {**TRANSFORMER}
    else:
        model_class, fields = RecurrentForTimeSeriesPrediction, {**RECURRENT, "cell_type": model_args.architecture}
    fields |= {"input_size": len(channels), "input_mean": mean, "input_scale": std, "prediction_length": lengths[1]}
    config = build_config(model_class.config_class, model_args.config_overrides, **fields)
    loop = TrainingLoop(
        run,
        args,
        model_class(config),
        windows["train"],
        LengthGroupedBatchSampler([1] * len(windows["train"]), args.per_device_train_batch_size, args.seed),
        default_collate,
        # Of whole forecasts, where the training loss is of single steps; both of normalised values.
        evaluate=lambda loop: {"loss": scores(forecasts(loop, windows["validation"], lengths[0]), std)["nrmse"] ** 2},
        count_targets=count_targets,
    )
    loop.train()

    # The model was chosen by validation; the test is looked at here, once: whole, and with most of the past hidden.
    seen = sorted({2**power for power in range(lengths[0].bit_length())} | {lengths[0]})
    by_steps = {count: forecasts(loop, windows["test"], count) for count in seen}
    test, name = by_steps[lengths[0]], f"{model_args.architecture} (seqnlp)"
    run.record.metrics = {
        "validation": scores(forecasts(loop, windows["validation"], lengths[0]), std),
        "test": scores(test, std),
    }
    known = test["past_values"], test["past_observed_mask"], lengths[1]
    run.record.baselines = {
        "last_value": {"test": scores(test, std, last_value_forecast(*known))},
        "constant_velocity": {"test": scores(test, std, constant_velocity_forecast(*known))},
        **{f"last_{count}_steps_seen": {"test": scores(by_steps[count], std)} for count in seen[:-1]},
    }
    if run.accelerator.is_main_process:
        unit = f"ln {data_args.value_unit}" if data_args.logarithm else data_args.value_unit
        print(f"\nTest: {forecast_report(len(windows['test']), name, run.record.metrics, run.record.baselines, unit)}")
        title, folder = f"Forecasts of {source.name}, {model_args.architecture}", run.output_dir
        axes = {"channels": channels, "unit": unit, "step": data_args.step, "step_unit": data_args.step_unit}
        box = BOX if data_args.dataset_name == SIMULATION else None
        plot_examples(test, folder / "predictions.png", title, box=box, **axes)
        plot_memory(run.record.metrics, run.record.baselines, lengths[0], folder / "memory.png", title, unit)
        plot_learning_curves(run.record.history, folder / "learning_curves.png", title, "mean squared, normalised")
    run.save(loop.model, None)
    run.finish()
    if run.accelerator.is_main_process:
        print(f"\nModel, run.json and pictures are in {run.output_dir}.")
        if args.push_to_hub:
            print("Uploaded:", push_to_hub(run.output_dir, args))


if __name__ == "__main__":
    run_recipe(main)
