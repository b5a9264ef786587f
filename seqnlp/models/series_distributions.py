"""Distributions of the next value of a series, each channel's by itself given the past.

A distribution is a location, which a model of time series gives as its point forecast, and further parameters. All is
in normalized units, and elementwise: shapes are `(*shape)` for values and locations, `(*shape, num_parameters)` for
further parameters and `(*shape, 2)` for the uniform noise from which a value is drawn.
"""

import math

import torch
from torch import distributions, nn


LEAST_SCALE = 1e-4
"""Of a channel's deviation over the training series: a density has no bound where the scale has none."""


class NormalOutput:
    """The normal distribution (Salinas et al. 2020, arXiv 1704.04110, equation 3): a scale beside the location."""

    num_parameters = 1
    equations = "x_{t+1} ~ Normal(x_t + W_m h_t + b_m, s_t)\ns_t = softplus(W_s h_t + b_s)"

    @staticmethod
    def log_prob(errors: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Log density of values that are by `errors` away from the location, in nats."""
        return distributions.Normal(0.0, _scale(parameters), validate_args=False).log_prob(errors)

    @staticmethod
    def draw(location: torch.Tensor, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """A value from two numbers uniform in `[0, 1)` (Box & Muller 1958)."""
        radius = (-2 * torch.log1p(-noise[..., 0])).sqrt()
        return location + _scale(parameters) * radius * torch.cos(2 * math.pi * noise[..., 1])


class StudentTOutput:
    """
    Student's t distribution, whose tails are as heavy as the data's: a scale and degrees of freedom above 2, so that
    the variance is finite, beside the location, which is the mean.
    """

    num_parameters = 2
    equations = (
        "x_{t+1} ~ StudentT(d_t, x_t + W_m h_t + b_m, s_t)\n"
        "s_t = softplus(W_s h_t + b_s)\n"
        "d_t = 2 + softplus(W_d h_t + b_d)                          degrees of freedom"
    )

    @staticmethod
    def log_prob(errors: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Log density of values that are by `errors` away from the location, in nats."""
        degrees = _degrees_of_freedom(parameters)
        return distributions.StudentT(degrees, 0.0, _scale(parameters), validate_args=False).log_prob(errors)

    @staticmethod
    def draw(location: torch.Tensor, parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """
        A value from two numbers uniform in `[0, 1)`: Box and Muller's way for t (Bailey 1994, Mathematics of
        Computation 62, 779-781). Nothing is rejected, so the same noise always gives the same path.
        """
        degrees = _degrees_of_freedom(parameters)
        # d (u^(-2/d) - 1) of u = 1 - noise
        square = degrees * torch.expm1(-2 / degrees * torch.log1p(-noise[..., 0]))
        return location + _scale(parameters) * square.sqrt() * torch.cos(2 * math.pi * noise[..., 1])


DISTRIBUTIONS = {"normal": NormalOutput, "student_t": StudentTOutput}
"""By what `distribution_output` of a configuration says."""


def _scale(parameters: torch.Tensor) -> torch.Tensor:
    return LEAST_SCALE + nn.functional.softplus(parameters[..., 0])


def _degrees_of_freedom(parameters: torch.Tensor) -> torch.Tensor:
    return 2 + nn.functional.softplus(parameters[..., 1])


__all__ = ["DISTRIBUTIONS", "NormalOutput", "StudentTOutput"]
