from __future__ import annotations

import pytest
import torch
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.sampling import SAMPLERS, noise_levels, sample

CAPTIONS = Captions(torch.ones(2, 1, 1))
SPREAD = 0.5


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


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_samples_approach_the_exact_solution_of_a_known_distribution(sampler):
    errors = [float((sample(gaussian, CAPTIONS, start(), n, 1.0, sampler) - exact(start())).abs().max())
              for n in (10, 20, 80)]  # fmt: skip
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_both_samplers_are_of_second_order(sampler):
    def error(n_steps: int) -> float:  # stop where noise is still small but smooth: the last jump to 0 aside
        sigmas = noise_levels(n_steps)[:-1]
        noise = start().double()

        def estimate(x, sigma):
            return gaussian(x, sigma, Captions(CAPTIONS.states.double()))

        x = SAMPLERS[sampler](estimate, noise * 80, sigmas)
        truth = 1 + (noise * 80 - 1) * ((SPREAD**2 + 0.002**2) / (SPREAD**2 + 80**2)) ** 0.5
        return float((x - truth).abs().max())

    assert 3 < error(40) / error(80) < 5.5


def test_noise_levels_fall_from_80_to_the_least_and_then_to_nothing():
    sigmas = noise_levels(18)
    assert len(sigmas) == 19 and (sigmas[1:] < sigmas[:-1]).all()
    assert sigmas[[0, -2, -1]].tolist() == pytest.approx([80, 0.002, 0])


@pytest.mark.parametrize(("sampler", "estimates"), [("heun", 11), ("dpmpp2m", 6)])
@pytest.mark.parametrize(("guidance", "rows"), [(0, 2), (1, 2), (3, 4)])
def test_an_estimate_is_one_forward_pass_guided_or_not(sampler, estimates, guidance, rows):
    sizes = []

    def counting(x, sigma, captions):
        sizes.append((len(x), len(sigma), len(captions.states)))
        return gaussian(x, sigma, captions)

    sample(counting, CAPTIONS, start(), 6, guidance, sampler)
    assert sizes == [(rows, rows, rows)] * estimates


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_guidance_zero_ignores_the_caption_and_three_goes_three_times_as_far(sampler):
    means = [float(sample(gaussian, CAPTIONS, start() * 0, 40, g, sampler).mean()) for g in (0, 1, 3)]
    assert means == pytest.approx([0, 1, 3], abs=0.05)


def test_the_same_start_gives_the_same_samples_and_captions_with_padding_are_guided_too():
    net = DiT(PRESETS["nano"], (3, 4, 4), 6)
    net.init_weights(torch.Generator().manual_seed(0))
    torch.nn.init.normal_(net.head.linear.weight, std=0.1)
    denoiser = Denoiser(net, 0.9)
    states = torch.randn(2, 5, 6)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    first, again = (sample(denoiser, Captions(states, mask), start(), 4, 3.0, "dpmpp2m") for _ in range(2))
    assert torch.equal(first, again) and first.dtype == torch.float32 and first.isfinite().all()
    alone = sample(denoiser, Captions(states[1:, :2]), start()[1:], 4, 3.0, "dpmpp2m")
    assert torch.allclose(first[1:], alone, atol=1e-4)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_one_step_is_the_denoised_start(sampler):
    once = gaussian(start() * 80, torch.full((2,), 80.0), CAPTIONS)
    assert torch.allclose(sample(gaussian, CAPTIONS, start(), 1, 1.0, sampler), once, atol=1e-5)
