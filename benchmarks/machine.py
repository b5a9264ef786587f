"""What of a machine explains its times."""

import os
import platform
import time
from pathlib import Path

import torch


INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")


def where_and_when() -> dict:
    """The machine and the date of a measurement, as its record has them."""
    return {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d", time.gmtime())}


def describe_machine() -> dict:
    """Processor, the instruction sets that products use, cores, and the versions of what computes."""
    model, flags = platform.processor() or platform.machine(), []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(
            map(str.strip, line.split(":", 1))
            for line in cpuinfo.read_text().split("\n\n")[0].splitlines()
            if ":" in line
        )
        model, flags = fields.get("model name", model), fields.get("flags", "").split()
    return {
        "processor": model,
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
