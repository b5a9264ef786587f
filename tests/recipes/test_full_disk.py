"""
A disk that becomes full at any point of a run: one line, and what was trained goes on to the same losses and weights.

The disk is a small one in memory, which takes the right to mount it; it is then given more room.
"""

import re
import subprocess
from shlex import split as words_of

import pytest
from forked import ForkedRun
from safetensors.torch import load_file
from small_runs import language_modeling_streamed, sentiment_analysis, translation
from test_kills import end_alike, how_to_go_on


CASES = [sentiment_analysis, translation, language_modeling_streamed]
POINTS = 12
COMMON = words_of("--max_train_steps 40 --checkpointing_steps 7 --num_threads 1 --report_to tensorboard")


class Disk:
    """A file system in memory of a given size, in bytes."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def mount(self, size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.folder]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.folder], capture_output=True)

    @property
    def used(self):
        told = subprocess.run(["df", "--output=used", "-B1", self.folder], capture_output=True, text=True, check=True)
        return int(told.stdout.split()[-1])


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path / "disk")
    yield found
    found.unmount()


@pytest.mark.long
@pytest.mark.parametrize("has_other_disk", [False, True], ids=["one disk", "temporary files elsewhere"])
@pytest.mark.parametrize(
    "case", [sentiment_analysis, translation, language_modeling_streamed], ids=lambda c: c.__name__
)
def test_a_full_disk_is_one_line_and_the_run_goes_on(reviews, lines, tmp_path, disk, case, has_other_disk):
    recipe, log = case.__name__.removesuffix("_streamed"), tmp_path / "log"
    arguments = [*case(reviews, lines), *COMMON]
    whole, cut, cache, here = (disk.folder / name for name in ("whole", "cut", "cache", "temporary"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def start(folder, *flags, temporary=elsewhere):
        flags = [*arguments, *flags, "--output_dir", folder]
        log.write_text("")
        return ForkedRun(recipe, flags, 1, log, cache, temporary)

    disk.mount(2**28)
    start(tmp_path / "whole").finish(300)
    start(whole).finish(300)
    needed = disk.used
    disk.unmount()
    told, lost = [], 0
    for point in range(POINTS):
        disk.mount(max(4096, needed * (point + 1) // (POINTS + 1) // 4096 * 4096))
        here.mkdir()
        run = start(cut, temporary=elsewhere if has_other_disk else here)
        assert run.wait(300), log.read_text()[-3000:]
        printed, code = log.read_text(), run.members[0].exitcode
        run.kill()
        assert "Traceback" not in printed, f"{point}: {printed[-3000:]}"
        disk.resize(2**28)
        last = printed.strip().splitlines()[-1]
        if code == 0:
            told.append("came to its end")
        else:
            assert code == 1, printed[-2000:]
            assert last.startswith("error: "), printed[-2000:]
            assert "no space is left on the disk" in last, last
            told.append(re.sub(r"/\S+", "", last)[:60])
            goes_on = re.search(r"is kept in (\S+/step-\d+)", last)
            model = re.search(r"is kept in (\S+/results)\.", last)
            if goes_on:
                start(cut, "--resume_from_checkpoint", goes_on[1], "--overwrite_output_dir").finish(300)
            elif model:
                expected = load_file(tmp_path / "whole" / "model.safetensors")
                kept = load_file(f"{model[1]}/model.safetensors")
                assert all(tensor.equal(expected[name]) for name, tensor in kept.items())
                start(cut, *how_to_go_on(cut)).finish(300)
            else:
                lost += not how_to_go_on(cut)[0].startswith("--resume")
                start(cut, *how_to_go_on(cut)).finish(300)
        end_alike(tmp_path / "whole", cut, 1)
        disk.unmount()
    print(case.__name__, has_other_disk, needed, lost, *told, sep="\n  ")
    assert len(set(told)) > 2  # more than one place was met
