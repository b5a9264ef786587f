"""What the parts of a run on a GPU share: device, sizes, a clock and rows."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.machine import describe_machine
from benchmarks.peers import Sizes
from benchmarks.timing import by_turns, ratio_of_pairs
from seqnlp.digits import significant


@dataclass(frozen=True)
class Row:
    """
    Something that was found.

    Attributes:
        name: What.
        value: The number; `None` where there is none.
        unit: Its unit.
        limit: What it is held against, or `None`.
        sense: How: `<=` or `>=`.
        remark: For the reader.
    """

    name: str
    value: float | None
    unit: str = ""
    limit: float | None = None
    sense: str = "<="
    remark: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it keeps its limit; what is no number keeps none."""
        if self.limit is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.limit if self.sense == "<=" else self.value >= self.limit

    def shown(self) -> str:
        """The number with its unit."""
        return "-" if self.value is None else f"{significant(self.value)} {self.unit}".strip()


@dataclass(frozen=True)
class Setting:
    """
    Where and how large.

    Attributes:
        device: `cuda` or `cpu`.
        size: `full`, `quick` (fewer rounds and steps) or `tiny` (to try the code itself on a CPU).
    """

    device: str
    size: str

    @property
    def is_tiny(self) -> bool:
        """Whether numbers mean nothing, and only the code is tried."""
        return self.size == "tiny"

    def pick(self, full, quick, tiny):
        """One of three values, by size."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    @property
    def rounds(self) -> int:
        """Turns of each side of a comparison."""
        return self.pick(9, 5, 1)

    @property
    def sizes(self) -> Sizes:
        """Of Transformers: GPT-2's small one, as in nanoGPT, where it is not tiny."""
        if self.is_tiny:
            return Sizes(vocab_size=64, width=16, layers=1, heads=2)
        return Sizes(vocab_size=50_304, width=768, layers=12, heads=12)

    def synchronize(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds_of(self, action: Callable[[], object], calls: int = 1) -> float:
        """Seconds per call, on the wall."""
        self.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            action()
        self.synchronize()
        return (time.perf_counter() - start) / calls

    def alternate(self, ours: Callable[[], object], peer: Callable[[], object], calls: int = 1) -> tuple[float, float]:
        """Median seconds of ours, and the median over the pairs of the peer's time over ours; a pair to warm up."""
        pairs = by_turns(ours, peer, self.rounds, lambda action: self.seconds_of(action, calls))
        own, theirs = map(list, zip(*pairs, strict=True))
        return statistics.median(own), ratio_of_pairs(own, theirs)

    def product_rate(self, dtype: torch.dtype) -> float:
        """The rate of a large matrix product in 10^12 multiplications and additions per second."""
        size = self.pick(8192, 8192, 64)
        left, right = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        for _ in range(3):
            left @ right
        seconds = min(self.seconds_of(lambda: left @ right, calls=5) for _ in range(3))
        return 2 * size**3 / seconds / 1e12


def describe_device(device: str) -> dict[str, str]:
    """The card and the versions of what drives it, or the processor."""
    if device != "cuda":
        machine = describe_machine()
        return {"processor": machine["processor"], "torch": machine["torch"]}
    properties = torch.cuda.get_device_properties(0)
    return {
        "card": properties.name,
        "memory": f"{properties.total_memory / 2**30:.0f} GiB",
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
    }
