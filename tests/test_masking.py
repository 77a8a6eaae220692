from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shoestring_trainer.config import NoMask, RandomMask
from shoestring_trainer.masking import gather, sample_keep, scatter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_mask_keeps_everything_by_drawing_nothing():
    generator = seeded()
    before = generator.get_state()
    assert sample_keep(NoMask(kind="none"), 4, 16, generator) is None
    assert torch.equal(generator.get_state(), before)


@given(st.integers(1, 100), st.floats(0, 0.99), st.sampled_from(["deferred", "naive"]), st.integers(0, 2**40))
def test_ids_are_sorted_unique_in_range_and_as_many_as_the_config_says(n_tokens, ratio, place, seed):
    mask = RandomMask(kind="random", ratio=ratio, place=place)
    keep = sample_keep(mask, 3, n_tokens, seeded(seed))
    assert keep.ids.shape == (3, mask.tokens_kept(n_tokens)) and keep.ids.dtype == torch.int64
    assert keep.place == place
    assert (keep.ids[:, 1:] > keep.ids[:, :-1]).all()
    assert keep.ids.min() >= 0 and keep.ids.max() < n_tokens


def test_the_same_generator_state_draws_the_same_ids_and_another_draws_others():
    mask = RandomMask(kind="random", ratio=0.75)
    first, again, other = (sample_keep(mask, 8, 64, seeded(s)).ids for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_images_of_a_batch_get_different_ids():
    ids = sample_keep(RandomMask(kind="random", ratio=0.5), 2, 64, seeded()).ids
    assert not torch.equal(ids[0], ids[1])


def test_every_token_is_kept_equally_often():
    ids = sample_keep(RandomMask(kind="random", ratio=0.75), 8000, 16, seeded()).ids
    share = ids.flatten().bincount(minlength=16) / 8000
    assert share.tolist() == pytest.approx([0.25] * 16, abs=0.02)


def test_gather_picks_tokens_in_the_order_of_the_ids_and_scatter_puts_them_back():
    x = torch.randn(2, 5, 3, generator=seeded())
    ids = torch.tensor([[4, 0], [2, 3]])
    kept = gather(x, ids)
    assert torch.equal(kept[0, 0], x[0, 4]) and torch.equal(kept[1, 1], x[1, 3])
    whole = scatter(kept, ids, 5)
    assert torch.equal(gather(whole, ids), kept)
    assert whole.abs().sum(-1).count_nonzero() == 4
