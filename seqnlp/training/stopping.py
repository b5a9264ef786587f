"""How a run ends before its time: told to by a signal, left by its launcher, or without one of its processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import torch.distributed
from torch.distributed import Store

from ..signals import SIGNALS
from .threads import STARTER, is_launched


SECONDS_OF_SILENCE = 300.0


class RunStopped(BaseException):
    """
    The run was told to stop; the message says how to go on. Like an interruption, it is no error to go on after.

    Args:
        number: The signal's number.
        message: The line for the user.
    """

    def __init__(self, number: int, message: str):
        super().__init__(number, message)
        self.number, self.message = number, message

    def __str__(self) -> str:
        return self.message


class _Handlers:
    """
    Has the signals that ask for an end in its hands, as a context; those that are ignored, as under `nohup`, stay so.
    """

    def __init__(self):
        self.is_in_force = False
        self._before: dict[int, object] = {}

    def __enter__(self):
        self.is_in_force = True
        if threading.current_thread() is threading.main_thread():  # Python lets no other set handlers
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self.is_in_force = False

    def _note(self, number: int, frame: object) -> None:
        raise NotImplementedError


class EndOnSignals(_Handlers):
    """
    Ends, as a context, what a run does before and after training at a signal: at once, since nothing of it is lost.
    """

    def _note(self, number: int, frame: object) -> None:
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)  # told twice, it ends once
        raise RunStopped(
            number,
            f"{signal.Signals(number).name}: ended. A run that has written a checkpoint goes on by the same command "
            "and --resume_from_checkpoint latest.",
        )


class StopSignals(_Handlers):
    """
    Notes, as a context, the signals that ask for an end, for training to come to one by itself.

    A second Ctrl-C does what Ctrl-C always does.
    """

    def __init__(self):
        super().__init__()
        self._received: set[int] = set()

    def _note(self, number: int, frame: object) -> None:
        self._received.add(number)
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])

    def counts(self) -> list[int]:
        """For each of `SIGNALS` 1 if it has come, so that the sum over processes tells what any has received."""
        return [int(number in self._received) for number in SIGNALS]


class HandOnSignals(_Handlers):
    """
    Hands on, as a context, the signals that ask for an end to a run in a process of its own, which ends well.

    Ctrl-C, which a terminal sends to both, becomes SIGTERM: a second one would not wait for a checkpoint.

    Args:
        send: Sends a signal there.

    Attributes:
        received: The last of them, if any came.
    """

    def __init__(self, send: Callable[[int], None]):
        super().__init__()
        self._send = send
        self.received: int | None = None

    def _note(self, number: int, frame: object) -> None:
        self.received = number
        self._send(signal.SIGTERM if number == signal.SIGINT else number)


def ignore_stop_signals(worker: int) -> None:
    """For a process that prepares batches: the training process, which is told too, ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def follow_launcher() -> None:
    """
    End this process, as by SIGTERM, when the `accelerate launch`, `torchrun` or run of several seeds that has started
    it is gone.

    A process that nobody launched, such as one of a shell that may be closed, goes on.
    """
    is_started = is_launched() or STARTER in os.environ
    if not is_started or any(thread.name == follow_launcher.__name__ for thread in threading.enumerate()):
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name=follow_launcher.__name__, daemon=True).start()


class Heartbeats:
    """
    Ends, as a context, the process where another one of the run is silent: stopped, or on a machine that hangs.

    A step waits for every process, so without this all would wait for the silent one without end and without a word.
    Each process counts up in the store that torch's processes share, and watches the others' counts, in threads.

    Args:
        store: The store; none where there is a single process.
        rank: This process.
        num_processes: How many there are.
    """

    def __init__(self, store: Store | None, rank: int, num_processes: int):
        self._store, self._rank = store, rank
        self._silence = SECONDS_OF_SILENCE
        self._counts = dict.fromkeys((other for other in range(num_processes) if other != rank), -1)
        self._changed: dict[int, float] = {}
        self._answered = 0.0
        self._is_over = threading.Event()

    def __enter__(self) -> "Heartbeats":
        if self._store is not None and self._counts:
            self._store = self._store.clone()  # a connection of its own: the process itself may wait on the other
            self._begin_anew()
            for work in (self._beat, self._watch):
                threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()

    def _begin_anew(self) -> None:
        self._answered = time.monotonic()
        self._changed = dict.fromkeys(self._counts, self._answered)

    def _beat(self) -> None:
        while not self._is_over.wait(self._silence / 10):
            try:
                self._store.add(_key(self._rank), 1)
                found = {rank: self._store.add(_key(rank), 0) for rank in self._counts}
            except RuntimeError:
                return  # as of a store that does not answer
            self._answered = time.monotonic()
            self._changed |= {rank: self._answered for rank in found if found[rank] != self._counts[rank]}
            self._counts = found

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._is_over.wait(self._silence / 10):
            now = time.monotonic()
            if now - last > self._silence / 3:  # this process was stopped itself, or its machine was
                self._begin_anew()
            elif now - self._answered > self._silence:
                self._give_up("process 0, or whatever else holds the store of the processes,")
            elif silent := [str(rank) for rank, at in self._changed.items() if now - at > self._silence]:
                self._give_up(f"process {', '.join(silent)}")
            last = now

    def _give_up(self, who: str) -> None:
        # The process itself waits in a communication that nothing can end.
        sys.stderr.write(
            f"error: {who} has given no sign of life for {self._silence:g} seconds, so process {self._rank} ends; go "
            "on by --resume_from_checkpoint latest.\n"
        )
        sys.stderr.flush()
        os._exit(1)


def shared_store() -> Store | None:
    """The store of the processes that train together, if there are several."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def _key(rank: int) -> str:
    return f"seqnlp/alive/{rank}"
