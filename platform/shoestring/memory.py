"""Peak memory of one process that trains, by part; and how sure that is. Pure."""

from __future__ import annotations

from shoestring_trainer.flops import memory_bytes

from shoestring.calibration import Work
from shoestring.ranges import Range

# Measured by benchmarks/memory.py, see docs/memory.md; on a GPU assumed, nothing was run on one.
# Python, torch and what else is imported, before the first weight:
RUNTIME_BYTES = {"cpu": 325_000_000, "mps": 325_000_000, "cuda": 500_000_000}
# What is held beside the activations that the backward pass needs, as a share of them: passing results, and holes that
# the allocator keeps.
ALLOCATOR = {"cpu": 0.4, "mps": 0.4, "cuda": 0.0}
ERROR = 0.15  # of the forecast beside what was measured, at most


def peak_bytes(work: Work) -> dict[str, int]:
    """Bytes by part at the peak of a step of this kind, in each process."""
    compute, data = work.compute, work.data
    at_once = work.batch_size // (compute.processes * compute.accumulate)
    parts = memory_bytes(
        work.model, data.shape, data.caption_tokens, work.mask, at_once, data.caption_dim, compute.recompute
    )
    held = int(ALLOCATOR[compute.device] * parts["activations"])
    return {**parts, **({"allocator": held} if held else {}), "runtime": RUNTIME_BYTES[compute.device]}


def uncertain(parts: dict[str, int]) -> Range:
    """Their sum with its uncertainty."""
    return Range(1 - ERROR, 1.0, 1 + ERROR).times(float(sum(parts.values())))
