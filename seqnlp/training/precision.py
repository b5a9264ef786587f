"""The number format of the matrix products: asked for, set in the launcher's configuration, or chosen by hardware."""

import json
import os
from pathlib import Path

import torch
from accelerate.utils import parse_flag_from_env

from .errors import ArgumentsError


PRECISIONS = ("no", "bf16", "fp16")


def choose_precision(asked: str, on_cpu: bool) -> str:
    """
    What `--mixed_precision` comes to: `no`, `bf16` or `fp16`.

    `auto` takes what accelerate's or DeepSpeed's configuration asks for, else what the hardware is made for:

    - GPU: bf16 where it multiplies that, else fp16;
    - CPU with AMX or AVX512-BF16: bf16, which they multiply at least twice as fast as float32;
    - anything else: no, which is float32.

    Args:
        asked: `auto`, or one of the three, which is then taken, or refused.
        on_cpu: Whether the CPU computes.

    Raises:
        ArgumentsError: If a configuration says something else than what is asked for, or fp16 is asked for on a CPU.
    """
    allowed, where = _configured()
    if asked == "auto":
        allowed = [name for name in allowed if not (on_cpu and name == "fp16")]
        if not allowed:
            raise ArgumentsError(f"--mixed_precision auto: {where}, which a CPU cannot do; choose bf16 or no there.")
        fast = _fast_on_cpu() if on_cpu else _fast_on_gpu()
        return next((name for name in fast if name in allowed), allowed[0])
    if asked not in allowed:
        raise ArgumentsError(
            f"--mixed_precision {asked}: {where}. Change one of the two, or say --mixed_precision auto."
        )
    if asked == "fp16" and on_cpu:
        raise ArgumentsError("--mixed_precision fp16 needs a GPU: on this CPU use bf16, no, or auto.")
    return asked


def precision_remark(precision: str, on_cpu: bool) -> str:
    """What a user should know of a precision on this hardware; nothing where it is made for it."""
    if precision != "bf16" or not emulates_bf16(on_cpu):
        return ""
    hardware = "This processor has neither AMX nor AVX512-BF16" if on_cpu else "This GPU does not multiply bfloat16"
    return f"{hardware}: bf16 is emulated, and slower than float32. --mixed_precision auto takes what it is made for."


def emulates_bf16(on_cpu: bool) -> bool:
    """Whether this hardware multiplies bfloat16 by a detour; of accelerators that are not CUDA's nothing is known."""
    is_known = on_cpu or torch.cuda.is_available()
    return is_known and "bf16" not in (_fast_on_cpu() if on_cpu else _fast_on_gpu())


def _fast_on_cpu() -> tuple[str, ...]:
    """The precisions that this processor multiplies by instructions of their own, the fastest first."""
    can = torch.cpu.get_capabilities()
    return ("bf16", "no") if can.get("amx_bf16") or can.get("avx512_bf16") else ("no",)


def _fast_on_gpu() -> tuple[str, ...]:
    if not torch.cuda.is_available():
        return ("no",)
    return ("bf16", "fp16", "no") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp16", "no")


def _configured() -> tuple[list[str], str]:
    """
    What the launcher's configuration leaves open, and what it says and where.

    `accelerate launch` hands `no` on where nothing was said, so that is no choice; bf16 and fp16 are.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched != "no":
        return [name for name in PRECISIONS if name == launched], f"accelerate launch was given {launched}"
    file = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if not parse_flag_from_env("ACCELERATE_USE_DEEPSPEED") or not Path(file).is_file():
        return list(PRECISIONS), ""
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))
        said = {name: config.get(name, {}).get("enabled", "auto") for name in ("bf16", "fp16")}
    except (ValueError, AttributeError) as error:
        raise ArgumentsError(f"The DeepSpeed configuration {file} cannot be read: {error}.") from error
    decided = {name: enabled for name, enabled in said.items() if enabled != "auto"}
    allowed = [name for name in PRECISIONS if all((name == said) == on for said, on in decided.items())]
    shown = " and ".join(f"{name} {'on' if enabled else 'off'}" for name, enabled in decided.items())
    return allowed, f"the DeepSpeed configuration {file} turns {shown}"
