"""The decoder that needs no diffusers decodes as diffusers does."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shoestring_trainer.autoencoder import WEIGHTS, Autoencoder, net_class
from shoestring_trainer.decoder import Decoder, open_decoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An autoencoder with random weights, of the shape that is shipped."""
    folder = tmp_path_factory.mktemp("autoencoder")
    torch.manual_seed(0)
    net = net_class("AutoencoderKL")(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 16, 32], layers_per_block=1, latent_channels=4, norm_num_groups=8,
        mid_block_add_attention=False, latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[0.5, 1.0, 2.0, 1.5],
    )  # fmt: skip
    (folder / "config.json").write_text(net.to_json_string())
    save_file({name: value.half() for name, value in net.state_dict().items()}, folder / WEIGHTS)
    return folder


def test_it_decodes_as_diffusers_does(folder):
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 3
    ours, theirs = open_decoder(folder), Autoencoder.load(folder)
    assert isinstance(ours, Decoder)
    expected = theirs.decode(latents)
    assert expected.shape == (5, 32, 32, 3)
    assert expected.std() > 5
    assert np.abs(ours.decode(latents, batch=2).astype(int) - expected).max() <= 1


def test_a_shape_it_does_not_know_goes_to_diffusers(folder, tmp_path):
    net = net_class("AutoencoderKL")(
        block_out_channels=[8], norm_num_groups=8, latents_mean=[0.0] * 4, latents_std=[1.0] * 4
    )  # with attention in the middle
    (tmp_path / "config.json").write_text(net.to_json_string())
    save_file(net.state_dict(), tmp_path / WEIGHTS)
    assert isinstance(open_decoder(tmp_path), Autoencoder)


def test_what_is_no_autoencoder_is_told(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        open_decoder(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"latents_mean": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="latents_mean"):
        open_decoder(tmp_path)


def test_a_run_that_decodes_imports_no_diffusers(folder):
    code = """
import sys, torch
import shoestring_trainer.attempt
from shoestring_trainer.decoder import open_decoder
open_decoder(sys.argv[1]).decode(torch.zeros(1, 4, 8, 8))
assert not {"diffusers", "transformers", "torch._dynamo"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
