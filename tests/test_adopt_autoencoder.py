"""Any of diffusers' three kinds of autoencoder can be taken over, and its latents come out normalised."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shoestring_trainer.autoencoder import Autoencoder, net_class
from shoestring_trainer.decoder import open_decoder
from shoestring_trainer.prepare.adopt_autoencoder import adopt

SMALL = {
    "AutoencoderKL": {"block_out_channels": [8], "norm_num_groups": 4, "latent_channels": 4},
    "AutoencoderTiny": {
        "encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8], "latent_channels": 4,
        "num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1],
    },
    "AutoencoderDC": {
        "latent_channels": 4, "attention_head_dim": 8,
        "encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock",
        "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
        "encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1),
        "encoder_qkv_multiscales": ((), ()), "decoder_qkv_multiscales": ((), ()),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_a_folder_of_each_kind_is_adopted_with_the_statistics_of_its_latents(kind, tmp_path):
    torch.manual_seed(0)
    net_class(kind)(**SMALL[kind]).save_pretrained(tmp_path / "theirs")
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 24, 3), dtype=np.uint8)  # not square
    config = adopt(str(tmp_path / "theirs"), tmp_path / "ours", images)
    assert config["_class_name"] == kind and len(config["latents_std"]) == 4
    autoencoder = Autoencoder.load(tmp_path / "ours")
    latents = autoencoder.encode(images)
    assert latents.shape[:2] == (24, 4) and latents.shape[3] * 2 == latents.shape[2] * 3
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=1e-2)
    assert open_decoder(tmp_path / "ours").decode(latents[:2]).shape == (2, 16, 24, 3)


def test_what_is_no_autoencoder_is_refused_with_the_kinds_that_are(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(ValueError, match="'UNet2DModel' is no autoencoder that can be used here; known: AutoencoderKL"):
        adopt(str(tmp_path), tmp_path / "ours", np.zeros((1, 16, 16, 3), np.uint8))
