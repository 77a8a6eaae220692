"""The YAML reader: strict, fast, and it knows where everything was written."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoestring.errors import NotFound, SpecInvalid
from shoestring.yaml_source import MAX_BYTES, load, parse


def plain(text: str | bytes):
    return parse(text.encode() if isinstance(text, str) else text, "f.yaml").root.plain()


def faults(text: str | bytes):
    with pytest.raises(SpecInvalid) as caught:
        plain(text)
    return [(f.code, f.line, f.col) for f in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1e-4", {"a": 1e-4}),
        ("a: 1e3", {"a": 1000}),
        ("a: 1.0", {"a": 1}),
        ("a: -.5", {"a": -0.5}),
        ("a: 0x1f", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: no", {"a": "no"}),
        ("a: on", {"a": "on"}),
        ("a: true", {"a": True}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ('a: "012"', {"a": "012"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: [1, [x, {b: c}]]", {"a": (1, ("x", {"b": "c"}))}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: é 🙂", {"a": "é 🙂"}),
    ],
)
def test_values_are_read_as_yaml_1_2(text, expected):
    assert plain(text) == expected


def test_what_no_float_can_hold_is_left_to_the_field():
    values = plain("a: 1e999\nb: .nan\nc: -.inf")
    assert values["a"] == math.inf and math.isnan(values["b"]) and values["c"] == -math.inf


REFUSED = [
    ("", ("empty", 1, 1)),
    ("# only a comment\n", ("empty", 1, 1)),
    ("- a", ("wrong_type", 1, 1)),
    ("just words", ("wrong_type", 1, 1)),
    ("a: 1\n---\nb: 2", ("several_documents", 2, 1)),
    ("a:\n\tb: 1", ("yaml_syntax", 2, 1)),
    ('a: "x', ("yaml_syntax", 1, 4)),
    ("a: [1, 2", ("yaml_syntax", 1, 4)),
    ("a: x\x00y", ("bad_character", 1, 5)),
    ("a: x\u202ey", ("bad_character", 1, 5)),
    ('a: "x\\u202ey"', ("bad_character", 1, 4)),
    (b"a: \xff", ("not_utf8", 1, 4)),
    (b"a: \xed\xa0\x80", ("not_utf8", 1, 4)),
    ("a: 1".encode("utf-16"), ("not_utf8", 1, 1)),
    ("a: &x 1", ("anchor", 1, 4)),
    ("b:\n  <<: {a: 1}", ("merge_key", 2, 3)),
    ("a: 1\nb: 2\na: 3", ("duplicate_key", 3, 1)),
    ("a: !!python/object/apply:os.system [x]", ("tag", 1, 4)),
    ("a: !!binary aGk=", ("tag", 1, 4)),
    ("1: 2", ("non_string_key", 1, 1)),
    ("true: 2", ("non_string_key", 1, 1)),
    ("[a]: 2", ("non_string_key", 1, 1)),
    ("a: 012", ("leading_zero", 1, 4)),
    ("a: " + "7" * 5000, ("number_too_long", 1, 4)),
    ("[" * 20_000, ("too_deep", 1, 33)),
    ("a: " + "x" * MAX_BYTES, ("too_large", 1, 1)),
    ("a: [" + "1," * 60_000 + "]", ("too_large", 1, 49_999)),
]
TIMES = """
import time
from test_yaml_source import REFUSED, faults
for text, _ in REFUSED:
    began = time.process_time()
    faults(text)
    print(time.process_time() - began)
"""


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=lambda value: ascii(value)[:24])
def test_what_is_refused_and_where(text, expected):
    assert faults(text)[0] == expected


def test_nothing_takes_a_command_two_seconds_of_processor_time_to_refuse():
    """In a process of its own, as a command is: in this one, after two thousand tests, .2 s were 3 s once."""
    said = subprocess.run([sys.executable, "-c", TIMES], cwd=Path(__file__).parent, capture_output=True, check=True)
    times_s = [float(line) for line in said.stdout.split()]
    assert len(times_s) == len(REFUSED) and max(times_s) < 2


def test_an_alias_bomb_is_refused_without_being_expanded():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
    codes = {code for code, _, _ in faults(bomb)}
    assert codes == {"anchor", "alias"}
    assert {code for code, _, _ in faults("a: &a [*a]")} == {"anchor", "alias"}


def test_all_faults_come_at_once():
    assert faults("a: 012\nb: &x 1\nb: 2\n3: 4") == [
        ("leading_zero", 1, 4),
        ("anchor", 2, 4),
        ("duplicate_key", 3, 1),
        ("non_string_key", 4, 1),
    ]


def test_every_node_knows_its_place_and_path():
    root = parse(b"a:\n  - x: 1\n    y: [2]\n", "f.yaml").root
    node = root.nearest(("a", 0, "y", 0))
    assert (node.value, node.line, node.col, node.path) == (2, 3, 9, "a.0.y.0")
    assert root.nearest(("a", 0, "y")).key_at == (3, 5)
    assert root.nearest(("a", 0, "some-tag", "x")).value == 1  # a union's tag is stepped over


def test_a_missing_file_or_a_folder_is_not_found(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(NotFound):
            load(path)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(alphabet="a:-[]{}'\"&*!|>#%@`, \n\t0.1e", max_size=80)))
def test_any_text_is_read_or_refused(text):
    try:
        assert isinstance(plain(text.encode("utf-8", "surrogatepass")), dict)
    except SpecInvalid as refused:
        assert refused.faults and all(f.line >= 1 and f.col >= 1 and f.code for f in refused.faults)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(content):
    try:
        plain(content)
    except SpecInvalid as refused:
        assert refused.faults
