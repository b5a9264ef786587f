"""What the heads for time series share: numbers in, the numbers that follow out.

Shapes: `B` series, `C` steps of the past, `P` steps of the future, `D` channels, `S` sample paths.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SampleTSPredictionOutput
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .losses import divide_by_items
from .series_distributions import DISTRIBUTIONS


USUAL_PATHS = 100
"""Sample paths per series, as transformers' models of time series draw."""


@dataclass
class TimeSeriesPredictionOutput(ModelOutput):
    """
    What a model of time series returns.

    Attributes:
        loss: One step ahead, of the normalized values, if there are `future_values`: the mean squared error, or the
            negative log likelihood in nats per number where the model has a `distribution_output`.
        prediction_outputs: `(batch_size, prediction_length, input_size)`, in the units of `past_values`.
        hidden_states: The states of each layer, if asked for.
        attentions: The attention weights of each layer, if asked for and if there are any.
    """

    loss: torch.FloatTensor | None = None
    prediction_outputs: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


def carry_forward(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """
    Each channel's last observed value at each step, 0 before the first: `(B, T, D)` of both to the same shape.
    """
    steps = torch.arange(values.shape[1], device=values.device).view(1, -1, 1)
    last = torch.where(observed, steps, -1).cummax(dim=1).values  # (B, T, D)
    return values.gather(1, last.clamp(min=0)).masked_fill(last < 0, 0)


def has_begun(observed: torch.Tensor) -> torch.Tensor:
    """
    From `(B, T, D)`, true where a number was observed, to `(B, T)`, true from a series' first observed number on.
    """
    return observed.any(dim=2).long().cummax(dim=1).values.bool()


def prediction_targets(observed: torch.Tensor) -> torch.Tensor:
    """
    Which numbers enter the loss: those observed after their series has begun. `(B, T, D)` bool to `(B, T - 1, D)`.
    """
    return observed[:, 1:] & has_begun(observed)[:, :-1, None]


def count_targets(batch: dict[str, torch.Tensor]) -> int:
    """Number of targets of a batch of pasts and futures with their masks: what its summed loss is divided by."""
    observed = torch.cat([batch["past_observed_mask"], batch["future_observed_mask"]], dim=1).bool()
    return int(prediction_targets(observed).sum())


class TimeSeriesPredictionMixin:
    """
    Predicts the next values of a series, and from its own predictions those after them.

    A language model over numbers: where it has an embedding, this has a linear map from the values; where it has a
    distribution over the vocabulary, this has the expected change from the last value (in normalized units, so an
    untrained model says about what the last-value baseline says; compare the residual connections of Nair & Hinton
    2010 and He et al. 2016). It is trained by teacher forcing (Williams & Zipser 1989) one step ahead at every step of
    past and future at once, and predicts by rolling out (Graves 2013, arXiv 1308.0850, section 2): what it predicts
    becomes its next input. So one model predicts any number of steps from any length of past, as a sequence model
    does; a head that gives all future steps at once is tied to one horizon and learns from one position per series.

    With `distribution_output` it learns the whole distribution of the next value by its likelihood, and [`draw_paths`]
    draws sample paths, each of which reads its own draws (DeepAR: Salinas et al. 2020, arXiv 1704.04110, section 3):
    from them come quantiles of any step and of anything that depends on several steps. Its point forecast is what it
    is without: the roll-out of the expected changes.

    A step at which a channel was not observed holds its last observed value, and a second input per channel tells
    which they are. Steps before a series' first observed number are padding and change nothing: align shorter series
    at their end. Steps without any number later on are gaps, in which time passes.
    """

    main_input_name = "past_values"
    _input_embed_layer = "input_projection"

    def __init__(self, config: PreTrainedConfig):
        if config.input_size is None:
            raise ValueError("A model of time series needs input_size, the number of channels of a series.")
        super().__init__(config)

    def add_series_layers(self, embedding_size: int) -> None:
        """Make the map into a backbone that reads vectors of `embedding_size`, and the one out of it."""
        config = self.config
        self.input_projection = nn.Linear(2 * config.input_size, embedding_size)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.score = nn.Linear(config.hidden_size, config.input_size)
        self.distribution = DISTRIBUTIONS.get(config.distribution_output)
        if self.distribution is not None:
            self.distribution_head = nn.Linear(
                config.hidden_size, config.input_size * self.distribution.num_parameters
            )

    @property
    def num_parallel_samples(self) -> int:
        """Paths that [`draw_paths`] draws per series unless told otherwise; 0 without a distribution."""
        if self.distribution is None:
            return 0
        given = self.config.num_parallel_samples
        return USUAL_PATHS if given is None else given

    @can_return_tuple
    def forward(
        self,
        past_values: torch.FloatTensor,
        past_observed_mask: torch.Tensor | None = None,
        future_values: torch.FloatTensor | None = None,
        future_observed_mask: torch.Tensor | None = None,
        prediction_length: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TimeSeriesPredictionOutput:
        """
        Args:
            past_values: `(batch_size, context_length, input_size)`, of any length.
            past_observed_mask: Of the same shape, 0 where nothing was observed; `None` means that all was.
            future_values: `(batch_size, any_length, input_size)`, for the loss.
            future_observed_mask: Of that shape, 0 where nothing was observed.
            prediction_length: How many steps to predict; those of `future_values`, or else of the config, by default.

        Returns:
            A [`TimeSeriesPredictionOutput`]: `loss`, if there are `future_values`, and `prediction_outputs`. In
            training with `future_values` the latter are one step ahead, each from the true values before it;
            otherwise they are rolled out from the past alone.

        Raises:
            ValueError: For values of another number of channels than the config's, and a mask of another shape.
        """
        past, past_observed = self._normalized(past_values, past_observed_mask, "past")
        loss = outputs = predictions = None
        if future_values is not None:
            future, future_observed = self._normalized(future_values, future_observed_mask, "future")
            values, observed = torch.cat([past, future], 1), torch.cat([past_observed, future_observed], 1)
            predictions, parameters, outputs = self._one_step_ahead(values[:, :-1], observed[:, :-1], **kwargs)
            targets = prediction_targets(observed)
            losses = torch.where(targets, self._losses(values[:, 1:], predictions, parameters), 0)
            loss = losses.mean()  # then as if over the targets alone
            count = kwargs.get("num_items_in_batch")
            loss = divide_by_items(loss, losses, "regression", targets.sum().clamp(min=1) if count is None else count)
            predictions = predictions[:, -future.shape[1] :]
        if future_values is None or not self.training:
            if prediction_length is None:
                prediction_length = self.config.prediction_length if future_values is None else future_values.shape[1]
            predictions, rolled_out = self._roll_out(past, past_observed, prediction_length, **kwargs)
            outputs = outputs or rolled_out
        return TimeSeriesPredictionOutput(
            loss=loss,
            prediction_outputs=self._in_units(predictions),
            hidden_states=outputs.hidden_states,
            attentions=getattr(outputs, "attentions", None),
        )

    @torch.no_grad()
    def draw_paths(
        self,
        past_values: torch.FloatTensor,
        past_observed_mask: torch.Tensor | None = None,
        prediction_length: int | None = None,
        num_parallel_samples: int | None = None,
        noise: torch.FloatTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SampleTSPredictionOutput:
        """
        Draw paths of the future, of a model with a `distribution_output`. It is not called `generate`, as transformers
        calls it: there a class with a `generate` of its own that comes from the Hub is made a writer of tokens.

        Args:
            past_values: `(batch_size, context_length, input_size)`, of any length.
            past_observed_mask: Of the same shape, 0 where nothing was observed; `None` means that all was.
            prediction_length: Steps of each path; the config's by default.
            num_parallel_samples: Paths per series; the config's by default.
            noise: Uniform in `[0, 1)`, `(batch_size, num_parallel_samples, prediction_length, input_size, 2)`: paths
                are a function of it, so whoever gives it draws the same ones again. Drawn here by default.

        Returns:
            An output whose `sequences` are `(batch_size, num_parallel_samples, prediction_length, input_size)`, in the
            units of `past_values`.

        Raises:
            ValueError: If the model has no distribution, and for noise of another shape.
        """
        config = self.config
        if self.distribution is None:
            raise ValueError(
                "This model predicts values alone (distribution_output=None): train one with "
                f"distribution_output={' or '.join(map(repr, DISTRIBUTIONS))} for sample paths, or call it for the "
                "prediction."
            )
        past, observed = self._normalized(past_values, past_observed_mask, "past")
        steps = config.prediction_length if prediction_length is None else prediction_length
        paths = self.num_parallel_samples if num_parallel_samples is None else num_parallel_samples
        shape = (len(past), paths, steps, config.input_size, 2)
        if noise is None:
            noise = torch.rand(shape, device=past.device)
        if noise.shape != shape:
            raise ValueError(f"noise of shape {tuple(noise.shape)} must have the shape {shape}.")
        sequences, _ = self._roll_out(past, observed, steps, noise, **kwargs)
        return SampleTSPredictionOutput(sequences=self._in_units(sequences.unflatten(0, (-1, paths))))

    def _one_step_ahead(self, values, observed, use_cache=False, **kwargs):
        """Location `(B, T, D)` and further parameters of each next step, and the base model's outputs."""
        filled = carry_forward(values, observed)
        features = torch.cat([filled, observed.to(filled.dtype)], dim=-1).to(self.input_projection.weight.dtype)
        begun = has_begun(observed)
        begun = begun | (torch.arange(begun.shape[1], device=begun.device) == begun.shape[1] - 1)  # never an empty row
        kwargs = {**kwargs, "attention_mask": begun.long(), "use_cache": use_cache}
        outputs = self.model(inputs_embeds=self.input_projection(features), **kwargs)
        return *self._next(filled, outputs.last_hidden_state), outputs

    def _next(self, values, states):
        """Location of the value after each of `values`, `(B, T, D)`, and further parameters `(B, T, D, K)`, if any."""
        states = self.head_dropout(states)
        location = values + self.score(states).to(values.dtype)
        if self.distribution is None:
            return location, None
        parameters = self.distribution_head(states).to(values.dtype)
        return location, parameters.unflatten(-1, (self.config.input_size, -1))

    def _losses(self, values, location, parameters):
        """Of each value, `(B, T, D)` in float32."""
        errors = (values - location).float()
        return errors.pow(2) if parameters is None else -self.distribution.log_prob(errors, parameters.float())

    def _roll_out(self, past, observed, prediction_length, noise=None, use_cache=None, **kwargs):
        """
        `(B, prediction_length, D)` predictions from the past, or `(B * S, prediction_length, D)` draws by the noise of
        [`draw_paths`]; and the base model's outputs for the past.
        """
        self.check_keeps_past()
        location, parameters, outputs = self._one_step_ahead(past, observed, use_cache=True, **kwargs)
        following = location[:, -1:], None if parameters is None else parameters[:, -1:]
        cache = outputs.cache
        mask = has_begun(observed).long()
        mask[:, -1] = 1
        if noise is not None:
            paths = noise.shape[1]
            following = tuple(part.repeat_interleave(paths, dim=0) for part in following)
            # Half precision would round noise just below 1 to 1, and draw infinity.
            mask, noise = mask.repeat_interleave(paths, dim=0), noise.flatten(0, 1)
            noise = noise.to(torch.promote_types(location.dtype, torch.float32))
            cache.batch_repeat_interleave(paths)
        steps = []
        for number in range(prediction_length):
            if number > 0:
                mask = nn.functional.pad(mask, (0, 1), value=1)
                features = torch.cat([steps[-1], torch.ones_like(steps[-1])], dim=-1)
                states = self.model(
                    inputs_embeds=self.input_projection(features.to(self.input_projection.weight.dtype)),
                    attention_mask=mask,
                    cache=cache,
                    use_cache=True,
                ).last_hidden_state
                following = self._next(steps[-1], states)
            if noise is None:
                steps.append(following[0])
            else:
                drawn = self.distribution.draw(*following, noise[:, number : number + 1])
                steps.append(drawn.to(location.dtype))
        return torch.cat(steps, dim=1), outputs

    def _normalized(self, values, observed, which):
        config = self.config
        if values.dim() != 3 or values.shape[2] != config.input_size or values.shape[1] == 0:
            raise ValueError(
                f"{which}_values of shape {tuple(values.shape)} are not (batch_size, steps, channels) with "
                f"input_size={config.input_size} channels and at least one step."
            )
        if observed is None:
            observed = torch.ones_like(values, dtype=torch.bool)
        elif observed.shape != values.shape:
            raise ValueError(
                f"{which}_observed_mask of shape {tuple(observed.shape)} must have the shape of {which}_values, "
                f"{tuple(values.shape)}."
            )
        observed = observed.bool()
        if not values.is_floating_point():  # counts, say: what is taken off them and added to them is no whole number
            values = values.to(torch.get_default_dtype())
        values = torch.where(observed, values, 0)  # what was not observed may be anything, NaN too
        if config.input_mean is not None:
            values = values - values.new_tensor(config.input_mean)
        if config.input_scale is not None:
            values = values / values.new_tensor(config.input_scale)
        return values, observed

    def _in_units(self, values):
        if self.config.input_scale is not None:
            values = values * values.new_tensor(self.config.input_scale)
        if self.config.input_mean is not None:
            values = values + values.new_tensor(self.config.input_mean)
        return values
