"""Models that see tokens as a grid: the backbone on merged squares, a depthwise convolution in every block."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from shoestring_trainer.config import DataConfig, ModelConfig, TrainConfig
from shoestring_trainer.export_public import export_file
from shoestring_trainer.failures import BadConfig
from shoestring_trainer.grid import DepthwiseConv, merge_squares, split_squares
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.step import build

MODEL = ModelConfig(
    dim=32, depth=2, head_dim=16, multiple_of=16, patch=2, mixer_depth=1, mixer_dim=16, merge=2, tail_depth=1, conv=True
)


PLAIN = {"steps": 60, "mask": {"kind": "none"}, "lr": 3e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    folder = tmp_path_factory.mktemp("grid") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


def config(data: DataConfig, model: ModelConfig = MODEL, stage: Mapping[str, Any] = PLAIN) -> TrainConfig:
    return TrainConfig.model_validate({
        "name": "run", "seed": 3, "data": data.model_dump(), "model": model.model_dump(), "objective": {"kind": "edm"},
        "optimizer": {"kind": "adamw"}, "batch_size": 8, "stages": [stage],
        "evaluate": {"every_steps": 100, "n_images": 4}, "checkpoints": {"every_steps": 100},
        "price": {"hardware": "test", "usd_per_hour": 3.6, "source": "test"},
    })  # fmt: skip


def test_merged_squares_are_neighbours_and_splitting_puts_them_back():
    numbers = torch.arange(24.0).view(1, 24, 1)  # a grid of 4 rows and 6 columns
    merged = merge_squares(numbers, (4, 6), 2)
    assert merged[0, 0].tolist() == [0, 1, 6, 7] and merged[0, -1].tolist() == [16, 17, 22, 23]
    assert torch.equal(split_squares(merged, (4, 6), 2), numbers)


def test_a_convolution_sees_the_eight_neighbours_on_the_grid_and_nobody_else():
    conv = DepthwiseConv(1)
    torch.nn.init.ones_(conv.conv.weight)
    torch.nn.init.zeros_(conv.conv.bias)
    one = torch.zeros(1, 20, 1)  # a grid of 4 rows and 5 columns
    one[0, 5] = 1.0  # the second row begins here
    reached = conv(one, (4, 5)).view(4, 5)
    assert reached.tolist() == [[1, 1, 0, 0, 0], [2, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_at_first_neither_the_backbone_nor_a_convolution_changes_what_goes_past_it():
    net = DiT(MODEL, (3, 8, 8), 10)
    net.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.head.linear.weight.normal_()
        inputs = torch.randn(2, 3, 8, 8), torch.zeros(2), Captions(torch.randn(2, 4, 10))
        before = net(*inputs)
        for block in net.blocks:
            block.self_attention.qkv.weight.mul_(5)
            block.modulation.bias.fill_(0.5)
        assert torch.equal(net(*inputs), before)


def test_without_attention_in_the_mixer_tokens_meet_in_convolutions_and_in_the_backbone():
    net = DiT(MODEL.model_copy(update={"mixer_attention": False}), (3, 8, 8), 10)
    net.init_weights(torch.Generator().manual_seed(0))
    assert all(block.self_attention is None for block in (*net.mixer, *net.tail))
    assert all(block.self_attention is not None for block in net.blocks)
    x, c_noise, captions = torch.zeros(1, 3, 8, 8), torch.zeros(1), Captions(torch.randn(1, 4, 10))
    far = x.clone()
    far[..., 7, 7] = 1.0  # in the last patch
    with torch.no_grad():
        net.head.linear.weight.normal_()

        def first_patch(x):
            return net(x, c_noise, captions)[0, 0]

        assert torch.equal(first_patch(far), first_patch(x))
        net.squares.out.weight.normal_()
        for block in net.blocks:
            block.modulation.bias.fill_(0.5)
        assert not torch.equal(first_patch(far), first_patch(x))


def test_every_token_of_the_picture_is_drawn_in_its_own_place():
    net = DiT(MODEL, (3, 8, 8), 10)
    assert net(torch.randn(2, 3, 8, 8), torch.zeros(2), Captions(torch.randn(2, 4, 10))).shape == (2, 16, 12)


def test_it_learns(data):
    training = build(config(data))
    losses = [training.update(step).loss for step in range(60)]
    assert fmean(losses[-15:]) < 0.8 * fmean(losses[:5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"merge": 2, "tail_depth": 0}, "give both"),
        ({"merge": 1, "tail_depth": 1}, "give both"),
        ({"mixer_depth": 0}, "needs a mixer"),
        ({"mixer_attention": False, "conv": False}, "convolutions"),
    ],
)
def test_a_model_that_merges_and_does_not_split_is_refused(change, words):
    with pytest.raises(ValidationError, match=words):
        ModelConfig.model_validate(MODEL.model_dump() | change)


def test_a_mask_and_a_picture_that_the_squares_do_not_divide_are_refused(data):
    with pytest.raises(ValidationError, match="needs the whole grid"):
        config(data, stage=PLAIN | {"mask": {"kind": "random", "ratio": 0.5}})
    with pytest.raises(ValidationError, match=r"patch 2 × model.merge 3 does not divide"):
        config(data, ModelConfig.model_validate(MODEL.model_dump() | {"merge": 3}))


def test_the_public_layout_has_no_place_for_it(data, tmp_path):
    RunDir(tmp_path).write_config(config(data))
    with pytest.raises(BadConfig, match="--diffusers"):
        export_file(tmp_path, tmp_path / "out.safetensors")
