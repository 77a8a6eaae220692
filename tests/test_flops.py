from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kept import kept_bytes
from shoestring_trainer import flops
from shoestring_trainer import model as model_module
from shoestring_trainer.config import Compute, Experts, Mask, ModelConfig, NoMask, RandomMask
from shoestring_trainer.masking import sample_keep
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.widths import backbone_widths, mixer_widths, tokens_per_expert
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NO_MASK = NoMask(kind="none")
LATENT = (4, 32, 32)

models = st.builds(
    ModelConfig,
    dim=st.sampled_from([16, 24, 32]),
    depth=st.integers(1, 3),
    head_dim=st.just(8),
    multiple_of=st.sampled_from([1, 8, 16]),
    patch=st.sampled_from([1, 2]),
    mixer_depth=st.integers(0, 2),
    mixer_dim=st.sampled_from([16, 24]),
    qkv_ratio=st.sampled_from([(0.5, 1.0), (1.0, 1.0)]),
    mlp_ratio=st.sampled_from([(0.5, 4.0), (4.0, 4.0)]),
    experts=st.none()
    | st.builds(Experts, count=st.integers(1, 5), capacity=st.floats(0.5, 3), every=st.integers(1, 2)),
)
whole = st.builds(  # those that need every token
    lambda m, attention: m.model_copy(
        update={"merge": 2, "tail_depth": 1, "conv": True, "mixer_depth": m.mixer_depth or 1}
        | {"mixer_attention": attention}
    ),
    models,
    st.booleans(),
)
masks = st.just(NO_MASK) | st.builds(
    RandomMask, kind=st.just("random"), ratio=st.floats(0, 0.9), place=st.sampled_from(["deferred", "naive"])
)


def counted(model: ModelConfig, shape: tuple[int, int, int], length: int, mask: Mask, caption_dim: int) -> int:
    net = DiT(model, shape, caption_dim)
    generator = torch.Generator().manual_seed(0)
    keep = sample_keep(mask, 2, flops.tokens(model, shape), generator)
    # torch's counter gives the fused attention of a CPU nothing
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(2, *shape), torch.randn(2), Captions(torch.randn(2, length, caption_dim)), keep)
    return counter.get_total_flops() // 2


@settings(max_examples=20, deadline=None)
@given(models, masks, st.integers(1, 9))
def test_the_closed_form_equals_torchs_counter(model, mask, length):
    closed = sum(flops.forward_flops(model, (3, 8, 4), length, mask, 10).values())
    assert closed == pytest.approx(counted(model, (3, 8, 4), length, mask, 10), rel=1e-3)


@settings(max_examples=10, deadline=None)
@given(whole, st.integers(1, 9))
def test_the_closed_form_holds_for_models_that_merge_tokens(model, length):
    closed = sum(flops.forward_flops(model, (3, 8, 4), length, NO_MASK, 10).values())
    assert closed == pytest.approx(counted(model, (3, 8, 4), length, NO_MASK, 10), rel=1e-3)
    net = DiT(model, (3, 8, 4), 10)
    assert flops.parameters(model, 3, 10) == sum(p.numel() for p in net.parameters())


@settings(max_examples=12, deadline=None)
@given(models, masks)
def test_one_hot_dispatch_costs_what_torchs_counter_says_of_its_products(model, mask):
    """Each expert picks k of n tokens by a product with (experts, k, n) ones and zeros, and puts them back alike."""
    n_kept = mask.tokens_kept(flops.tokens(model, (3, 8, 4)))
    n_mixed = n_kept if isinstance(mask, RandomMask) and mask.place == "naive" else flops.tokens(model, (3, 8, 4))
    total = 0
    for widths, n in [(w, n_mixed) for w in mixer_widths(model)] + [(w, n_kept) for w in backbone_widths(model)]:
        if widths.experts:
            count, k = widths.experts.count, tokens_per_expert(widths.experts, n)
            ones, x = torch.zeros(count * k, n), torch.zeros(n, widths.dim)
            with FlopCounterMode(display=False) as counter:
                ones.T @ (ones @ x)
            total += counter.get_total_flops()
    assert flops.dispatch_flops(model, (3, 8, 4), mask) == total


@settings(max_examples=25, deadline=None)
@given(models, st.integers(1, 5), st.integers(1, 40))
def test_the_closed_form_equals_the_weights_there_are(model, channels, caption_dim):
    net = DiT(model, (channels, 8, 8), caption_dim)
    assert flops.parameters(model, channels, caption_dim) == sum(w.numel() for w in net.parameters())


