"""Pieces of HTML: figures, facts, states, plain tables. Every text that comes from outside is escaped here."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from shoestring.errors import Fault

from shoestring_ui.amounts import value
from shoestring_ui.identity import STATES, identity
from shoestring_ui.marks import CORNERS, DASHES_PX, RADIUS
from shoestring_ui.theme import Palette


@dataclass(frozen=True)
class Figure:
    """One number of the row at the top of a page."""

    label: str
    value: str
    under: str = ""
    money: bool = False


def figures(items: Sequence[Figure]) -> str:
    """The row of figures; money is amber."""
    cells = "".join(
        f"<div><dt>{escape(i.label)}</dt><dd{' class=money' if i.money else ''}>{escape(i.value)}"
        f"<p class='under'>{escape(i.under)}&nbsp;</p></dd></div>"
        for i in items
    )
    return f"<dl class='figures'>{cells}</dl>"


def few(names: Sequence[str], most: int = 5) -> str:
    """`a, b and c`; of many the first `most`, and how many more there are."""
    *first, last = (*names[:most], f"{len(names) - most} more") if len(names) > most else names or ("",)
    return f"{', '.join(first)} and {last}" if first else last


def swatch(run_id: int, colours: Palette) -> str:
    """A run's dash and symbol in its colour, as an image that says nothing to a screen reader."""
    who = identity(run_id, colours)
    dashes, corners = " ".join(map(str, DASHES_PX[who.dash])), CORNERS[who.symbol]
    points = " ".join(f"{x} {y}" for x, y in corners)
    shape = f'<polygon points="{points}"/>' if corners else f'<circle cx="12" cy="7" r="{RADIUS}"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="24" height="14" fill="{who.colour}">'
        f'<path d="M0 7h24" stroke="{who.colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        f"{shape}</svg>"
    )
    return f"<img alt='' width=24 height=14 src='data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}'>"


def who(run_id: int, name: str, colours: Palette) -> str:
    """Swatch, id and name, leading to the run's page."""
    return (
        f"<span class='who'>{swatch(run_id, colours)}"
        f"<a href='run?run={run_id}' target='_self'><span class='mono'>#{run_id}</span> {escape(name)}</a></span>"
    )


def state(word: str) -> str:
    """A state: its mark and the word, toned."""
    mark, tone = STATES.get(word, ("·", "quiet"))
    return f"<span class='state {tone}'>{mark} {escape(word)}</span>"


def prose(text: str) -> str:
    """Escaped text whose `backticks` are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def takeaway(text: str) -> str:
    """What a chart or a table shows, in one sentence."""
    return f"<p class='takeaway'>{escape(text)}</p>"


def in_markdown(text: str) -> str:
    """A text that Streamlit shows as it is, not as Markdown or a formula; its `backticks` stay code."""
    parts = text.split("`")
    return "`".join(part if i % 2 else re.sub(r"([\\*_$~\[\]<>#|])", r"\\\1", part) for i, part in enumerate(parts))


def money(text: str) -> str:
    return f"<span class='money mono'>{escape(text)}</span>"


def spread(number: float, error: float | None) -> str:
    """A metric's value and its standard error, where one is known: `0.1234 ± 0.0021`."""
    return value(number) if error is None else f"{value(number)} ± {error:.2g}"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Label and value, two or three abreast; values are HTML made by this module or escaped text."""
    return (
        "<dl class='facts'>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in pairs if v) + "</dl>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, numeric: Sequence[int] = ()) -> str:
    """A plain table: plain heads, HTML cells; the columns in `numeric` are set right, in tabular figures."""
    return table_with_heads([escape(h) for h in head], rows, caption, numeric)


def table_with_heads(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, numeric: Sequence[int] = ()
) -> str:
    """`table` whose heads are HTML too."""
    right = {i: " class='num'" for i in numeric}
    top = "".join(f"<th scope='col'{right.get(i, '')}>{h}</th>" for i, h in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{right.get(i, '')}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f"<p class='note'>{escape(caption)}</p><div class='scroll'><table class='plain' aria-label='{escape(caption)}'>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(now: float, planned: float, cap: float | None) -> str:
    """Dollars spent as a part of the cap (or of the plan), with a tick where the plan ends."""
    whole = max(cap or 0.0, planned, now)
    if whole <= 0:
        return ""
    tick = f"<b style='left:{min(99.5, 100 * planned / whole):.1f}%'></b>" if 0 < planned < whole else ""
    return f"<div class='bar' role='presentation'><i style='width:{100 * now / whole:.1f}%'></i>{tick}</div>"


def faults(found: Sequence[Fault], text: str) -> str:
    """Each mistake of a spec: line and column, field, what is wrong, what to do, and the line with a caret below it."""
    lines = re.split("\r\n|\r|\n", text)
    return "<ol class='faults'>" + "".join(f"<li>{_fault(one, lines)}</li>" for one in found) + "</ol>"


def _fault(one: Fault, lines: Sequence[str]) -> str:
    written = lines[one.line - 1] if one.line <= len(lines) else ""
    start = max(0, one.col - 1 - 60)
    part = "".join(c if c.isprintable() else " " for c in written[start : start + 100])
    field = f"<code>{escape(one.path)}</code> " if one.path else ""
    caret = f"<pre>{escape(part)}\n{' ' * (one.col - 1 - start)}^</pre>" if part.strip() else ""
    return (
        f"<p><span class='mono'>{one.line}:{one.col}</span> {field}{prose(one.message)} "
        f"<span class='note'>[{escape(one.code)}]</span></p>{caret}<p class='note'>{prose(one.hint)}</p>"
    )


def empty(title: str, text: str, *commands: str) -> str:
    """What stands where there is nothing yet: why, and the next command."""
    lines = "".join(f"<code>{escape(c)}</code>" for c in commands)
    return f"<div class='empty'><p><strong>{escape(title)}</strong></p><p>{escape(text)}</p>{lines}</div>"


def legend(runs: Sequence[tuple[int, str]], colours: Palette) -> str:
    return "<ul class='legend'>" + "".join(f"<li>{who(i, name, colours)}</li>" for i, name in runs) + "</ul>"
