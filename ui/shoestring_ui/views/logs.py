"""The log of a run's attempts: the last lines as they come, a search through all of it, the whole file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import streamlit as st
from shoestring.records import Run

from shoestring_ui import amounts, words
from shoestring_ui.pace import live
from shoestring_ui.widgets import ACTIVE

TAIL_LINES = 400
TAIL_BYTES = 256_000
SEARCH_BYTES = 64_000_000  # a search reads this much of a log's end: about a second
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def files(run: Run) -> list[Path]:
    """The log of each attempt, newest first."""
    return sorted(Path(run.run_dir).glob("attempts/t*/log.txt"), reverse=True) if run.run_dir else []


def read_lines(path: Path, n_bytes: int) -> Iterator[str]:
    """The lines in the last `n_bytes` of a log, without terminal colours; of a progress bar, what it said last."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - n_bytes))
            for raw in file:
                line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
                yield _ESCAPES.sub("", line.rsplit("\r", 1)[-1])
    except OSError:
        return


def read_tail(path: Path, n_bytes: int = TAIL_BYTES) -> list[str]:
    """The last lines of a log."""
    return list(read_lines(path, n_bytes))


def search(path: Path, wanted: str) -> tuple[int, list[str]]:
    """(how many lines contain the text, in any case; the last of them, each behind its line number)."""
    n, last = 0, deque[str](maxlen=TAIL_LINES)
    for number, line in enumerate(read_lines(path, SEARCH_BYTES), 1):
        if wanted.lower() in line.lower():
            n += 1
            last.append(f"{number:>6}  {line}")
    return n, list(last)


def last_lines(run: Run, n_lines: int) -> str:
    """The end of the newest attempt's log; empty when there is none."""
    found = files(run)
    return "\n".join(read_tail(found[0])[-n_lines:]) if found else ""


def tail(run: Run) -> None:
    """Draw the log tab."""
    found = files(run)
    if not found:
        st.html(words.empty("No log yet", "It begins with the first attempt.", "shoestring work"))
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        names = {path.parent.name: path for path in found}
        attempt = st.selectbox("Attempt", list(names), key="attempt", bind="query-params", width=160)
        wanted = st.text_input("Lines that contain", key="find", bind="query-params", width=320)
        path = names[attempt]
        st.download_button(
            "Download log", path.read_bytes, f"run-{run.id}-{attempt}.txt", "text/plain", on_click="ignore"
        )
    live(lambda: _lines(path, wanted), run.state in ACTIVE)


def _lines(path: Path, wanted: str) -> None:
    if wanted:
        n, lines = search(path, wanted)
        last = f", the last {len(lines):,} are shown" if n > len(lines) else ""
        note = f"{n:,} {'line contains' if n == 1 else 'lines contain'} it{last}; each with its number."
    else:
        lines = read_tail(path)[-TAIL_LINES:]
        size = path.stat().st_size if path.exists() else 0
        note = f"The last {len(lines):,} lines of {amounts.size(size)}."
    st.html(f"<p class='note'>{note}</p>")
    st.html(f"<pre class='log' tabindex='0'><span>{words.escape(chr(10).join(lines)) or 'no line'}</span></pre>")
