"""Our training step beside the published one (github.com/SonyResearch/micro_diffusion), step by step in turns.

    git clone the published code, then
    python benchmarks/published.py ../micro_diffusion --preset microdit-small
    python benchmarks/published.py ../micro_diffusion --preset microdit-tiny-2 --ratios 0.75 --rounds 8

Both train the same sizes on random latents (4 × 32 × 32) and captions (77 × 1024): forward, the EDM loss, backward,
clip, AdamW; the allocator is set for both. Theirs is its model as published; its loss is written here from the paper
(eq. 2: weight, mask and mean as its trainer has them), without Composer. Packages that the published file imports for
other purposes, and timm's patch embedding (one convolution), are stood in for where they are not installed. Printed is
ours over theirs: CPU seconds (median and middle half over the rounds), and peak memory beyond imports and 16 bytes a
parameter.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

from step import peak_mb, tell

SIZES = {  # of shoestring_trainer.presets, in the published constructor's words
    "microdit-small": dict(dim=256, depth=8, head_dim=32, multiple_of=64, patch_mixer_depth=2, patch_mixer_dim=256),
    "microdit-tiny-2": dict(dim=512, depth=16, head_dim=32, multiple_of=256, patch_mixer_depth=4, patch_mixer_dim=512),
}
STEP = Path(__file__).with_name("step.py")


def main() -> None:
    """Start both, let them take turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="folder of the published code")
    parser.add_argument("--preset", choices=list(SIZES), default="microdit-small")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.75, 0.5, 0.0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        return theirs(args.clone.resolve(), args.preset, args.child, args.batch)
    print(f"{args.preset}, batch {args.batch}, {args.rounds} rounds: ours / published")
    for ratio in args.ratios:
        compare(args, ratio)


def compare(args: argparse.Namespace, ratio: float) -> None:
    """One ratio: both sides alive, a step of each in turn; the first two rounds warm up."""
    asked = {"preset": args.preset, "ratio": ratio, "batch": args.batch, "optimizer": "adamw"}
    here = [__file__, str(args.clone), "--preset", args.preset, "--batch", str(args.batch), "--child", str(ratio)]
    argv = ([str(STEP), "--child", json.dumps(asked)], here)
    sides = [subprocess.Popen([sys.executable, *a], stdin=-1, stdout=-1, text=True) for a in argv]
    facts = [json.loads(side.stdout.readline()) for side in sides]  # type: ignore[union-attr]
    assert facts[0]["parameters"] == facts[1]["parameters"], [one["parameters"] for one in facts]
    rounds = [[ask(side) for side in sides] for _ in range(args.rounds + 2)][2:]
    for side in sides:
        side.communicate()
    cpu = sorted(mine["cpu_s"] / other["cpu_s"] for mine, other in rounds)
    wall = statistics.median(mine["wall_s"] / other["wall_s"] for mine, other in rounds)
    state_mb = 16 * facts[0]["parameters"] / 1e6
    memory = [rounds[-1][i]["peak_mb"] - facts[i]["imported_mb"] - state_mb for i in (0, 1)]
    quarter = len(cpu) // 4
    print(f"r = {ratio:4}: CPU seconds {statistics.median(cpu):.3f} ({cpu[quarter]:.3f}–{cpu[-1 - quarter]:.3f}), "
          f"wall {wall:.3f}, memory {memory[0] / memory[1]:.3f} ({memory[0]:.0f} / {memory[1]:.0f} MB); "
          f"medians {statistics.median(m['cpu_s'] for m, _ in rounds):.2f} / "
          f"{statistics.median(o['cpu_s'] for _, o in rounds):.2f} CPU s", flush=True)  # fmt: skip


def ask(side: subprocess.Popen[str]) -> dict[str, float]:
    """Have one side do a step."""
    assert side.stdin and side.stdout
    side.stdin.write("step\n")
    side.stdin.flush()
    return json.loads(side.stdout.readline())


def theirs(clone: Path, preset: str, ratio: float, batch: int) -> None:
    """Build the published model, then do one step for each line on stdin and answer its seconds."""
    from shoestring_trainer.allocator import keep_memory

    keep_memory()
    import numpy as np
    import torch
    import torch.nn.functional as F

    sys.path.insert(0, str(clone))
    stand_in()
    dit = importlib.import_module("micro_diffusion.models.dit")
    imported_mb, depth = peak_mb(), SIZES[preset]["depth"]
    net = dit.DiT(
        input_size=32, patch_size=2, in_channels=4, caption_channels=1024, norm_eps=1e-6,
        qkv_multipliers=np.linspace(0.5, 1.0, depth), ffn_multipliers=np.linspace(0.5, 4.0, depth),
        patch_mixer_mlp_ratio=4.0, use_bias=False, num_experts=8, expert_capacity=2.0, experts_every_n=2,
        **SIZES[preset],
    )  # fmt: skip
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)

    def loss(x0: Any, captions: Any) -> Any:
        sigma = (torch.randn(batch, 1, 1, 1) * 1.2 - 0.6).exp()
        noisy, total = x0 + torch.randn_like(x0) * sigma, sigma**2 + 0.81
        out = net(noisy / total.sqrt(), (sigma.log() / 4).flatten(), captions, mask_ratio=ratio)
        denoised = 0.81 / total * noisy + 0.9 * sigma / total.sqrt() * out["sample"]
        error = total / (0.9 * sigma) ** 2 * (denoised - x0) ** 2
        if ratio == 0:
            return error.mean()
        error, kept = F.avg_pool2d(error.mean(dim=1), 2).flatten(1), 1 - out["mask"]
        return ((error * kept).sum(dim=1) / kept.sum(dim=1)).mean()

    tell({"parameters": sum(p.numel() for p in net.parameters()), "imported_mb": imported_mb})
    for _ in sys.stdin:
        began, cpu_began = time.perf_counter(), time.process_time()
        x0 = torch.randn(batch, 4, 32, 32, generator=generator)
        loss(x0, torch.randn(batch, 1, 77, 1024, generator=generator)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.25)
        optimizer.step()
        optimizer.zero_grad()
        tell({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_began, "peak_mb": peak_mb()})


def stand_in() -> None:
    """Put empty modules in the place of packages that a step does not use, where they are missing."""
    from torch import nn

    class PatchEmbed(nn.Module):
        """timm's, as the published model uses it: a convolution, its positions flattened."""

        def __init__(self, size: int, patch: int, channels: int, dim: int, bias: bool = True) -> None:
            super().__init__()
            self.proj = nn.Conv2d(channels, dim, patch, patch, bias=bias)
            self.patch_size, self.num_patches = (patch, patch), (size // patch) ** 2

        def forward(self, x: Any) -> Any:
            return self.proj(x).flatten(2).transpose(1, 2)  # (B, D, H, W) → (B, T, D)

    wanted = {
        "timm.models.vision_transformer": {"PatchEmbed": PatchEmbed}, "einops": {"rearrange": None},
        "torchmetrics": {"Metric": object}, "open_clip": {},
        "transformers": dict.fromkeys(("CLIPTextModel", "CLIPTokenizer", "T5EncoderModel", "T5Tokenizer")),
    }  # fmt: skip
    for name, has in wanted.items():
        try:
            importlib.import_module(name)
        except ImportError:
            module = types.ModuleType(name)
            vars(module).update(has)
            sys.modules[name] = module


if __name__ == "__main__":
    main()
