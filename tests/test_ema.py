from __future__ import annotations

import pytest
import torch
from shoestring_trainer.ema import Ema
from torch import nn


def linear(value: float) -> nn.Linear:
    net = nn.Linear(2, 2)
    for weight in net.parameters():
        nn.init.constant_(weight, value)
    return net


def test_it_starts_as_a_copy_that_training_does_not_touch():
    net = linear(1.0)
    ema = Ema(net, 0.99)
    nn.init.zeros_(net.weight)
    assert (ema.net.weight == 1).all() and not ema.net.weight.requires_grad and not ema.net.training


def test_early_updates_are_fast_and_later_ones_follow_the_decay():
    ema = Ema(linear(0.0), 0.5)
    ema.update(linear(1.0), 0)  # decay 1/10
    assert float(ema.net.weight[0, 0]) == pytest.approx(0.9)
    ema.update(linear(2.0), 1000)  # decay 0.5
    assert float(ema.net.weight[0, 0]) == pytest.approx(1.45)


def test_it_carries_on_exactly_from_its_state():
    ema = Ema(linear(0.0), 0.9)
    ema.update(linear(1.0), 3)
    other = Ema(linear(5.0), 0.9)
    other.load_state_dict({name: w.clone() for name, w in ema.state_dict().items()})
    for each in (ema, other):
        each.update(linear(-1.0), 4)
    assert torch.equal(ema.net.weight, other.net.weight) and torch.equal(ema.net.bias, other.net.bias)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(RuntimeError):
        Ema(linear(0.0), 0.9).load_state_dict(nn.Linear(3, 3).state_dict())
