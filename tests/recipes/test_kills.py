"""Every recipe killed at random many times over ends with the losses and weights of a run that was left alone."""

import json
import random
import time
from shlex import split as words_of

import pytest
from forked import ForkedRun
from safetensors.torch import load_file


KILLS = 6
# So small that a run takes seconds, with several micro-batches to a step and a checkpoint every few steps.
COMMON = words_of("--max_train_steps 400 --checkpointing_steps 7 --gradient_accumulation_steps 2 --num_threads 1")
COMMON += words_of("--report_to none --learning_rate 0.005")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Files of lines: a text, the same as rows of JSON, pairs of sentences and tunes in ABC notation."""
    folder, chance = tmp_path_factory.mktemp("lines"), random.Random(0)
    words = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs"}
    head = "X:1\nT:Jig\nM:6/8\nL:1/8\nK:G\n"
    for split, count in (("train", 200), ("validation", 11), ("test", 13)):
        pairs = [chance.choices(list(words), k=chance.randint(1, 6)) for _ in range(count)]
        bars = ["".join(chance.choices("ABcdefg", k=3)) for _ in range(count)]
        contents = {
            "txt": [f"the cat sat on mat {chance.randint(0, 9)}" for _ in range(count)],
            "jsonl": [json.dumps({"text": f"the cat sat on mat {number}"}) for number in range(count)],
            "en": [" ".join(pair) for pair in pairs],
            "de": [" ".join(words[word] for word in pair) for pair in pairs],
            "abc": [f"{head}{bar} GAG|{bar} GAG|{bar} AGA|GAG AGA|\n" for bar in bars],
        }
        for suffix, rows in contents.items():
            (folder / f"{split}.{suffix}").write_text("".join(f"{row}\n" for row in rows))
    return folder


def files(folder, suffix, flag="file"):
    return [
        word
        for split in ("train", "validation", "test")
        for word in (f"--{split}_{flag}", folder / f"{split}.{suffix}")
    ]


def sentiment_analysis(reviews, lines):
    size = words_of("--config_overrides hidden_size=32 --per_device_train_batch_size 2")
    return ["--dataset_name", reviews, *size]


def language_modeling(reviews, lines):
    """The state is carried from window to window."""
    size = words_of(
        "--config_overrides hidden_size=32,embedding_size=8 --max_length 8 --per_device_train_batch_size 2"
    )
    return [*files(lines, "txt"), "--tokenizer_type", "char", *size]


def language_modeling_streamed(reviews, lines):
    size = words_of(
        "--config_overrides hidden_size=32 --architecture gru --max_length 8 --per_device_train_batch_size 2"
    )
    size += words_of("--tokenizer_type char --streaming --eval_steps 60 --max_eval_samples 9")
    return ["--train_file", lines / "train.jsonl", *size]


def music_generation(reviews, lines):
    size = words_of(
        "--config_overrides hidden_size=32,embedding_size=8 --max_length 80 --per_device_train_batch_size 2"
    )
    return [*files(lines, "abc"), *size, "--num_tunes", 2, "--num_files", 0]


def translation(reviews, lines):
    """Batches of so many tokens, BPE dropout, and the weights of several checkpoints averaged."""
    size = words_of("--config_overrides hidden_size=32,intermediate_size=64,num_hidden_layers=1 --vocab_size 300")
    size += words_of("--max_tokens 48 --min_frequency 1 --bleu_every 5 --num_beams 2")
    size += words_of("--bpe_dropout 0.1 --average_checkpoints 3")
    return [*files(lines, "en"), *files(lines, "de", "target_file"), *size]


def image_classification(reviews, lines):
    size = words_of("--config_overrides hidden_size=32,num_hidden_layers=1 --per_device_train_batch_size 4")
    return [*size, "--max_train_samples", 200, "--max_eval_samples", 40]


def trajectory(reviews, lines):
    size = words_of("--config_overrides hidden_size=32 --per_device_train_batch_size 4 --num_trajectories 120")
    return [*size, "--context_length", 12, "--prediction_length", 5]


CASES = [
    sentiment_analysis,
    language_modeling,
    language_modeling_streamed,
    music_generation,
    translation,
    image_classification,
    trajectory,
]


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_killed_at_random_it_ends_with_the_same_losses_and_weights(reviews, lines, tmp_path, case, processes):
    recipe = case.__name__.removesuffix("_streamed")
    arguments = [*COMMON, *case(reviews, lines)]
    whole, cut, log = tmp_path / "whole", tmp_path / "cut", tmp_path / "log"
    ForkedRun(recipe, [*arguments, "--output_dir", whole], processes, log).finish(600)

    chance, kills = random.Random(f"{case.__name__} {processes}"), 0
    while kills < KILLS:
        run = ForkedRun(recipe, [*arguments, *how_to_go_on(cut), "--output_dir", cut], processes, log)
        moment = (while_starting, while_training, while_writing)[(0, 1, 2, 1, 2, 1, 2, 0)[kills]]
        if not moment(run, cut / "checkpoints", chance):
            break  # it has come to its end
        run.kill()
        kills += 1
    assert kills >= 4, "too quick to be killed"
    ForkedRun(recipe, [*arguments, *how_to_go_on(cut), "--output_dir", cut], processes, log).finish(600)

    records = [json.loads((folder / "run.json").read_text()) for folder in (whole, cut)]
    assert records[0]["num_processes"] == records[1]["num_processes"] == processes
    assert [without_clock(entry) for entry in records[0]["history"]] == [
        without_clock(entry) for entry in records[1]["history"]
    ]
    for split in ("validation", "test"):
        scores = [without_clock(record["metrics"].get(split, {})) for record in records]
        assert scores[0] == scores[1]
    weights = [load_file(folder / "model.safetensors") for folder in (whole, cut)]
    assert weights[0].keys() == weights[1].keys()
    assert not [name for name, tensor in weights[0].items() if not tensor.equal(weights[1][name])]


def without_clock(values):
    """What does not depend on how fast the machine was."""
    timed = ("targets_per_second", "target_tokens_per_second", "validation_seconds", "seconds_to_bleu")
    return {name: value for name, value in values.items() if name not in timed}


def how_to_go_on(folder):
    has_checkpoints = any(folder.glob("checkpoints/step-*"))
    return ["--resume_from_checkpoint", "latest"] if has_checkpoints else ["--overwrite_output_dir"]


def while_starting(run, checkpoints, chance):
    """Some time before the first checkpoint that this run writes, or just then: on a fast machine that is soon."""
    known, moment = names(checkpoints), time.monotonic() + chance.uniform(0, 8)
    return waited_for(run, lambda: time.monotonic() > moment or names(checkpoints) - known)


def while_training(run, checkpoints, chance):
    """Some time after the first checkpoint that this run writes; most moments are between two micro-batches."""
    known = names(checkpoints)
    found = waited_for(run, lambda: names(checkpoints) - known)
    return found and not run.wait(chance.uniform(0, 0.3))


def while_writing(run, checkpoints, chance):
    """While a temporary folder is there."""
    known = names(checkpoints)
    found = waited_for(run, lambda: names(checkpoints) - known)
    return found and waited_for(run, lambda: any(name.startswith("tmp-step") for name in names(checkpoints)))


def names(folder):
    try:
        return {path.name for path in folder.iterdir() if path.name[:5] in ("step-", "tmp-s")}
    except FileNotFoundError:
        return set()


def waited_for(run, condition, seconds=300):
    """Whether it came about while the recipe ran."""
    deadline = time.monotonic() + seconds
    while not run.is_over:
        if condition():
            return True
        assert time.monotonic() < deadline, run.log.read_text()[-5000:]
        time.sleep(0.003)
    return False
