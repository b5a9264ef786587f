"""What a card says of how a model computes."""

from seqnlp import RecurrentConfig, RecurrentSeq2SeqConfig, TransformerConfig, TransformerDecoderConfig
from seqnlp.models.cells import CELLS
from seqnlp.models.series_distributions import DISTRIBUTIONS
from seqnlp.tasks.reporting.architectures import describe_architecture


def test_a_decoder_with_cells_is_told_by_the_layer_and_the_cell():
    plain = describe_architecture(TransformerConfig().to_dict())
    told = describe_architecture(TransformerConfig(decoder_cell="ssru").to_dict())
    assert (plain.title, told.title) == ("Transformer encoder-decoder", "Transformer encoder, SSRU decoder")
    assert told.equations.startswith(plain.equations)
    assert told.equations.endswith(CELLS["ssru"].equations)
    assert told.citation == f"{plain.citation}; {CELLS['ssru'].citation}"


def test_attention_and_what_is_fed_back_are_told_behind_the_cell():
    plain, attends, feeds = (
        describe_architecture(RecurrentSeq2SeqConfig(cell_type="gru", **fields).to_dict())
        for fields in (
            {"attention_type": "none"},
            {"attention_type": "additive", "input_feeding": False},
            {"attention_type": "additive", "input_feeding": True},
        )
    )
    assert plain.title == f"{CELLS['gru'].title} encoder-decoder"
    assert plain.equations.startswith(CELLS["gru"].equations)
    assert attends.title == feeds.title == f"{plain.title} with additive attention"
    assert attends.citation == f"{plain.citation}; additive attention, Bahdanau et al. 2015, arXiv 1409.0473"
    assert "softmax_j(v . tanh(W h_t + U s_j))" in attends.equations.removeprefix(plain.equations)
    assert feeds.equations.removeprefix(attends.equations) == "\nx_t = [embedding of token t; output_{t-1}]"


def test_the_block_around_a_cell_is_told_as_far_as_there_is_one():
    cell, block = CELLS["mingru"], "\na layer: x <- x + F(Norm(x)), with "
    convolution, own, mlp = (
        "F(x)_t = b + the sum of k_i * x_{t-i} over i < 4",
        "F(x)_t = h_t",
        "F(x) = W_2 gelu(W_1 x + b_1) + b_2",
    )
    for fields, told in (
        ({}, ""),
        ({"block": "residual"}, block + own),
        (
            {"block": "residual", "conv_kernel_size": 4, "mlp_ratio": 2},
            f"{block}{convolution}, then with {own}, then with {mlp}",
        ),
    ):
        found = describe_architecture(RecurrentConfig(cell_type="mingru", **fields).to_dict())
        assert found.equations == cell.equations + told
        assert ("De et al. 2024" in found.citation) == bool(fields)
    seq2seq = RecurrentSeq2SeqConfig(cell_type="mingru", block="residual", attention_type="none").to_dict()
    assert describe_architecture(seq2seq).equations.startswith(cell.equations + block + own)


def test_a_distribution_of_the_next_value_is_told_behind_the_family():
    for config_class in (RecurrentConfig, TransformerDecoderConfig):
        plain = describe_architecture(config_class(input_size=1).to_dict())
        for name, distribution in DISTRIBUTIONS.items():
            told = describe_architecture(config_class(input_size=1, distribution_output=name).to_dict())
            assert told.equations == f"{plain.equations}\n{distribution.equations}"
            assert told.citation.endswith("Salinas et al. 2020, arXiv 1704.04110")
