"""Named model shapes. No torch."""

from __future__ import annotations

from shoestring_trainer.config import Experts, ModelConfig

PRESETS: dict[str, ModelConfig] = {
    # for tests and the smoke run: 0.4 M on 3×16×16 pixels
    "nano": ModelConfig(dim=64, depth=3, head_dim=16, multiple_of=16, patch=2, mixer_depth=1, mixer_dim=64),
    # for two CPU cores: 5.8 M on 8×8×8 latents, 64 tokens
    "spark": ModelConfig(dim=192, depth=6, head_dim=32, multiple_of=64, patch=1, mixer_depth=2, mixer_dim=128),
    # what two CPU cores learn most with (docs/log.md): fine blocks that convolve, a backbone on merged 2×2 squares
    "hourglass": ModelConfig(
        dim=192, depth=6, head_dim=32, multiple_of=64, patch=1, mixer_depth=2, mixer_dim=128,
        merge=2, tail_depth=2, conv=True, mixer_attention=False,
    ),
    # the paper's block at a size for two CPU cores, 23.18 M: timed by `benchmarks/step.py`
    "microdit-small": ModelConfig(
        dim=256, depth=8, head_dim=32, multiple_of=64, patch=2, mixer_depth=2, mixer_dim=256,
        experts=Experts(count=8, capacity=2.0, every=2),
    ),
    # the paper's two models (MicroDiT §4 and its public code)
    "microdit-tiny-2": ModelConfig(
        dim=512, depth=16, head_dim=32, multiple_of=256, patch=2, mixer_depth=4, mixer_dim=512,
        experts=Experts(count=8, capacity=2.0, every=2),
    ),
    "microdit-xl-2": ModelConfig(
        dim=1024, depth=28, head_dim=64, multiple_of=256, patch=2, mixer_depth=6, mixer_dim=768,
        experts=Experts(count=8, capacity=2.0, every=2),
    ),
}  # fmt: skip
