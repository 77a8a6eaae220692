"""The product's doors for bad input: the command line in a project's folder, and the error that it answers with."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shoestring.plan  # noqa: F401  (so that the first command of a test is not the one that pays the imports)
from shoestring.cli.main import app
from shoestring.codes import CODES
from typer.main import get_command

GOOD = """\
version: 1
project: tiny
data: tiny
experiments:
  a:
    model: {preset: nano}
    until: {steps: 10}
    lr: 1e-3
    stages: [{mask: {kind: none}}]
"""
MANIFEST = {
    "version": 1, "name": "tiny", "digest": "d" * 64, "space": "pixels", "shape": [3, 16, 16], "size_px": 16,
    "n_train": 100, "caption_dim": 32, "caption_tokens": 3.0,
}  # fmt: skip


COMMAND = get_command(app)  # once: it takes Typer longer than most commands take


@dataclass(frozen=True)
class Done:
    """A command that has ended, in this process."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Refusal:
    """What a refused command said: its exit code and its error as JSON."""

    exit_code: int
    error: dict[str, Any]

    @property
    def code(self) -> str:
        return self.error["code"]

    @property
    def faults(self) -> list[dict[str, Any]]:
        return self.error["faults"]

    @property
    def words(self) -> str:
        return f"{self.error['message']} {self.error['hint']}"


def project(root: Path, text: str | bytes = GOOD) -> Path:
    """A project's folder with the manifest of a data set (no pictures) and this experiments.yaml; its file."""
    (root / "data" / "tiny").mkdir(parents=True, exist_ok=True)
    (root / "data" / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    file = root / "experiments.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return file


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims this many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def run(*argv: str) -> Done:
    """Run `shoestring` with these arguments; an exception that reaches its end is a traceback on the error stream."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=how) for how in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            COMMAND.main(args=argv, prog_name="shoestring")
            exit_code = 0
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except Exception:
            traceback.print_exc()
            exit_code = 1
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Done(exit_code, *said)


def accepted(*argv: str) -> Any:
    """The JSON that a command answers with; it must succeed."""
    done = run(*argv, "--json")
    assert done.exit_code == 0, done
    return json.loads(done.stdout)


def refused(*argv: str, exit_code: int) -> Refusal:
    """The refusal of a command: no traceback, its documented exit code, a known code, a hint, texts of one line."""
    done = run(*argv, "--json")
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.exit_code == exit_code, done
    answer = json.loads(done.stdout)
    error = answer["error"] if "error" in answer else answer["runs"][0]["error"]  # a verb that takes several runs
    for one in error.get("faults", [error]):
        assert CODES[one["code"]].exit_code in (exit_code, 3), one
        assert one["hint"] and one["message"].isprintable(), one
    return Refusal(exit_code, error)


def refused_by_the_parser(*argv: str) -> str:
    """What the command line itself says of arguments that it does not take; the exit code is 2."""
    done = run(*argv)
    assert done.exit_code == 2 and "Traceback" not in done.stderr, done
    return done.stderr


def faults(root: Path, text: str | bytes) -> list[dict[str, Any]]:
    """The faults that `shoestring plan` finds in an experiments.yaml of this text: exit code 3, each inside it."""
    file = project(root, text)
    found = refused("plan", str(file), exit_code=3)
    assert found.code == "spec_invalid" and found.faults
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    lines = re.split("\r\n|\r|\n", content.decode("utf-8-sig", "replace"))
    for fault in found.faults:
        assert fault["file"] == str(file) and fault["path"].isprintable() and len(fault["message"]) <= 280, fault
        assert 1 <= fault["line"] <= len(lines), fault
        assert 1 <= fault["col"] <= len(lines[fault["line"] - 1]) + 1, fault
    return found.faults
