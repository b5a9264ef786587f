"""What the notebooks in `labs/` need: the checks of their exercises, and the size of their experiments."""

from . import adaptation, attention, gates, hub, music, order, recurrence, through_time, transformer  # noqa: F401
from .checking import CHECKS, QUICK, Verdict, check, size
from .errors import LabsError


__all__ = ["CHECKS", "QUICK", "LabsError", "Verdict", "check", "size"]
