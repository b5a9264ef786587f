"""What is distributed: a description that reads outside the repository, a light import, the command's other doors."""

import json
import re
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

import seqnlp


ROOT = Path(__file__).parents[1]
HEAVY = ("matplotlib", "pandas", "sklearn", "sacrebleu", "tensorboard", "datasets", "evaluate", "music21", "typer")
HEAVY += ("fastapi", "gradio", "onnxruntime", "ctranslate2", "peft", "tabulate", "jinja2.loaders", "psutil._psposix")
# What an import may add, in CPU seconds. Measured: under 0.001 to transformers with its list of models (0.2 to 0.35)
# and 0.07 with all classes to a model of transformers.
SECONDS = 0.3


@pytest.fixture(scope="module")
def readme_for_an_index():
    """The function of the build's hook, which is no module of the package."""
    return runpy.run_path(str(ROOT / "hatch_build.py"))["readme_for_an_index"]


def targets(text):
    """Where the links and the pictures of a text in Markdown lead, by another reader of it."""
    found = {"href": [], "src": []}
    for block in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        for token in block.children or []:
            for name in found:
                if name in token.attrs:
                    found[name].append(token.attrs[name])
    return found["href"], found["src"]


def test_every_link_of_the_readme_leads_somewhere_from_an_index(readme_for_an_index):
    text = (ROOT / "README.md").read_text()
    links, pictures = targets(text)
    relative = [link for link in links if not link.startswith(("http", "#"))]
    assert len(relative) > 10
    assert pictures
    address = "https://example.org/alice/seqnlp"
    known_links, known_pictures = targets(readme_for_an_index(text, address, "v1.2.3"))
    moved = [link if link.startswith(("http", "#")) else f"{address}/blob/v1.2.3/{link}" for link in links]
    assert known_links == moved
    assert known_pictures == [f"{address}/raw/v1.2.3/{picture}" for picture in pictures]
    unknown_links, unknown_pictures = targets(readme_for_an_index(text, None, "main"))
    assert unknown_links == [link for link in links if link not in relative]
    assert unknown_pictures == []


def test_code_and_addresses_stay_as_they_are(readme_for_an_index):
    text = (
        "See [data](docs/data.md), `[a](b)`, [hub](https://huggingface.co) and [below](#results).\n```\n[x](y)\n```\n"
    )
    assert readme_for_an_index(text, None, "main") == text.replace("[data](docs/data.md)", "data")
    assert "[data](u/blob/v1/docs/data.md)" in readme_for_an_index(text, "u", "v1")
    assert readme_for_an_index("[`a`](b.md), `c`", "u", "v1") == "[`a`](u/blob/v1/b.md), `c`"


def test_the_import_costs_as_little_as_that_of_transformers():
    code = """
        import sys, time
        from transformers.models.auto import auto_mappings
        start = time.process_time()
        import seqnlp
        print(time.process_time() - start, "torch" in sys.modules, "seqnlp.models" in sys.modules)
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    assert [run[1:] for run in runs] == [["False", "False"]] * 3
    assert min(float(run[0]) for run in runs) < SECONDS


def test_the_import_brings_nothing_that_a_model_of_transformers_does_not():
    """Beside what any model needs: no library that a recipe, a picture or a page is made with."""
    code = f"""
        import json, sys, time
        from transformers import LlamaForCausalLM
        before, start = set(sys.modules), time.process_time()
        import seqnlp
        assert seqnlp.models.RecurrentModel is seqnlp.RecurrentModel
        seconds, added = time.process_time() - start, set(sys.modules) - before
        heavy = [name for name in {HEAVY} if name in added]
        print(json.dumps([seconds, sorted({{name.split(".")[0] for name in added}}), heavy]))
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, packages, heavy = json.loads(done.stdout.splitlines()[-1])
    assert heavy == []
    # sentencepiece by transformers' AutoTokenizer, where it is installed.
    assert set(packages) - sys.stdlib_module_names <= {"seqnlp", "transformers", "tokenizers", "sentencepiece"}
    assert seconds < SECONDS


@pytest.mark.parametrize("door", ["seqnlp.cli.main", "seqnlp"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning:runpy")  # the command's module may be imported already
def test_the_version_is_told(monkeypatch, capsys, door):
    monkeypatch.setattr(sys, "argv", ["seqnlp", "--version"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(door, run_name="__main__")
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"seqnlp {seqnlp.__version__}\n"


def test_every_extra_is_one_of_a_purpose_or_of_the_work_on_it():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "README.md").read_text() + "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    text += (ROOT / "CONTRIBUTING.md").read_text()
    text += "".join(path.read_text() for path in (ROOT / "seqnlp").rglob("*.py"))
    for name in set(extras) - {"test", "conformance", "dev"}:
        assert f"seqnlp[{name}" in text or f"[{name}]" in text or f",{name}" in text, f"nobody is told of {name}"


@pytest.mark.long
def test_both_distributions_are_built_and_read_well(tmp_path, monkeypatch):
    pytest.importorskip("build")
    pytest.importorskip("twine")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "alice/seqnlp")
    monkeypatch.setenv("GITHUB_REF_NAME", "v9")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    wheel, source = *tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")
    check = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        metadata = message_from_string(archive.read(name).decode())
    assert metadata["Version"] == seqnlp.__version__
    assert "Repository, https://example.org/alice/seqnlp" in metadata.get_all("Project-URL")
    assert "](https://example.org/alice/seqnlp/blob/v9/docs/tour.md)" in metadata.get_payload()
    with tarfile.open(source) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"hatch_build.py", "README.md", "LICENSE", "constraints.txt", "tests/test_packaging.py"} <= names


def test_continuous_integration_finds_the_test_command_in_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    found = re.search(r"^command=\$\(.*\)$", script, re.MULTILINE).group()
    shell = ["bash", "-c", f'{found}; printf %s "$command"']
    command = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=True)
    blocks = [token for token in MarkdownIt().parse((ROOT / "README.md").read_text()) if token.type == "fence"]
    assert [block.info for block in blocks[:3]] == ["bash", "bash", "text"]
    assert command.stdout == blocks[1].content.strip()
    assert command.stdout.endswith("python -m pytest -n 2 --dist loadfile")


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is_and_may_only_read(path):
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 350
        for command in [step["run"] for step in job["steps"] if "run" in step]:
            for target in re.findall(r"\bmake ([\w-]+)", command):
                assert target in targets, command
            for named in re.findall(r"\b[\w/]+\.(?:py|txt)\b", command):
                assert (ROOT / named).is_file(), named
    assert "has not been run on GitHub yet" in path.read_text()


def test_a_release_is_published_without_a_token():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert not any("secrets" in path.read_text() for path in WORKFLOWS)
