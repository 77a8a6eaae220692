"""Who is who: a run's colour, dash and symbol, the same on every page, and the word and mark of each state."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.records import Run

from shoestring_ui.theme import LIGHT, Palette

# Okabe and Ito's eight (jfly.uni-koeln.de/color), the easiest to tell apart on white first. Two depend on the theme:
# "ink" is black on light and white on dark, "sun" is their yellow, darker on light, where nobody would see it.
# Colour is never alone: the symbol changes with it, the dash runs on.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "ink", "#E69F00", "sun")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = (
    ("circle", "●"),
    ("square", "■"),
    ("triangle-up", "▲"),
    ("diamond", "◆"),
    ("triangle-down", "▼"),
    ("star", "★"),
    ("cross", "✚"),
    ("x", "✖"),
)


@dataclass(frozen=True)
class Identity:
    """`symbol` is Plotly's word, `mark` the same shape as a character."""

    colour: str
    dash: str
    symbol: str
    mark: str


def identity(run_id: int, colours: Palette) -> Identity:
    """The look of a run, a function of its id (and the theme) alone."""
    turn, place = divmod(run_id - 1, len(COLOURS))
    symbol, mark = SYMBOLS[(place + turn) % len(SYMBOLS)]
    colour = {"ink": colours.ink, "sun": colours.sun}.get(COLOURS[place], COLOURS[place])
    return Identity(colour, DASHES[(place + turn) % len(DASHES)], symbol, mark)


def mark(run_id: int) -> str:
    return identity(run_id, LIGHT).mark


def label(run: Run) -> str:
    """`● #3 deferred-75/s0`: how a run is called on every page."""
    return f"{mark(run.id)} #{run.id} {run.name}"


ACTIVE = frozenset({"leased", "running", "stopping"})
WAITING = frozenset({"blocked", "queued", "paused"})

# state → (mark, tone); a tone is one of the theme's: quiet, active, good, bad. Always shown with the word.
STATES = {
    "blocked": ("◌", "quiet"),
    "queued": ("○", "quiet"),
    "leased": ("◔", "active"),
    "running": ("◑", "active"),
    "stopping": ("◕", "active"),
    "paused": ("‖", "quiet"),
    "succeeded": ("✓", "good"),
    "failed": ("✕", "bad"),
    "cancelled": ("⊘", "quiet"),
    "working": ("◑", "active"),
    "idle": ("○", "quiet"),
    "draining": ("◕", "active"),
    "gone": ("✕", "bad"),
    "proposed": ("○", "quiet"),
    "complete": ("✓", "good"),
    "pruned": ("⊘", "quiet"),
    "finished": ("✓", "good"),
    "stopped": ("⊘", "quiet"),
    "lost": ("✕", "bad"),
    "preempted": ("⊘", "quiet"),
}


def state_words(state: str) -> str:
    """`✓ succeeded`: a mark and the word."""
    return f"{STATES.get(state, ('·', 'quiet'))[0]} {state}"
