"""
Every recipe killed at random many times over ends with the losses and weights of a run that was left alone, whatever
the caches hold when it goes on.
"""

import json
import random
import shutil
import time
from shlex import split as words_of

import pytest
from forked import ForkedRun
from safetensors.torch import load_file
from small_runs import CASES, sentiment_analysis


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
    ForkedRun(recipe, [*arguments, "--output_dir", whole], processes, log, tmp_path / "cache of whole").finish(600)

    chance, kills, cache = random.Random(f"{case.__name__} {processes}"), 0, tmp_path / "cache"
    while kills < KILLS:
        prepare(cache, kills)
        run = ForkedRun(recipe, [*arguments, *how_to_go_on(cut), "--output_dir", cut], processes, log, cache)
        moment = (while_starting, while_training, while_writing)[(0, 1, 2, 1, 2, 1, 2, 0)[kills]]
        if not moment(run, cut / "checkpoints", chance):
            break  # it has come to its end
        run.kill()
        kills += 1
    assert kills >= 4, "too quick to be killed"
    prepare(cache, kills)
    ForkedRun(recipe, [*arguments, *how_to_go_on(cut), "--output_dir", cut], processes, log, cache).finish(600)
    end_alike(whole, cut, processes)


def test_it_goes_on_whatever_the_cache_of_the_data_holds(reviews, lines, tmp_path):
    """Killed in its first run, which fills the cache; then where the cache is full, and where some of it is gone."""
    arguments = [*COMMON, *sentiment_analysis(reviews, lines), "--max_train_steps", 100]
    whole, cut, cache = tmp_path / "whole", tmp_path / "cut", tmp_path / "cache"

    def start(folder, *flags):
        flags = [*arguments, *flags, "--output_dir", folder]
        return ForkedRun("sentiment_analysis", flags, 1, tmp_path / "log", cache)

    for kept in ([0, 1, 2], [1]):
        run = start(cut, *how_to_go_on(cut))
        known = names(cut / "checkpoints")
        assert waited_for(run, lambda known=known: names(cut / "checkpoints") - known)
        run.kill()
        files = sorted(cache.rglob("*.arrow"))
        assert len(files) == 3  # the tokens of each split
        for number, file in enumerate(files):
            if number not in kept:
                file.unlink()
    start(cut, *how_to_go_on(cut)).finish(120)
    start(whole).finish(120)
    end_alike(whole, cut, 1)


def end_alike(whole, cut, processes):
    """Both runs have the same losses, scores and weights."""
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


def prepare(cache, turn):
    """What `datasets` keeps: nothing, as before with some of it gone, as before."""
    if turn % 3 == 0:
        shutil.rmtree(cache, ignore_errors=True)
    elif turn % 3 == 1:
        for file in sorted(cache.rglob("*.arrow"))[::2]:
            file.unlink()


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
