"""Write one encoded set: arrays for memory-mapping, items, captions, manifest.

N images, H×W pixels; C, h, w of a latent; Dc width of a caption state
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shoestring_trainer.manifest import MANIFEST_VERSION, load_manifest
from shoestring_trainer.run_dir import write_atomic

Split = Literal["train", "val", "holdout"]


@dataclass(frozen=True)
class Item:
    """One captioned picture. `family`: what it shows, whatever the style; `caption`: an index into the captions."""

    style: str
    family: str
    group: str
    split: Split
    caption: int


@dataclass(frozen=True)
class EncodedSet:
    """Everything that stands in one set's folder. `latents` None means a set of pixels."""

    name: str
    images: np.ndarray  # (N, H, W, 3) uint8
    items: Sequence[Item]
    captions: Sequence[str]
    text_states: Sequence[np.ndarray]  # one (L, Dc) float16 a caption
    text: dict[str, Any]  # the text encoder, for open_text_encoder
    latents: np.ndarray | None = None  # (N, C, h, w) float16
    autoencoder: Path | None = None  # its folder, copied into the set
    licences: list[dict[str, str]] = field(default_factory=list)

    def digest(self) -> str:
        """sha256 of pixels, captions, splits and encoders: what is the same on every machine.

        Latents and text states are left out: they differ in the last bits between processors.
        """
        digest = hashlib.sha256()
        digest.update(_json({"shape": self.images.shape, "text": self.text, "autoencoder": self._autoencoder_sha256()}))
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(_json([asdict(item) for item in self.items]))
        digest.update(_json(list(self.captions)))
        return digest.hexdigest()

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        lengths = np.array([len(states) for states in self.text_states])
        train = [item.caption for item in self.items if item.split == "train"]
        height, width = (int(side) for side in self.images.shape[1:3])
        return {
            "version": MANIFEST_VERSION,
            "name": self.name,
            "digest": self.digest(),
            "space": "pixels" if self.latents is None else "latents",
            "shape": [3, height, width] if self.latents is None else list(self.latents.shape[1:]),
            "size_px": max(height, width),
            "n_images": len(self.items),
            "n_captions": len(self.captions),
            "n_train": len(train),
            "splits": dict(sorted(Counter(item.split for item in self.items).items())),
            "styles": dict(sorted(Counter(item.style for item in self.items).items())),
            "groups": dict(sorted(Counter(item.group for item in self.items).items())),
            "families": len({item.family for item in self.items}),
            "caption_dim": int(self.text_states[0].shape[1]),
            "caption_tokens": round(float(lengths[train].mean()), 4),
            "caption_tokens_max": int(lengths.max()),
            "text": self.text,
            "autoencoder": None
            if self.autoencoder is None
            else {"path": "autoencoder", "sha256": self._autoencoder_sha256()},
            "licences": self.licences,
        }

    def write(self, out: Path) -> bool:
        """Write the set to folder `out`; False when the same set (by digest) already stood there."""
        manifest = self.manifest()
        if out.exists():
            try:
                if load_manifest(out) == manifest:
                    return False
            except (ValueError, FileNotFoundError):
                pass
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        np.save(partial / "images.npy", self.images)
        if self.latents is not None:
            np.save(partial / "latents.npy", self.latents)
        np.save(partial / "text.npy", np.concatenate(self.text_states))
        np.save(partial / "text_offsets.npy", np.cumsum([0, *map(len, self.text_states)], dtype=np.int64))
        write_atomic(partial / "items.json", _json([asdict(item) for item in self.items]))
        write_atomic(partial / "captions.json", _json(list(self.captions)))
        if self.autoencoder is not None:
            for path in model_files(self.autoencoder):
                (partial / "autoencoder").mkdir(exist_ok=True)
                shutil.copyfile(path, partial / "autoencoder" / path.name)
        write_atomic(partial / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        if out.exists():
            shutil.rmtree(out)  # a trainer that has it mapped keeps its own pages
        partial.rename(out)
        return True

    def _autoencoder_sha256(self) -> str | None:
        return None if self.autoencoder is None else folder_sha256(self.autoencoder)


def model_files(folder: Path) -> list[Path]:
    """What makes the model in `folder`: its config and its weights."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".safetensors" or path.name == "config.json")


def folder_sha256(folder: Path) -> str:
    """One sha256 over the model files in `folder`."""
    digest = hashlib.sha256()
    for path in model_files(folder):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
