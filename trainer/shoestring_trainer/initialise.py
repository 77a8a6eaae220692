"""Initial weights, as MicroDiT's: xavier, then small normals, outputs smaller with depth, modulation and head zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shoestring_trainer.blocks import DiTBlock, SwiGlu
from shoestring_trainer.experts import ExpertChoice

if TYPE_CHECKING:
    from shoestring_trainer.model import DiT

STD = 0.02


@torch.no_grad()
def init_weights(net: DiT, generator: torch.Generator) -> None:
    """Draw every weight of `net` from `generator`, which must live on the weights' device."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Conv2d):
            module.weight.zero_()
            assert module.bias is not None
            module.bias.zero_()
        elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
            module.weight.fill_(1.0)
    for module in net.time_mlp:
        if isinstance(module, nn.Linear):
            _normal(module.weight, STD, generator)
    for mlp in (net.caption_mlp, net.pooled_mlp):
        _normal(mlp.fc1.weight, STD, generator)
        _normal(mlp.fc2.weight, STD, generator)
    _caption_block(net, generator)
    for block in net.mixer:
        _block(block, STD / (2 * len(net.mixer)) ** 0.5, generator)
    for index, block in enumerate(net.blocks):
        _block(block, STD / (2 * (index + 1)) ** 0.5, generator)
    for block in net.tail:
        _block(block, STD / (2 * len(net.tail)) ** 0.5, generator)
    if net.squares is not None:
        net.squares.out.weight.zero_()  # at first the backbone changes nothing of what goes past it
    for zero in (net.head.modulation.weight, net.head.linear.weight):
        zero.zero_()


def _caption_block(net: DiT, generator: torch.Generator) -> None:
    block = net.caption_block
    for weight in (block.self_attention.qkv.weight, block.ffn.w1.weight, block.ffn.w2.weight):
        _normal(weight, STD, generator)
    block.self_attention.out.weight.zero_()
    block.ffn.w3.weight.zero_()


def _block(block: nn.Module, out_std: float, generator: torch.Generator) -> None:
    assert isinstance(block, DiTBlock)
    attention, cross = block.self_attention, block.cross_attention
    inner, outer = [cross.q.weight, cross.kv.weight], [cross.out.weight]
    if attention is not None:
        inner, outer = [attention.qkv.weight, *inner], [attention.out.weight, *outer]
    match block.ffn:
        case ExpertChoice() as ffn:
            inner += [ffn.router.weight, ffn.w1]
            outer += [ffn.w2]
        case SwiGlu() as ffn:
            inner += [ffn.w1.weight]
            outer += [ffn.w2.weight, ffn.w3.weight]
    for weight in inner:
        _normal(weight, STD, generator)
    for weight in outer:
        _normal(weight, out_std, generator)
    block.modulation.weight.zero_()


def _normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=std, generator=generator)
