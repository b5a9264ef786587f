"""A language model that learns from another one, which reads each batch beside it: by hand, refused, and a run."""

import math

import pytest
import torch
from given_models import run, tokenizer
from tokenizers.normalizers import Lowercase

from seqnlp import RecurrentConfig, RecurrentForCausalLM, TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.models.losses import NextTokenDistillationLoss
from seqnlp.publishing.card import build_card
from seqnlp.tasks import TASKS
from seqnlp.tasks.starting.language_model_teacher import NextTokenTeacher
from seqnlp.tasks.starting.starting_model import Source
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import ArgumentsError


TEXT = ["the cat sat on a mat", "a good film"]
SIZE = {"vocab_size": len(tokenizer()), "hidden_size": 8, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def teacher_of(place, window=8, first=0, tokens=None, texts=TEXT, vocab_size=SIZE["vocab_size"]):
    given = tokens or tokenizer(), texts, vocab_size, window, first
    return NextTokenTeacher(Source("teacher", str(place)), "language_modeling", *given)


def student(kind="transformer"):
    torch.manual_seed(1)
    if kind == "lstm":
        return RecurrentForCausalLM(RecurrentConfig(**SIZE, initializer_range=0.5)).train()
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.5}
    return TransformerDecoderForCausalLM(TransformerDecoderConfig(**SIZE, **sizes, dropout=0.0)).train()


def softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row.tolist()]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(("first", "chunk_size"), [(0, None), (2, 3)])
def test_the_divergence_of_each_next_token_by_hand(folder, first, chunk_size):
    model, teacher = student(), teacher_of(folder / "lstm", first=first)
    model.config.loss_chunk_size = chunk_size  # a loss that compares logits gets them, whatever the configuration says
    model.loss_function = NextTokenDistillationLoss("kl", 0.25, 2.0)
    teacher.teach(model)
    ids, labels = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[6, 7, 8, 9]])
    with torch.no_grad():
        found = model(input_ids=ids, labels=labels, shift_labels=labels, num_items_in_batch=10).loss.item()
        ours, theirs = model.eval()(input_ids=ids).logits[0], teacher.model(input_ids=ids).logits[0]
    total = 0.0
    for place in range(4):
        hard = -math.log(softmax(ours[place], 1.0)[labels[0, place]])
        p, q = softmax(theirs[place], 2.0), softmax(ours[place], 2.0)
        soft = 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        total += hard if place < first else 0.75 * hard + 0.25 * soft
    assert found == pytest.approx(total / 10, rel=1e-4)
    plain = torch.nn.functional.cross_entropy(ours, labels[0]).item()
    evaluated = model(input_ids=ids, labels=labels, shift_labels=labels).loss.item()
    assert evaluated == pytest.approx(plain, rel=1e-5)  # a student that is evaluated hears nobody


def test_a_teacher_sees_what_the_student_sees_of_packed_documents(folder):
    """Positions that start anew tell documents apart, for a Transformer; what a state carries it has not read."""
    teacher = teacher_of(folder / "gpt2", tokens=gpt2_tokens(folder))
    calls = []
    teacher.model.register_forward_pre_hook(lambda *given: calls.append(sorted(given[2])), with_kwargs=True)
    model = student()
    model.loss_function = NextTokenDistillationLoss("mse", 1.0, 1.0)
    teacher.teach(model)
    ids, places = torch.tensor([[5, 6, 2, 8]]), torch.tensor([[0, 1, 0, 1]])
    model(input_ids=ids, labels=ids, position_ids=places).loss.backward()
    assert calls == [["input_ids", "position_ids", "use_cache"]]
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    recurrent = teacher_of(folder / "lstm")
    model = student()
    model.loss_function = NextTokenDistillationLoss("mse", 1.0, 1.0)
    recurrent.teach(model)
    assert model(input_ids=ids, labels=ids, position_ids=places).loss.isfinite()


def gpt2_tokens(folder):
    from seqnlp.tasks.starting.starting_model import load_tokenizer

    return load_tokenizer(Source("teacher", str(folder / "gpt2")))


def test_what_is_no_teacher_is_refused(folder):
    other = train_tokenizer(["other words than those"], "word", 60, min_frequency=1)
    with pytest.raises(ArgumentsError, match=r"its tokens are not those .* by --tokenizer_name .*lstm"):
        teacher_of(folder / "lstm", tokens=other)
    lowered = tokenizer()
    lowered.backend_tokenizer.normalizer = Lowercase()  # the same vocabulary, other tokens of a text
    with pytest.raises(ArgumentsError, match="its tokens are not those"):
        teacher_of(folder / "lstm", tokens=lowered, texts=["A GOOD film"])
    with pytest.raises(ArgumentsError, match=r"it reads 32 tokens at once, and a window has 33: lower --max_length"):
        teacher_of(folder / "gpt2", window=33, tokens=gpt2_tokens(folder))
    with pytest.raises(ArgumentsError, match=r"reads the tokens that it is to predict, as an encoder does"):
        teacher_of(folder / "masked_bert")
    with pytest.raises(ArgumentsError, match=r"it gives logits of \d+ tokens, and the student of 7"):
        teacher_of(folder / "lstm", vocab_size=7)
    for name in ("language_modeling", "music_generation"):
        with pytest.raises(ArgumentsError, match="--teacher_revision main does nothing without --teacher"):
            TASKS[name].from_command_line(argv=["--teacher_revision", "main"]).check_start()


def test_a_student_learns_from_its_teacher_alone(folder, tmp_path):
    """No label counts, and yet it finds the text that the teacher has learned."""
    given = []
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("the cat sat on a mat\n" * 30)
        given += [f"--{split}_file", tmp_path / f"{split}.txt"]
    given += ["--sample_length", 0, "--max_length", 8, "--per_device_train_batch_size", 4, "--learning_rate", 0.02]
    words = ["--tokenizer_type", "word", "--architecture", "gru", "--config_overrides", "hidden_size=16"]
    teacher = run("language_modeling", tmp_path / "teacher", *given, *words, "--num_train_epochs", 6)
    size = ["--config_overrides", "hidden_size=16,num_hidden_layers=1,num_attention_heads=2", "--num_train_epochs", 12]
    size += ["--architecture", "transformer", "--tokenizer_name", tmp_path / "teacher"]
    learn = ["--teacher", tmp_path / "teacher", "--distillation_weight", 1]
    record = run("language_modeling", tmp_path / "student", *given, *size, *learn)
    assert teacher["metrics"]["test"]["loss"] < 0.3
    assert record["metrics"]["test"]["loss"] < 0.5
    assert record["teacher"]["class"] == "RecurrentForCausalLM"
    assert "said of its training texts" in build_card(record, "alice/student")


def test_a_state_that_is_carried_is_heard_from_the_middle_of_a_window_on():
    task = TASKS["language_modeling"].from_command_line(argv=["--max_length", "10"])
    assert (task.carries_state, task.positions) == (True, 10)
    assert not TASKS["language_modeling"].from_command_line(argv=["--architecture", "transformer"]).carries_state
    assert not TASKS["music_generation"].from_command_line(argv=[]).carries_state


def test_a_model_of_others_is_no_student(folder, tmp_path):
    files = [w for s in ("train", "validation") for w in (f"--{s}_file", folder / f"{s}.txt")]
    files += ["--max_length", 16, "--model_name_or_path", folder / "gpt2", "--teacher", folder / "gpt2"]
    with pytest.raises(ArgumentsError, match="a GPT2LMHeadModel computes its loss by itself and hears no teacher"):
        run("language_modeling", tmp_path, *files)
