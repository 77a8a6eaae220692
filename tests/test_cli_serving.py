"""`shoestring ui` as a process: what it prints is true when it is printed, and a browser finds a page that answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import free_port
from shoestring.db import Database
from shoestring.home import Home
from slurm import wait_for

VERB = [sys.executable, "-m", "shoestring.cli.main", "ui", "--port"]
VISITOR = """#!{python}
import pathlib, sys, urllib.request
pathlib.Path({note!r}).write_text(str(urllib.request.urlopen(sys.argv[1], timeout=60).status))
"""


@contextmanager
def serving(home: Home, *options: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    where = {**os.environ, "SHOESTRING_HOME": str(home.state), "SHOESTRING_DB": home.db_url, **env}
    quiet, argv = subprocess.DEVNULL, [*VERB, str(free_port()), *options]
    process = subprocess.Popen(argv, cwd=home.root, env=where, stdin=quiet, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_the_address_is_printed_when_it_answers_and_nothing_else_is(home: Home, sqlite: Database):
    with serving(home, "--json") as process:
        said = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        with urllib.request.urlopen(said["url"], timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""


def test_the_browser_is_opened_when_the_app_answers(home: Home, sqlite: Database, tmp_path: Path):
    note, visitor = tmp_path / "note", tmp_path / "visitor"
    visitor.write_text(VISITOR.format(python=sys.executable, note=str(note)))
    visitor.chmod(0o755)
    with serving(home, BROWSER=str(visitor)) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        wait_for(lambda: note.exists() and note.read_text())
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert note.read_text() == "200"
    assert "starts" in lines[0] and "http://127.0.0.1:" in lines[1] and not rest
