"""Fuzzing the spec loader: no crash, nothing over a second, no 200 MB, and every fault inside the file.

A few hundred examples here, 60 seconds of them in `./run test --all`, ten minutes on demand:

    SHOESTRING_FUZZ_S=600 ./run test --all -- tests/test_fuzz_spec.py

The files are thrown by `tests/fuzz_spec.py` in a process of its own, whose address space may grow by 200 MB and no
more. A failure prints the shrunk file and the seed; `python tests/fuzz_spec.py 0 SEED` throws the same files again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("fuzz_spec.py")
SLOW_S = float(os.environ.get("SHOESTRING_FUZZ_S", "60"))


def thrown(seconds: float, *seed: str) -> dict[str, Any]:
    argv = [sys.executable, str(PROGRAM), str(seconds), *seed]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=2 * seconds + 240)
    assert done.returncode == 0, done.stderr[-6000:] + done.stdout  # the seed stands last
    return json.loads(done.stdout)


def test_a_few_hundred_files_are_accepted_or_refused_where_they_are_wrong():
    found = thrown(0, "20261123")
    assert found["examples"] >= 200 and found["outcomes"].get("accepted", 0) > 3 and len(found["outcomes"]) > 8, found


@pytest.mark.slow
@pytest.mark.timeout(2 * SLOW_S + 300)
def test_a_minute_of_files_are_accepted_or_refused_where_they_are_wrong():
    found = thrown(SLOW_S)
    assert found["examples"] > 5 * SLOW_S and len(found["outcomes"]) > 15, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        ("fuzz_spec.parse = lambda content, file: 1 / 0", "ZeroDivisionError"),
        ("fuzz_spec.parse = lambda content, file: bytearray(300 << 20)", "MemoryError"),
        ("fuzz_spec.parse = lambda content, file: re.match('(a|aa)+$', 'a' * 60 + 'b')", "TooSlow"),
        ("fuzz_spec.parse = lambda content, file: parse(content + b'\\n\\n\\n  - [', file)", "AssertionError"),
    ],
    ids=["a crash", "memory", "a hang", "a fault outside the file"],
)
def test_the_fuzzer_sees_what_it_looks_for(sabotage, words):
    code = (
        f"import re, sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import fuzz_spec\n"
        "from pathlib import Path; from collections import Counter; from shoestring.yaml_source import parse\n"
        f"fuzz_spec.limit_growth(); {sabotage}\n"
        "fuzz_spec.MAX_CPU_S = 0.2; fuzz_spec.round_of(1, 30, Path('/nowhere'), Counter())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode and words in done.stderr, done.stderr[-2000:]
