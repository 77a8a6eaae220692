"""What autoencoders are worth: reconstructions of pictures they were not trained on, and what a DiT makes of latents.

    python benchmarks/autoencoder.py autoencoder OTHER_FOLDER              # reconstructions alone, about a minute each
    python benchmarks/autoencoder.py autoencoder OTHER_FOLDER --train 600 --seeds 2

With --train each encodes the pictures anew, and our recipe (`quality_parts/recipes.py`) trains on its latents for so
many CPU-seconds of one thread, the folders in turns; `--set PATH=JSON` changes the recipe. Latents of two autoencoders
are two spaces, so `val/loss` says nothing between them: compare KID and retrieval, which are of pixels.

KID compares reconstructions of one half of the held-out pictures with the real other half; real against real is the
least that can be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from quality_parts.judging import draw_grid, judged
from quality_parts.recipes import OURS, Recipe, parsed
from quality_parts.training import train
from shoestring_trainer import metrics
from shoestring_trainer.allocator import keep_memory
from shoestring_trainer.autoencoder import WEIGHTS, Autoencoder, psnr_db
from shoestring_trainer.features import FeatureNet
from shoestring_trainer.prepare.encode import encode_set
from shoestring_trainer.text import MINILM

ROOT = Path(__file__).resolve().parents[1]
GREENEST = 16


def main() -> None:
    """Measure each folder, print a line of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw")
    parser.add_argument("--size-px", type=int, default=32)
    parser.add_argument("--train", type=float, default=0.0, metavar="CPU_S", help="train our recipe on the latents")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=300, help="drawn for KID and retrieval")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=JSON", dest="changes")
    parser.add_argument("--grids", type=Path, metavar="FOLDER", help="keep a grid of the demo's prompts here")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if not (args.raw / "items.json").exists():
        parser.error(f"{args.raw} holds no pictures: dvc repro build")
    keep_memory()
    images, held_out = pictures(args.raw, args.size_px)
    net = FeatureNet()
    real = net(images[held_out])
    floor = metrics.kid(real[0::2], real[1::2])
    print(f"real against real, {len(held_out)} pictures: KID × 1000 {1e3 * floor.value:.1f} ({1e3 * floor.se:.1f})")
    answers = {}
    for folder in args.folders:
        answers[str(folder)] = measured = reconstructions(folder, images[held_out], net, real)
        print(f"{folder}: " + ", ".join(f"{name} {value:,}" for name, value in measured.items()), flush=True)
    if args.train:
        recipe = OURS.changed(dict(parsed(change) for change in args.changes))
        for folder, trained in trainings(args, recipe):
            answers[str(folder)].setdefault("trained", []).append(trained)
            print(f"{folder}: {json.dumps(trained)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(answers, indent=1) + "\n")


def pictures(raw: Path, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """All pictures (N, S, S, 3) uint8, and the rows of those that no autoencoder of ours was trained on."""
    splits = [item["split"] for item in json.loads((raw / "items.json").read_bytes())]
    held_out = np.array([row for row, split in enumerate(splits) if split == "val"])
    return np.load(raw / f"images-{size_px}.npy", mmap_mode="r"), held_out


def reconstructions(folder: Path, held_out: np.ndarray, net: FeatureNet, real: Any) -> dict[str, Any]:
    """Decibels, KID (× 1000, its standard error), and what is left of green on the greenest pictures."""
    autoencoder = Autoencoder.load(folder)
    made = autoencoder.decode(autoencoder.encode(held_out))
    kid = metrics.kid(net(made[0::2]), real[1::2])
    green, green_made = greenness(held_out), greenness(made)
    greenest = np.argsort(green)[-GREENEST:]
    return {
        "psnr_db": round(psnr_db(held_out, made), 2),
        "kid_effnet_x1000": round(1e3 * kid.value, 2), "kid_se_x1000": round(1e3 * kid.se, 2),
        "green_kept": round(float(green_made[greenest].mean() / green[greenest].mean()), 3),
        "parameters": sum(p.numel() for p in autoencoder.net.parameters()), "bytes": (folder / WEIGHTS).stat().st_size,
    }  # fmt: skip


def greenness(images: np.ndarray) -> np.ndarray:
    """Mean green against magenta of each picture (N, S, S, 3) uint8: an axis that autoencoders here like to lose."""
    red, green, blue = (images[..., channel].astype(np.float32).mean(axis=(1, 2)) for channel in range(3))
    return green - (red + blue) / 2


def trainings(args: argparse.Namespace, recipe: Recipe) -> Any:
    """Train on each folder's latents, the folders in turns within a seed; yield the folder and what came of it."""
    with tempfile.TemporaryDirectory() as place:
        sets = []
        for number, folder in enumerate(args.folders):
            sets.append(Path(place) / str(number) / f"emoji-{args.size_px}")
            encode_set(args.raw, folder, args.size_px, MINILM).write(sets[-1])
        for seed in range(args.seeds):
            for folder, data in zip(args.folders, sets, strict=True):
                trained = train(recipe, data, seed, args.train, evaluations=4)
                if args.grids:
                    args.grids.mkdir(parents=True, exist_ok=True)
                    draw_grid(trained, ROOT / "prompts" / "demo.txt", args.grids / f"{folder.name}-{seed}.png")
                last, pixels = trained.points[-1], judged(trained, args.pictures)
                kept = ("eval/kid_effnet", "eval/kid_effnet_se", "eval/retrieval_r1", "eval/retrieval_similarity")
                yield folder, {"seed": seed, "cpu_s": round(last.cpu_s, 1), "steps": last.step, **last.losses,
                               **{key: pixels[key] for key in kept}}  # fmt: skip


if __name__ == "__main__":
    main()
