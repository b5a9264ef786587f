"""Writing by a compiled step: the same tokens, one graph a token, and no graph for the next text."""

import pytest
import torch

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    TransformerConfig,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
    TransformerForConditionalGeneration,
    compile_generation,
)
from seqnlp.models.compiled_generation import fixed_length


SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "initializer_range": 0.5, "pad_token_id": 0}
HEADS = {**SIZES, "num_attention_heads": 2}
WRITERS = {
    "decoder": lambda: TransformerDecoderForCausalLM(TransformerDecoderConfig(**HEADS)),
    "lstm": lambda: RecurrentForCausalLM(RecurrentConfig(**SIZES, cell_type="lstm")),
    "translator": lambda: TransformerForConditionalGeneration(TransformerConfig(**HEADS, decoder_start_token_id=2)),
    "ssru decoder": lambda: TransformerForConditionalGeneration(
        TransformerConfig(**HEADS, decoder_start_token_id=2, decoder_cell="ssru")
    ),
    "gru with attention": lambda: RecurrentSeq2SeqForConditionalGeneration(
        RecurrentSeq2SeqConfig(**SIZES, decoder_start_token_id=2, attention_type="multiplicative")
    ),
}
every_writer = pytest.mark.parametrize("name", WRITERS)


def made(name):
    torch.manual_seed(0)
    model = WRITERS[name]().double().eval()
    model.generation_config.eos_token_id = None
    return model


def ragged(rows, length):
    ids = torch.randint(4, 40, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, : length // 2] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


class Compiler:
    """Stands for inductor: notes what is compiled and how often it is run."""

    def __init__(self):
        self.graphs, self.calls = 0, 0

    def __call__(self, graph, inputs, mode):
        self.graphs += 1

        def run(*given):
            self.calls += 1
            return graph(*given)

        return run

    def __deepcopy__(self, memo):
        return self


@pytest.fixture
def compiler():
    return Compiler()


def compiled_by(model, compiler):
    compile_generation(model)
    model.generation_config.compile_config.backend = compiler
    return model


@every_writer
def test_one_graph_writes_the_tokens_of_the_plain_way(name, compiler):
    model, plain = compiled_by(made(name), compiler), made(name)
    inputs = ragged(3, 6)
    found = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert torch.equal(found, plain.generate(**inputs, max_new_tokens=8, do_sample=False))
    assert len({tuple(row) for row in found.tolist()}) > 1
    assert (compiler.graphs, compiler.calls) == (1, 7)  # each token but the first, which the prompt gives

    torch.manual_seed(5)
    drawn = model.generate(**inputs, max_new_tokens=20, do_sample=True, top_k=0)
    torch.manual_seed(5)
    assert torch.equal(drawn, plain.generate(**inputs, max_new_tokens=20, do_sample=True, top_k=0))
    assert (compiler.graphs, compiler.calls) == (1, 26)


@every_writer
def test_another_length_of_prompt_or_source_needs_no_graph_or_one_for_all(name, compiler):
    model, plain = compiled_by(made(name), compiler), made(name)
    for length in (4, 7, 9, 12):
        inputs = {"input_ids": torch.randint(4, 40, (2, length))}
        found = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        assert torch.equal(found, plain.generate(**inputs, max_new_tokens=5, do_sample=False))
    is_translator = name in ("translator", "ssru decoder", "gru with attention")
    assert compiler.graphs <= (2 if is_translator else 1)


@pytest.mark.parametrize("name", ["decoder", "lstm"])
def test_beams_drafts_and_autocast_go_their_usual_way(name, compiler):
    model, plain = compiled_by(made(name), compiler), made(name)
    inputs = {"input_ids": torch.randint(4, 40, (1, 4)).repeat(1, 3)}
    for way in ({"num_beams": 3}, {"prompt_lookup_num_tokens": 2}):
        found = model.generate(**inputs, max_new_tokens=6, do_sample=False, **way)
        assert torch.equal(found, plain.generate(**inputs, max_new_tokens=6, do_sample=False, **way))
    with torch.autocast("cpu", torch.bfloat16):
        model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert compiler.calls == 0


def test_nothing_of_it_is_saved(tmp_path):
    model = made("decoder")
    compile_generation(model)
    model.save_pretrained(tmp_path)
    loaded = TransformerDecoderForCausalLM.from_pretrained(tmp_path)
    assert loaded.generation_config.compile_config is None
    assert loaded.generation_config.cache_implementation is None


def test_caches_of_fixed_size_come_in_powers_of_two():
    assert [fixed_length(length) for length in (1, 128, 129, 256, 1000)] == [128, 128, 256, 256, 1024]


@pytest.mark.long
@every_writer
def test_a_real_compiler_writes_the_same(name):
    model, plain, inputs = made(name), made(name), ragged(3, 6)
    compile_generation(model)
    expected = plain.generate(**inputs, max_new_tokens=30, do_sample=False)
    assert torch.equal(model.generate(**inputs, max_new_tokens=30, do_sample=False), expected)
