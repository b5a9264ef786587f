"""Recipes in processes that begin with everything imported, so that one can be killed and started many times."""

import os
import pickle
import runpy
import socket
import sys
import tempfile
from multiprocessing.connection import wait
from pathlib import Path

import datasets
from clean_processes import CLEAN
from torch.utils.data import DataLoader

from seqnlp.training import batches


ROOT = Path(__file__).parents[2]


class ForkedRun:
    """
    One recipe under way, in as many processes as are to train together.

    Args:
        recipe: Its name.
        arguments: Its flags.
        processes: How many.
        log: File that gets what they print.
        cache: Folder in which `datasets` keeps what it prepares; the usual one by default.
        temporary: Folder of its temporary files; the usual one by default.
        errors: File that gets what they print to the standard error; the log by default.
    """

    def __init__(self, recipe, arguments, processes, log, cache=None, temporary=None, errors=None):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.log = log
        common = processes, port, str(log), str(errors or log), cache and str(cache), temporary and str(temporary)
        self.members = [
            CLEAN.Process(target=run, args=(recipe, list(map(str, arguments)), number, *common))
            for number in range(processes)
        ]
        for member in self.members:
            member.start()

    @property
    def is_over(self):
        return all(member.exitcode is not None for member in self.members)

    def wait(self, seconds):
        """Whether it has come to its end by then."""
        wait([member.sentinel for member in self.members], seconds)
        for member in self.members:
            member.join(0.5 if self.is_over else 0)
        return self.is_over

    def kill(self):
        """`kill -9` for all."""
        for member in self.members:
            member.kill()
        for member in self.members:
            member.join()

    def finish(self, seconds):
        """Wait for the end, which must be a good one."""
        for member in self.members:
            member.join(seconds)
        codes = [member.exitcode for member in self.members]
        self.kill()
        assert codes == [0] * len(codes), Path(self.log).read_text()[-5000:]


def loader_for_any_system(dataset, **settings):
    """Where processes are not forked (macOS, Windows, Python 3.14 on), all that a worker needs is sent to it."""
    pickle.dumps((dataset, settings["collate_fn"], settings["worker_init_fn"]))
    return DataLoader(dataset, **settings)


def run(recipe, arguments, number, processes, port, log, errors, cache, temporary):
    """What each process does."""
    for stream, path in ((1, log), (2, errors)):
        with open(path, "a") as file:
            os.dup2(file.fileno(), stream)
    os.chdir(ROOT)
    if cache:
        datasets.config.HF_DATASETS_CACHE = cache
    if temporary:
        tempfile.tempdir = temporary
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if processes > 1:
        ranks = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in ranks.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    batches.DataLoader = loader_for_any_system
    sys.argv = [f"recipes/{recipe}.py", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
