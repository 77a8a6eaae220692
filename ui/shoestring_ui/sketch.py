"""A run that nobody has written yet, from a few choices: the spec that asks for it, so a forecast is a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.run_plan import RunPlan
from shoestring_trainer.presets import PRESETS

SIZES = tuple(PRESETS)
RESOLUTIONS_PX = (32, 64, 128, 256, 512, 1024)
EXPERTS = (1, 2, 4, 8, 16)
DEVICES = (1, 2, 4, 8)
MOST_IMAGES = 10**10
LATENTS, SHRINK = 4, 8  # channels, and pixels to a side of one latent, as SDXL's autoencoder has them
CAPTION_DIM, CAPTION_TOKENS = 1024, 77  # CLIP ViT-H, as the paper has them
AT_ONCE, GPU_BATCH, CPU_BATCH = 16, 256, 16


@dataclass(frozen=True)
class Sketch:
    """What is chosen; `device` is the hardware's: cpu, cuda or mps."""

    size: str
    mask_ratio: float
    experts: int
    resolution_px: int
    images: int
    hardware: str
    device: str = "cpu"
    n_devices: int = 1

    @property
    def masks(self) -> bool:
        """Whether a mask fits the model; one that needs the whole grid trains on every token."""
        return not PRESETS[self.size].whole_grid

    @property
    def spec(self) -> str:
        """The experiments file that asks for it; `shoestring plan FILE` says the same."""
        side = self.resolution_px // SHRINK
        mask = f"{{kind: random, ratio: {self.mask_ratio:g}}}" if self.mask_ratio and self.masks else "{kind: none}"
        gpu = self.device == "cuda"
        batch = GPU_BATCH if gpu else CPU_BATCH
        parts = batch // (AT_ONCE * self.n_devices) if gpu else 1
        compute = f"{{processes: {self.n_devices}, accumulate: {parts}, precision: bf16}}" if gpu else "{}"
        experts = f"{{count: {self.experts}, capacity: {min(2, self.experts)}}}" if self.experts > 1 else "null"
        return f"""\
version: 1
project: sketch
data: sketch
sets:                 # {self.resolution_px} px, encoded as the paper's: described, not built
  sketch: {{space: latents, shape: [{LATENTS}, {side}, {side}], size_px: {self.resolution_px}, n_train: {self.images},
           caption_dim: {CAPTION_DIM}, caption_tokens: {CAPTION_TOKENS}}}
hardware: {self.hardware}
experiments:
  sketch:
    model: {{preset: {self.size}, experts: {experts}}}
    until: {{images: {max(self.images, batch)}}}
    batch_size: {batch}
    compute: {compute}
    evaluate: {{every_share: 1}}
    stages: [{{lr: 1e-4, mask: {mask}}}]
"""


def flop_by_part(run: RunPlan) -> dict[str, float]:
    """Training FLOPs of the run by component of its model, forward and backward, the largest first."""
    found: dict[str, float] = {}
    for parts, each, steps in zip(run.forward_flops, run.flops_per_image, run.steps, strict=True):
        forward = sum(parts.values())
        for name, count in parts.items():
            found[name] = found.get(name, 0.0) + count / forward * each * steps * run.request.batch_size
    return dict(sorted(found.items(), key=lambda one: -one[1]))
