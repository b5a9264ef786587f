"""Whether what runs fast on a GPU computes what the readable code computes."""

import itertools
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu_setting import Row, Setting
from benchmarks.peers import our_decoder, random_tokens
from seqnlp import RecurrentConfig, RecurrentModel
from seqnlp.models.cells import CELLS
from seqnlp.models.recurrence import LinearScan


# How far the fused kernels may be from the loop, relative to the largest number: sums in another order, and in half
# precision states rounded at each step (8 and 11 bits).
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 8e-2, torch.float16: 1e-2}
MASKS = ("none", "left", "right", "inside")


def cuda_tests(setting: Setting) -> Iterator[Row]:
    """The tests that are marked `cuda`, by pytest; other files may need packages that a card's machine lacks."""
    marked = [str(path) for path in Path("tests").rglob("test_*.py") if "mark.cuda" in path.read_text("utf-8")]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", *marked, f"--junitxml={file}"]
        run = subprocess.run(command, capture_output=True, text=True)
        sys.stderr.write(run.stdout[-4000:] + run.stderr[-2000:])
        suite = xml.etree.ElementTree.parse(file).getroot().find("testsuite")
        failed = [
            case.get("name")
            for case in suite.iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None
        ]
        counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    yield Row("tests passed", passed, limit=None if setting.device == "cpu" else 1, sense=">=")
    yield Row("tests failed", counts["failures"] + counts["errors"], limit=0, remark=", ".join(failed))


