"""The paper's bill, computed: FLOPs of its four stages with and without masks, and what they imply in dollars.

    python benchmarks/paper_cost.py

Closed-form FLOPs of `microdit-xl-2` (experts gathered, not dispatched by one-hot products), 3 × forward an image, times
the published steps and batch (arXiv 2407.15811 and its public code). No torch, no measurement; takes no time.
"""

from __future__ import annotations

import argparse
import json

from shoestring_trainer.config import Mask, NoMask, RandomMask
from shoestring_trainer.flops import parameters, train_flops_per_image
from shoestring_trainer.presets import PRESETS

MODEL, BATCH, CAPTION_TOKENS, CAPTION_DIM = PRESETS["microdit-xl-2"], 2048, 77, 1024
MASKED, FULL = RandomMask(kind="random", ratio=0.75), NoMask(kind="none")
STAGES: tuple[tuple[str, tuple[int, int, int], Mask, int], ...] = (
    ("256 px, 75 % masked", (4, 32, 32), MASKED, 250_000),
    ("256 px, every token", (4, 32, 32), FULL, 30_000),
    ("512 px, 75 % masked", (4, 64, 64), MASKED, 50_000),
    ("512 px, every token", (4, 64, 64), FULL, 5_000),
)
H100_HOURS, USD_PER_H100_HOUR = 504, 3.75  # 2.6 days on 8, as published: $1,890
H100_PEAK_FLOP_S = 989e12  # dense bf16, its data sheet


def flop(shape: tuple[int, int, int], mask: Mask, steps: int) -> float:
    """Training FLOPs of `steps` steps."""
    return steps * BATCH * train_flops_per_image(MODEL, shape, CAPTION_TOKENS, mask, CAPTION_DIM)


def main() -> None:
    """Print the bill."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    rows = [(name, flop(shape, mask, steps), flop(shape, FULL, steps)) for name, shape, mask, steps in STAGES]
    masked, unmasked = (sum(row[i] for row in rows) for i in (1, 2))
    usd = H100_HOURS * USD_PER_H100_HOUR
    answer = {
        "parameters": parameters(MODEL, 4, CAPTION_DIM),
        "stages": {name: {"flop": a, "flop_unmasked": b} for name, a, b in rows},
        "flop": masked,
        "flop_unmasked": unmasked,
        "saved": unmasked / masked,
        "usd": usd,
        "usd_unmasked": usd * unmasked / masked,
        "utilisation": masked / (H100_HOURS * 3600 * H100_PEAK_FLOP_S),
    }
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    print(f"microdit-xl-2, {answer['parameters']:,} parameters, batch {BATCH}")
    for name, a, b in rows:
        print(f"  {name:<22} {a:.3e} FLOP   without masks {b:.3e}")
    print(f"  {'all':<22} {masked:.3e} FLOP   without masks {unmasked:.3e}: masks save {unmasked / masked:.2f} ×")
    share = f"so {answer['utilisation']:.1%} of peak"
    print(f"published: {H100_HOURS} H100-hours × ${USD_PER_H100_HOUR} = ${usd:,.0f}; {share}")
    print(f"without masks at the same utilisation: ${answer['usd_unmasked']:,.0f}")


if __name__ == "__main__":
    main()
