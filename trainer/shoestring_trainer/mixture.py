"""Several encoded sets drawn from by weight; one set is a mixture of one.

Which source image i of a run comes from is a function of (seed, i) alone, so nothing has to be remembered: a cycle of
1,000 places holds each source as often as its weight asks, in seeded order, and each goes through its own epochs.
B batch; x (B, C, H, W)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from shoestring_trainer.config import DataConfig, Source
from shoestring_trainer.data import DataSet
from shoestring_trainer.failures import BadData
from shoestring_trainer.model import Captions
from shoestring_trainer.prompts import pad_captions
from shoestring_trainer.seeds import epoch_order, generator

CYCLE = 1000

Pick = tuple[int, int]  # (source, index of an image in it)


class Mixture:
    """The sets of one `DataConfig`, open. `main` is the first: validation, prompts and decoding are its."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.seed = seed
        self.sources = config.sources or (
            Source(path=config.path, name=config.name, digest=config.digest, n_train=config.n_train),
        )
        self.sets = [_open(source) for source in self.sources]
        self.main = self.sets[0]
        for other in self.sets[1:]:
            _refuse_another_kind(self.main, other)
        self._counts = shares([source.weight for source in self.sources])
        places = np.repeat(np.arange(len(self.sources)), self._counts)  # (1000,) the source of each place
        order = torch.randperm(CYCLE, generator=generator(seed, 0, "sources")).numpy()
        self._place = places[order]
        before = [np.concatenate([[0], np.cumsum(self._place == s)]) for s in range(len(self.sources))]
        self._before = np.stack(before)  # (sources, 1001): how many of each come before a place

    @property
    def n_train(self) -> int:
        """Training images of all sources."""
        return sum(len(one.train) for one in self.sets)

    @property
    def longest_caption(self) -> int:
        """Tokens of the longest caption."""
        return max(one.longest_caption for one in self.sets)

    def seen(self, n_images: int) -> list[int]:
        """How many of the first `n_images` of a run come from each source."""
        cycles, place = divmod(n_images, CYCLE)
        return [int(cycles * count + before[place]) for count, before in zip(self._counts, self._before, strict=True)]

    def picks(self, first: int, n: int) -> list[Pick]:
        """The images number `first` … `first` + n − 1 of a run, each source in the order of its own epochs."""
        return [self._pick(image) for image in range(first, first + n)]

    def batch(self, picks: Sequence[Pick], pad_to: int | None = None) -> tuple[torch.Tensor, Captions]:
        """The samples (B, C, H, W) and padded captions of `picks`, in their order."""
        if len(self.sets) == 1:
            return self.main.batch([index for _, index in picks], pad_to)
        x = torch.empty(len(picks), *self.main.manifest["shape"])
        for number, data in enumerate(self.sets):
            rows = [row for row, (source, _) in enumerate(picks) if source == number]
            if rows:
                x[rows] = data.samples(np.array([picks[row][1] for row in rows]))
        return x, pad_captions([self.sets[source].states_of(index) for source, index in picks], pad_to)

    def _pick(self, image: int) -> Pick:
        cycles, place = divmod(image, CYCLE)
        source = int(self._place[place])
        train = self.sets[source].train
        epoch, offset = divmod(int(cycles * self._counts[source] + self._before[source][place]), len(train))
        return source, int(train[epoch_order(self.seed, epoch, len(train), source)[offset]])


def shares(weights: Sequence[float]) -> list[int]:
    """Places of a cycle for each weight: largest remainders, at least one each."""
    exact = [CYCLE * weight / sum(weights) for weight in weights]
    counts = [max(1, int(value)) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in range(CYCLE - sum(counts)):
        counts[by_remainder[i % len(counts)]] += 1
    while sum(counts) > CYCLE:  # many tiny weights, rounded up to one place
        counts[counts.index(max(counts))] -= 1
    return counts


def _open(source: Source) -> DataSet:
    try:
        data = DataSet.open(Path(source.path))
    except (OSError, ValueError) as error:
        raise BadData(f"data set {source.path}: {error}") from error
    if not len(data.train):
        raise BadData(f"data set {source.path} holds no training image: name another, or build it again")
    found = data.manifest["digest"]
    if found != source.digest:
        raise BadData(
            f"data set {source.path} has digest {found[:12]}, the config was made for {source.digest[:12]}; "
            f"build that set again, or submit the experiment again to use the set that is there"
        )
    return data


def _refuse_another_kind(main: DataSet, other: DataSet) -> None:
    for what in ("space", "shape", "text", "autoencoder"):
        if main.manifest[what] != other.manifest[what]:
            raise BadData(
                f"{other.path} has another {what} than {main.path} ({other.manifest[what]}, {main.manifest[what]}); "
                f"sets that are drawn from together share shape and encoders"
            )
