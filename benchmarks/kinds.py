"""Where the time of some work goes, by kinds of operation."""

from collections import defaultdict

from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.timing import Action


# Names of torch's operators, each with what begins with it and an underscore (`_softmax_backward_data`).
KINDS = {
    "matrix products": "mm addmm bmm baddbmm dot mkldnn_linear",
    "attention kernel": "_scaled_dot_product _flash_attention",
    "recurrent kernel": "mkldnn_rnn",
    "softmax and loss": "_softmax _log_softmax softmax log_softmax logsumexp exp log nll_loss max amax topk sort",
    "norms": "native_layer_norm layer_norm _fused_rms_norm rms_norm rsqrt mean pow",
    "optimizer": "_fused_adamw",
    "rows by index": "embedding index gather scatter index_select index_add index_copy",
    "casts and copies": "copy _to_copy to cat clone contiguous fill zero zeros empty empty_strided roll",
    "gates and activations": "sigmoid tanh silu gelu relu threshold clamp native_dropout bernoulli lerp",
    "elementwise": "add addcmul mul sub div sum neg where masked_fill rsub lt le eq ne",
}
REST = "Python, dispatch and the rest"


def kind_of(operation: str) -> str:
    """The kind of an operation, by its name."""
    name = operation.removeprefix("aten::").rstrip("_")
    for kind, names in KINDS.items():
        if operation.startswith("aten::") and any(name == n or name.startswith(f"{n}_") for n in names.split()):
            return kind
    return REST


def shares_by_kind(events) -> dict[str, float]:
    """From `profiler.key_averages()` to the share of each kind, the largest first."""
    times = defaultdict(float)
    for event in events:
        times[kind_of(event.key)] += event.self_cpu_time_total
    total = sum(times.values()) or 1.0
    return dict(sorted(((kind, time / total) for kind, time in times.items()), key=lambda pair: -pair[1]))


def time_by_kind(action: Action) -> dict[str, float]:
    """Shares of the time of one call, the call before it not counted."""
    action()
    # What is between the operations belongs to the range around them.
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function("all"):
        action()
    return shares_by_kind(profiler.key_averages())
