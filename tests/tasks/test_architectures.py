"""What a card says of how a model computes."""

from seqnlp import RecurrentConfig, TransformerConfig, TransformerDecoderConfig
from seqnlp.models.cells import CELLS
from seqnlp.models.series_distributions import DISTRIBUTIONS
from seqnlp.tasks.architectures import architecture_of


def test_a_decoder_with_cells_is_told_by_the_layer_and_the_cell():
    plain = architecture_of(TransformerConfig().to_dict())
    told = architecture_of(TransformerConfig(decoder_cell="ssru").to_dict())
    assert (plain.title, told.title) == ("Transformer encoder-decoder", "Transformer encoder, SSRU decoder")
    assert told.equations.startswith(plain.equations)
    assert told.equations.endswith(CELLS["ssru"].equations)
    assert told.citation == f"{plain.citation}; {CELLS['ssru'].citation}"


def test_a_distribution_of_the_next_value_is_told_behind_the_family():
    for config_class in (RecurrentConfig, TransformerDecoderConfig):
        plain = architecture_of(config_class(input_size=1).to_dict())
        for name, distribution in DISTRIBUTIONS.items():
            told = architecture_of(config_class(input_size=1, distribution_output=name).to_dict())
            assert told.equations == f"{plain.equations}\n{distribution.equations}"
            assert told.citation.endswith("Salinas et al. 2020, arXiv 1704.04110")
