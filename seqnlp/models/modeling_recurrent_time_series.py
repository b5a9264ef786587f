"""Time series by the recurrent family: Elman RNN, GRU and LSTM over numbers."""

from .configuration_recurrent import RecurrentConfig
from .modeling_recurrent import RecurrentModel, RecurrentPreTrainedModel
from .series_checks import require_input_size
from .time_series import TimeSeriesPredictionMixin


class RecurrentForTimeSeriesPrediction(TimeSeriesPredictionMixin, RecurrentPreTrainedModel):
    """
    The next values of a series from the hidden state (Elman 1990; Graves 2013, arXiv 1308.0850), at constant cost a
    step.
    """

    def __init__(self, config: RecurrentConfig):
        require_input_size(config)
        if config.bidirectional:
            raise ValueError(
                "A model that predicts a series cannot be bidirectional: the backward direction would read the values "
                "it is to predict. Set bidirectional=False."
            )
        super().__init__(config)
        self._add_layers(RecurrentModel(config), config.embedding_size)
        self.post_init()


__all__ = ["RecurrentForTimeSeriesPrediction"]
