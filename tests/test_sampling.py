from __future__ import annotations

import pytest
import torch
from shoestring_trainer.config import Edm, Flow
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.sampling import SAMPLERS, noise_levels, sample

CAPTIONS = Captions(torch.ones(2, 1, 1))
SPREAD = 0.5
EDM, FLOW = Edm(kind="edm", sigma_data=0.9), Flow(kind="flow", shift=2.0)


def start(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def gaussian(x: torch.Tensor, sigma: torch.Tensor, captions: Captions) -> torch.Tensor:
    """The exact denoiser of N(caption, SPREAD²) data: its ODE has a closed solution."""
    mean = captions.states[:, :1, :1, None]
    share = (SPREAD**2 / (SPREAD**2 + sigma**2)).view(-1, 1, 1, 1)
    return mean + share * (x - mean)


def exact(noise: torch.Tensor) -> torch.Tensor:
    """x(0) = m + (x(80) − m)·s/√(s² + 80²)."""
    return 1 + (noise * 80 - 1) * SPREAD / (SPREAD**2 + 80**2) ** 0.5


@pytest.mark.parametrize("objective", [EDM, FLOW], ids=["edm", "flow"])
@pytest.mark.parametrize(("sampler", "least"), [("heun", 0.02), ("dpmpp2m", 0.02), ("euler", 0.12)])
def test_samples_approach_the_exact_solution_of_a_known_distribution(sampler, least, objective):
    errors = []
    for n in (10, 20, 80):
        x = sample(gaussian, CAPTIONS, start(), noise_levels(n, objective), 1.0, sampler)
        errors.append(float((x - exact(start())).abs().max()))
    assert max(errors[:2]) > errors[2]
    assert errors[2] < least


@pytest.mark.parametrize(("sampler", "least", "most"), [("heun", 3, 5.5), ("dpmpp2m", 3, 5.5), ("euler", 1.7, 2.3)])
def test_half_the_step_gives_half_the_error_at_first_order_and_a_quarter_at_second(sampler, least, most):
    def error(n_steps: int) -> float:  # stop where noise is still small but smooth: the last jump to 0 aside
        sigmas = noise_levels(n_steps, EDM)[:-1]
        noise = start().double()

        def estimate(x, sigma):
            return gaussian(x, sigma, Captions(CAPTIONS.states.double()))

        x = SAMPLERS[sampler](estimate, noise * 80, sigmas)
        truth = 1 + (noise * 80 - 1) * ((SPREAD**2 + 0.002**2) / (SPREAD**2 + 80**2)) ** 0.5
        return float((x - truth).abs().max())

    assert least < error(40) / error(80) < most


def test_noise_levels_fall_from_80_to_the_least_and_then_to_nothing():
    sigmas = noise_levels(18, EDM)
    assert len(sigmas) == 19 and (sigmas[1:] < sigmas[:-1]).all()
    assert sigmas[[0, -2, -1]].tolist() == pytest.approx([80, 0.002, 0])


@pytest.mark.parametrize(("sampler", "estimates"), [("heun", 11), ("dpmpp2m", 6), ("euler", 6)])
@pytest.mark.parametrize(("guidance", "rows"), [(0, 2), (1, 2), (3, 4)])
def test_an_estimate_is_one_forward_pass_guided_or_not(sampler, estimates, guidance, rows):
    sizes = []

    def counting(x, sigma, captions):
        sizes.append((len(x), len(sigma), len(captions.states)))
        return gaussian(x, sigma, captions)

    sample(counting, CAPTIONS, start(), noise_levels(6, EDM), guidance, sampler)
    assert sizes == [(rows, rows, rows)] * estimates


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_guidance_zero_ignores_the_caption_and_three_goes_three_times_as_far(sampler):
    sigmas = noise_levels(80, EDM)
    means = [float(sample(gaussian, CAPTIONS, start() * 0, sigmas, g, sampler).mean()) for g in (0, 1, 3)]
    assert means == pytest.approx([0, 1, 3], abs=0.1)


def test_the_same_start_gives_the_same_samples_and_captions_with_padding_are_guided_too():
    net = DiT(PRESETS["nano"], (3, 4, 4), 6)
    net.init_weights(torch.Generator().manual_seed(0))
    torch.nn.init.normal_(net.head.linear.weight, std=0.1)
    denoiser = Denoiser(net, EDM)
    states = torch.randn(2, 5, 6)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    sigmas = noise_levels(4, EDM)
    first, again = (sample(denoiser, Captions(states, mask), start(), sigmas, 3.0, "dpmpp2m") for _ in range(2))
    assert torch.equal(first, again) and first.dtype == torch.float32 and first.isfinite().all()
    alone = sample(denoiser, Captions(states[1:, :2]), start()[1:], sigmas, 3.0, "dpmpp2m")
    assert torch.allclose(first[1:], alone, atol=1e-4)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_one_step_is_the_denoised_start(sampler):
    once = gaussian(start() * 80, torch.full((2,), 80.0), CAPTIONS)
    assert torch.allclose(sample(gaussian, CAPTIONS, start(), noise_levels(1, EDM), 1.0, sampler), once, atol=1e-5)


def test_flows_levels_are_equal_steps_of_shifted_time():
    sigmas = noise_levels(10, FLOW)
    t = sigmas / (1 + sigmas)  # after the shift: s·t/(1 + (s − 1)·t)
    unshifted = t / (2 - t)
    assert sigmas[0] == pytest.approx(80) and sigmas[-1] == 0
    assert torch.allclose(unshifted.diff(), unshifted.diff()[0].expand(10))


def test_guidance_within_an_interval_spares_the_second_half_of_the_batch_elsewhere():
    rows = []

    def counting(x, sigma, captions):
        rows.append((round(float(sigma[0]), 3), len(x)))
        return gaussian(x, sigma, captions)

    sample(counting, CAPTIONS, start(), noise_levels(12, EDM), 3.0, "euler", interval=(0.1, 5.0))
    assert {n for sigma, n in rows if 0.1 <= sigma <= 5} == {4}
    assert {n for sigma, n in rows if not 0.1 <= sigma <= 5} == {2}


def test_euler_on_flows_levels_is_diffusers_flow_match_euler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    sigmas = noise_levels(7, FLOW)
    t = (sigmas / (1 + sigmas)).float()
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(sigmas=t[:-1].tolist())
    x = start() * 80 / 81  # x_t = x/(1 + σ)
    for i, step in enumerate(theirs.timesteps):
        sigma = sigmas[i].float().expand(2)
        clean = gaussian(x * (1 + sigmas[i]).float(), sigma, CAPTIONS)
        x = theirs.step((x - clean) / t[i], step, x, return_dict=False)[0]
    assert torch.allclose(sample(gaussian, CAPTIONS, start(), sigmas, 1.0, "euler"), x, atol=1e-4)


def test_dpmpp2m_on_edms_levels_is_diffusers_edm_multistep():
    from diffusers import EDMDPMSolverMultistepScheduler

    theirs = EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, euler_at_final=False)
    theirs.set_timesteps(9)
    x = start() * 80
    for i, step in enumerate(theirs.timesteps):
        sigma = theirs.sigmas[i]
        clean = gaussian(x, sigma.expand(2), CAPTIONS)
        # diffusers wants the raw network's answer: undo its preconditioning
        c_skip, c_out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25) ** 0.5
        x = theirs.step((clean - c_skip * x) / c_out, step, x, return_dict=False)[0]
    ours = sample(gaussian, CAPTIONS, start(), noise_levels(9, EDM), 1.0, "dpmpp2m")
    assert torch.allclose(ours, x, atol=2e-3)
