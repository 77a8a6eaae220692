"""Writes docs/paper-cost.md: the paper's bill from its plan, and other people's bills held against it.

    python docs/make_paper_cost.py

What is published stands in this file with its source; everything else on the page is computed from it here.
"""

# ruff: noqa: E501 (rows of tables)

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from shoestring.plan import plan_file
from shoestring.prices import read_prices
from shoestring.run_plan import RunPlan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "paper-cost.md"

# Published. MicroDiT: arXiv 2407.15811, abstract. SD-1.5: its model card (steps, batch, A100-hours).
H100_HOURS, USD_PER_HOUR = 504, 3.75
A100_HOURS_SD, A100_HOURS_MICRODIT = 781 * 8 * 24, 6.6 * 8 * 24
SD_STEPS = {256: 237_000, 512: 194_000 + 515_000 + 595_000}  # v1-1, v1-1 + v1-2 + v1-5, each from the one before
SD_BATCH = 2048
# Counted with torch's counter on diffusers' UNet2DConditionModel as SD-1.5 has it (859,520,964 parameters), one image
# and 77 caption tokens, at 32×32 and 64×64 latents; a slow test counts again.
SD_FORWARD = {256: 180.1064448e9, 512: 803.27344128e9}
LOW, HIGH = 0.5, 2.0  # p10 and p90 of a forecast that nothing was measured for


@dataclass(frozen=True)
class Factors:
    """Why SD-1.5 took so many times MicroDiT's A100-hours; their product is `ratio`."""

    images: float
    resolution: float
    model: float
    masking: float
    peak: float
    rest: float

    @property
    def ratio(self) -> float:
        return prod(vars(self).values())


def microdit() -> RunPlan:
    """The plan of the paper's run."""
    return plan_file(ROOT / "studies" / "paper.yaml", described=True).runs[0]


def sd_flop() -> float:
    """Training FLOPs of SD-1.5's U-Net, backward twice forward."""
    return sum(3 * SD_BATCH * steps * SD_FORWARD[px] for px, steps in SD_STEPS.items())


def factors(run: RunPlan) -> Factors:
    """Take the two bills apart, one thing changed at a time: images, their resolution, the network, masks, the rest."""
    sd_images = SD_BATCH * sum(SD_STEPS.values())
    sd_mean = sd_flop() / sd_images
    shares = [sum(run.steps[:2]) / run.n_steps, sum(run.steps[2:]) / run.n_steps]  # of images at 256 and at 512 px
    sd_as_microdit = 3 * (shares[0] * SD_FORWARD[256] + shares[1] * SD_FORWARD[512])
    dense = run.unmasked_flop / run.images
    ratio = A100_HOURS_SD / A100_HOURS_MICRODIT
    known = (
        sd_images / run.images,
        sd_mean / sd_as_microdit,
        sd_as_microdit / dense,
        run.unmasked_flop / run.flop,
    )
    # 504 H100-hours were published as 6.6 days of 8 A100; by their peaks it would be more A100-hours.
    rows = read_prices(ROOT)
    peaks = (rows["h100-sxm"].peak("bf16") or 0) / (rows["a100-80"].peak("bf16") or 1)
    peak = H100_HOURS * peaks / A100_HOURS_MICRODIT
    return Factors(*known, peak, ratio / prod(known) / peak)


def elsewhere(hours: float, flop_per_hour: float) -> tuple[float, float, float]:
    """FLOPs for which a forecast's p90, p50 and p10 are so many GPU-hours, smallest first."""
    flop = hours * flop_per_hour
    return flop / HIGH, flop, flop / LOW


