"""Whatever flags a small run of each recipe is given: it ends well, or with one line that says what does not fit."""

import random
from pathlib import Path

import pytest
from forked import ForkedRun
from small_runs import CASES

from seqnlp.tasks import TASKS


RUNS = 25
COMMON = ["--max_train_steps", 3, "--num_threads", 1, "--report_to", "none", "--overwrite_output_dir"]
COMMON += ["--checkpointing_steps", 2, "--eval_steps", 2]  # streamed data asks for them
# Where and how the run is started, not what it does; worker processes cannot be forked from a forked recipe.
FIXED = {"output_dir", "overwrite_output_dir", "num_threads", "max_train_steps", "dataloader_num_workers"}
NUMBERS = [0, 1, 2, 3, 5, 7, 0.1, 0.5, 1.0, -1, 2**31, 10**12, 1e-320, 1e308, "nan"]
WORDS = ["", "a", "no", "true", "ü", "train", "text", "latest", 0, 3]


def value(field, chance):
    """One of the kind that the flag takes; those of other kinds are tried without a run, which is quicker."""
    if choices := field.metadata.get("choices"):
        return chance.choice(list(choices))
    if isinstance(field.default, bool):
        return chance.choice(["true", "false"])
    if field.metadata.get("range"):
        return chance.choice(NUMBERS[:9] if chance.random() < 0.9 else NUMBERS)
    return chance.choice(WORDS)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_any_flags_are_a_run_or_one_line(reviews, lines, tmp_path, case):
    recipe, chance, ended_well = case.__name__.removesuffix("_streamed"), random.Random(case.__name__), 0
    fields = TASKS[recipe].fields()
    fields = {
        name: field
        for name, field in fields.items()
        if name not in FIXED and field.metadata["role"] not in ("data source", "model source", "upload")
    }
    for number in range(RUNS):
        drawn = {name: value(fields[name], chance) for name in chance.sample(sorted(fields), chance.randint(1, 3))}
        if drawn.get("gradient_accumulation_steps", 1) > 100:
            continue  # a step of streamed data is as long as this says
        flags = [f"--{name}={given}" for name, given in drawn.items()]
        log = tmp_path / f"log-{number}"
        run = ForkedRun(recipe, [*case(reviews, lines), *COMMON, "--output_dir", tmp_path / "out", *flags], 1, log)
        is_over = run.wait(600 if drawn.get("torch_compile") == "true" else 120)
        codes = [member.exitcode for member in run.members]
        run.kill()
        told = Path(log).read_text(errors="replace")
        assert is_over, f"{flags} hangs: {told[-1000:]}"
        assert "Traceback" not in told, f"{flags}: {told[-3000:]}"
        assert codes in ([0], [1]), f"{flags} {codes}: {told[-1000:]}"
        if codes == [1]:
            assert told.strip().splitlines()[-1].startswith("error: "), f"{flags}: {told[-1000:]}"
        ended_well += codes == [0]
    assert ended_well  # or nothing but refusals was tried
