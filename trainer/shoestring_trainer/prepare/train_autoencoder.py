"""Stage *autoencoder*: train the small AutoencoderKL that the demo's latents come from.

    python -m shoestring_trainer.prepare.train_autoencoder data/raw autoencoder [--steps 8000]

The weights are shipped, so the stage is frozen; `dvc repro autoencoder` after `dvc unfreeze autoencoder` trains them
again. Loss: L1 + w · L1 of the horizontal and vertical differences + w · L1 of green against magenta + a small KL;
AdamW; the learning rate follows a cosine over the steps down to zero. Only training pictures are seen.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoestring_trainer.autoencoder import WEIGHTS, Autoencoder, net_class, psnr_db, to_pixels, to_u8
from shoestring_trainer.prepare.params import read_params
from shoestring_trainer.run_dir import write_atomic

REPORT_EVERY_S = 90.0
WARMUP_STEPS = 50
START_LOG_VARIANCE = -4.0


def new_net(params: dict[str, Any]) -> Any:
    """An untrained AutoencoderKL: one layer a block, no attention, each width after the first halves the size."""
    widths, channels = params["widths"], params["latent_channels"]
    net = net_class("AutoencoderKL")(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=params["size_px"],
        mid_block_add_attention=False,
    )
    with torch.no_grad():  # a posterior as wide as the prior drowns weak channels, and the KL then kills them
        net.quant_conv.bias[channels:] = START_LOG_VARIANCE
    return net


def loss_of(net: Any, x: Tensor, params: dict[str, Any], noise: torch.Generator) -> Tensor:
    """L1 + w·L1 of differences + w·L1 of green against magenta + w·KL of a batch x (B, 3, S, S) in [-1, 1].

    Green against magenta is 4 % of the pictures' variance; without its own weight, 1,600 steps left grass grey.
    """
    posterior = net.encode(x).latent_dist
    made = net.decode(posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=noise)).sample
    error = made - x
    gradient = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    green = (error[:, 1] - (error[:, 0] + error[:, 2]) / 2).abs().mean()
    loss = error.abs().mean() + params["gradient_weight"] * gradient + params["green_weight"] * green
    return loss + params["kl_weight"] * posterior.kl().mean()


def train(raw: Path, out: Path, params: dict[str, Any]) -> dict[str, float]:
    """Train on the pictures in `raw` and save to `out`, now and then and at the end; returns the metrics."""
    images = np.load(raw / f"images-{params['size_px']}.npy", mmap_mode="r")
    splits = [item["split"] for item in json.loads((raw / "items.json").read_bytes())]
    seen, held = (np.array([i for i, s in enumerate(splits) if s == name]) for name in ("train", "val"))
    torch.manual_seed(params["seed"])
    noise = torch.Generator().manual_seed(params["seed"])
    net = new_net(params).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=params["lr"], betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    draw = np.random.default_rng(params["seed"])
    began = reported = time.monotonic()
    order = np.empty(0, np.int64)
    for step in range(params["steps"]):
        if len(order) < params["batch_size"]:
            order = draw.permutation(seen)
        batch, order = order[: params["batch_size"]], order[params["batch_size"] :]
        x = to_pixels(images[batch]).contiguous(memory_format=torch.channels_last)
        if draw.random() < 0.5:
            x = x.flip(-1)
        for group in optimizer.param_groups:
            group["lr"] = params["lr"] * min(1.0, (step + 1) / WARMUP_STEPS) * half_cosine(step / params["steps"])
        loss = loss_of(net, x, params, noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            held_db = reconstruction_db(net, images[held[:128]])
            print(f"step {step + 1} of {params['steps']}  loss {loss:.4f}  val PSNR {held_db:.2f} dB", flush=True)
            save(net, images[seen[::4]], out)
    save(net, images[seen], out)
    minutes = (time.monotonic() - began) / 60
    metrics = {
        "val_psnr_db": round(saved_db(out, images[held]), 2),
        "steps": params["steps"],
        "minutes": round(minutes, 1),
    }
    write_atomic(out / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    return metrics


def half_cosine(done: float) -> float:
    """From 1 at the start (0) to 0 at the end (1)."""
    return 0.5 + 0.5 * math.cos(math.pi * done)


def save(net: Any, images: np.ndarray, out: Path) -> None:
    """Write config and float16 weights; the statistics of the latents are those of `images`."""
    from safetensors.torch import save as to_bytes

    latents = []
    net.eval()
    with torch.inference_mode():
        for first in range(0, len(images), 128):
            latents.append(net.encode(to_pixels(images[first : first + 128])).latent_dist.mean)
    net.train()
    mean, std = (f(torch.cat(latents), dim=(0, 2, 3)) for f in (torch.mean, torch.std))
    config = {key: value for key, value in net.config.items() if not key.startswith("_")}
    config |= {"_class_name": "AutoencoderKL", "latents_mean": mean.tolist(), "latents_std": std.tolist()}
    weights = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    write_atomic(out / WEIGHTS, to_bytes(weights))
    write_atomic(out / "config.json", (json.dumps(config, indent=1) + "\n").encode())


def reconstruction_db(net: Any, images: np.ndarray) -> float:
    """PSNR of the reconstructions of (N, S, S, 3) uint8."""
    net.eval()
    with torch.inference_mode():
        made = net.decode(net.encode(to_pixels(images)).latent_dist.mean).sample
    net.train()
    return psnr_db(images, to_u8(made))


def saved_db(folder: Path, images: np.ndarray) -> float:
    """PSNR of the saved autoencoder on (N, S, S, 3) uint8."""
    autoencoder = Autoencoder.load(folder)
    return psnr_db(images, autoencoder.decode(autoencoder.encode(images)))


def main() -> None:
    """Train on the pictures of one folder, write to another."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="instead of params.yaml's")
    args = parser.parse_args()
    params = read_params("autoencoder")
    if args.steps:
        params["steps"] = args.steps
    print(f"{args.out}: {json.dumps(train(args.raw, args.out, params))}")


if __name__ == "__main__":
    main()
