"""Answers of predictors of time series."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTimeSeriesPrediction

from ..data.columns import evenly_spread
from ..data.loading import listed
from .answerers import COUNT, Answerer, Named
from .answers import Options, SeriesAnswer
from .errors import DemoError
from .inputs import Series, parse_series, read_series


class Forecaster(Answerer):
    """
    The steps after a series.

    It reads as many of the last steps as its run had for a past, since that is what was trained; a run of logarithms
    gives values in the units of what it was given.
    """

    auto_class = AutoModelForTimeSeriesPrediction
    title = "Predict a series"
    explanation = "Give a table of numbers: see the steps that the model expects next."
    reads = "series"
    typed = "numbers, or a file's name"
    column = "values"
    options = frozenset({"max_new_tokens"})

    def prepare(self, named: Named) -> None:
        """What its run says of the channels."""
        self.num_channels = getattr(self.model.config, "input_size", None)
        if self.num_channels is None:
            raise DemoError(
                f"{self.model_name}, of {self.name!r}, does not say by input_size how many channels it reads."
            )
        known = (self.run.get("dataset") or {}).get("channels") or []
        numbered = [f"channel {number + 1}" for number in range(self.num_channels)]
        self.channels = known if len(known) == self.num_channels else numbered
        self.has_logarithm = bool(self.settings.get("logarithm"))

    def read(self, typed: str | Path) -> Series:
        """Numbers, or the file that holds them."""
        is_file = isinstance(typed, Path) or Path(typed).is_file()
        return read_series(typed, self.channels) if is_file else parse_series(typed)

    def examples(self, values: Sequence[Any]) -> list[Any]:
        """As many steps as its run read, without gaps where there are such."""
        length = int(self.settings["context_length"])
        windows = [(series, start) for series in values for start in range(len(series) - length + 1)]
        whole = [(series, start) for series, start in windows if _is_whole(series[start : start + length])]
        return [series[start : start + length] for series, start in evenly_spread(whole or windows, COUNT)]

    def usual_options(self) -> Options:
        """As many steps as its run predicted."""
        steps = self.settings.get("prediction_length") or self.model.config.prediction_length
        return Options(max_new_tokens=steps)

    def respond(self, given: Series, options: Options) -> Iterator[SeriesAnswer]:
        """At once."""
        values, remarks = self._choose(given)
        context = self.settings.get("context_length")
        if context and len(values) > context:
            remarks.append(f"Of {len(values):,} steps the last {context} are read, as many as it was trained on.")
            values = values[-context:]
        beyond = np.abs(values) > np.finfo(np.float32).max
        if beyond.any():
            values = np.where(beyond, np.nan, values)
            remarks.append(f"{beyond.sum():,} values are infinite or too large for the model's numbers, and gaps.")
        if not np.isfinite(values).any():
            raise DemoError("There is no number in what the model would read.")
        shown = values
        if self.has_logarithm:
            if (values <= 0).any():
                raise DemoError(
                    f"The model reads logarithms, and the least value is {np.nanmin(values):g}: give values above 0."
                )
            values = np.log(values)
            remarks.append("The model reads and predicts logarithms; they are taken and undone here.")
        past = torch.tensor(values, dtype=torch.float32).unsqueeze(0)  # (1, steps, channels)
        length = options.max_new_tokens or self.usual_options().max_new_tokens
        with torch.no_grad():
            found = self.model(past.nan_to_num(), ~past.isnan(), prediction_length=length).prediction_outputs[0]
        forecast, ends = found.double().numpy(), self._interval(past, length)
        if self.has_logarithm:
            forecast, ends = np.exp(forecast), None if ends is None else np.exp(ends)
        if not np.isfinite(forecast).all():
            raise DemoError(
                f"The forecast is no number: values from {np.nanmin(shown):g} to {np.nanmax(shown):g} are too far "
                "apart or too large for the model's numbers."
            )
        lower, upper = (None, None) if ends is None else ends.tolist()
        yield SeriesAnswer(
            self.channels,
            self.settings.get("value_unit", ""),
            [[None if np.isnan(value) else value for value in row] for row in shown.tolist()],
            forecast.tolist(),
            float(self.settings.get("step", 1.0)),
            self.settings.get("step_unit", "steps"),
            lower,
            upper,
            remarks=remarks,
        )

    def _interval(self, past: torch.Tensor, length: int) -> np.ndarray | None:
        """Ends of the central 80 % of each step, `(2, steps, channels)`; `None` of a model of values alone."""
        paths = getattr(self.model, "num_parallel_samples", 0)  # models of others have none
        if not paths:
            return None
        generator = torch.Generator().manual_seed(0)  # the same question has the same answer
        noise = torch.rand(1, paths, length, self.num_channels, 2, generator=generator)
        with torch.no_grad():
            drawn = self.model.draw_paths(past.nan_to_num(), ~past.isnan(), length, paths, noise).sequences[0]
        return np.quantile(drawn.double().numpy(), [0.1, 0.9], axis=0, method="weibull")

    def _choose(self, given: Series) -> tuple[np.ndarray, list[str]]:
        """The model's channels, by name where they have the names of its own, and in their order else."""
        if set(self.channels) <= set(given.channels):
            left = [name for name in given.channels if name not in self.channels]
            remarks = [f"Not read: {listed(left)}."] if left else []
            return given.values[:, [given.channels.index(name) for name in self.channels]], [*given.remarks, *remarks]
        if given.values.shape[1] != self.num_channels:
            found = f"{given.values.shape[1]} ({listed(given.channels)})" if given.channels else given.values.shape[1]
            raise DemoError(
                f"The model reads {self.num_channels} channels ({listed(self.channels)}), not {found}. A step of a "
                "typed series ends with a semicolon, as in 1 2; 3 4, and a file has a column for each."
            )
        pairs = [f"{one} as {other}" for one, other in zip(given.channels, self.channels, strict=False)]
        return given.values, [*given.remarks, *([f"Read: {listed(pairs)}."] if pairs else [])]


def _is_whole(steps: list[list[float | None]]) -> bool:
    """Whether there are no gaps."""
    return bool(np.isfinite(np.array(steps, dtype=np.float64)).all())
