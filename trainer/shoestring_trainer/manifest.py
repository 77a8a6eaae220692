"""`manifest.json`: what an encoded set is, readable without torch or numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shoestring_trainer.config import DataConfig

MANIFEST_VERSION = 1
MAX_BYTES = 1 << 20
FACTS = ("name", "digest", "space", "shape", "size_px", "n_train", "caption_dim", "caption_tokens")


def load_manifest(path: Path | str) -> dict[str, Any]:
    """The manifest of the set in folder `path`, as plain data.

    Raises FileNotFoundError (no such set) and ValueError (not a manifest, or of another version).
    """
    file = Path(path) / "manifest.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} is not an encoded data set (it has no manifest.json): run `dvc repro` to build the sets that "
            f"dvc.yaml names, or `python -m shoestring_trainer.prepare.procedural {path}` for the tiny procedural one"
        )
    try:
        with open(file, "rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON ({error}): delete {path} and build it again") from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != MANIFEST_VERSION:
        raise ValueError(
            f"{file} has version {version!r}, this program reads version {MANIFEST_VERSION}: "
            f"delete {path} and build it again"
        )
    return manifest


def read_manifest(path: Path | str) -> DataConfig:
    """The facts of the set in folder `path` that a training job is configured with; `path` becomes absolute.

    Raises FileNotFoundError and ValueError, both saying what to do.
    """
    manifest = load_manifest(path)
    try:
        return DataConfig(path=str(Path(path).resolve()), **{key: manifest[key] for key in FACTS if key in manifest})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{Path(path) / 'manifest.json'}: {wrong}: delete {path} and build it again") from error
