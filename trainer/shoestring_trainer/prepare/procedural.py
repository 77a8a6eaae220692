"""`python -m shoestring_trainer.prepare.procedural OUT_DIR`: a tiny captioned set drawn by seeded code.

Coloured shapes on white, 16 px, one caption each ("a red circle"), trained on as pixels. It needs no download,
no text encoder and no autoencoder, takes about a second, and is the same to the byte on every machine: integer
arithmetic, and random numbers from the standard library.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from shoestring_trainer.prepare.encoded_set import EncodedSet, Item, Split
from shoestring_trainer.text import WORD_DIM, WordVectors

SIZE_PX = 16
FINE = 4  # sub-pixels a side
COLOURS = {
    "red": (220, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (240, 215, 30),
    "green": (40, 160, 60),
    "cyan": (30, 190, 200),
    "blue": (40, 80, 210),
    "purple": (130, 50, 170),
    "black": (20, 20, 25),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
# Pairs that no training image shows, though others show the colour and others the shape.
VAL = {("green", "square"), ("purple", "circle"), ("orange", "diamond"), ("cyan", "triangle")}
HOLDOUT = {("red", "cross"), ("blue", "triangle"), ("yellow", "circle")}


def procedural_set(copies: int = 8, seed: int = 0) -> EncodedSet:
    """Draw every colour × shape `copies` times, differing in size and place: 8 · 5 · copies images."""
    draw = random.Random(seed)
    images, items, captions = [], [], []
    for colour, rgb in COLOURS.items():
        for shape in SHAPES:
            captions.append(f"a {colour} {shape}")
            for _ in range(copies):
                radius = 16 + int(draw.random() * 9)  # sub-pixels: 4 to 6 px
                x, y = (32 + int((draw.random() - 0.5) * 2 * (28 - radius)) for _ in "xy")
                images.append(picture(shape, rgb, (x, y), radius))
                items.append(Item(shape, f"{colour} {shape}", "shapes", _split(colour, shape), len(captions) - 1))
    return EncodedSet(
        name=f"procedural-{SIZE_PX}",
        images=np.stack(images),  # (N, 16, 16, 3)
        items=items,
        captions=captions,
        text_states=WordVectors().encode(captions),
        text={"kind": "word-vectors", "name": "hashed words", "dim": WORD_DIM},
        licences=[
            {"style": "all", "licence": "Apache-2.0", "source": "drawn by shoestring_trainer.prepare.procedural"}
        ],
    )


def picture(shape: str, rgb: tuple[int, int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    """One anti-aliased shape on white, (16, 16, 3) uint8; `centre` and `radius` in sub-pixels."""
    n = SIZE_PX * FINE
    dy, dx = np.mgrid[0:n, 0:n].astype(np.int64)
    dx, dy = dx - centre[0], dy - centre[1]
    inside = {
        "circle": dx * dx + dy * dy <= radius * radius,
        "square": (10 * abs(dx) <= 9 * radius) & (10 * abs(dy) <= 9 * radius),
        "triangle": (dy <= radius) & (2 * abs(dx) <= dy + radius),
        "diamond": abs(dx) + abs(dy) <= radius,
        "cross": (np.minimum(abs(dx), abs(dy)) * 3 <= radius) & (np.maximum(abs(dx), abs(dy)) <= radius),
    }[shape]
    covered = inside.reshape(SIZE_PX, FINE, SIZE_PX, FINE).sum(axis=(1, 3))[..., None]  # (16, 16, 1), 0…16
    full = FINE * FINE
    return ((covered * np.array(rgb) + (full - covered) * 255 + full // 2) // full).astype(np.uint8)


def _split(colour: str, shape: str) -> Split:
    if (colour, shape) in HOLDOUT:
        return "holdout"
    return "val" if (colour, shape) in VAL else "train"


def main() -> None:
    """Write the set to the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    out = parser.parse_args().out
    made = procedural_set()
    fresh = made.write(out)
    print(f"{out}: {len(made.items)} images, {len(made.captions)} captions ({'written' if fresh else 'unchanged'})")


if __name__ == "__main__":
    main()
