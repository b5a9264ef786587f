"""How many CPU threads a process computes with."""

import os

import psutil


EXPORTED = "OMP_NUM_THREADS"
STARTER = "SEQNLP_STARTER"
"""Holds the number of the process that runs several seeds, in the environment of the run of each."""
SECONDS_OF_LOOKING = 0.3


def choose_threads(asked: int | None, num_processes: int) -> int:
    """
    What is asked for, else what the user has exported as `OMP_NUM_THREADS`, else the cores that are idle.

    More threads than idle cores wait for each other: on a busy machine that takes many times longer than one thread.

    Args:
        asked: What `--num_threads` says.
        num_processes: Processes of the run on this machine, which share its cores.
    """
    return asked or exported_threads() or max(1, idle_cores() // num_processes)


def exported_threads() -> int | None:
    """
    What the user has exported as `OMP_NUM_THREADS`, if it is a number.

    `accelerate launch` and `torchrun` set it to 1 where nobody has: there the launcher's own environment tells.
    """
    environment = os.environ
    if is_launched():
        try:
            environment = _launcher().environ()
        except psutil.Error:
            return None
    value = environment.get(EXPORTED, "")
    return int(value) if value.isdecimal() and int(value) > 0 else None


def _launcher() -> psutil.Process:
    """The process that has launched this one; where a run of several seeds is in between, that one's."""
    parent = psutil.Process(os.getppid())
    return psutil.Process(parent.ppid()) if os.environ.get(STARTER) == str(parent.pid) else parent


def is_launched() -> bool:
    """Whether `accelerate launch` or `torchrun` has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ


def idle_cores() -> int:
    """How many of the cores that this process may use have nothing to do, as of now; at least one."""
    busy = psutil.cpu_percent(SECONDS_OF_LOOKING, percpu=True)
    if hasattr(os, "sched_getaffinity"):
        busy = [busy[core] for core in os.sched_getaffinity(0) if core < len(busy)]
    return max(1, round(sum(1 - share / 100 for share in busy)))
