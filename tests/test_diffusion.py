from __future__ import annotations

import pytest
import torch
from shoestring_trainer.config import Edm, Flow, LogNormal, RandomMask
from shoestring_trainer.diffusion import Denoiser, drop_captions, patchify, unpatchify
from shoestring_trainer.masking import Keep, gather, sample_keep
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.objectives import loss_weight, sample_sigma
from shoestring_trainer.presets import PRESETS

SHAPE = (3, 8, 8)
EDM, FLOW = Edm(kind="edm", sigma_data=0.9), Flow(kind="flow")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network() -> DiT:
    net = DiT(PRESETS["nano"], SHAPE, 6)
    net.init_weights(seeded())
    torch.nn.init.normal_(net.head.linear.weight, std=0.1, generator=seeded(1))
    return net


def batch(n: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Captions]:
    g = seeded(3)
    x0, noise = torch.randn(n, *SHAPE, generator=g), torch.randn(n, *SHAPE, generator=g)
    return x0, torch.rand(n, generator=g) + 0.2, noise, Captions(torch.randn(n, 5, 6, generator=g))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_unpatchify_undoes_patchify_and_a_token_is_a_patch(patch):
    x = torch.randn(2, 3, 8, 4, generator=seeded())
    patches = patchify(x, patch)
    assert torch.equal(unpatchify(patches, (3, 8, 4)), x)
    per_row = 4 // patch
    corner = x[0, :, patch * (per_row // per_row) : patch * 2, :patch]  # second row of patches, first column
    assert torch.equal(patches[0, per_row].sort().values, corner.flatten().sort().values)


def test_a_network_that_answers_nothing_leaves_the_best_linear_guess():
    net = DiT(PRESETS["nano"], SHAPE, 6)
    net.init_weights(seeded())
    x0, sigma, noise, captions = batch()
    denoised = Denoiser(net, Edm(kind="edm", sigma_data=0.5)).denoise(x0 + noise, sigma, captions)
    c_skip = (0.25 / (sigma**2 + 0.25)).view(-1, 1, 1, 1)
    assert torch.allclose(denoised, c_skip * (x0 + noise), atol=1e-6)


def test_the_first_loss_is_near_one_at_every_noise_level_for_data_of_unit_deviation():
    net = DiT(PRESETS["nano"], SHAPE, 6)
    net.init_weights(seeded())
    x0, noise = torch.randn(100, *SHAPE, generator=seeded(1)), torch.randn(100, *SHAPE, generator=seeded(2))
    captions = Captions(torch.zeros(100, 1, 6))
    for level in (0.05, 1.0, 20.0):
        loss = Denoiser(net, Edm(kind="edm", sigma_data=1.0)).loss(x0, torch.full((100,), level), noise, captions)
        assert float(loss.detach()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("objective", [EDM, FLOW], ids=["edm", "flow"])
@pytest.mark.parametrize("place", ["deferred", "naive"])
def test_the_masked_loss_is_the_weighted_error_of_the_denoised_image_on_kept_patches(place, objective):
    x0, sigma, noise, captions = batch()
    denoiser = Denoiser(network(), objective)
    keep = sample_keep(RandomMask(kind="random", ratio=0.75, place=place), 4, 16, seeded(5))
    denoised = denoiser.denoise(x0 + noise * sigma.view(-1, 1, 1, 1), sigma, captions, keep)
    error = gather(patchify((denoised - x0).square(), 2), keep.ids).mean(dim=(1, 2))
    weight = loss_weight(objective, sigma)
    assert torch.allclose(denoiser.loss(x0, sigma, noise, captions, keep), (weight * error).mean(), rtol=1e-5)


def test_the_loss_with_every_token_kept_is_the_unmasked_loss():
    x0, sigma, noise, captions = batch()
    denoiser = Denoiser(network(), EDM)
    everything = Keep(torch.arange(16).expand(4, -1))
    losses = [denoiser.loss(x0, sigma, noise, captions, keep) for keep in (None, everything)]
    assert torch.allclose(*losses, rtol=1e-5)


def test_dropped_patches_keep_the_skipped_input():
    x, sigma, _, captions = batch()
    denoised = Denoiser(network(), EDM).denoise(x, sigma, captions, Keep(torch.zeros(4, 1, dtype=torch.int64)))
    skipped = patchify((0.81 / (sigma**2 + 0.81)).view(-1, 1, 1, 1) * x, 2)
    assert torch.allclose(patchify(denoised, 2)[:, 1:], skipped[:, 1:])
    assert not torch.allclose(patchify(denoised, 2)[:, 0], skipped[:, 0])


def test_the_loss_falls_when_trained_on_a_few_images():
    x0, sigma, noise, captions = batch(8)
    net = network()
    denoiser, optimizer = Denoiser(net, EDM), torch.optim.AdamW(net.parameters(), lr=3e-3)
    keep = sample_keep(RandomMask(kind="random", ratio=0.5), 8, 16, seeded(5))
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = denoiser.loss(x0, sigma, noise, captions, keep)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_flows_loss_is_the_plain_error_of_the_velocity_at_the_noisy_point_of_the_straight_path():
    x0, sigma, noise, captions = batch()
    net = network()
    t = (sigma / (1 + sigma)).view(-1, 1, 1, 1)
    velocity = unpatchify(net((1 - t) * x0 + t * noise, sigma.log() / 4, captions), SHAPE)
    plain = (velocity - (noise - x0)).square().mean()
    assert torch.allclose(Denoiser(net, FLOW).loss(x0, sigma, noise, captions), plain, rtol=1e-5)


def test_edms_weight_and_the_shift_of_flow_are_the_papers():
    assert float(loss_weight(EDM, torch.tensor(0.3))) == pytest.approx((0.09 + 0.81) / (0.3 * 0.9) ** 2)
    sigma, shifted = (
        sample_sigma(f, LogNormal(p_mean=0, p_std=1), 5, seeded()) for f in (FLOW, Flow(kind="flow", shift=3))
    )
    t, t_shifted = sigma / (1 + sigma), shifted / (1 + shifted)
    assert torch.allclose(t_shifted, 3 * t / (1 + 2 * t))  # arXiv 2403.03206, equation 23


def test_noise_levels_are_log_normal_and_follow_the_generator():
    log_sigma = sample_sigma(EDM, LogNormal(p_mean=-0.6, p_std=1.2), 20_000, seeded()).log()
    assert float(log_sigma.mean()) == pytest.approx(-0.6, abs=0.03)
    assert float(log_sigma.std()) == pytest.approx(1.2, abs=0.03)
    assert torch.equal(sample_sigma(EDM, LogNormal(), 5, seeded(4)), sample_sigma(EDM, LogNormal(), 5, seeded(4)))


def test_spread_noise_levels_are_as_log_normal_and_each_batch_has_one_of_every_part():
    spread = LogNormal(p_mean=-0.6, p_std=1.2, spread=True)
    log_sigma = torch.cat([sample_sigma(EDM, spread, 16, seeded(n)) for n in range(1250)]).log()
    assert float(log_sigma.mean()) == pytest.approx(-0.6, abs=0.01)
    assert float(log_sigma.std()) == pytest.approx(1.2, abs=0.03)
    ranks = (torch.special.ndtr((log_sigma.view(-1, 16) + 0.6) / 1.2) * 16).floor()
    assert torch.equal(ranks.sort(dim=1).values, torch.arange(16.0).expand(1250, 16))  # one of each part in each batch
    assert len({tuple(row.tolist()) for row in ranks}) > 1000  # in an order of its own


def test_captions_are_dropped_whole():
    captions = Captions(torch.ones(3, 3, 2), torch.ones(3, 3, dtype=torch.bool))
    dropped = drop_captions(captions, torch.tensor([False, True, False]))
    assert dropped.states.sum((1, 2)).tolist() == [6, 0, 6] and torch.equal(dropped.mask, captions.mask)
