from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shoestring_trainer import parity
from shoestring_trainer.blocks import DiTBlock
from shoestring_trainer.config import Experts, ModelConfig
from shoestring_trainer.experts import ExpertChoice
from shoestring_trainer.masking import Keep
from shoestring_trainer.model import Captions, DiT, patchify, sin_cos_positions
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.widths import backbone_widths, mixer_widths

GOLDEN = Path(__file__).parent / "golden" / "microdit_small.safetensors"
SHAPE, CAPTION_DIM, N_TOKENS = (3, 8, 8), 12, 16
SMALL = ModelConfig(dim=32, depth=2, head_dim=8, multiple_of=8, patch=2, mixer_depth=2, mixer_dim=24)
WITH_EXPERTS = SMALL.model_copy(update={"depth": 3, "experts": Experts(count=4)})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(model: ModelConfig = SMALL, shape: tuple[int, int, int] = SHAPE) -> DiT:
    """A network whose zero weights are stirred, so that everything matters to its output."""
    net = DiT(model, shape, CAPTION_DIM)
    net.init_weights(seeded())
    generator = seeded(1)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return net


def inputs(batch: int = 3, length: int = 5, shape: tuple[int, int, int] = SHAPE) -> tuple:
    generator = seeded(2)
    states = torch.randn(batch, length, CAPTION_DIM, generator=generator)
    return torch.randn(batch, *shape, generator=generator), torch.randn(batch, generator=generator), Captions(states)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return float((a - b).detach().norm() / b.detach().norm()) < tolerance


def test_outputs_loss_gradients_and_samples_match_the_public_model():
    errors = parity.compare(GOLDEN)
    assert {"denoised_full", "denoised_masked", "loss_masked", "sample_heun6_cfg3"} <= set(errors)
    assert {"grad_patch_embed", "grad_first_expert_w1"} <= set(errors)
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("place", ["deferred", "naive"])
@pytest.mark.parametrize("model", [SMALL, WITH_EXPERTS], ids=["dense", "experts"])
def test_keeping_every_token_equals_no_mask(place, model):
    net, (x, c_noise, captions) = build(model), inputs()
    everything = Keep(torch.arange(N_TOKENS).expand(3, -1), place)
    assert close(net(x, c_noise, captions, everything), net(x, c_noise, captions))


@pytest.mark.parametrize("place", ["deferred", "naive"])
def test_output_follows_the_order_of_the_ids(place):
    net, (x, c_noise, captions) = build(WITH_EXPERTS), inputs()
    ids = torch.tensor([[3, 7, 1, 9]] * 3)
    order = torch.tensor([2, 0, 3, 1])
    straight = net(x, c_noise, captions, Keep(ids, place))
    shuffled = net(x, c_noise, captions, Keep(ids[:, order], place))
    assert close(shuffled, straight[:, order])


@pytest.mark.parametrize(("place", "in_mixer"), [("deferred", N_TOKENS), ("naive", 4)])
def test_the_mixer_sees_all_tokens_only_when_masking_is_deferred(place, in_mixer):
    net, (x, c_noise, captions) = build(), inputs()
    seen: dict[str, int] = {}
    for name, block in [("mixer", net.mixer[0]), ("backbone", net.blocks[0])]:
        block.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].shape[1]}))
    net(x, c_noise, captions, Keep(torch.arange(4).expand(3, -1), place))
    assert seen == {"mixer": in_mixer, "backbone": 4}


@pytest.mark.parametrize(("place", "reaches"), [("deferred", True), ("naive", False)])
def test_dropped_patches_reach_the_output_through_the_mixer_only(place, reaches):
    net, (x, c_noise, captions) = build(), inputs()
    x.requires_grad_()
    net(x, c_noise, captions, Keep(torch.arange(4).expand(3, -1), place)).sum().backward()
    dropped = patchify(x.grad, 2)[:, 4:]
    assert bool(dropped.abs().max() > 0) is reaches


def test_every_weight_gets_a_gradient():
    net, (x, c_noise, captions) = build(WITH_EXPERTS), inputs()
    net(x, c_noise, captions).square().sum().backward()
    assert [n for n, w in net.named_parameters() if w.grad is None or not w.grad.abs().max() > 0] == []


def test_padding_changes_nothing_whatever_it_holds():
    net, (x, c_noise, captions) = build(WITH_EXPERTS), inputs()
    padded = torch.cat([captions.states, torch.full((3, 4, CAPTION_DIM), 50.0)], dim=1)
    mask = torch.arange(9).expand(3, -1) < 5
    assert close(net(x, c_noise, Captions(padded, mask)), net(x, c_noise, captions))
    assert not close(net(x, c_noise, Captions(padded)), net(x, c_noise, captions))


def test_a_null_caption_means_the_same_at_any_length():
    net, (x, c_noise, _) = build(), inputs()
    short, long = (Captions(torch.zeros(3, length, CAPTION_DIM)) for length in (1, 9))
    assert close(net(x, c_noise, short), net(x, c_noise, long))


