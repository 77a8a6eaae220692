"""An encoded set as memory-mapped arrays: batches for training, pictures and captions for people.

B batch, N images, S pixels a side; x (B, C, H, W): normalised latents, or pixels in [-1, 1]
L tokens of the longest caption of a batch, Dc width of a caption state
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoestring_trainer.config import DataConfig
from shoestring_trainer.decoder import Decodes, open_decoder
from shoestring_trainer.manifest import load_manifest, read_manifest
from shoestring_trainer.model import Captions
from shoestring_trainer.prompts import Prompts, pad_captions


class DataSet:
    """One encoded set. Open it with `DataSet.open`."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self.items: list[dict[str, Any]] = _read_json(path / "items.json")
        self.prompts = Prompts(path, manifest["text"])
        self.captions = self.prompts.captions
        self._images = _map(path / "images.npy")  # (N, S, S, 3) uint8
        self._latents = _map(path / "latents.npy") if manifest["space"] == "latents" else None  # (N, C, H, W) float16
        self._caption_of = np.array([item["caption"] for item in self.items], dtype=np.int64)  # (N,)
        self.train, self.val, self.holdout = (self._split(name) for name in ("train", "val", "holdout"))
        n = len(self.items)
        if len(self._images) != n or (self._latents is not None and len(self._latents) != n):
            raise ValueError(f"items.json has {n} images, the arrays do not")
        if n and not 0 <= self._caption_of.min() <= self._caption_of.max() < len(self.captions):
            raise ValueError(f"items.json has images whose caption is not among the {len(self.captions)} captions")
        if manifest["n_train"] != len(self.train):
            raise ValueError(f"items.json has {len(self.train)} training images, the manifest {manifest['n_train']}")
        samples = self._images.transpose(0, 3, 1, 2) if self._latents is None else self._latents  # (N, C, H, W)
        if list(samples.shape[1:]) != manifest["shape"] or self._images.dtype != np.uint8:
            raise ValueError(f"the arrays hold {list(samples.shape[1:])}, the manifest says {manifest['shape']}")
        if manifest["autoencoder"] and manifest["autoencoder"]["path"] != "autoencoder":
            raise ValueError(f"the manifest names the folder {manifest['autoencoder']['path']!r}, allowed: autoencoder")

    @classmethod
    def open(cls, path: Path | str, verify: bool = False) -> DataSet:
        """Map the set in folder `path`; `verify` also recomputes its digest.

        Raises FileNotFoundError (no such set) and ValueError (damaged, or another version).
        """
        path = Path(path)
        manifest = load_manifest(path)
        try:
            data = cls(path, manifest)
        except (OSError, EOFError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}): delete the folder and build it again") from error
        if verify:
            data.verify()
        return data

    def data_config(self) -> DataConfig:
        """The facts that a training job is configured with."""
        return read_manifest(self.path)

    def verify(self) -> None:
        """Recompute the digest. Raises ValueError when pixels, captions or encoders are not what they were."""
        from shoestring_trainer.prepare.encoded_set import EncodedSet, Item

        recorded = self.manifest["autoencoder"]
        found = EncodedSet(
            name=self.manifest["name"],
            images=self._images,
            items=[Item(**item) for item in self.items],
            captions=self.captions,
            text_states=[],
            text=self.manifest["text"],
            autoencoder=self.path / recorded["path"] if recorded else None,
        ).digest()
        if found != self.manifest["digest"]:
            raise ValueError(
                f"{self.path} has digest {found}, its manifest says {self.manifest['digest']}: "
                f"a file was changed; delete the folder and build it again"
            )

    # ── training ────────────────────────────────────────────────────────────────────────────────

    @property
    def longest_caption(self) -> int:
        """Tokens of the longest caption of the set."""
        return self.prompts.longest

    def batch(
        self, indices: Sequence[int] | np.ndarray | torch.Tensor, pad_to: int | None = None
    ) -> tuple[torch.Tensor, Captions]:
        """The images at `indices`, in that order, and their captions padded to the longest of them, or to `pad_to`."""
        rows = np.asarray(indices, dtype=np.int64)
        return self.samples(rows), pad_captions([self.states_of(int(row)) for row in rows], pad_to)

    def samples(self, rows: np.ndarray) -> torch.Tensor:
        """The images at `rows` as they are trained on: (B, C, H, W) float32."""
        if self._latents is not None:
            return torch.from_numpy(self._latents[rows].astype(np.float32))
        pixels = self._images[rows].transpose(0, 3, 1, 2).astype(np.float32)
        return torch.from_numpy(pixels / 127.5 - 1)

    def states_of(self, row: int) -> np.ndarray:
        """The caption states of image `row`: (L, Dc) float16."""
        return self.prompts.states_of(self._caption_of[row])

    def prompt_states(self, prompts: Sequence[str]) -> Captions:
        """The caption states of `prompts`: looked up, or computed for sentences that are no caption of the set.

        Raises ValueError when the text encoder is needed and not installed, or is not the set's own.
        """
        return self.prompts(prompts)

    # ── pictures and words for people ───────────────────────────────────────────────────────────

    def caption(self, index: int) -> str:
        """The caption of image `index`."""
        return self.captions[self._caption_of[index]]

    def images_u8(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> np.ndarray:
        """The real pictures at `indices`: (B, S, S, 3) uint8."""
        return self._images[np.asarray(indices, dtype=np.int64)]

    def decode(self, x: torch.Tensor) -> np.ndarray:
        """Samples to pictures: (B, C, H, W) → (B, S, S, 3) uint8. The autoencoder is loaded at the first call."""
        if self._latents is not None:
            return self._decoder.decode(x)
        return ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _decoder(self) -> Decodes:
        return open_decoder(self.path / self.manifest["autoencoder"]["path"])

    def _split(self, name: str) -> np.ndarray:
        return np.array([i for i, item in enumerate(self.items) if item["split"] == name], dtype=np.int64)


def _map(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())
