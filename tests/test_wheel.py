"""The wheel has all that the clone has for its users."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seqnlp import __version__


ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_recipes_are_started_from_a_wheel_outside_the_clone(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("seqnlp-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for path in [*(ROOT / "recipes").rglob("*.py"), *(ROOT / "recipes").rglob("*.yaml")]:
        assert f"seqnlp/recipes/{path.relative_to(ROOT / 'recipes').as_posix()}" in names
    for path in (ROOT / "labs" / "exercises").glob("*.ipynb"):
        assert f"seqnlp/labs/exercises/{path.name}" in names
    assert not any(name.startswith(("tests", "benchmarks", "recipes", "hatch_build")) for name in names)
    command = "import sys; sys.path.insert(0, sys.argv.pop(1)); from seqnlp.cli.main import main; main()"
    outside = tmp_path / "elsewhere"
    outside.mkdir()

    def seqnlp(*arguments):
        full = [sys.executable, "-P", "-c", command, str(tmp_path / "site"), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}
        return subprocess.run(full, cwd=outside, env=environment, capture_output=True, text=True)

    listed = seqnlp("recipes")
    assert "sentiment_analysis" in listed.stdout, listed.stderr
    small = ["--max_train_steps", "2", "--config_overrides", "hidden_size=8,num_hidden_layers=1,num_attention_heads=1"]
    trained = seqnlp("train", "image_classification", *small, "--report_to", "none")
    assert trained.returncode == 0, trained.stderr
    assert (outside / "outputs" / "image_classification-transformer" / "run.json").is_file()

    # By the names of recipes and configs that lie in the wheel alone.
    few = "--max_train_steps 2 --num_trajectories 30 --report_to none --num_threads 1"
    small = ["--architectures", "elman,gru", "--seeds", "1", "--output_dir", "compared", "--flags", few]
    compared = seqnlp("compare", "trajectory_small", *small)
    assert compared.returncode == 0, compared.stderr
    assert (outside / "compared" / "gru-1" / "run.json").is_file()
    assert (outside / "compared" / "compare.html").is_file()
    assert seqnlp("--version").stdout == f"seqnlp {__version__}\n"
