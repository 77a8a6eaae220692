"""What a block computes again in its backward pass: the same gradients to the bit, from less memory."""

from __future__ import annotations

import pytest
import torch
from kept import kept_bytes
from shoestring_trainer.again import Made, again, keeping
from shoestring_trainer.config import RandomMask
from shoestring_trainer.masking import sample_keep
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.presets import PRESETS


def gradients(net: DiT) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, captions = torch.randn(4, 3, 16, 16, generator=generator), torch.randn(4, 5, 32, generator=generator)
    keep = sample_keep(RandomMask(kind="random", ratio=0.5), 4, 64, generator)
    net.zero_grad()
    net(x, torch.linspace(-1, 1, 4), Captions(captions), keep).square().sum().backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.fixture(scope="module")
def net() -> DiT:
    net = DiT(PRESETS["nano"], (3, 16, 16), 32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():  # no zeros: every gradient counts
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return net


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_the_same_to_the_bit_whatever_is_kept(net: DiT, recompute: bool):
    with keeping():
        wanted = gradients(net)
    net.recompute = recompute
    found = gradients(net)
    net.recompute = False
    assert len(found) == len(wanted) > 20
    assert all(torch.equal(a, b) and a.abs().max() > 0 for a, b in zip(found, wanted, strict=True))


def test_a_network_keeps_less_for_its_backward_pass(net: DiT):
    def forward() -> torch.Tensor:
        return net(torch.randn(8, 3, 16, 16), torch.randn(8), Captions(torch.randn(8, 5, 32)))

    with keeping():
        all_of_it = kept_bytes(forward)
    assert kept_bytes(forward) < 0.85 * all_of_it


def test_a_tensor_that_is_made_again_is_freed_after_use_and_made_once_for_each_view_of_it():
    made = []

    def double(x: torch.Tensor) -> torch.Tensor:
        made.append(1)
        return x * 2

    x, w = torch.randn(1000, 4, requires_grad=True), torch.randn(4, 4, requires_grad=True)
    out = again(lambda t: t[5:] @ w, Made(double, (x,)))
    assert len(made) == 1
    out.sum().backward()
    assert len(made) == 2  # the product's other factor is its own
    assert torch.allclose(w.grad, (2 * x[5:]).sum(0).unsqueeze(1).expand(4, 4), atol=1e-4)
    with torch.no_grad():
        assert torch.equal(again(lambda t: t[5:] @ w, Made(double, (x,))), out)
