"""Captions, concept families, splits and the drawing of one picture."""

from __future__ import annotations

import io
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shoestring_trainer.prepare.concepts import (
    LARGE_FAMILY,
    STYLE_PHRASES,
    Concept,
    caption_of,
    family_of,
    join_code,
    read_concepts,
    split_pictures,
)
from shoestring_trainer.prepare.sources import draw, read_icons, shrink, svg_of

FAMILIES = [f"thing {i}" for i in range(400)]
PICTURES = [(style, family) for family in FAMILIES for style in STYLE_PHRASES]


def test_packages_are_joined_on_one_spelling_of_the_code_points():
    assert join_code("1F468-200D-2695-FE0F") == "1f468-200d-2695" == join_code("1f468-200d-2695-fe0f")
    assert join_code("0023-fe0f-20e3") == join_code("23-20E3") == "23-20e3"


def test_who_does_it_is_no_part_of_the_family():
    assert family_of("man running: facing right") == family_of("woman running") == family_of("person running")
    assert family_of("man: red hair") == family_of("woman: red hair")
    assert family_of("family: man, woman, boy") == family_of("family: adult, child") == "family"
    assert family_of("one o'clock") == family_of("twelve-thirty") == "clock face"
    assert family_of("woman") == family_of("boy") == "person"
    assert family_of("mango") == "mango" and family_of("snowman") == "snowman"


def test_a_caption_is_the_style_and_the_label_and_tags_only_when_asked():
    concept = Concept("1f34e", "red apple", "red apple", "food-drink", ("apple", "fruit", "red", "health"))
    assert caption_of("3d", concept) == "a 3D render of red apple"
    assert caption_of("flat", concept, n_tags=1) == "a flat icon of red apple, fruit"


def test_no_family_is_in_training_and_validation():
    splits = split_pictures(PICTURES, val_fraction=0.1, holdout_fraction=0.2, seed=0)
    of = {split: {family for (_, family), s in zip(PICTURES, splits, strict=True) if s == split} for split in splits}
    assert not of["val"] & (of["train"] | of["holdout"])
    assert 20 <= len(of["val"]) <= 60 and 40 <= len(of["holdout"]) <= 110


def test_a_held_out_pair_is_new_only_as_a_pair():
    splits = split_pictures(PICTURES, val_fraction=0.1, holdout_fraction=0.2, seed=0)
    train = {picture for picture, split in zip(PICTURES, splits, strict=True) if split == "train"}
    for (style, family), split in zip(PICTURES, splits, strict=True):
        if split == "holdout":
            assert (style, family) not in train
            assert sum((other, family) in train for other in STYLE_PHRASES) == 3


def test_a_large_family_always_trains():
    many = [("flat", "clock face")] * (LARGE_FAMILY + 1)
    assert set(split_pictures(many, val_fraction=1.0, holdout_fraction=1.0, seed=0)) == {"train"}


@given(st.integers(0, 1000), st.integers(1, 399))
def test_adding_pictures_moves_no_other_picture_to_another_split(seed, n):
    fewer = split_pictures(PICTURES[: 4 * n], 0.1, 0.2, seed)
    assert split_pictures(PICTURES, 0.1, 0.2, seed)[: 4 * n] == fewer


def test_concepts_leave_out_skin_tones_components_symbols_and_flags(tmp_path):
    groups = ["smileys-emotion", "people-body", "component", "symbols", "flags"]
    messages = {"groups": [{"order": i, "key": key, "message": key} for i, key in enumerate(groups)]}
    entries = [
        {"label": "grinning face", "hexcode": "1F600", "group": 0, "tags": ["happy"]},
        {"label": "man’s hand", "hexcode": "1F44B", "group": 1, "skins": [{"label": "dark", "hexcode": "1F44B-1F3FF"}]},
        {"label": "medium skin tone", "hexcode": "1F3FD", "group": 2},
        {"label": "heavy plus", "hexcode": "2795", "group": 3},
        {"label": "flag: Norway", "hexcode": "1F1F3-1F1F4", "group": 4},
        {"label": "regional indicator A", "hexcode": "1F1E6"},
    ]
    (tmp_path / "messages.json").write_text(json.dumps(messages))
    (tmp_path / "data.json").write_text(json.dumps(entries))
    assert [(c.code, c.label) for c in read_concepts(tmp_path)] == [("1f600", "grinning face"), ("1f44b", "man's hand")]


def test_icons_are_read_by_code_point_through_aliases_and_hidden_ones_left_out(tmp_path):
    icons = {"sun": {"body": "<g/>"}, "old": {"body": "<g/>", "hidden": True}}
    icon_set = {"icons": icons, "aliases": {"sol": {"parent": "sun"}}, "width": 32, "height": 32}
    (tmp_path / "icons.json").write_text(json.dumps(icon_set))
    (tmp_path / "chars.json").write_text(json.dumps({"2600-FE0F": "sun", "1f31e": "sol", "1f600": "old"}))
    assert set(read_icons(tmp_path)) == {"2600", "1f31e"}


def test_an_oblong_icon_is_centred_in_a_white_square():
    svg = svg_of({"body": '<path fill="#f00" d="M0 0h16v8H0z"/>', "height": 8}, {"width": 16})
    image = draw(svg, 32)
    assert (image[16, 16] == (255, 0, 0)).all() and (image[:8] == 255).all() and (image[24:] == 255).all()


def test_transparency_becomes_white():
    file = io.BytesIO()
    Image.fromarray(np.full((64, 60, 4), (0, 0, 255, 128), np.uint8)).save(file, "WEBP", lossless=True)
    image = draw(file.getvalue(), 32)
    assert image.shape == (32, 32, 3)
    assert abs(image[16, 16].astype(int) - (127, 127, 255)).max() <= 1 and (image[16, 0] == 255).all()


def test_shrinking_takes_the_mean_of_each_square():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert shrink(image, 2)[0, 0].tolist() == [8, 9, 10]  # means 7.5, 8.5, 9.5, rounded up