def _mask(kind: str, rows: int, length: int, device: str) -> torch.Tensor | None:
    if kind == "none":
        return None
    lengths = torch.linspace(length, max(1, length // 4), rows).long().unsqueeze(1)
    positions = torch.arange(length)
    mask = {
        "left": positions >= length - lengths,
        "right": positions < lengths,
        "inside": (positions < lengths // 2) | (positions >= length - (lengths - lengths // 2)),
    }[kind]
    return mask.long().to(device)


def _run(model: RecurrentModel, inputs: torch.Tensor, mask: torch.Tensor | None, dtype: torch.dtype):
    """Outputs, final states and gradients of the input and all weights."""
    model.zero_grad()
    own = inputs.clone().requires_grad_()
    with torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32):
        outputs = model(inputs_embeds=own, attention_mask=mask, use_cache=True)
    state = outputs.cache.to_torch()
    (outputs.last_hidden_state.float().pow(2).sum() + sum(part.float().sum() for part in state)).backward()
    return [outputs.last_hidden_state, *state, own.grad, *(weight.grad for weight in model.parameters())]


def _distance(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """The largest difference, relative to the largest number of each tensor."""
    shares = [
        (one.detach().float() - other.detach().float()).abs().max() / other.float().abs().max().clamp(min=1e-6)
        for one, other in zip(ours, theirs, strict=True)
    ]
    return float(torch.stack(shares).max().detach())


def fused_recurrence(setting: Setting) -> Iterator[Row]:
    """Each cell in each type under each padding, one and two directions: outputs, final states, all gradients."""
    # Else cuDNN rounds the factors of float32's products to the 11 bits of TensorFloat-32, as torch lets it.
    torch.backends.cudnn.allow_tf32 = False
    rows, length, width = setting.pick((16, 64, 128), (8, 48, 64), (3, 8, 8))
    inputs = torch.randn(rows, length, width, device=setting.device)
    types = [torch.float32, torch.bfloat16]
    if setting.device == "cuda":
        types.append(torch.float16)
    for cell_type, dtype in itertools.product(CELLS, types):
        distances = {}
        for directions in (1, 2):
            config = RecurrentConfig(
                cell_type=cell_type, hidden_size=width, num_hidden_layers=2, bidirectional=directions == 2
            )
            model = RecurrentModel(config).to(setting.device)
            model.embed_tokens = None  # it reads vectors
            for kind in MASKS:
                mask = _mask(kind, rows, length, setting.device)
                model.set_recurrence_implementation("eager")
                readable = _run(model, inputs, mask, dtype)
                model.set_recurrence_implementation("fused")
                distances[kind, directions] = _distance(_run(model, inputs, mask, dtype), readable)
        worst = max(distances, key=distances.get)
        name = f"{cell_type}, {str(dtype).removeprefix('torch.')}"
        remark = f"of the largest number; padding {worst[0]}, directions {worst[1]}"
        yield Row(name, distances[worst], limit=TOLERANCE[dtype], remark=remark)


def attention(setting: Setting) -> Iterator[Row]:
    """Logits and gradients of a decoder under each implementation against `eager`, and the time of a step."""
    rows, length = setting.pick((8, 512), (4, 512), (2, 128))
    tokens = random_tokens(rows, length, setting.sizes.vocab_size).to(setting.device)
    model = our_decoder(setting.sizes, loss_chunk_size=None).to(setting.device)
    dtype = torch.bfloat16 if setting.device == "cuda" else torch.float32

    def step(backends=None):
        model.zero_grad()
        with torch.autocast(setting.device, dtype, enabled=dtype != torch.float32):
            if backends is None:
                loss = model(tokens, labels=tokens).loss
            else:
                with sdpa_kernel(backends):
                    loss = model(tokens, labels=tokens).loss
        loss.backward()
        return [loss.detach(), *(weight.grad.clone() for weight in model.parameters())]

    model.set_attn_implementation("eager")
    readable = step()
    kinds = {"sdpa": ("sdpa", None), "flex": ("flex_attention", None)}
    if setting.device == "cuda":
        kinds["flash (torch's own)"] = ("sdpa", [SDPBackend.FLASH_ATTENTION])
        kinds["cuDNN"] = ("sdpa", [SDPBackend.CUDNN_ATTENTION])
    for name, (implementation, backends) in kinds.items():
        model.set_attn_implementation(implementation)
        try:
            distance = _distance(step(backends), readable)
        except (RuntimeError, ValueError, ImportError) as error:
            yield Row(name, None, remark=f"refused: {str(error).splitlines()[0][:150]}")
            continue

        def theirs():
            model.set_attn_implementation("eager")
            step()

        def ours(implementation=implementation, backends=backends):
            model.set_attn_implementation(implementation)
            step(backends)

        limit = TOLERANCE[dtype]
        yield Row(f"{name}: difference", distance, limit=limit, remark="of the largest number, gradients included")
        _, ratio = setting.alternate(ours, theirs)
        yield Row(f"{name}: speed of a training step", ratio, "x eager")


def linear_scan(setting: Setting) -> Iterator[Row]:
    """The scan by parts against step by step in float64, and against torch's associative scan where it runs."""
    rows, width = setting.pick((8, 256), (8, 256), (2, 8))
    for length in setting.pick((128, 1024, 4096), (128, 4096), (16, 40)):
        decay = torch.rand(rows, length, width, device=setting.device).requires_grad_()
        update = torch.randn(rows, length, width, device=setting.device).requires_grad_()
        start = torch.zeros(rows, width, device=setting.device)
        states = LinearScan.apply(decay, update, start, False)
        exact, steps = start.double(), []
        with torch.no_grad():
            for step in range(length):
                exact = decay[:, step].double() * exact + update[:, step].double()
                steps.append(exact)
        distance = _distance([states], [torch.stack(steps, dim=1)])
        yield Row(f"{length} steps: difference from float64", distance, limit=1e-5, remark="of the largest number")

        def ours(decay=decay, update=update, start=start):
            LinearScan.apply(decay, update, start, False).sum().backward()

        ours()  # the first call starts the device
        yield Row(f"{length} steps: forward and backward", 1000 * setting.seconds_of(ours, calls=3), "ms")
        try:
            from torch._higher_order_ops.associative_scan import associative_scan

            compiled = torch.compile(
                lambda a, u: associative_scan(lambda x, y: (y[0] * x[0], y[0] * x[1] + y[1]), (a, u), dim=1)[1]
            )
            with torch.no_grad():
                peers = compiled(decay, update)
                yield Row(f"{length} steps: torch's associative_scan", _distance([peers], [states]), limit=1e-4)
                _, ratio = setting.alternate(
                    lambda a=decay, u=update, s=start: LinearScan.apply(a, u, s, False),
                    lambda a=decay, u=update, c=compiled: c(a, u),
                )
            yield Row(f"{length} steps: forward, ours", ratio, "x associative_scan")
        except Exception as error:
            reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
            yield Row(f"{length} steps: torch's associative_scan", None, remark=f"does not run: {reason}")
