"""Two runs, one over the other: each pair of pictures at one place, and a cut between them that can be moved."""

from __future__ import annotations

from pathlib import Path

from shoestring_ui.matrix import Lane, Matrix, Row
from shoestring_ui.matrix_table import caption, picture, prompt, who
from shoestring_ui.theme import Palette

SCRIPT = Path(__file__).with_name("pair.js")
ROOM_PX = 320  # of a picture


def board(matrix: Matrix, colours: Palette) -> str:
    """The first run of the matrix over the second: heads, the slider that moves the cut, a figure for each prompt."""
    upper, under = matrix.lanes[:2]
    figures = "".join(_figure(matrix, upper, under, row) for row in matrix.rows)
    return (
        f"<div class='pair' style='--cut:50%'><div class='ends'><div>{who(upper, colours)}</div>"
        f"<div>{who(under, colours)}</div></div>"
        "<input type='range' min='0' max='100' step='1' value='50' aria-label='How much of the left run is shown'>"
        f"<div class='figures-of-two'>{figures}</div></div>"
    )


def _figure(matrix: Matrix, upper: Lane, under: Lane, row: Row) -> str:
    first, second = (matrix.pictures[lane.run.id, row] for lane in (upper, under))
    over = f"<div>{picture(second, under, ROOM_PX)}</div><div class='upper'>{picture(first, upper, ROOM_PX)}</div>"
    ends = f"<div>{caption(matrix, first)}</div><div>{caption(matrix, second)}</div>"
    return (
        f"<figure><div class='over'>{over}</div>"
        f"<figcaption>{prompt(row)}<div class='ends'>{ends}</div></figcaption></figure>"
    )
