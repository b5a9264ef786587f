"""Time series by the Transformer decoder: each step sees itself and those before it."""

from .configuration_transformer_decoder import TransformerDecoderConfig
from .modeling_transformer_decoder import TransformerDecoderModel, TransformerDecoderPreTrainedModel
from .series_checks import require_input_size
from .time_series import TimeSeriesPredictionMixin


class TransformerDecoderForTimeSeriesPrediction(TimeSeriesPredictionMixin, TransformerDecoderPreTrainedModel):
    """The next values of a series from the last layer's state (compare Das et al. 2024, arXiv 2310.10688)."""

    def __init__(self, config: TransformerDecoderConfig):
        require_input_size(config)
        super().__init__(config)
        self._add_layers(TransformerDecoderModel(config), config.hidden_size)
        self.post_init()


__all__ = ["TransformerDecoderForTimeSeriesPrediction"]
