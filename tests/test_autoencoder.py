"""The shipped autoencoder reconstructs, its latents are normalised, and the stages around it work on a small set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from shoestring_trainer.autoencoder import WEIGHTS, Autoencoder, psnr_db
from shoestring_trainer.data import DataSet
from shoestring_trainer.prepare.build import write_json
from shoestring_trainer.prepare.encode import encode_set, measure
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.prepare.train_autoencoder import train

SHIPPED = Path(__file__).resolve().parents[1] / "autoencoder"
WORDS = {"kind": "word-vectors", "name": "hashed words", "dim": 32}


@pytest.fixture(scope="module")
def autoencoder():
    return Autoencoder.load(SHIPPED)


@pytest.fixture(scope="module")
def shapes():
    """The procedural pictures at twice their size: (320, 32, 32, 3)."""
    return procedural_set().images.repeat(2, axis=1).repeat(2, axis=2)


@pytest.fixture(scope="module")
def raw(shapes, tmp_path_factory):
    """A folder like data/raw, of procedural pictures."""
    folder, made = tmp_path_factory.mktemp("raw"), procedural_set()
    np.save(folder / "images-32.npy", shapes)
    write_json(folder / "items.json", [vars(item) for item in made.items])
    write_json(folder / "captions.json", list(made.captions))
    write_json(folder / "manifest.json", {"licences": made.licences})
    return folder


def test_the_shipped_weights_are_small():
    assert (SHIPPED / WEIGHTS).stat().st_size <= 6_000_000


def test_pictures_it_never_saw_come_back(autoencoder, shapes):
    latents = autoencoder.encode(shapes[::10])
    assert latents.shape == (32, 8, 8, 8) and latents.dtype == torch.float32
    made = autoencoder.decode(latents)
    assert made.shape == (32, 32, 32, 3) and made.dtype == np.uint8
    assert psnr_db(shapes[::10], made) > 18


def test_a_picture_has_the_same_latent_alone_and_among_others(autoencoder, shapes):
    together = autoencoder.encode(shapes[:5], batch=5)
    assert torch.allclose(autoencoder.encode(shapes[3:4]), together[3:4], atol=1e-4)


def test_rounding_latents_to_half_precision_costs_nothing_visible(autoencoder, shapes):
    latents = autoencoder.encode(shapes[::20])
    assert psnr_db(autoencoder.decode(latents), autoencoder.decode(latents.half())) > 45


def test_diffusers_reads_the_shipped_folder(autoencoder, shapes):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    theirs = AutoencoderKL.from_pretrained(SHIPPED, torch_dtype=torch.float32).eval()
    x = torch.from_numpy(shapes[:2].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    with torch.inference_mode():
        raw = theirs.encode(x).latent_dist.mean
    assert torch.allclose((raw - autoencoder.mean) / autoencoder.std, autoencoder.encode(shapes[:2]), atol=1e-4)


def test_an_encoded_set_decodes_to_its_pictures_and_carries_its_autoencoder(raw, tmp_path):
    made = encode_set(raw, SHIPPED, 32, WORDS)
    metrics = measure(made, SHIPPED)
    assert metrics["reconstruction"]["val_psnr_db"] > 18 and len(metrics["latents"]["std"]) == 8
    assert made.write(tmp_path / "set")
    data = DataSet.open(tmp_path / "set", verify=True)
    assert data.data_config().shape == (8, 8, 8) and data.data_config().size_px == 32
    x, captions = data.batch(data.val[:4])
    assert psnr_db(data.images_u8(data.val[:4]), data.decode(x)) > 18
    assert captions.states.shape == (4, 3, 32)


def test_a_changed_autoencoder_changes_the_digest(raw, tmp_path):
    for name in ("config.json", WEIGHTS):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    before = encode_set(raw, tmp_path, 32, WORDS)
    digest = before.digest()
    config = json.loads((tmp_path / "config.json").read_bytes())
    config["latents_mean"][0] += 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert before.digest() != digest


def test_a_folder_without_weights_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        Autoencoder.load(tmp_path)


def test_training_learns_and_writes_a_folder_that_loads_with_normalised_latents(raw, shapes, tmp_path):
    params = {
        "size_px": 32, "latent_channels": 4, "widths": [8, 8, 16], "batch_size": 8, "lr": 5e-3,
        "gradient_weight": 0.5, "green_weight": 1.0, "kl_weight": 1e-6, "steps": 60, "seed": 0,
    }  # fmt: skip
    trained = train(raw, tmp_path / "trained", params)
    untrained = train(raw, tmp_path / "untrained", params | {"steps": 1})
    assert trained["val_psnr_db"] > untrained["val_psnr_db"] + 3
    latents = Autoencoder.load(tmp_path / "trained").encode(shapes)
    assert latents.shape == (320, 4, 8, 8)
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.2)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=0.2)
