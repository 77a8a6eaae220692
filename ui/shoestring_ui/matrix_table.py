"""The matrix as a table of HTML: prompts down and runs across, or the other way round."""

from __future__ import annotations

from shoestring.records import Sample

from shoestring_ui import amounts, words
from shoestring_ui.matrix import Lane, Matrix, Row
from shoestring_ui.theme import Palette
from shoestring_ui.thumbnails import image, room


def table(matrix: Matrix, colours: Palette, transposed: bool = False) -> str:
    """Heads say who a run is, what differs, its quality and dollars; cells their own step and dollars."""
    lanes = [who(lane, colours) for lane in matrix.lanes]
    prompts = [prompt(row) for row in matrix.rows]
    space = room(len(prompts if transposed else lanes))
    found = [[(lane, matrix.pictures[lane.run.id, row]) for lane in matrix.lanes] for row in matrix.rows]
    cells = [[picture(s, lane, space) + caption(matrix, s) for lane, s in line] for line in found]
    if transposed:
        corner, across, down, cells = "Run", prompts, lanes, [list(column) for column in zip(*cells, strict=True)]
    else:
        corner, across, down = "Prompt", lanes, prompts
    head = "".join(f"<th scope='col'>{one}</th>" for one in across)
    body = "".join(
        f"<tr><th scope='row'>{one}</th>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>"
        for one, line in zip(down, cells, strict=True)
    )
    look = "matrix transposed" if transposed else "matrix"
    return (
        f"<div class='scroll'><table class='{look}' style='--room:{space}px'><thead><tr>"
        f"<th scope='col'>{corner}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def who(lane: Lane, colours: Palette) -> str:
    """A run's head: who it is, how it differs, its quality and dollars, a line each."""
    lines = [words.who(lane.run.id, lane.run.name, colours), *map(words.escape, lane.differs), quality(lane)]
    if lane.usd is not None:
        lines.append(words.money(amounts.usd(lane.usd)))
    return "<br>".join(line for line in lines if line)


def quality(lane: Lane) -> str:
    """The metric and its value at the slider's place; empty where it has none. For HTML and for pixels."""
    return f"{lane.metric} {amounts.value(lane.quality)}" if lane.quality is not None else ""


def prompt(row: Row) -> str:
    """A row's head: the prompt, whole in its title where it is cut short."""
    text, before = row
    again = f" <span class='soft'>({before + 1})</span>" if before else ""
    return f"<span class='prompt' title='{words.escape(text, quote=True)}'>{words.escape(text)}</span>{again}"


def picture(sample: Sample | None, lane: Lane, space: int) -> str:
    """The picture, or words where there is none; at most `space` CSS pixels wide."""
    if sample is None:
        return "<span class='under'>nothing yet</span>"
    alt = f"#{lane.run.id} {lane.run.name}, step {sample.step:,}: {sample.prompt}"
    return image(sample.path, words.escape(alt, quote=True), space)


def caption(matrix: Matrix, sample: Sample | None) -> str:
    """Where in its run and at which dollars a picture was drawn, and by how much it is older than asked."""
    if sample is None:
        return ""
    stale = matrix.stale(sample)
    badge = f"<span class='under stale'>{words.escape(stale)}</span>" if stale else ""
    money = f"<span class='money'>{amounts.usd(sample.usd)}</span>"
    return f"<span class='under'>{place_of(sample, matrix.by)} {money}</span>{badge}"


def place_of(sample: Sample, by: str) -> str:
    """Where in its run a picture was drawn, without its dollars."""
    seen = f", {amounts.count(sample.images)} images" if by == "images" else ""
    return f"step {sample.step:,}{seen}"
