"""docs/paper-cost.md is what its script computes, and what it computes adds up."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_paper_cost", ROOT / "docs" / "make_paper_cost.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_computes(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run python docs/make_paper_cost.py"


def test_the_factors_multiply_to_the_published_ratio_and_their_flops_to_the_bills(script):
    run = script.microdit()
    factors = script.factors(run)
    assert factors.ratio == pytest.approx(118.3, abs=0.1)
    flops = factors.images * factors.resolution * factors.model * factors.masking
    assert flops == pytest.approx(script.sd_flop() / run.flop)
    assert factors.images == pytest.approx(1541 / 335) and factors.masking == pytest.approx(2.275, abs=0.001)


def test_a_forecast_of_the_flops_that_fit_gives_back_the_hours(script):
    run = script.microdit()
    per_hour = run.flop / run.gpu_hours
    low, middle, high = script.elsewhere(63.77, per_hour)
    assert middle / per_hour == pytest.approx(63.77)
    assert low / per_hour * script.HIGH == pytest.approx(63.77) == pytest.approx(high / per_hour * script.LOW)


@pytest.mark.slow
def test_stable_diffusions_u_net_is_counted_again(script):
    import torch
    from diffusers import UNet2DConditionModel
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        net = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        assert sum(p.numel() for p in net.parameters()) == 859_520_964
        for px, expected in script.SD_FORWARD.items():
            with FlopCounterMode(display=False) as counter:
                net(torch.zeros(1, 4, px // 8, px // 8), torch.zeros(1), torch.zeros(1, 77, 768))
            assert counter.get_total_flops() == pytest.approx(expected)
