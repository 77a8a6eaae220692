"""The contact sheet: the matrix as one PNG, with the runs' marks, names, prompts, steps and dollars."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw
from shoestring.records import Sample

from shoestring_ui import amounts, marks
from shoestring_ui.identity import identity
from shoestring_ui.lettering import Lettering, Style
from shoestring_ui.matrix import Lane, Matrix, Row
from shoestring_ui.matrix_table import place_of, quality
from shoestring_ui.theme import Palette
from shoestring_ui.thumbnails import MISSING, UNREADABLE, shown_px

SCALE = 2  # pixels of the sheet for one of the page
PAD, GAP, SIDE, PICTURE = 24 * SCALE, 16 * SCALE, 176 * SCALE, 160 * SCALE
LINE = 1.45  # of a line of text, in heights of its letters
TITLE, NAME = Style("sans", 16 * SCALE, 600), Style("sans", 12 * SCALE, 600)
TEXT, SMALL = Style("sans", 12 * SCALE), Style("mono", 11 * SCALE)


@dataclass(frozen=True)
class Block:
    """Lines of text below each other, each (text, style, colour); a run's mark before the first of its head."""

    lines: tuple[tuple[str, Style, str], ...]
    run_id: int | None = None

    @property
    def height(self) -> int:
        return round(sum(LINE * style.size_px for _, style, _ in self.lines))


@dataclass
class Sheet:
    """What is drawn on, in which colours, with which letters."""

    colours: Palette
    letters: Lettering = field(default_factory=Lettering)

    def block(self, parts: Sequence[tuple[str, Style, str]], width: int, run_id: int | None = None) -> Block:
        """Wrap each text to `width` pixels."""
        return Block(
            tuple((one, style, tone) for text, style, tone in parts for one in self.letters.wrap(text, style, width)),
            run_id,
        )

    def lane(self, lane: Lane, width: int) -> Block:
        c = self.colours
        parts = [(f"#{lane.run.id} {lane.run.name}", NAME, c.ink), *((text, TEXT, c.soft) for text in lane.differs)]
        parts += [(quality(lane), TEXT, c.ink)] if quality(lane) else []
        parts += [(amounts.usd(lane.usd), SMALL, c.money)] if lane.usd is not None else []
        return self.block(parts, width, lane.run.id)

    def prompt(self, row: Row, width: int) -> Block:
        text, before = row
        return self.block([(f"{text} ({before + 1})" if before else text, TEXT, self.colours.ink)], width)

    def caption(self, matrix: Matrix, sample: Sample | None, width: int) -> Block:
        c = self.colours
        if sample is None:
            return self.block([("nothing yet", SMALL, c.soft)], width)
        parts = [(place_of(sample, matrix.by), SMALL, c.soft), (amounts.usd(sample.usd), SMALL, c.money)]
        stale = matrix.stale(sample)
        return self.block([*parts, *([(stale, SMALL, c.bad)] if stale else [])], width)


