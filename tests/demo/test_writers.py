"""What models write: against `generate` and step by step."""

import threading
from contextlib import closing
from itertools import pairwise

import pytest
import torch

from seqnlp import TranslationPipeline
from seqnlp.data import to_abc
from seqnlp.demo import DemoError, Options, TuneAnswer


def step_by_step(model, ids, count):
    """Greedy, without `generate` or a cache: the tokens, and the probability of each."""
    ids, probabilities = list(ids), []
    for _ in range(count):
        with torch.no_grad():
            distribution = model(torch.tensor([ids]), use_cache=False).logits[0, -1].softmax(-1)
        allowed = distribution.clone()
        allowed[[0, 1, 2]] = 0  # <pad>, <unk> and <s> are never written
        ids.append(int(allowed.argmax()))
        probabilities.append(float(distribution[ids[-1]]))
    return ids, probabilities


def test_a_text_of_a_recipe_is_gone_on_with_from_its_beginning_token(named, ask):
    model, tokenizer = named("lm").model, named("lm").tokenizer()
    found = ask("lm").answer("the cat", Options(temperature=0.0))
    prompt = [tokenizer.bos_token_id, *tokenizer("the cat").input_ids]
    ids, probabilities = step_by_step(model, prompt, 6)  # as many as the run wrote
    assert tokenizer.decode(ids[len(prompt) :]) == found.text
    assert [token.probability for token in found.tokens] == pytest.approx(probabilities, rel=1e-4)
    assert "".join(token.text for token in found.tokens) == found.text
    with torch.no_grad():
        next_ = model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    best = next_.topk(5)
    assert [one.probability for one in found.next] == pytest.approx(best.values.tolist(), rel=1e-4)
    assert [one.text for one in found.next] == [tokenizer.decode([token]) for token in best.indices.tolist()]


def test_other_models_read_the_prompt_as_their_tokenizer_has_it(named, ask):
    model, tokenizer = named("gpt2").model, named("gpt2").tokenizer()
    found = ask("gpt2").answer("the cat", Options(temperature=0.0, max_new_tokens=3))
    prompt = tokenizer("the cat").input_ids
    ids, _ = step_by_step(model, prompt, 3)
    assert found.text == tokenizer.decode(ids[len(prompt) :])
    assert found.end == "length"
    with pytest.raises(DemoError, match="cannot begin with nothing"):
        ask("gpt2").answer("")


def test_what_does_not_fit_into_the_model_is_told(ask):
    found = ask("gpt2").answer("the cat", Options(temperature=0.0, max_new_tokens=50))
    assert len(found.tokens) < 12
    assert found.remarks == [f"{len(found.tokens)} tokens are written at most, not 50: the model reads 12 in all."]
    found = ask("gpt2").answer("the cat sat on the mat and looked at the dog", Options(temperature=0.0))
    assert len(found.tokens) == 1
    assert "tokens are not read: the model reads 12" in found.remarks[0]


def test_a_text_comes_piece_by_piece_and_beams_at_once(ask):
    parts = [(answer.text, answer.end) for answer in ask("lm").stream("the", Options(seed=3, max_new_tokens=30))]
    assert parts[0] == ("", "")
    assert len(parts) > 4
    assert all(after.startswith(before) for (before, _), (after, _) in pairwise(parts))
    assert [end for _, end in parts[:-1]] == [""] * (len(parts) - 1)
    assert parts[-1][1] in ("end", "length")
    assert len(list(ask("lm").stream("the", Options(num_beams=2)))) == 2


def test_beams_are_those_of_generate(named, ask):
    model, tokenizer = named("lm").model, named("lm").tokenizer()
    prompt = torch.tensor([[tokenizer.bos_token_id, *tokenizer("the").input_ids]])
    special = [0, 1, 2]
    how = {"num_beams": 3, "do_sample": False, "max_new_tokens": 5, "suppress_tokens": special}
    wanted = model.generate(prompt, attention_mask=torch.ones_like(prompt), **how)[0, prompt.shape[1] :]
    found = ask("lm").answer("the", Options(num_beams=3, max_new_tokens=5))
    assert found.text == tokenizer.decode(wanted, skip_special_tokens=True)


def test_a_seed_makes_what_is_drawn_the_same(ask):
    first, again, other = (ask("lm").answer("the", Options(seed=seed)).text for seed in (1, 1, 2))
    assert first == again != other


