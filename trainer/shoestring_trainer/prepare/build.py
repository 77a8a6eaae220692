"""Stage *build*: draw every emoji in its styles, caption it, split by concept family, write data/raw.

data/raw/images-32.npy, images-64.npy  (N, S, S, 3) uint8
data/raw/items.json, captions.json     one item a picture, one caption a line
data/raw/manifest.json                 counts, licences, sha256
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shoestring_trainer.failures import told_in_a_line
from shoestring_trainer.prepare.concepts import STYLE_PHRASES, Concept, caption_of, read_concepts, split_pictures
from shoestring_trainer.prepare.encoded_set import Item
from shoestring_trainer.prepare.params import read_params
from shoestring_trainer.prepare.progress import progress_bar
from shoestring_trainer.prepare.sources import (
    ICON_SETS,
    PACKAGE_OF_STYLE,
    read_icons,
    read_pictures,
    shrink,
    try_to_draw,
)
from shoestring_trainer.run_dir import write_atomic

Found = tuple[str, Concept, str | bytes]  # style, what it shows, SVG text or picture file


def find_pictures(packages: Path) -> list[Found]:
    """Every (style, concept, source) that the fetched packages hold, concepts in emojibase's order."""
    sources: dict[str, dict[str, Any]] = {"3d": dict(read_pictures(packages / "fluent-emoji-3d" / "pictures.zip"))}
    sources |= {style: read_icons(packages / name) for style, name in ICON_SETS.items()}
    return [
        (style, concept, sources[style][concept.code])
        for concept in read_concepts(packages / "emojibase")
        for style in STYLE_PHRASES
        if concept.code in sources[style]
    ]


def draw_all(found: Sequence[Found], size_px: int) -> tuple[np.ndarray, dict[int, str]]:
    """(N, S, S, 3) uint8, drawn by one process a core; and why those that are damaged were left white."""
    images = np.full((len(found), size_px, size_px, 3), 255, np.uint8)
    damaged = {}
    sources = [source for _, _, source in found]
    with (
        progress_bar(f"drawing pictures at {size_px} px", len(found)) as tick,
        ProcessPoolExecutor(os.cpu_count()) as pool,
    ):
        drawn = pool.map(try_to_draw, sources, [size_px] * len(sources), chunksize=32)
        for index, image in enumerate(drawn):
            if isinstance(image, str):
                damaged[index] = image
            else:
                images[index] = image
            tick(1)
    return images, damaged


def build(packages: Path, out: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Draw, caption, split and write to `out`; returns the manifest."""
    found = find_pictures(packages)
    largest, damaged = draw_all(found, max(params["sizes_px"]))
    reasons = {f"{found[i][0]} {found[i][1].label}": why for i, why in damaged.items()}
    visible = [i for i, image in enumerate(largest) if image.min() < 248]  # a blank picture teaches nothing
    dropped = [f"{found[i][0]} {found[i][1].label}" for i in range(len(found)) if i not in set(visible)]
    found, largest = [found[i] for i in visible], largest[visible]
    splits = split_pictures(
        [(style, concept.family) for style, concept, _ in found],
        params["val_fraction"],
        params["holdout_fraction"],
        params["seed"],
    )
    written = [caption_of(style, concept, params["caption_tags"]) for style, concept, _ in found]
    captions = list(dict.fromkeys(written))
    ids = {caption: index for index, caption in enumerate(captions)}
    items = [
        Item(style, concept.family, concept.group, split, ids[caption])
        for (style, concept, _), split, caption in zip(found, splits, written, strict=True)
    ]
    arrays = {size: np.stack([shrink(image, size) for image in largest]) for size in params["sizes_px"]}
    manifest = raw_manifest(items, captions, arrays, packages) | {"dropped": dropped}
    if reasons:
        manifest["damaged"] = reasons
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for size, images in arrays.items():
        np.save(partial / f"images-{size}.npy", images)
    write_json(partial / "items.json", [asdict(item) for item in items])
    write_json(partial / "captions.json", captions)
    write_json(partial / "manifest.json", manifest)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return manifest


def raw_manifest(
    items: Sequence[Item], captions: Sequence[str], arrays: dict[int, np.ndarray], packages: Path
) -> dict[str, Any]:
    """Counts a style and split, licences, and the sha256 of every size's pixels."""
    table = Counter((item.style, item.split) for item in items)
    return {
        "n_images": len(items),
        "n_captions": len(captions),
        "n_families": len({item.family for item in items}),
        "splits": dict(Counter(item.split for item in items)),
        "styles": {style: {s: table[style, s] for s in ("train", "val", "holdout")} for style in STYLE_PHRASES},
        "groups": dict(Counter(item.group for item in items)),
        "sha256": {f"pixels-{size}": hashlib.sha256(images.data).hexdigest() for size, images in arrays.items()},
        "licences": licences(packages),
    }


def licences(packages: Path) -> list[dict[str, str]]:
    """Who made each style, and under which licence it is used."""
    facts = json.loads((packages / "packages.json").read_bytes())
    rows = []
    for what, name in {**PACKAGE_OF_STYLE, "captions": "emojibase"}.items():
        info = packages / name / "info.json"
        author = json.loads(info.read_bytes())["author"]["name"] if info.exists() else AUTHORS[name]
        fact = facts[name]
        row = {"style": what, "package": f"{fact['package']}@{fact['version']}", "licence": fact["license"]}
        rows.append(row | {"author": author})
    return rows


AUTHORS = {"fluent-emoji-3d": "Microsoft Corporation; packaged by LobeHub", "emojibase": "Miles Johnson"}


def write_json(path: Path, value: Any) -> None:
    """Write JSON, one entry of the outermost list a line."""
    if isinstance(value, list):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value)
        write_atomic(path, f"[\n{lines}\n]\n".encode())
    else:
        write_atomic(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Build from the fetched packages into the folder, both named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    manifest = build(args.packages, args.out, read_params("build"))
    counts = ", ".join(f"{split} {n}" for split, n in manifest["splits"].items())
    print(f"{args.out}: {manifest['n_images']} pictures of {manifest['n_families']} concept families ({counts})")
    for name, why in manifest.get("damaged", {}).items():
        print(f"  left out {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
