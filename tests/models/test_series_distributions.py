"""Distributions of the next value: densities, draws, sample paths of both families, what is learned, refusals."""

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForTimeSeriesPrediction

from seqnlp import (
    RecurrentConfig,
    RecurrentForTimeSeriesPrediction,
    TransformerDecoderConfig,
    TransformerDecoderForTimeSeriesPrediction,
)
from seqnlp.models.cells import CELLS
from seqnlp.models.series_distributions import DISTRIBUTIONS, LEAST_SCALE


every_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def model_of(architecture, **fields):
    fields = {"input_size": 2, "hidden_size": 16, "num_hidden_layers": 2, "prediction_length": 4, **fields}
    fields = {"distribution_output": "student_t", "num_parallel_samples": 3, "initializer_range": 0.3, **fields}
    if architecture == "transformer":
        return TransformerDecoderForTimeSeriesPrediction(TransformerDecoderConfig(num_attention_heads=2, **fields))
    return RecurrentForTimeSeriesPrediction(RecurrentConfig(cell_type=architecture, **fields))


def series(*shape):
    return torch.randn(*shape).cumsum(dim=1)


def frozen(distribution, parameters):
    """The same distribution by scipy, around 0."""
    scale = LEAST_SCALE + np.log1p(np.exp(parameters[0]))
    if distribution == "normal":
        return stats.norm(scale=scale)
    return stats.t(df=2 + np.log1p(np.exp(parameters[1])), scale=scale)


@every_distribution
@pytest.mark.parametrize("parameters", [(-1.0, -3.0), (0.5, 4.0)])
def test_densities_and_draws_are_those_of_scipy(distribution, parameters):
    one, expected = DISTRIBUTIONS[distribution], frozen(distribution, parameters)
    raw = torch.tensor(parameters[: one.num_parameters], dtype=torch.float64)
    errors = torch.linspace(-4, 4, 9, dtype=torch.float64)
    found = one.log_prob(errors, raw.expand(9, -1))
    np.testing.assert_allclose(found, expected.logpdf(errors), rtol=1e-6)
    noise = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = one.draw(torch.tensor(5.0), raw.expand(20_000, -1), noise)
    assert stats.kstest(drawn - 5, expected.cdf).pvalue > 0.01
    # Noise of 0 and nearly 1 is noise too.
    ends = one.draw(torch.zeros(2), raw.float().expand(2, -1), torch.tensor([[0.0, 0.1], [1 - 2**-24, 0.1]]))
    assert ends.isfinite().all()
    assert ends[0] == 0


@every_distribution
def test_half_precision_draws_no_infinity(distribution):
    model = model_of("gru", distribution_output=distribution).to(torch.bfloat16)
    past = series(1, 5, 2).to(torch.bfloat16)
    noise = torch.full((1, 1, 2, 2, 2), 1 - 2**-12)  # in bfloat16 this is 1
    drawn = model.draw_paths(past, prediction_length=2, num_parallel_samples=1, noise=noise).sequences
    assert drawn.dtype == torch.bfloat16
    assert drawn.isfinite().all()


@pytest.mark.parametrize("architecture", [*CELLS, "transformer"])
def test_paths_read_their_own_draws_one_step_after_another(architecture):
    model = model_of(architecture, input_mean=[3.0, -1.0], input_scale=[2.0, 0.5]).eval()
    past = series(2, 7, 2)
    noise = torch.rand(2, 3, 4, 2, 2)
    paths = model.draw_paths(past, noise=noise).sequences
    assert paths.shape == (2, 3, 4, 2)
    mean, scale = torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5])
    for path in range(3):
        values = (past - mean) / scale
        for step in range(4):  # without a cache: the whole series anew each time
            with torch.no_grad():
                location, parameters, _ = model._one_step_ahead(values, torch.ones_like(values, dtype=torch.bool))
            drawn = model.distribution.draw(location[:, -1], parameters[:, -1], noise[:, path, step])
            values = torch.cat([values, drawn[:, None]], dim=1)
        torch.testing.assert_close(paths[:, path], values[:, 7:] * scale + mean, rtol=1e-3, atol=1e-3)
    padded = torch.cat([torch.full((2, 3, 2), float("nan")), past], dim=1)
    again = model.draw_paths(padded, ~padded.isnan(), noise=noise).sequences
    torch.testing.assert_close(again, paths, rtol=1e-3, atol=1e-3)


