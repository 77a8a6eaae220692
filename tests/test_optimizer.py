"""AdamW: torch's arithmetic, with a flat state."""

from __future__ import annotations

import copy

import pytest
import torch
from shoestring_trainer.config import AdamW as AdamWConfig
from shoestring_trainer.optimizer import AdamW
from torch import nn

CONFIG = AdamWConfig(kind="adamw", betas=(0.9, 0.99), weight_decay=0.1)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))


def descend(net: nn.Module, optimizer: AdamW, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        net(torch.randn(4, 5)).square().sum().backward()
        optimizer.step(lr=0.01 / (1 + step))
        optimizer.zero_grad()


def test_it_equals_torchs_own_with_decay_on_matrices_only():
    ours, theirs = net(), net()
    descend(ours, AdamW(ours.named_parameters(), CONFIG), range(5))
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    for step in range(5):
        torch.manual_seed(step)
        theirs(torch.randn(4, 5)).square().sum().backward()
        for group in reference.param_groups:
            group["lr"] = 0.01 / (1 + step)
        reference.step()
        reference.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_its_state_put_back_goes_on_to_the_same_bits():
    straight = net()
    descend(straight, AdamW(straight.named_parameters(), CONFIG), range(6))
    first = net()
    optimizer = AdamW(first.named_parameters(), CONFIG)
    descend(first, optimizer, range(3))
    second = copy.deepcopy(first)
    restored = AdamW(second.named_parameters(), CONFIG)
    restored.load_state_dict({name: value.clone() for name, value in optimizer.state_dict().items()})
    descend(second, restored, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))


def test_another_models_state_is_refused():
    optimizer = AdamW(net().named_parameters(), CONFIG)
    with pytest.raises(KeyError, match="differs"):
        optimizer.load_state_dict({})
    wrong = {name: torch.zeros(9) for name in optimizer.state_dict()}
    with pytest.raises(RuntimeError, match="expected"):
        optimizer.load_state_dict(wrong)


def test_decay_on_everything_reaches_norms_and_biases_too():
    plain, decayed = net(), net()
    for one, config in ((plain, CONFIG), (decayed, CONFIG.model_copy(update={"decay": "all"}))):
        descend(one, AdamW(one.named_parameters(), config), range(1))
    assert torch.equal(plain[0].weight, decayed[0].weight)
    shrunk = (plain[1].weight - decayed[1].weight).detach()
    assert torch.allclose(shrunk, torch.full_like(shrunk, 0.001), rtol=1e-3)  # lr · decay · 1: a norm starts at 1
