"""How much memory a computation leaves behind for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def kept_bytes(compute: Callable[[], Tensor]) -> int:
    """Bytes that were allocated by `compute()` and not freed while its result is alive, on the CPU."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        result = compute()
    total = sum(event.self_cpu_memory_usage for event in found.key_averages())
    del result
    return total
