"""The log of a run's attempts: the last lines, a search, the whole file."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st
from shoestring.records import Run

from shoestring_ui import words

TAIL_LINES = 400
TAIL_BYTES = 256_000
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def files(run: Run) -> list[Path]:
    """The log of each attempt, newest first."""
    return sorted(Path(run.run_dir).glob("attempts/t*/log.txt"), reverse=True) if run.run_dir else []


def read_tail(path: Path, n_bytes: int = TAIL_BYTES) -> list[str]:
    """The last lines of a log, without terminal colours; of a progress bar, what it said last."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - n_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [_ESCAPES.sub("", line.rsplit("\r", 1)[-1]) for line in text.replace("\r\n", "\n").splitlines()]


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
            "Download log", path.read_bytes(), f"run-{run.id}-{attempt}.txt", "text/plain", on_click="ignore"
        )
    lines = [line for line in read_tail(path) if wanted.lower() in line.lower()][-TAIL_LINES:]
    st.html(f"<p class='note'>The last {len(lines)} lines{' that match' if wanted else ''}.</p>")
    st.html(f"<pre class='log' tabindex='0'><span>{words.escape(chr(10).join(lines)) or 'no line'}</span></pre>")
