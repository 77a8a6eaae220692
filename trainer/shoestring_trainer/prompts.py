"""Sentences and their states: captions of an encoded set are looked up, other sentences computed by its encoder.

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

from shoestring_trainer.model import Captions
from shoestring_trainer.text import TextEncoder, open_text_encoder

FILES = ("captions.json", "text.npy", "text_offsets.npy")
FACTS, ENCODER = "facts.json", "encoder"  # where a folder carries its encoder along


class Prompts:
    """The captions in a folder, with the text encoder that `facts` describes, in `encoder` or installed."""

    def __init__(self, folder: Path, facts: dict[str, Any], encoder: Path | None = None) -> None:
        captions, text, offsets = (folder / name for name in FILES)
        self.captions: list[str] = json.loads(captions.read_bytes())
        self._text = np.load(text, mmap_mode="r")  # (all tokens, Dc) float16
        self._offsets = np.load(offsets)  # (captions + 1,) int64
        if len(self._offsets) != len(self.captions) + 1 or (np.diff(self._offsets) < 1).any():
            raise ValueError(f"{offsets.name} does not give every one of {len(self.captions)} captions its states")
        if self._text.ndim != 2 or self._offsets[0] != 0 or self._offsets[-1] != len(self._text):
            raise ValueError(f"{text.name} holds {self._text.shape}, {offsets.name} ends at {self._offsets[-1]}")
        self._facts, self._encoder_folder = facts, encoder

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Prompts:
        """Open a folder that carries its encoder's facts, and maybe the encoder."""
        folder = Path(folder)
        encoder = folder / ENCODER
        return cls(folder, json.loads((folder / FACTS).read_bytes()), encoder if encoder.is_dir() else None)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest caption."""
        return int(np.diff(self._offsets).max())

    def states_of(self, caption: int | np.integer) -> np.ndarray:
        """The states of caption number `caption`: (L, Dc) float16."""
        return self._text[self._offsets[caption] : self._offsets[caption + 1]]

    def __call__(self, prompts: Sequence[str]) -> Captions:
        """The states of `prompts`, padded to the longest of them.

        Raises ValueError when the text encoder is needed and not there, or is not the set's own.
        """
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._ids]
        computed = dict(zip(new, self._encoder.encode(new), strict=True)) if new else {}
        return pad_captions([computed[p] if p in computed else self.states_of(self._ids[p]) for p in prompts])

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {caption: index for index, caption in enumerate(self.captions)}

    @cached_property
    def _encoder(self) -> TextEncoder:
        return open_text_encoder(self._facts, self._encoder_folder)


def pad_captions(states: Sequence[np.ndarray], pad_to: int | None = None) -> Captions:
    """Stack captions of different lengths, zeros behind the shorter ones: (B, L, Dc) float32 and (B, L) True = real."""
    longest = pad_to or max(len(one) for one in states)
    padded = torch.zeros(len(states), longest, states[0].shape[1])  # (B, L, Dc)
    mask = torch.zeros(len(states), longest, dtype=torch.bool)  # (B, L)
    for row, one in enumerate(states):
        padded[row, : len(one)] = torch.from_numpy(one.astype(np.float32))
        mask[row, : len(one)] = True
    return Captions(padded, mask)