@pytest.mark.parametrize(("name", "count"), [("microdit-tiny-2", 200_692_752), ("microdit-xl-2", 1_165_442_320)])
def test_the_papers_models_have_the_papers_size(name, count):
    assert flops.parameters(PRESETS[name], 4, 1024) == count
    with torch.device("meta"):
        net = DiT(PRESETS[name], LATENT, 1024)
    assert sum(w.numel() for w in net.parameters()) == count


@pytest.mark.parametrize(
    ("name", "gflop"),
    [("microdit-tiny-2", (42.6, 27.4, 20.1, 16.5)), ("microdit-xl-2", (238.1, 141.4, 94.1, 70.8))],
)
def test_the_papers_models_cost_what_was_computed_for_them(name, gflop):
    for ratio, expected in zip((0, 0.5, 0.75, 0.875), gflop, strict=True):
        mask = RandomMask(kind="random", ratio=ratio)
        total = sum(flops.forward_flops(PRESETS[name], LATENT, 77, mask, 1024).values()) / 1e9
        assert total == pytest.approx(expected, rel=0.005)


def test_our_own_models_are_as_small_as_they_say():
    assert flops.parameters(PRESETS["nano"], 3, 32) < 500_000
    assert 4e6 < flops.parameters(PRESETS["spark"], 8, 384) < 6e6


@given(models, st.floats(1, 80), st.floats(0, 0.9))
def test_masking_only_ever_saves_and_naive_masking_saves_more(model, length, ratio):
    def total(mask: Mask) -> float:
        return flops.train_flops_per_image(model, (3, 8, 8), length, mask, 10)

    deferred, naive = (RandomMask(kind="random", ratio=ratio, place=place) for place in ("deferred", "naive"))
    assert total(naive) <= total(deferred) <= total(NO_MASK) * (1 + 1e-12)


def test_a_training_step_is_three_forward_passes_and_memory_shrinks_with_masking():
    model, mask = PRESETS["spark"], RandomMask(kind="random", ratio=0.75)
    forward = flops.forward_flops(model, (8, 8, 8), 8.5, mask, 384)
    assert flops.train_flops_per_image(model, (8, 8, 8), 8.5, mask, 384) == 3 * sum(forward.values())
    masked = flops.memory_bytes(model, (8, 8, 8), 8.5, mask, 32, 384)
    dense = flops.memory_bytes(model, (8, 8, 8), 8.5, NO_MASK, 32, 384)
    assert masked["activations"] < 0.6 * dense["activations"]
    assert masked["optimizer"] == dense["optimizer"] == 8 * flops.parameters(model, 8, 384)


@pytest.mark.parametrize("experts", [None, Experts(count=4)], ids=["dense", "experts"])
@pytest.mark.parametrize("ratio", [0.0, 0.75])
def test_the_memory_of_activations_is_near_what_torch_keeps_for_the_backward_pass(experts, ratio):
    model = PRESETS["spark"].model_copy(update={"experts": experts})
    mask = RandomMask(kind="random", ratio=ratio)
    net = DiT(model, (8, 8, 8), 384)
    keep = sample_keep(mask, 8, 64, torch.Generator().manual_seed(0))
    x, noise, captions = torch.randn(8, 8, 8, 8), torch.randn(8), Captions(torch.randn(8, 9, 384))
    kept = kept_bytes(lambda: net(x, noise, captions, keep))
    estimate = flops.memory_bytes(model, (8, 8, 8), 9, mask, 8, 384)["activations"]
    assert estimate == pytest.approx(kept, rel=0.1)


def test_the_calibration_key_names_what_decides_the_seconds():
    spark, nano = PRESETS["spark"], PRESETS["nano"]
    shape, compute = (8, 8, 8), Compute()
    masks = [RandomMask(kind="random", ratio=0.75, place=place) for place in ("deferred", "naive")]
    keys = [
        flops.calibration_key(spark, shape, 32, masks[0], compute),
        flops.calibration_key(spark, shape, 32, masks[1], compute),
        flops.calibration_key(spark, shape, 16, masks[0], compute),
        flops.calibration_key(nano, shape, 32, masks[0], compute),
        flops.calibration_key(spark, shape, 32, masks[0], Compute(precision="bf16")),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == flops.calibration_key(PRESETS["spark"], (8, 8, 8), 32, masks[0].model_copy(), Compute())


def test_counting_and_presets_need_no_torch():
    assert flops.TIME_FEATURES == model_module.TIME_FEATURES
    code = "import sys, shoestring_trainer.flops, shoestring_trainer.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
