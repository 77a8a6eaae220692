"""Stage *encode*: pictures to normalised latents, captions to token states, into one set for training.

Each distinct caption is encoded once and stored at its true length.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoestring_trainer.autoencoder import Autoencoder, psnr_db
from shoestring_trainer.prepare.encoded_set import EncodedSet, Item
from shoestring_trainer.prepare.params import read_params
from shoestring_trainer.prepare.progress import progress_bar
from shoestring_trainer.run_dir import write_atomic
from shoestring_trainer.text import MINILM, open_text_encoder

BATCH = 64


def encode_set(raw: Path, autoencoder_folder: Path, size_px: int, text: dict[str, Any]) -> EncodedSet:
    """The set of the pictures in `raw` at `size_px`, with the text encoder that `text` describes."""
    images = np.load(raw / f"images-{size_px}.npy")
    items = [Item(**item) for item in json.loads((raw / "items.json").read_bytes())]
    captions = json.loads((raw / "captions.json").read_bytes())
    encoder = open_text_encoder(text)
    with progress_bar("encoding captions", len(captions)) as tick:
        states = encoder.encode(captions, tick)
    autoencoder = Autoencoder.load(autoencoder_folder)
    latents = []
    with progress_bar("encoding pictures", len(images)) as tick:
        for first in range(0, len(images), BATCH):
            latents.append(autoencoder.encode(images[first : first + BATCH]).numpy().astype(np.float16))
            tick(len(latents[-1]))
    return EncodedSet(
        name=f"emoji-{size_px}",
        images=images,
        items=items,
        captions=captions,
        text_states=states,
        text=text,
        latents=np.concatenate(latents),  # (N, C, h, w)
        autoencoder=autoencoder_folder,
        licences=json.loads((raw / "manifest.json").read_bytes())["licences"],
    )


def measure(made: EncodedSet, autoencoder_folder: Path) -> dict[str, Any]:
    """Reconstruction of held-back pictures in dB, and the spread of the training latents a channel."""
    import torch

    assert made.latents is not None
    autoencoder = Autoencoder.load(autoencoder_folder)
    decibels = {}
    for split in ("val", "holdout"):
        rows = rows_of(made.items, split)
        latents = torch.from_numpy(made.latents[rows].astype(np.float32))
        decibels[f"{split}_psnr_db"] = round(psnr_db(made.images[rows], autoencoder.decode(latents)), 1)
    std = made.latents[rows_of(made.items, "train")].astype(np.float32).std(axis=(0, 2, 3))  # (C,)
    return {"reconstruction": decibels, "latents": {"std": [round(float(value), 2) for value in std]}}


def rows_of(items: Sequence[Item], split: str) -> np.ndarray:
    """Which items are of `split`."""
    return np.array([index for index, item in enumerate(items) if item.split == split], dtype=np.int64)


def main() -> None:
    """Encode the pictures of one folder with the autoencoder of another, write the set and its metrics."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("autoencoder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size-px", type=int, help="default: that of params.yaml")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file for the reconstruction in dB")
    args = parser.parse_args()
    made = encode_set(args.raw, args.autoencoder, args.size_px or read_params("encode")["size_px"], MINILM)
    metrics = measure(made, args.autoencoder)
    made.write(args.out)
    write_atomic(args.metrics, (json.dumps(metrics, indent=1) + "\n").encode())
    print(f"{args.out}: {len(made.items)} images, reconstruction {json.dumps(metrics['reconstruction'])}")


if __name__ == "__main__":
    main()