@every_distribution
@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_the_loss_is_the_negative_log_likelihood_of_each_next_normalized_value(architecture, distribution):
    mean, scale = torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5])
    fields = {"input_mean": mean.tolist(), "input_scale": scale.tolist(), "distribution_output": distribution}
    model = model_of(architecture, **fields).eval()
    whole, seen = series(3, 8, 2), torch.rand(3, 8, 2) > 0.2
    seen[:, 0] = True
    normalized = torch.where(seen, (whole - mean) / scale, 0)
    with torch.no_grad():
        location, parameters, _ = model._one_step_ahead(normalized[:, :-1], seen[:, :-1])
    errors = (normalized[:, 1:] - location).numpy()
    losses = [
        -frozen(distribution, parameters[row, step, channel].tolist()).logpdf(errors[row, step, channel])
        for row, step, channel in np.argwhere(seen[:, 1:].numpy())
    ]
    loss = model(whole[:, :5], seen[:, :5], whole[:, 5:], seen[:, 5:]).loss
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    halved = model(whole[:, :5], seen[:, :5], whole[:, 5:], seen[:, 5:], num_items_in_batch=2 * len(losses)).loss
    assert halved.item() == pytest.approx(np.mean(losses) / 2, rel=1e-4)


@pytest.mark.parametrize("architecture", ["lstm", "transformer"])
def test_the_point_forecast_is_that_of_the_same_weights_without_a_distribution(architecture, tmp_path):
    model = model_of(architecture).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForTimeSeriesPrediction.from_pretrained(tmp_path).eval()
    past, noise = series(2, 6, 2), torch.rand(2, 3, 4, 2, 2)
    assert torch.equal(model.draw_paths(past, noise=noise).sequences, loaded.draw_paths(past, noise=noise).sequences)
    torch.manual_seed(1)
    drawn = model.draw_paths(past, prediction_length=6, num_parallel_samples=5).sequences
    torch.manual_seed(1)
    assert torch.equal(loaded.draw_paths(past, prediction_length=6, num_parallel_samples=5).sequences, drawn)
    assert drawn.shape == (2, 5, 6, 2)

    plain = model_of(architecture, distribution_output=None).eval()
    assert set(model.state_dict()) - set(plain.state_dict()) == {"distribution_head.weight", "distribution_head.bias"}
    plain.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(model(past).prediction_outputs, plain(past).prediction_outputs)


@every_distribution
def test_it_learns_how_far_a_random_walk_goes(distribution):
    """Its steps are normal with deviation 0.5, so the values `n` steps on have 0.5 times the root of `n`."""
    torch.manual_seed(0)
    walks = (0.5 * torch.randn(512, 24, 1)).cumsum(dim=1)
    model = model_of("gru", input_size=1, num_hidden_layers=1, distribution_output=distribution, initializer_range=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(80):
        optimizer.zero_grad()
        model(walks[:, :20], future_values=walks[:, 20:]).loss.backward()
        optimizer.step()
    model.eval()
    paths = model.draw_paths(walks[:256, :20], num_parallel_samples=50).sequences - walks[:256, None, 19:20]
    assert paths[:, :, [0, 3]].std(dim=(0, 1)).flatten().tolist() == pytest.approx([0.5, 1.0], rel=0.1)


def test_refusals():
    model = model_of("gru").eval()
    with pytest.raises(ValueError, match=r"noise of shape \(1, 3, 4, 2\) must have the shape \(1, 3, 4, 2, 2\)"):
        model.draw_paths(series(1, 5, 2), noise=torch.rand(1, 3, 4, 2))
    with pytest.raises(ValueError, match=r"distribution_output=None\): train one with .*'student_t'"):
        model_of("gru", distribution_output=None).draw_paths(series(1, 5, 2))
    with pytest.raises(Exception, match="distribution_output='normal' is for models of time series"):
        RecurrentConfig(distribution_output="normal")
    with pytest.raises(Exception, match="distribution_output"):
        model_of("gru", distribution_output="cauchy")
    with pytest.raises(Exception, match="num_parallel_samples=0 must be at least 1"):
        model_of("transformer", num_parallel_samples=0)
