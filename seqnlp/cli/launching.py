"""Recipes in processes that accelerate starts: what they print comes last, and their exit code is the command's."""

import logging
import signal
import sys
from subprocess import CalledProcessError

import psutil
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from ..signals import SIGNALS


def launch(words: list[str]) -> int:
    """
    Do what `accelerate launch WORDS` does, without its and torch's own tracebacks.

    A process that fails has said why, in one line or by its own traceback; those of the launchers, which would stand
    below, say no more than that it did. A process that was killed has said nothing: it is named.

    Args:
        words: The launcher's flags, the script and the script's flags.

    Returns:
        The exit code of the process that failed first, or 128 plus the number of the signal that ended it; 0 if all
        went well.
    """
    logging.disable(logging.ERROR)  # torch's launcher tells of each end
    # What is ignored, as under nohup, stays so. Where several processes train, torch's launcher hands some on itself.
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _hand_on) for number in heard}
    try:
        launch_command(launch_command_parser().parse_args(words))
    except SignalException as stopped:
        return 128 + stopped.sigval
    except CalledProcessError as failed:
        return _told(0, failed.returncode)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        return _told(rank, failure.exitcode)
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _hand_on(number: int, frame: object) -> None:
    """
    A signal goes to the recipe, which ends well and then ends the launcher. Ctrl-C, which a terminal sends to both,
    becomes SIGTERM: a second one would not wait for a checkpoint.
    """
    for child in psutil.Process().children():
        child.send_signal(signal.SIGTERM if number == signal.SIGINT else number)


def _told(rank: int, code: int) -> int:
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    why = "; perhaps by the system, for lack of memory" if name == "SIGKILL" else ""
    sys.stderr.write(
        f"error: process {rank} of the run was ended by {name}{why}. A run that has written a checkpoint goes on by "
        "--resume_from_checkpoint latest.\n"
    )
    return 128 - code
