"""Every recipe killed at random many times over ends with the losses and weights of a run that was left alone."""

import json
import random
import time
from shlex import split as words_of

import pytest
from forked import ForkedRun
from safetensors.torch import load_file
from small_runs import CASES


KILLS = 6
# So small that a run takes seconds, with several micro-batches to a step and a checkpoint every few steps.
COMMON = words_of("--max_train_steps 400 --checkpointing_steps 7 --gradient_accumulation_steps 2 --num_threads 1")
COMMON += words_of("--report_to none --learning_rate 0.005")


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
