"""What tells a run to end. It imports no library: what starts a run need not wait for torch."""

import signal


# SLURM announces the end of a job by SIGUSR1 where it is asked to (`--signal=USR1@300`), and ends it by SIGTERM; Grid
# Engine and LSF announce it by SIGUSR2, a limit of time by SIGXCPU, and a terminal that is closed by SIGHUP.
# Of several that have come the first of these counts: at Ctrl-C a launcher may send SIGTERM too.
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
