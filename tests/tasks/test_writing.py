"""Texts drawn from a model under training."""

import torch
from tiny_runs import TOKENIZER, make_writer
from transformers import TextStreamer

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.tasks.writing import write_on, write_texts
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ModelEvaluator


def stream_texts(loop, tokenizer, prompts, *arguments, **settings):
    """As the recipe does it."""
    texts = []
    for prompt in prompts:
        print()
        streamer = TextStreamer(tokenizer, skip_special_tokens=True)
        texts.append(write_on(loop, tokenizer, prompt, *arguments, streamer=streamer, **settings))
    return texts


def test_texts_are_written_without_dropout_and_streamed_to_the_terminal(tmp_path, capsys):
    loop = make_writer(tmp_path)
    loop.model.train()
    found = [stream_texts(loop, TOKENIZER, ["a b", "c"], 8, temperature=1e-6) for _ in range(5)]
    assert loop.model.training  # it goes on as it was
    loop.model.eval()
    ids = TOKENIZER("<s>a b", add_special_tokens=False, return_tensors="pt")
    likeliest = loop.model.generate(
        **ids, do_sample=False, max_new_tokens=8, suppress_tokens=TOKENIZER.all_special_ids
    )
    expected = TOKENIZER.decode(likeliest[0], skip_special_tokens=True)
    assert [texts[0] for texts in found] == [expected] * 5
    assert len(expected.split()) == 10
    printed = capsys.readouterr().out.split("\n\n")
    assert " ".join(printed[0].split()) == expected


def test_a_text_is_no_longer_than_the_places_that_were_learned(tmp_path):
    loop = make_writer(tmp_path)
    lengths = [len(text.split()) for text in stream_texts(loop, TOKENIZER, ["a", "a b c d e f"], 9, longest=6)]
    assert lengths == [5, 7]  # with <s> 6 tokens; and one more than a prompt that fills the room


def test_a_model_that_forces_its_end_token_writes_as_long_a_text_as_is_asked_for(tmp_path):
    """As BART's configuration has it do."""
    loop = make_writer(tmp_path)
    loop.model.generation_config.forced_eos_token_id = TOKENIZER.eos_token_id
    assert [len(text.split()) for text in stream_texts(loop, TOKENIZER, ["a"], 6)] == [7]


def test_drawn_texts_are_the_same_again_and_differ_among_themselves(tmp_path):
    loop = make_writer(tmp_path)
    texts = write_texts(loop, TOKENIZER, "a", 6, 10)
    torch.rand(3)
    assert write_texts(loop, TOKENIZER, "a", 6, 10) == texts
    assert all(text.startswith("a") for text in texts)
    assert len(set(texts)) > 1


def test_every_token_has_its_chance_also_the_hundredth():
    words = [f"w{number}" for number in range(120)]
    tokenizer = train_tokenizer([" ".join(words)], "word", 200)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    model = RecurrentForCausalLM(RecurrentConfig(vocab_size=len(tokenizer), hidden_size=4, **ids))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    # All but equally likely, and none as likely as another: a bound on the best 50 would leave out the rest.
    model.get_output_embeddings().bias = torch.nn.Parameter(torch.linspace(0, 0.1, len(tokenizer)))
    texts = write_texts(ModelEvaluator(model, 50), tokenizer, "", 50, 40)
    assert len({word for text in texts for word in text.split()}) > 100