def png(matrix: Matrix, colours: Palette, transposed: bool = False) -> bytes:
    """Draw the matrix as the page shows it. A file that is gone is a frame that says so."""
    sheet = Sheet(colours)
    lanes, prompts = [sheet.lane(x, PICTURE) for x in matrix.lanes], [sheet.prompt(r, PICTURE) for r in matrix.rows]
    keys = [[(lane.run.id, row) for lane in matrix.lanes] for row in matrix.rows]
    if transposed:
        across, down = prompts, [sheet.lane(x, SIDE - GAP) for x in matrix.lanes]
        keys = [list(column) for column in zip(*keys, strict=True)]
    else:
        across, down = lanes, [sheet.prompt(r, SIDE - GAP) for r in matrix.rows]
    samples = [[matrix.pictures[key] for key in line] for line in keys]
    captions = [[sheet.caption(matrix, s, PICTURE) for s in line] for line in samples]
    width = 2 * PAD + SIDE + len(across) * (PICTURE + GAP) - GAP
    title = sheet.block([(matrix.takeaway, TITLE, colours.ink)], width - 2 * PAD)
    tops = [PAD + title.height + GAP]  # of the heads, then of each line of pictures, then the end
    tops.append(tops[0] + max(_head_height(b) for b in across) + GAP)
    for side, below in zip(down, captions, strict=True):
        tops.append(tops[-1] + max(_head_height(side), PICTURE + max(b.height for b in below) + GAP // 4) + GAP)
    picture = Image.new("RGB", (width, tops[-1] - GAP + PAD), colours.paper)
    draw = ImageDraw.Draw(picture)
    _write(draw, sheet, title, (PAD, PAD))
    lefts = [PAD + SIDE + i * (PICTURE + GAP) for i in range(len(across))]
    for left, block in zip(lefts, across, strict=True):
        _write(draw, sheet, block, (left, tops[0]))
    draw.line([(PAD, tops[1] - GAP // 2), (width - PAD, tops[1] - GAP // 2)], colours.line, SCALE)
    for top, side, line, below in zip(tops[1:], down, samples, captions, strict=False):
        _write(draw, sheet, side, (PAD, top))
        for left, sample, caption in zip(lefts, line, below, strict=True):
            _frame(picture, draw, sheet, sample, (left, top))
            _write(draw, sheet, caption, (left, top + PICTURE + GAP // 4))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=4)
    return out.getvalue()


def _head_height(block: Block) -> int:
    return block.height + (marks.HEIGHT + 4) * SCALE * (block.run_id is not None)


def _write(draw: ImageDraw.ImageDraw, sheet: Sheet, block: Block, corner: tuple[int, int]) -> None:
    left, top = corner
    if block.run_id is not None:
        _mark(draw, sheet.colours, block.run_id, corner)
    y = float(top + _head_height(block) - block.height)
    for text, style, tone in block.lines:
        draw.text((left, y), text, tone, font=sheet.letters.font(text, style))
        y += LINE * style.size_px


def _mark(draw: ImageDraw.ImageDraw, colours: Palette, run_id: int, corner: tuple[int, int]) -> None:
    """The run's dash and symbol in its colour, as on every page."""
    look, (left, top) = identity(run_id, colours), corner
    turn = marks.DASHES_PX[look.dash] or (marks.WIDTH, 0)
    x, i = 0, 0
    while x < marks.WIDTH:
        if i % 2 == 0:
            end = min(x + turn[i % len(turn)], marks.WIDTH)
            y = top + (marks.HEIGHT // 2 - 1) * SCALE
            draw.rectangle([left + x * SCALE, y, left + end * SCALE - 1, y + 2 * SCALE - 1], look.colour)
        x, i = x + turn[i % len(turn)], i + 1
    corners = marks.CORNERS[look.symbol]
    if corners:
        draw.polygon([(left + a * SCALE, top + b * SCALE) for a, b in corners], look.colour)
    else:
        middle = (left + marks.WIDTH * SCALE // 2, top + marks.HEIGHT * SCALE // 2)
        draw.circle(middle, marks.RADIUS * SCALE, look.colour)


def _frame(
    picture: Image.Image, draw: ImageDraw.ImageDraw, sheet: Sheet, sample: Sample | None, corner: tuple[int, int]
) -> None:
    """A sample, each of its pixels a square; an empty frame where it is not."""
    left, top = corner
    drawn = _drawn(sample.path) if sample else None
    wide, high = drawn.size if drawn else (PICTURE, PICTURE)
    edge = (left - SCALE, top - SCALE, left + wide + SCALE - 1, top + high + SCALE - 1)
    draw.rectangle(edge, sheet.colours.panel, sheet.colours.line, SCALE)
    if drawn:
        picture.paste(drawn, corner)
    elif sample:
        inset = GAP // 2
        words = sheet.block([(MISSING, TEXT, sheet.colours.soft)], PICTURE - 2 * inset)
        _write(draw, sheet, words, (left + inset, top + inset))


def _drawn(path: str) -> Image.Image | None:
    """The picture at the size of the sheet; None where it cannot be read."""
    try:
        with Image.open(Path(path), formats=["PNG"]) as found:
            pixels = found.convert("RGB")
    except UNREADABLE:
        return None
    wide = shown_px(max(pixels.size), PICTURE)
    whole = wide % max(pixels.size) == 0
    size = (max(1, wide * pixels.width // max(pixels.size)), max(1, wide * pixels.height // max(pixels.size)))
    return pixels.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS)
