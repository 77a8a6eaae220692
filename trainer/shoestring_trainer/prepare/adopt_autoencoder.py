"""Take over an autoencoder of diffusers, by folder or by name, with the statistics of its latents on given pictures.

    python -m shoestring_trainer.prepare.adopt_autoencoder NAME_OR_FOLDER OUT IMAGES.npy

C channels of a latent
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from shoestring_trainer.autoencoder import KINDS, WEIGHTS, net_class, raw_latents, to_pixels
from shoestring_trainer.prepare.progress import progress_bar
from shoestring_trainer.run_dir import write_atomic

BATCH, MAX_IMAGES = 32, 2000


def open_net(name_or_folder: str) -> Any:
    """Load one of the known kinds from a folder, or by name from diffusers' hub. Raises ValueError, OSError."""
    config = net_class("AutoencoderKL").load_config(name_or_folder)  # any kind's config is read alike
    return net_class(str(config.get("_class_name"))).from_pretrained(name_or_folder, torch_dtype=torch.float32).eval()


@torch.inference_mode()
def statistics(net: Any, images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each latent channel over pictures (N, H, W, 3) uint8, at most 2,000 of them."""
    chosen = images[:: max(1, len(images) // MAX_IMAGES)]
    parts = []
    with progress_bar("encoding pictures", len(chosen)) as tick:
        for first in range(0, len(chosen), BATCH):
            parts.append(raw_latents(net, to_pixels(chosen[first : first + BATCH])))
            tick(len(parts[-1]))
    latents = torch.cat(parts).transpose(0, 1).flatten(1)  # (C, everything else)
    return latents.mean(1).tolist(), latents.std(1).tolist()


def adopt(name_or_folder: str, out: Path, images: np.ndarray) -> dict[str, Any]:
    """Write config and weights to `out`, ready for `Autoencoder.load`; give the config. Raises ValueError, OSError."""
    net = open_net(name_or_folder)
    mean, std = statistics(net, images)
    config = {**net.config, "_class_name": type(net).__name__, "latents_mean": mean, "latents_std": std}
    out.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, out / WEIGHTS)
    write_atomic(out / "config.json", json.dumps(config, indent=1, sort_keys=True).encode())
    return config


def main() -> None:
    """Adopt one and say what it makes of the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name_or_folder", help=f"of a {', '.join(KINDS)}")
    parser.add_argument("out", type=Path)
    parser.add_argument("images", type=Path, help="pictures (N, H, W, 3) uint8 to measure the latents on")
    args = parser.parse_args()
    try:
        config = adopt(args.name_or_folder, args.out, np.load(args.images, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {args.name_or_folder}: {error}") from None
    spread = ", ".join(f"{value:.2f}" for value in config["latents_std"])
    print(f"{args.out}: {config['_class_name']}, {len(config['latents_std'])} channels, spread {spread}")


if __name__ == "__main__":
    main()
