"""What a card says of how a model computes."""

from seqnlp import TransformerConfig
from seqnlp.models.cells import CELLS
from seqnlp.tasks.architectures import architecture_of


def test_a_decoder_with_cells_is_told_by_the_layer_and_the_cell():
    plain = architecture_of(TransformerConfig().to_dict())
    told = architecture_of(TransformerConfig(decoder_cell="ssru").to_dict())
    assert (plain.title, told.title) == ("Transformer encoder-decoder", "Transformer encoder, SSRU decoder")
    assert told.equations.startswith(plain.equations)
    assert told.equations.endswith(CELLS["ssru"].equations)
    assert told.citation == f"{plain.citation}; {CELLS['ssru'].citation}"
