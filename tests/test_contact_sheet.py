"""The contact sheet: one PNG with every picture, pixel for pixel, and words for whatever is not there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from shoestring.records import Sample
from shoestring_ui import contact_sheet
from shoestring_ui.contact_sheet import PICTURE
from shoestring_ui.lettering import DOTS, Lettering, Style, printable
from shoestring_ui.matrix import Matrix, build
from shoestring_ui.theme import DARK, LIGHT
from test_matrix import a_run, curve

TEXT = Style("sans", 24)


def drawn(folder: Path, run_id: int, colours: list[tuple[int, int, int]], prompt: str = "a cat") -> list[Sample]:
    """One picture for each colour: 4 × 4, of that colour but for its last pixel."""
    samples = []
    for step, colour in enumerate(colours, 1):
        picture = Image.new("RGB", (4, 4), colour)
        picture.putpixel((3, 3), (1, 2, 3))
        path = folder / f"{run_id}-{step}-{len(prompt)}.png"
        picture.save(path)
        samples.append(Sample(run_id, step, 0, prompt, str(path), step / 1000, step * 16))
    return samples


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as sheet:
        assert sheet.format == "PNG"
        return np.asarray(sheet.convert("RGB"))  # (H, W, 3)


def count(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour)).all(axis=-1).sum())


def matrix_of(samples: list[Sample], names: list[str]) -> Matrix:
    runs = [a_run(i, name) for i, name in enumerate(names, 1)]
    return build(runs, samples, [curve(r.id, {1: 0.5}) for r in runs], ("latest", 0.0))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_every_picture_is_on_the_sheet_each_of_its_pixels_a_square(tmp_path: Path, colours, transposed: bool):
    reds = [(201, 13, 77), (202, 14, 78)]
    samples = [s for i, red in enumerate(reds, 1) for s in drawn(tmp_path, i, [red])]
    sheet = pixels(contact_sheet.png(matrix_of(samples, ["dense", "naive"]), colours, transposed))
    side = PICTURE // 4
    for red in reds:
        assert count(sheet, red) == 15 * side * side
    assert count(sheet, (1, 2, 3)) == 2 * side * side
    assert tuple(sheet[0, 0]) == tuple(int(colours.paper[i : i + 2], 16) for i in (1, 3, 5))


def test_the_sheet_is_as_wide_as_its_runs_or_as_its_prompts_when_it_is_turned(tmp_path: Path):
    samples = [s for i in (1, 2, 3) for s in drawn(tmp_path, i, [(9, 9, 9 * i)])]
    made = matrix_of(samples, ["a", "b", "c"])
    upright, turned = (pixels(contact_sheet.png(made, LIGHT, way)).shape for way in (False, True))
    assert upright[1] - turned[1] == 2 * (PICTURE + contact_sheet.GAP)
    assert turned[0] > upright[0] > PICTURE


def test_money_is_amber_and_a_stale_picture_is_marked(tmp_path: Path):
    def amber(sheet: np.ndarray) -> int:
        return count(sheet, (0xB4, 0x53, 0x09))

    def red(sheet: np.ndarray) -> int:
        return count(sheet, (0xB9, 0x1C, 0x1C))

    samples = [*drawn(tmp_path, 1, [(9, 9, 9)] * 2), *drawn(tmp_path, 2, [(9, 9, 9)])]
    runs = [a_run(1), a_run(2)]
    fresh = pixels(contact_sheet.png(build(runs, samples, [], ("latest", 0.0)), LIGHT))
    stale = pixels(contact_sheet.png(build(runs, samples, [], ("step", 2.0)), LIGHT))
    assert amber(fresh) > 0 and red(fresh) == 0 and red(stale) > 0


def test_a_missing_damaged_or_absent_picture_leaves_a_frame(tmp_path: Path):
    kept, gone, torn = (drawn(tmp_path, i, [(200, 100, i)])[0] for i in (1, 2, 3))
    Path(gone.path).unlink()
    Path(torn.path).write_bytes(Path(torn.path).read_bytes()[:44])
    made = matrix_of([kept, gone, torn], ["kept", "gone", "torn", "never"])
    sheet = pixels(contact_sheet.png(made, LIGHT))
    assert count(sheet, (200, 100, 1)) > 0 and count(sheet, (200, 100, 3)) == 0
    empty = count(sheet, (0xF8, 0xFA, 0xFC)) / PICTURE**2
    assert 2.8 < empty <= 3.1  # three frames, less their words


def test_large_pictures_are_reduced_to_their_cell(tmp_path: Path):
    path = tmp_path / "large.png"
    Image.new("RGB", (1000, 500), (10, 200, 30)).save(path)
    sheet = pixels(contact_sheet.png(matrix_of([Sample(1, 1, 0, "wide", str(path), 0.1)], ["x"]), LIGHT))
    assert count(sheet, (10, 200, 30)) == PICTURE * PICTURE // 2


@pytest.mark.parametrize(
    "prompt", ["", "\x00\n\ttabs", "кот 猫 قط 😀", "\ud800 half", "w" * 500, "a long prompt " * 99]
)
def test_captions_of_any_letters_can_be_drawn(tmp_path: Path, prompt: str):
    sample = Sample(1, 1, 0, prompt, str(tmp_path / "none.png"), float("nan"))
    sheet = pixels(contact_sheet.png(matrix_of([sample], [prompt or "-"]), DARK))
    assert sheet.shape[1] == 2 * contact_sheet.PAD + contact_sheet.SIDE + PICTURE and sheet.shape[0] < 2000


def test_lines_keep_to_their_width_and_dots_say_that_more_would_come():
    letters = Lettering()
    for text in ("a simple cartoon of an evergreen tree " * 9, "x" * 400, "two words"):
        lines = letters.wrap(text, TEXT, 300, most=3)
        assert lines and len(lines) <= 3 and all(letters.width(line, TEXT) <= 300 for line in lines)
        assert lines[-1].endswith(DOTS) == (text != "two words")
    assert letters.wrap(" \n ", TEXT, 300) == []


def test_our_own_letters_are_used_and_others_where_they_are_missing():
    letters = Lettering()
    assert letters.font("plain text – 0.5 %", TEXT).getname()[0] == "Inter"
    assert letters.font("step 1", Style("mono", 20)).getname()[0] == "JetBrains Mono"
    try:
        expected = {ImageFont.truetype("DejaVuSans.ttf").getname()[0]}
    except OSError:  # not installed: the one of ours that lacks the fewest
        expected = {"Inter", "JetBrains Mono"}
    assert letters.font("кот ▲", TEXT).getname()[0] in expected


def test_what_no_font_can_draw_is_a_space_or_a_box():
    assert printable("a\x00b\ud800c\n d") == "a b�c d"
