"""The procedural set is the same everywhere, and a written set says what it is."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from shoestring_trainer.manifest import load_manifest, read_manifest
from shoestring_trainer.prepare.procedural import COLOURS, SHAPES, procedural_set

DIGEST = "e5b5baabcdbe077a5aecf4ec62be50debc9d4df29a142b3da01a2cc3c41019d5"


@pytest.fixture(scope="module")
def made():
    return procedural_set()


def test_the_procedural_set_is_the_same_to_the_byte_on_every_machine(made):
    assert made.digest() == DIGEST


def test_every_colour_and_shape_is_drawn_and_its_pixels_have_its_colour(made):
    assert set(made.captions) == {f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES}
    for image, item in zip(made.images, made.items, strict=True):
        colour = made.captions[item.caption].split()[1]
        assert (image == np.array(COLOURS[colour])).all(axis=-1).sum() >= 10
        assert (image[0, 0] == 255).all()


def test_held_back_pairs_are_never_trained_on_though_their_colour_and_shape_are(made):
    train = {made.captions[item.caption] for item in made.items if item.split == "train"}
    for item in made.items:
        caption = made.captions[item.caption]
        if item.split != "train":
            assert caption not in train
            assert {colour for colour in COLOURS if any(f" {colour} " in c for c in train)} == set(COLOURS)
            assert {shape for shape in SHAPES if any(c.endswith(shape) for c in train)} == set(SHAPES)
    assert Counter(item.split for item in made.items) == {"train": 264, "val": 32, "holdout": 24}


def test_the_command_writes_a_set_once_and_leaves_it_alone_afterwards(tmp_path):
    command = [sys.executable, "-m", "shoestring_trainer.prepare.procedural", str(tmp_path / "set")]
    assert "written" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before = (tmp_path / "set" / "images.npy").stat().st_mtime_ns
    assert "unchanged" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (tmp_path / "set" / "images.npy").stat().st_mtime_ns == before


def test_writing_the_procedural_set_imports_no_torch():
    code = "import sys, shoestring_trainer.prepare.procedural; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_manifest_gives_the_facts_that_training_is_configured_with(made, tmp_path):
    made.write(tmp_path / "set")
    config = read_manifest(tmp_path / "set")
    assert (config.space, config.shape, config.size_px, config.n_train) == ("pixels", (3, 16, 16), 16, 264)
    assert (config.caption_dim, config.caption_tokens, config.digest) == (32, 3.0, DIGEST)
    assert config.path == str((tmp_path / "set").resolve())


def test_a_missing_set_is_an_error_that_says_how_to_build_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dvc repro.*prepare\.procedural"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not valid JSON"), ("[]", "version None"), ('{"version": 99}', "version 99"), ('{"version": 1}', "digest")],
)
def test_a_bad_manifest_is_an_error_that_names_the_file_and_what_is_wrong(tmp_path, content, says):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=says) as caught:
        read_manifest(tmp_path)
    assert "manifest.json" in str(caught.value) and "build it again" in str(caught.value)


def test_an_interrupted_write_is_no_set(made, tmp_path):
    made.write(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError):
        load_manifest(tmp_path / "set")
    assert made.write(tmp_path / "set")
    assert load_manifest(tmp_path / "set")["digest"] == DIGEST
