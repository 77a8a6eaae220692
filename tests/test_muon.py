"""Muon: orthogonal updates for the matrices inside blocks, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from shoestring_trainer.config import Edm, Experts
from shoestring_trainer.config import Muon as MuonConfig
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.muon import Muon, as_matrices, is_matrix, orthogonal
from shoestring_trainer.presets import PRESETS

CONFIG = MuonConfig(kind="muon")
MODEL = PRESETS["nano"].model_copy(update={"experts": Experts(count=3)})


def network() -> DiT:
    net = DiT(MODEL, (3, 8, 8), 6)
    net.init_weights(torch.Generator().manual_seed(0))
    torch.nn.init.normal_(
        net.head.linear.weight, std=0.1, generator=torch.Generator().manual_seed(1)
    )  # else no gradient
    return net


def train(net: DiT, optimizer: Muon, steps: range, lr: float = 3e-3) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    x0, noise = torch.randn(2, 8, 3, 8, 8, generator=generator)
    captions, sigma = Captions(torch.randn(8, 5, 6, generator=generator)), torch.rand(8, generator=generator) + 0.2
    losses = []
    for _ in steps:
        loss = Denoiser(net, Edm(kind="edm")).loss(x0, sigma, noise, captions)
        loss.backward()
        optimizer.step(lr)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("shape", [(2, 16, 16), (3, 8, 40), (1, 40, 8)])
def test_newton_schulz_brings_every_singular_value_near_one_and_keeps_the_directions(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    singular = u.mT @ orthogonal(x, 5) @ vh.mT  # (N, r, r), diagonal when the directions are x's own
    values = singular.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.3 and values.max() < 1.3
    assert (singular - torch.diag_embed(values)).abs().max() < 1e-3


def test_matrices_of_one_batch_do_not_feel_each_other():
    x = torch.randn(4, 8, 12, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([orthogonal(one[None], 5) for one in x])
    assert torch.allclose(orthogonal(x, 5), alone, atol=1e-5)


def test_it_takes_matrices_inside_blocks_and_cuts_fused_ones_into_their_parts():
    taken = {name: as_matrices(name, p).shape for name, p in network().named_parameters() if is_matrix(name, p)}
    assert taken["blocks.0.self_attention.qkv.weight"][0] == 3
    assert taken["mixer.0.cross_attention.kv.weight"] == (2, 64, 64)
    assert taken["blocks.1.ffn.w1"][0] == 3  # one a head: its experts
    assert (
        not {"patch_embed.weight", "head.linear.weight", "blocks.1.ffn.router.weight", "blocks.0.modulation.weight"}
        & taken.keys()
    )


def test_an_update_has_the_size_that_adamws_would_have():
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    Muon(net.named_parameters(), CONFIG.model_copy(update={"weight_decay": 0.0})).step(1e-3)
    for name, parameter in net.named_parameters():
        change = (parameter - before[name]).detach().square().mean().sqrt()
        usual = 0.2e-3 if is_matrix(name, parameter) else 1e-3  # AdamW's first update is the learning rate itself
        assert change == pytest.approx(usual, rel=0.3), name


def test_the_loss_falls_when_trained_on_a_few_images():
    net = network()
    losses = train(net, Muon(net.named_parameters(), CONFIG), range(40))
    assert losses[-1] < 0.5 * losses[0]


def test_its_state_put_back_goes_on_to_the_same_bits():
    straight = network()
    train(straight, Muon(straight.named_parameters(), CONFIG), range(4))
    first = network()
    optimizer = Muon(first.named_parameters(), CONFIG)
    train(first, optimizer, range(2))
    second = network()
    second.load_state_dict(first.state_dict())
    restored = Muon(second.named_parameters(), CONFIG)
    restored.load_state_dict({name: value.clone() for name, value in optimizer.state_dict().items()})
    train(second, restored, range(2))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters(), strict=True))