def test_initial_weights_depend_on_the_generator_alone_and_answer_zero():
    nets = [DiT(WITH_EXPERTS, SHAPE, CAPTION_DIM) for _ in range(3)]
    for net, seed in zip(nets, (7, 7, 8), strict=True):
        net.init_weights(seeded(seed))
    first, again, other = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["patch_embed.weight"], other["patch_embed.weight"])
    assert nets[0](*inputs()).abs().max() == 0


def test_initial_spread_is_the_papers():
    net = DiT(PRESETS["spark"], (8, 8, 8), 384)
    net.init_weights(seeded())
    assert float(net.blocks[3].self_attention.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
    assert float(net.blocks[3].ffn.w3.weight.detach().std()) == pytest.approx(0.02 / 8**0.5, rel=0.03)
    assert float(net.mixer[0].cross_attention.out.weight.detach().std()) == pytest.approx(0.01, rel=0.03)
    assert net.caption_block.ffn.w3.weight.abs().max() == 0 and net.blocks[0].modulation.weight.abs().max() == 0


def test_expert_choice_equals_a_dense_one_hot_reference():
    torch.manual_seed(0)
    moe = ExpertChoice(16, 24, Experts(count=4, capacity=1.5))
    for weight in moe.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x = torch.randn(3, 10, 16)
    probability = moe.router(x).softmax(-1)  # (B, T, E)
    weight, ids = probability.transpose(1, 2).topk(3, dim=-1)  # int(1.5·10/4) = 3
    one_hot = F.one_hot(ids, 10).float()  # (B, E, k, T)
    hidden = F.gelu(torch.einsum("bekt,btd,edf->bekf", one_hot, x, moe.w1))
    answers = torch.einsum("bekf,efd->bekd", hidden, moe.w2) * weight[..., None]
    dense = torch.einsum("bekt,bekd->btd", one_hot, answers)
    assert close(moe(x), dense)
    assert (moe(x)[one_hot.sum((1, 2)) == 0] == 0).all() and (one_hot.sum((1, 2)) == 0).any()


@pytest.mark.parametrize("n_tokens", [1, 2])
@pytest.mark.parametrize("count", [1, 16])
def test_experts_pick_at_least_one_and_at_most_every_token(n_tokens, count):
    moe = ExpertChoice(8, 8, Experts(count=count))
    for weight in moe.parameters():
        torch.nn.init.normal_(weight)
    assert moe(torch.randn(2, n_tokens, 8)).isfinite().all()


def test_experts_stand_in_every_second_block_but_the_last_of_the_backbone():
    model = SMALL.model_copy(update={"depth": 4, "experts": Experts(count=2)})
    assert [w.experts is not None for w in backbone_widths(model)] == [False, True, False, False]
    assert [w.experts is not None for w in mixer_widths(model)] == [False, True]


def test_widths_grow_with_depth():
    widths = backbone_widths(PRESETS["microdit-tiny-2"].model_copy(update={"experts": None}))
    assert (widths[0].attention, widths[-1].attention) == (256, 512)
    assert (widths[0].ffn, widths[-1].ffn) == (256, 1536)


@pytest.mark.parametrize("mixer_dim", [32, 24], ids=["same width", "narrower"])
def test_there_may_be_no_mixer(mixer_dim):
    net = build(SMALL.model_copy(update={"mixer_depth": 0, "mixer_dim": mixer_dim}))
    assert net(*inputs()).shape == (3, N_TOKENS, 12)


def test_samples_need_not_be_square():
    shape = (3, 4, 12)
    net = build(shape=shape)
    assert net(*inputs(shape=shape)).shape == (3, 12, 12)
    rows = sin_cos_positions(32, 2, 6, 1.0)
    assert len({tuple(row.tolist()) for row in rows}) == 12


def test_twice_the_scale_halves_the_positions():
    assert torch.allclose(sin_cos_positions(32, 4, 4, 2.0)[2 * 4 + 2], sin_cos_positions(32, 2, 2, 1.0)[3])


def test_a_block_knows_no_mask_but_takes_any_number_of_tokens():
    torch.manual_seed(0)
    block = DiTBlock(backbone_widths(SMALL)[0], 8, 32)
    y, condition = torch.randn(2, 5, 32), torch.randn(2, 1, 32)
    assert [block(torch.randn(2, n, 32), condition, y, None).shape[1] for n in (1, 7)] == [1, 7]


def test_bf16_autocast_stays_near_fp32():
    net, (x, c_noise, captions) = build(WITH_EXPERTS), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, c_noise, captions, Keep(torch.arange(8).expand(3, -1)))
    assert close(rough.float(), net(x, c_noise, captions, Keep(torch.arange(8).expand(3, -1))), 0.1)


def test_a_finer_grid_has_positions_over_the_same_range():
    net = DiT(PRESETS["nano"], (3, 8, 8), 6, [(3, 16, 16)])
    fine = net.get_buffer("positions_8x8").view(8, 8, -1)
    assert torch.allclose(fine[::2, ::2].reshape(16, -1), net.positions, atol=1e-6)
    net.init_weights(torch.Generator().manual_seed(0))
    answer = net(torch.randn(2, 3, 16, 16), torch.zeros(2), Captions(torch.randn(2, 4, 6)))
    assert answer.shape == (2, 64, 12)
    assert not any(name.startswith("positions") for name in net.state_dict())