def page() -> str:
    """The page's text."""
    run = microdit()
    f = factors(run)
    per_hour = run.flop / run.gpu_hours
    nano_hours = 210.45 / 3.30
    prx_hours = 32 * 24
    nano, prx = elsewhere(nano_hours, per_hour), elsewhere(prx_hours, per_hour)
    prx_image = 6 * 1.2e9 * 256
    batches = [flop / 100_000 / prx_image for flop in prx]
    rows = "\n".join(
        f"| {name} | {run.steps[i]:,} | {run.steps[i] * 2048 * run.flops_per_image[i]:.3e} "
        f"| {run.stages[i].usd.p50:,.0f} |"
        for i, name in enumerate(("256 px, 75 % masked", "256 px, every token", "512 px, 75 % masked",
                                  "512 px, every token"))
    )  # fmt: skip
    a100_flop_s = [sd_flop() / A100_HOURS_SD / 3600, run.flop / A100_HOURS_MICRODIT / 3600]
    return f"""# What the paper's run costs, and what that says of others

Made by `python docs/make_paper_cost.py`; a test holds it equal to what that computes. No training was repeated here.

## The bill

`shoestring plan studies/paper.yaml`: MicroDiT XL/2 ({run.parameters:,} parameters), batch 2,048, four stages.

| stage | steps | FLOP | $ |
|---|---|---|---|
{rows}
| all | {run.n_steps:,} | {run.flop:.3e} | {run.usd.p50:,.0f} |

- {run.flop:.3e} FLOP with experts' tokens gathered, {run.flop + run.dispatch_flop:.3e} as published, with one-hot dispatch.
- Without masks the same steps take {run.unmasked_flop:.3e} FLOP ({run.unmasked_flop / run.flop:.2f} ×): ${run.usd.p50 * run.unmasked_flop / run.flop:,.0f}.
- Published: {H100_HOURS} H100-hours (2.6 days on 8) at ${USD_PER_HOUR}, $1,890 (arXiv 2407.15811). That is
  {run.flop / H100_HOURS / 3600 / 1e12:.0f} TFLOP/s a GPU, {run.flop / H100_HOURS / 3600 / 989e12:.1%} of 989. **The
  utilisation is taken from this run, so the plan's $1,890 is an identity, not a prediction**: it checks the FLOPs, the
  stages and the arithmetic. The forecast's interval is half to double, ${run.usd.p10:,.0f} to ${run.usd.p90:,.0f}.

## The same utilisation, elsewhere

To forecast another's dollars one needs its FLOPs. Neither of these publishes them where we could read; so the test is
turned round: which FLOPs would put the published GPU-hours inside the forecast (p10 to p90)?

| run | published | GPU-hours | FLOP that fit | can it be checked? |
|---|---|---|---|---|
| NanoFlow, ImageNet-256 | $210.45 at $3.30 an H100-hour [1] | {nano_hours:.1f} | {nano[0]:.2g} to {nano[2]:.2g} | no: steps, batch and FLOPs of its last model were not in what we could read |
| PRX, 24 hours | 32 H200 × 24 h at $2, about $1,500 [2] | {prx_hours} | {prx[0]:.2g} to {prx[2]:.2g} | in part, below |

The published dollars and hours agree with each other: 32 × 24 × $2 = ${prx_hours * 2:,}. An H200 computes as fast as an
H100 (989 TFLOP/s in bf16 [3]). PRX has 1.2 B parameters and its ablations take 100,000 steps [4]; at 512 px, patch 32,
an image is 256 tokens [2], so a dense step costs about 6 × 1.2e9 × 256 = {prx_image:.2e} FLOP an image. Over 100,000 such
steps the interval holds batches from {batches[0]:,.0f} to {batches[2]:,.0f}, and up to twice that where token routing
skips half of the tokens. The batch and the number of steps at 1,024 px of that run were not in what we could read, so
**this stays open: PRX is inside the interval if its batch was in that range**. Its teacher (REPA) and perceptual losses
also compute, and are not counted.

At our price of an H100-hour (${USD_PER_HOUR}) instead of theirs, the same hours are ${nano_hours * USD_PER_HOUR:,.0f} and
${prx_hours * USD_PER_HOUR:,.0f}: the price an hour differs by more than a tenth to almost half, so compare hours first.

## The 118 × against Stable Diffusion 1.5

781 days of 8 A100 against 6.6 [4]: {A100_HOURS_SD / A100_HOURS_MICRODIT:.1f} ×. One thing changed at a time, in this
order; the product of the first four is FLOPs, of all of them the ratio.

| what | × | from |
|---|---|---|
| images | {f.images:.2f} | {SD_BATCH * sum(SD_STEPS.values()) / 1e9:.2f} G [5] against {run.images / 1e9:.3f} G |
| resolution | {f.resolution:.2f} | {SD_STEPS[512] / sum(SD_STEPS.values()):.0%} of SD's images at 512 px, {sum(run.steps[2:]) / run.n_steps:.0%} of MicroDiT's; with SD's U-Net |
| model | {f.model:.2f} | the U-Net's {SD_FORWARD[256] / 1e9:.0f} and {SD_FORWARD[512] / 1e9:.0f} GFLOP forward [6] against XL/2's {sum(run.forward_flops[1].values()) / 1e9:.0f} and {sum(run.forward_flops[3].values()) / 1e9:.0f} with every token |
| masking | {f.masking:.2f} | {run.unmasked_flop:.3e} against {run.flop:.3e} FLOP |
| **all FLOPs** | **{f.images * f.resolution * f.model * f.masking:.1f}** | {sd_flop():.2e} against {run.flop:.3e} |
| hardware | {f.peak:.2f} | 504 H100-hours are {H100_HOURS * 989 / 312:,.0f} A100-hours by their peaks (989 and 312 TFLOP/s [3]); the paper counts {A100_HOURS_MICRODIT:,.0f} |
| **unexplained** | **{f.rest:.2f}** | the remainder: {run.flop / H100_HOURS / 3600 / 989e12:.1%} of an H100's peak against {a100_flop_s[0] / 312e12:.1%} of an A100's |

SD's U-Net ran at {a100_flop_s[0] / 1e12:.1f} TFLOP/s an A100, MicroDiT at {a100_flop_s[1] / 1e12:.0f} on the A100s that
the paper converts to. Candidates for the remainder, none of them measured
here: SD encoded images and captions while it trained (MicroDiT did so once, before), and the kernels of 2022. The model
factor is below one: without masks XL/2 is the dearer network. So the 118 is {f.images:.1f} of data, {f.resolution:.1f} of
resolution, {f.masking:.1f} of masks, and {f.rest:.1f} of what no FLOP explains.

## Sources

1. tqhdesilva.github.io, "NanoFlow", 2026-06-24.
2. huggingface.co/blog/Photoroom/prx-part3, 2026-03-03, and reports of it (aiphreaks.com, code-journey.com).
3. glennklockwood.com/garden/processors (h100, A100), from NVIDIA's papers; the catalogue, `shoestring prices`.
4. MicroDiT, arXiv 2407.15811 (6.6 days, 118 ×); SD-1.5's 781 days are its model card's 150,000 A100-hours; PRX's blog,
   parts 1 and 2.
5. Model cards of stable-diffusion-v1-1 to v1-5: 237,000 steps at 256 px; 194,000, 515,000 and 595,000 at 512 px; batch
   2,048 (32 × 8 × 2 × 4).
6. torch's counter on diffusers' UNet2DConditionModel (`tests/test_paper_cost.py` counts it again), matrix products and
   convolutions, 77 caption tokens.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
