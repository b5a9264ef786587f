"""Where will the ball be? The next positions of a ball in a box, or the next values of any table of numbers.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/trajectory.py

Data: simulated balls (gravity, bounces, noise); with --dataset_name a table in a csv, json or parquet file or on the
Hub, or sample:glucose or sample:stocks (recipes/configs/series_*.yaml), divided by time: the last 15 % are the test.
Model: an LSTM, or --architecture elman, gru, transformer (decoder). It learns each next step from the true ones before
it, predicts by reading its own predictions, and stands beside the last value, the straight line carried on, the season
before and exponential smoothing. --config_overrides distribution_output=student_t gives intervals by sample paths.
Expect an error of 0.079 ± 0.013 m over the next second, three seeds (the last value: 0.91 m) in 2 to 6 minutes.
"""

from seqnlp.data import LengthGroupedBatchSampler, channel_statistics
from seqnlp.models.time_series import count_targets
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.trajectory import Trajectory
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 30.0, "per_device_train_batch_size": 64, "learning_rate": 3e-3}
RECURRENT = {"hidden_size": 128, "num_hidden_layers": 2}
TRANSFORMER = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}


def main() -> None:
    task = Trajectory.from_command_line(__doc__, **SCHEDULE)
    run = task.start()

    # Data: each split holds series, of steps by channels; the model gets every stretch of a past and a future.
    series = task.load_data(run)
    data = task.prepare_data(run, series, None)
    mean, std = channel_statistics(series.splits["train"]["values"])

    # Model: new, or from --model_name_or_path; it normalizes by the mean and deviation of each channel over the
    # training series.
    config = task.build_config(
        **(RECURRENT if task.is_recurrent else TRANSFORMER),
        input_size=len(series.details["channels"]),
        input_mean=mean,
        input_scale=std,
        prediction_length=task.data_args.prediction_length,
    )

    # Training: stretches in random order; the model whose whole forecasts are best on validation is kept.
    args, train = task.training_args, data.examples["train"]
    loop = TrainingLoop(
        run,
        args,
        task.create_model(run, config),
        train,
        LengthGroupedBatchSampler([1] * len(train), args.per_device_train_batch_size, args.seed),
        data.collator,
        evaluate=lambda loop: task.validate(loop, data),
        count_targets=count_targets,
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
