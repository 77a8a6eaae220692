"""The paper's whole training in this GPU's hours, from measured steps of its four stages."""

from __future__ import annotations

from typing import Any

BATCH = 2048
STEPS = {"xl-256-masked": 250_000, "xl-256-whole": 30_000, "xl-512-masked": 50_000, "xl-512-whole": 5_000}
PUBLISHED_HOURS = 504  # 2.6 days on 8 H100 (arXiv 2407.15811)


def price(rows: list[dict[str, Any]], usd_per_hour: float) -> dict[str, float]:
    """Hours and dollars of one GPU for all four stages; {} unless all were measured."""
    images_per_s = {row["name"]: row["images_per_s"] for row in rows if "error" not in row}
    if not images_per_s.keys() >= STEPS.keys():
        return {}
    hours = {name: steps * BATCH / images_per_s[name] / 3600 for name, steps in STEPS.items()}
    total = sum(hours.values())
    print(
        f"the paper's 335,000 steps of {BATCH}: {total:.0f} hours of this GPU "
        f"(published: {PUBLISHED_HOURS} of an H100), ${total * usd_per_hour:.0f} at ${usd_per_hour:g} an hour; "
        "what several GPUs lose to each other, evaluation and checkpoints left out"
    )
    return {"gpu_hours": total, "usd": total * usd_per_hour, **{f"hours_{name}": h for name, h in hours.items()}}
