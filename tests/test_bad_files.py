"""Bad input: what the bytes of a file can get wrong, through `shoestring plan` (exit code 3) and `submit`."""

from __future__ import annotations

import os
from pathlib import Path

import doors
import pytest
from doors import GOOD
from shoestring import queries
from shoestring.db import Database
from shoestring.yaml_source import MAX_BYTES

DEEP = "".join(f"{'  ' * i}x:\n" for i in range(40))
BOMB = "a: &a [x]\n" + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(20))
# What §8 of the queue's description lists, in its order: (text, code, line, column, words of the message or the hint).
CASES: dict[str, tuple[str | bytes, str, int, int, str]] = {
    "empty": ("", "empty", 1, 1, "version: 1"),
    "only comments": ("# nothing\n\n# at all\n", "empty", 1, 1, "version: 1"),
    "a list on top": ("- a\n- b\n", "wrong_type", 1, 1, "not a list"),
    "a scalar": ("just words\n", "wrong_type", 1, 1, "not text"),
    "two documents": (GOOD + "---\n" + GOOD, "several_documents", 10, 1, "one document"),
    "tabs": (GOOD.replace("    lr", "\tlr"), "yaml_syntax", 8, 1, "spaces, not tabs"),
    "an unclosed quote": (GOOD.replace("nano", '"nano'), "yaml_syntax", 6, 21, "quotes"),
    "an unclosed bracket": (GOOD.replace("10}", "10"), "yaml_syntax", 8, 7, "brackets"),
    "NUL": (GOOD.replace("nano", "na\x00no"), "bad_character", 6, 23, "U+0000"),
    "an escaped NUL": (GOOD.replace("nano", '"na\\0no"'), "bad_character", 6, 21, "U+0000"),
    "invalid UTF-8": (GOOD.encode().replace(b"nano", b"n\xffno"), "not_utf8", 6, 22, "0xff"),
    "UTF-16 with a mark": (GOOD.encode("utf-16"), "not_utf8", 1, 1, "UTF-16"),
    "UTF-16 without": (GOOD.encode("utf-16-le"), "bad_character", 1, 2, "U+0000"),
    "a lone surrogate": (GOOD.replace("nano", "n\ud800no"), "not_utf8", 6, 22, "0xed"),
    "an escaped surrogate": (GOOD.replace("nano", '"n\\ud800o"'), "yaml_syntax", 6, 25, "escape"),
    "a mark within": (GOOD.replace("nano", "na\ufeffno"), "bad_character", 6, 23, "U+FEFF"),
    "a line separator": (GOOD.replace("nano", "na\u2028no"), "bad_character", 6, 23, "U+2028"),
    "a direction override": (GOOD.replace("nano", "na\u202eno"), "bad_character", 6, 23, "U+202E"),
    "an escape of the terminal": (GOOD.replace("nano", "\x1b[31mnano"), "bad_character", 6, 21, "U+001B"),
    "more than 256 KiB": (GOOD + "#" * MAX_BYTES, "too_large", 1, 1, "256 KiB"),
    "20,000 brackets": ("[" * 20_000, "too_deep", 1, 33, "32 levels"),
    "20,000 braces": ("{a: " * 20_000, "too_deep", 1, 129, "32 levels"),
    "deep blocks": (DEEP, "too_deep", 33, 65, "32 levels"),
    "40,000 values": (GOOD + "    tags: [" + "a," * 40_000 + "]\n", "too_large", 10, 49_952, "25000 values"),
    "an alias bomb": (BOMB, "anchor", 1, 4, "&a"),
    "a merge key": (GOOD + "    <<: {lr: 1}\n", "merge_key", 10, 5, "extends"),
    "an alias of itself": (GOOD.replace("nano", "&n [*n]"), "anchor", 6, 21, "defaults"),
    "an alias of nothing": (GOOD.replace("nano", "*nobody"), "alias", 6, 21, "*nobody"),
    "a key twice": (GOOD + "    lr: 2\n", "duplicate_key", 10, 5, "first on line 8"),
    "a Python tag": (GOOD.replace("nano", "!!python/object/apply:os.system [id]"), "tag", 6, 21, "os.system"),
    "a binary tag": (GOOD.replace("nano", "!!binary bmFubw=="), "tag", 6, 21, "binary"),
    "a tag of the program's own": (GOOD.replace("nano", "!secret x"), "tag", 6, 21, "!secret"),
    "a number as key": (GOOD + "    1: 2\n", "non_string_key", 10, 5, "quotes"),
    "a list as key": (GOOD + "    [a]: 2\n", "non_string_key", 10, 5, "a list"),
    "nothing as key": (GOOD + "    ~: 2\n", "non_string_key", 10, 5, "nothing"),
    "5,000 digits": (GOOD.replace("10}", "7" * 5000 + "}"), "number_too_long", 7, 20, "5000 digits"),
    "5,000 digits of a fraction": (GOOD.replace("1e-3", "0." + "7" * 5000), "", 0, 0, ""),  # a float like any other
    "an exponent beyond all floats": (GOOD.replace("1e-3", "1e" + "9" * 300), "not_finite", 8, 9, "finite"),
    "a thousand 7s in base 16": (GOOD.replace("10}", "0x" + "7" * 1000 + "}"), "number_too_long", 7, 20, "digits"),
    "a file of HTML": ("<!DOCTYPE html>\n<html><body>404: not found</body></html>\n", "yaml_syntax", 2, 16, "check"),
    "a file of JSON": ('{"version": 1,\n "project": "A"}', "missing_field", 1, 1, "`data`"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not_utf8", 1, 1, "0x89"),
    "an archive": (b"PK\x03\x04\x14\0\0\0", "bad_character", 1, 3, "U+0003"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code", "line", "col", "words"), CASES.values(), ids=CASES)
def test_a_bad_file_is_refused_where_it_is_bad(text, code, line, col, words, tmp_path: Path):
    if not code:
        doors.accepted("plan", str(doors.project(tmp_path, text)))
        return
    fault = doors.faults(tmp_path, text)[0]
    assert (fault["code"], fault["line"], fault["col"]) == (code, line, col), fault
    assert words in f"{fault['message']} {fault['hint']}", fault


def test_what_is_no_file_is_not_found(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for path in (tmp_path, tmp_path / "none.yaml", "/dev/zero", tmp_path / "pipe.yaml", tmp_path / "loop.yaml"):
        refusal = doors.refused("plan", str(path), exit_code=6)
        assert refusal.code == "not_found" and str(path) in refusal.words and "experiments.yaml" in refusal.words


def test_a_name_that_is_no_text_is_told_all_the_same(tmp_path: Path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/e\xff.yaml")
    os.rename(doors.project(tmp_path), name)
    done = doors.run("plan", name)
    assert done.exit_code == 0 and "\\udcff.yaml" in done.stdout


def test_every_fault_stands_on_the_error_stream_with_its_place_and_a_hint(tmp_path: Path, monkeypatch):
    file = doors.project(tmp_path, GOOD.replace("1e-3", "012").replace("nano", "&x nano"))
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path / "state"))
    assert doors.run("submit", str(file)).exit_code == 4  # the database comes first
    done = doors.run("plan", str(file))
    lines = done.stderr.splitlines()
    assert done.exit_code == 3 and done.stdout == ""
    assert [line.split(": ")[-1].split("[")[-1] for line in lines[::2]] == ["anchor]", "leading_zero]"]
    assert f"{file}:6:21:" in lines[0] and f"{file}:8:9:" in lines[2]
    assert all(line.startswith("    ") and line.strip() for line in lines[1::2])


def test_a_bad_file_submits_nothing_and_a_good_one_after_it_does(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
):
    state = tmp_path / "state"
    state.mkdir()
    (state / "shoestring.db").write_bytes(migrated.read_bytes())
    monkeypatch.setenv("SHOESTRING_HOME", str(state))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.chdir(tmp_path)
    doors.project(tmp_path, GOOD + "  b: {extends: a, lr: -1}\n")
    assert doors.refused("submit", exit_code=3).faults[0]["code"] == "out_of_range"
    db = Database(f"sqlite:///{state / 'shoestring.db'}")
    assert queries.runs(db) == [] == queries.events(db)
    doors.project(tmp_path)
    assert doors.accepted("submit")["new"] == 1
    # the keys in another order, numbers written otherwise, other presentation: the same run
    other = """\
experiments:
  a: {priority: 3, notes: again, stages: [{mask: {kind: none}}], lr: 0.001, until: {steps: 10.0}, model: {preset: nano}}
data: tiny
project: tiny
version: 1.0
"""
    doors.project(tmp_path, other)
    assert doors.accepted("submit")["new"] == 0 and len(queries.runs(db)) == 1
