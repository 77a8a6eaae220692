"""Peak memory of one process that trains, by part; and how sure that is. Pure."""

from __future__ import annotations

from shoestring_trainer.flops import memory_bytes

from shoestring.calibration import Work
from shoestring.ranges import Range

# Python, torch and what else is imported, and the allocator's own, before the first weight: benchmarks/memory.py.
RUNTIME_BYTES = {"cpu": 330_000_000, "mps": 330_000_000, "cuda": 500_000_000}
ERROR = 0.15  # of the forecast beside what was measured, at most: docs/memory.md


def peak_bytes(work: Work) -> dict[str, int]:
    """Bytes by part at the peak of a step of this kind, in each process."""
    compute, data = work.compute, work.data
    at_once = work.batch_size // (compute.processes * compute.accumulate)
    parts = memory_bytes(
        work.model, data.shape, data.caption_tokens, work.mask, at_once, data.caption_dim, compute.recompute
    )
    return {**parts, "runtime": RUNTIME_BYTES[compute.device]}


def uncertain(parts: dict[str, int]) -> Range:
    """Their sum with its uncertainty."""
    return Range(1 - ERROR, 1.0, 1 + ERROR).times(float(sum(parts.values())))
