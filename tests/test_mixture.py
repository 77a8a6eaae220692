"""Images drawn from several sets by weight, and from one: every epoch whole, nothing to remember."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shoestring_trainer.config import DataConfig, Source
from shoestring_trainer.failures import BadData
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.mixture import CYCLE, Mixture, shares
from shoestring_trainer.prepare.procedural import procedural_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[DataConfig]:
    """Two sets of the same kind; the second one's pictures are upside down."""
    folder, made = tmp_path_factory.mktemp("mixture"), procedural_set(copies=1)
    made.write(folder / "up")
    replace(made, name="down", images=made.images[:, ::-1].copy()).write(folder / "down")
    return [read_manifest(folder / name) for name in ("up", "down")]


def mixed(sets: list[DataConfig], *weights: float) -> DataConfig:
    sources = [
        Source(path=one.path, name=one.name, digest=one.digest, n_train=one.n_train, weight=weight)
        for one, weight in zip(sets, weights, strict=True)
    ]
    return sets[0].model_copy(update={"sources": tuple(sources)})


@given(weights=st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60))
def test_a_cycle_has_a_place_for_everyone_and_shares_by_weight(weights):
    counts = shares(weights)
    assert sum(counts) == CYCLE and min(counts) >= 1
    if min(weights) / sum(weights) > 1 / CYCLE:
        assert all(abs(n - CYCLE * w / sum(weights)) <= 1 for n, w in zip(counts, weights, strict=True))


def test_one_set_shows_every_image_once_an_epoch_and_none_is_left_out_between(sets):
    mixture = Mixture(sets[0], seed=5)
    n = sets[0].n_train
    images = [index for _, index in mixture.picks(0, 3 * n)]
    epochs = [images[first : first + n] for first in (0, n, 2 * n)]
    assert all(sorted(epoch) == sorted(mixture.main.train.tolist()) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert mixture.picks(7, 20) == mixture.picks(0, 40)[7:27], "where a batch begins changes nothing"


def test_sources_come_as_often_as_their_weights_and_each_in_its_own_epochs(sets):
    mixture = Mixture(mixed(sets, 3, 1), seed=1)
    picks = mixture.picks(0, 2 * CYCLE)
    drawn = [[index for source, index in picks if source == s] for s in (0, 1)]
    assert [len(one) for one in drawn] == mixture.seen(2 * CYCLE) == [1500, 500]
    for data, images in zip(mixture.sets, drawn, strict=True):
        n = len(data.train)
        for first in range(0, len(images) - n, n):
            assert sorted(images[first : first + n]) == sorted(data.train.tolist())
    assert [mixture.seen(n)[0] for n in (1, 10, 500)] == [
        sum(source == 0 for source, _ in picks[:n]) for n in (1, 10, 500)
    ]
    assert len({source for source, _ in picks[:40]}) == 2, "they alternate, not one after the other"


def test_a_batch_holds_each_sources_own_pictures_and_captions_in_order(sets):
    mixture = Mixture(mixed(sets, 1, 1), seed=1)
    picks = mixture.picks(0, 12)
    x, captions = mixture.batch(picks)
    for row, (source, index) in enumerate(picks):
        alone, words = mixture.sets[source].batch([index])
        assert torch.equal(x[row], alone[0])
        assert torch.equal(captions.states[row, : words.states.shape[1]], words.states[0])
    wider, _ = mixture.batch(picks, pad_to=9)[1]
    assert wider.shape[1] == 9


def test_sets_of_another_kind_or_another_digest_are_refused(sets, tmp_path):
    made = procedural_set(copies=1)
    replace(made, name="small", images=made.images[:, ::2, ::2].copy()).write(tmp_path / "small")
    with pytest.raises(BadData, match="has another shape than"):
        Mixture(mixed([sets[0], read_manifest(tmp_path / "small")], 1, 1), seed=0)
    with pytest.raises(BadData, match="has digest"):
        Mixture(sets[0].model_copy(update={"digest": "0" * 64}), seed=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**62), first=st.integers(0, 10**9), n=st.integers(1, 50))
def test_what_is_seen_so_far_is_what_was_picked(sets, seed, first, n):
    mixture = Mixture(mixed(sets, 2, 5), seed)
    before, after = mixture.seen(first), mixture.seen(first + n)
    picked = [sum(source == s for source, _ in mixture.picks(first, n)) for s in (0, 1)]
    assert [b - a for a, b in zip(before, after, strict=True)] == picked