def test_whoever_stops_waiting_stops_the_writing(ask):
    before, stream = threading.active_count(), ask("lm").stream("the", Options(max_new_tokens=100_000))
    for _ in range(3):
        next(stream)
    stream.close()  # waits for the writer, which would go on for minutes
    assert threading.active_count() == before


def test_whoever_is_interrupted_stops_the_writing(ask):
    before, caught = threading.active_count(), []
    try:
        with closing(ask("lm").stream("the", Options(max_new_tokens=100_000))) as stream:
            for answer in stream:
                if answer.text:
                    raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        caught.append(error)  # and with it all that it passed through
    assert threading.active_count() == before


def test_an_error_while_writing_is_raised_to_who_waits(ask, monkeypatch):
    answerer = ask("lm")

    def fails(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(answerer.model, "generate", fails)
    with pytest.raises(ZeroDivisionError):
        answerer.answer("the")


@pytest.mark.parametrize(
    ("given", "beginning"),
    [
        ("6/8 G", "M:6/8\nL:1/8\nK:Gmaj\n"),
        ("Emin", "M:4/4\nL:1/8\nK:Emin\n"),
        ("2/4", "M:2/4\n"),
        ("", ""),
        ("9/8 E minor Slip jig", "M:9/8\nL:1/8\nK:Emin\nR:slip jig\n"),
        ("3/4 A minuet", "M:3/4\nL:1/8\nK:Amaj\nR:minuet\n"),
        ("X:7\nM:4/4\nL:1/8\nK:D\nAB", "M:4/4\nL:1/8\nK:D\nAB"),  # the answer has a number of its own
    ],
)
def test_a_tune_begins_as_asked(given, beginning, ask):
    assert ask("music").beginning(given) == beginning


def test_a_tune_is_written_and_played(ask, tmp_path):
    answerer = ask("music")
    found = answerer.answer("M:6/8\\nL:1/8\\nK:Gmaj\\n", Options(seed=1))
    assert found.prompt == "M:6/8\nL:1/8\nK:Gmaj\n"
    assert len(found.tokens) <= 20
    assert found.abc == to_abc(found.prompt + found.text)
    for wrong in ("6/8 4/4", "6/8 H", "hello you", "G jig", "6/8 jig", "6/8 G 4711"):
        with pytest.raises(DemoError):
            answerer.answer(wrong)
    tune = TuneAnswer("M:6/8\nK:G\n", "ABc def|gab gfe|Bcd gab|GAB cde|\nT:Jig\n", [])
    answerer.finish(tune)
    assert (tune.is_valid, tune.problem) == (True, "")
    files = answerer.play(tune, tmp_path / "tune-1")
    assert [file.name for file in files] == [f"tune-1.{ending}" for ending in ("abc", "mid", "wav", "png", "svg")]
    assert tune.remarks == []
    assert all(file.stat().st_size > 0 for file in files)
    assert tune.files == [str(file) for file in files]
    broken = TuneAnswer("M:6/8\nK:G\n", "no notes", [])
    answerer.finish(broken)
    assert broken.problem.startswith("music21 cannot read it")


def test_a_translation_with_its_alignment(named, ask):
    found = ask("translator").answer("the cat sat", Options(num_beams=2, max_new_tokens=4))
    tokenizer = named("translator").tokenizer()
    pipeline = TranslationPipeline(named("translator").model, tokenizer=tokenizer)
    asked = {"return_score": True, "return_alignment": True}
    theirs = pipeline("the cat sat", num_beams=2, max_new_tokens=4, do_sample=False, **asked)
    assert found.translation == theirs["translation_text"]
    assert found.score == pytest.approx(theirs["score"])
    assert found.source_tokens == ["the", "cat", "sat"]
    assert len(found.alignment) == len(found.target_tokens)
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in found.alignment)


def test_without_attention_there_is_no_alignment_and_it_is_said(ask):
    found = ask("blind").answer("the cat sat", Options(max_new_tokens=4))
    assert found.alignment is None
    assert found.remarks == ["The model has no attention, so there is no alignment."]


def test_a_text_that_takes_all_memory_is_refused(ask):
    with pytest.raises(DemoError, match=r"The text is 5,00\d tokens long, and 1,000 are translated at once"):
        ask("translator").answer("cat " * 5000)
