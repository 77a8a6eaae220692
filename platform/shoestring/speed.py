"""What a mask saved in seconds, against what its FLOPs promise; and where the rest went. Pure.

Users of masked training have found no speed-up at small batches (github.com/Anima-Lab/MaskDiT, issues 8 and 18): the
FLOPs say nothing about the optimiser, about loading, or about small matrices. So every run tells both numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pydantic import ValidationError
from shoestring_trainer.config import RandomMask, TrainConfig

from shoestring.records import Run, Series

NEAR = 0.95  # of the promise counts as kept
KEYS = ("perf/images_per_s", "perf/share_data", "perf/share_optimizer")


@dataclass(frozen=True)
class SpeedUp:
    """One masked stage: seconds of a step against every token's, measured and promised by FLOPs."""

    stage: int
    mask: str
    predicted: float
    measured: float
    against: str  # what the measured one is against, in words
    bottleneck: str  # "" when the promise is kept

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def words(self) -> str:
        """One sentence."""
        text = f"{self.mask}: {self.measured:.2f} × faster than every token ({self.against}), FLOPs say "
        return text + f"{self.predicted:.2f} ×" + (f": {self.bottleneck}" if self.bottleneck else "")


def of_run(run: Run, series: Sequence[Series]) -> list[SpeedUp]:
    """Of each masked stage with measured steps; `series` are those of `KEYS`. Empty for what was planned without, and
    for what is stored in a way that cannot be read."""
    plan = run.plan
    if not plan.get("dense_flops_per_image"):
        return []
    try:
        config = TrainConfig.model_validate(run.config)
    except ValidationError:
        return []
    if len(plan.get("flops_per_image", ())) < len(config.stages):
        return []
    by_key = {one.key: one for one in series}
    stages = [_of_stage(by_key, first, last) for first, last in _spans(config)]
    own = next((s for s, stage in zip(stages, config.stages, strict=True) if s and stage.mask.kind == "none"), None)
    dense_s = config.batch_size / own["perf/images_per_s"] if own else plan.get("dense_s_per_step")
    against = (
        "this run's own stage" if own else {"measured": "calibrated", "fitted": "fitted"}.get(plan.get("dense_how", ""))
    )
    if not dense_s or not against:
        return []
    found = []
    for index, (stage, values) in enumerate(zip(config.stages, stages, strict=True)):
        if values and isinstance(stage.mask, RandomMask) and stage.mask.ratio > 0:
            masked_s = config.batch_size / values["perf/images_per_s"]
            predicted = plan["dense_flops_per_image"] / plan["flops_per_image"][index]
            measured = dense_s / masked_s
            why = "" if measured >= NEAR * predicted else _bottleneck(dense_s, masked_s, predicted, values)
            mask = f"{stage.mask.place} {stage.mask.ratio:g}"
            found.append(SpeedUp(index, mask, predicted, measured, against, why))
    return found


def _spans(config: TrainConfig) -> list[tuple[int, int]]:
    """First and last step of each stage that this run itself trained; (1, 0) for none."""
    begin, ends = (config.start.step if config.start else 0), 0
    spans = []
    for stage in config.stages:
        first, ends = ends, ends + stage.steps
        spans.append((max(first, begin) + 1, ends))
    return spans


def _of_stage(by_key: Mapping[str, Series], first: int, last: int) -> dict[str, float] | None:
    """Median of each series over the stage's points; None without a speed."""
    values: dict[str, float] = {}
    for key, series in by_key.items():
        inside = [v for s, v in zip(series.step, series.value, strict=True) if first <= s <= last]
        if inside:
            values[key] = median(inside)
    return values if values.get("perf/images_per_s") else None


def _bottleneck(dense_s: float, masked_s: float, predicted: float, shares: Mapping[str, float]) -> str:
    """Name what keeps the promise from being kept: what no mask shrinks, or slower matrix products."""
    names = {"optimiser and average": "perf/share_optimizer", "data": "perf/share_data"}
    parts = {name: shares.get(key, 0.0) for name, key in names.items()}
    fixed_s = sum(parts.values()) * masked_s
    best_s = fixed_s + max(0.0, dense_s - fixed_s) / predicted  # Amdahl: only the network's part shrinks
    named = " and ".join(f"{name} {share:.0%}" for name, share in parts.items() if share >= 0.02)
    if named and masked_s <= best_s / NEAR:
        return f"what no mask shrinks is the bottleneck ({named} of a step)"
    rest = f" ({named} of a step besides)" if named else ""
    slower = (masked_s - fixed_s) / max(1e-12, (dense_s - fixed_s) / predicted)
    return f"the network is the bottleneck: its smaller products take {slower:.2f} × the seconds a FLOP{rest}"
