"""Throw files at the spec loader: valid ones with a few mistakes, and plain rubbish. A program of its own.

    python tests/fuzz_spec.py SECONDS [SEED]      (SECONDS 0: one round of 250 examples)

Each example goes the way of `shoestring plan`: parsed, validated, resolved, its sweeps too, and priced. It must be
accepted, or refused with faults that lie inside the file; within a second of processor time; and the process must not
grow by more than 200 MB of address space, which the kernel enforces (RLIMIT_AS), so that the example itself fails.
The same seed throws the same files. Prints the number of examples; a failure is printed shrunk, with its seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from shoestring.calibration import Calibration
from shoestring.codes import CODES, SPEC_INVALID
from shoestring.cost import Costs
from shoestring.errors import Fault, ShoestringError, SpecInvalid
from shoestring.merge import ONE_OF, STAGE_DEFAULTS
from shoestring.prices import read_prices
from shoestring.resolve import Facts, resolve, resolve_sweeps
from shoestring.run_plan import PlanRefused, plan_request
from shoestring.spec import validate
from shoestring.yaml_source import parse
from shoestring_trainer.config import DataConfig
from shoestring_trainer.presets import PRESETS

MAX_CPU_S, MAX_GROWTH_BYTES, ROUND = 1.0, 200 << 20, 250
ROOT = Path(__file__).resolve().parents[1]
FACTS = Facts(
    DataConfig(path="/data/tiny", name="tiny", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16,
               n_train=100, caption_dim=32, caption_tokens=3.0),
    "c" * 64,
)  # fmt: skip
COSTS = Costs("this-machine", read_prices()["this-machine"], Calibration("none"), 20e9)

FULL = """\
version: 1
project: tiny
data: tiny
sources: [{data: tiny, weight: 1}, {data: other, weight: 0.5, origin: synthetic}]
hardware: this-machine
budget: {max_usd: 1}
defaults: {model: {preset: nano}, until: {steps: 10}, lr: 1e-3, stages: [{mask: {kind: none}}]}
experiments:
  a: {}
  b:
    extends: a
    model: {dim: 64, head_dim: 16, experts: {count: 4, capacity: 2, every: 1}, qkv_ratio: [0.5, 1]}
    stages:
    - {share: 0.5, mask: {kind: random, ratio: 0.5, place: naive}, lr: 1e-4, noise: {p_mean: 0, p_std: 1}}
    - {share: 0.5, mask: {kind: none}, warmup_steps: 2, cosine_to: 0.1}
    objective: {kind: flow, shift: 3}
    optimizer: {kind: muon, momentum: 0.9}
    evaluate: {every_share: 0.5, n_images: 8, sigmas: [0.5, 1]}
    samples: {prompts: [a cat, "a dog: red"], every_steps: 5, sampler: heun, guidance_interval: [0.1, 2]}
    checkpoints: {every_usd: 0.001, keep_last: 3}
    compute: {device: cpu, processes: 2, precision: bf16, compile: aot_eager, accumulate: 2}
    budget: {max_usd: 0.5}
    seeds: [0, 1]
    tags: [x, y]
    notes: |
      several
      lines
    priority: 3
  c: {extends: b, until: {usd: 0.01}, matrix: {model.experts.count: [1, 2], batch_size: [4, 8]}}
sweeps:
  s:
    base: a
    search: {batch_size: {choices: [4, 8]}, stages.0.lr: {low: 1e-4, high: 1e-2, log: true}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    trials: 3
    until: {steps: 4}
    budget: {max_usd: 0.1}
    seed: 7
showcase: {until: {usd: 0.5}}
"""
FILES = [FULL, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("experiments*.yaml")))]
DOCUMENTS = [yaml.safe_load(re.sub(r"(\d)e-(\d)", r"\1.0e-\2", text)) for text in FILES]


def words_of(value: Any) -> set[str]:
    """Every key and every text in a document."""
    if isinstance(value, dict):
        return set(value) | {word for child in value.values() for word in words_of(child)}
    if isinstance(value, list):
        return {word for child in value for word in words_of(child)}
    return {value} if isinstance(value, str) else set()


ODD = {"kind", "preset", "extends", "matrix", "data.path", "name", "seed", "", "a..b", "stages.0", "-rf", "CON"}
WORDS = sorted({w for d in DOCUMENTS for w in words_of(d)} | {*STAGE_DEFAULTS, *sum(ONE_OF, ()), *PRESETS} | ODD)
NUMBERS = st.one_of(
    st.integers(-3, 70), st.integers(), st.floats(),
    st.sampled_from([2**31, 2**63, 2**64, 10**30, -1, 0, 1e300, 1e-320, 0.1, 1.0, 1e9, float("nan"), float("inf")]),
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(WORDS), NUMBERS, st.booleans(), st.none(), st.text(max_size=8),
    st.sampled_from(["1e-4", "012", "1:30", "no", "../../x", "/dev/zero", "a\n#SBATCH", "x" * 300, "🙂", "\u202e"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    yield at
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(child, (*at, key))


@st.composite
def mistaken(draw: st.DrawFn) -> str:
    """A valid document with one to four mistakes, written as block YAML, flow YAML or JSON."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from([p for p in places(document) if p] or [("x",)]))
        holder = document
        for part in above:
            holder = holder[part]
        change = draw(st.sampled_from(["value", "value", "key", "drop", "more", "wrap", "copy"]))
        if change == "value":
            number = isinstance(holder[last], int | float)
            holder[last] = draw(st.one_of(NUMBERS, NUMBERS, VALUES) if number else VALUES)
        elif change == "drop":
            del holder[last]
        elif change == "wrap":
            holder[last] = draw(st.sampled_from([[holder[last]], {"kind": holder[last]}, [holder[last]] * 2, {"": {}}]))
        elif change == "copy":
            source = document
            for part in draw(st.sampled_from(list(places(document)))):
                source = source[part]
            holder[last] = json.loads(json.dumps(source))
        elif isinstance(holder, dict):
            key = draw(st.sampled_from(WORDS) | st.text(max_size=5))
            holder[key] = holder.pop(last) if change == "key" else draw(VALUES)
    style = draw(st.sampled_from([None, True, False, "json"]))
    if style == "json":
        return json.dumps(document)
    how = {"default_flow_style": style, "allow_unicode": draw(st.booleans()), "sort_keys": False}
    return yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), **how)


PIECES = st.sampled_from([
    "\t", "\n", "\r", " ", ":", ": ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "!!str ", "!x ", "<<: ", "|", ">",
    "'", '"', "#", "---\n", "...", "%YAML 1.1\n", "@", "`", "\\", "\0", "\ufeff", "\u2028", "\x85", "é", "? ", "~",
    "0", "1e999", "[" * 40, "a: " * 40, "\ud800",
])  # fmt: skip


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """The text of a file with pieces put in, cut out or written twice; as bytes, some of them wrong."""
    text = draw(st.sampled_from(FILES) | mistaken())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 20)))
        text = text[:start] + draw(st.one_of(PIECES, st.just(""), st.just(text[start:end] * 2))) + text[end:]
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at:]
    return content


ALPHABET = st.text(alphabet="a:-[]{}'\"&*!|>#%@`, \n\t0.1e~?\\", max_size=120)
MISTAKEN = mistaken().map(lambda text: text.encode("utf-8", "surrogatepass"))
FILE = st.one_of(MISTAKEN, MISTAKEN, MISTAKEN, garbled(), ALPHABET.map(str.encode), st.binary(max_size=80))  # fmt: skip


def read(content: bytes, root: Path) -> str:
    """Read, resolve and price a file; the outcome in a word. Raises whatever is no refusal, or a bad one."""
    try:
        spec = validate(parse(content, "f.yaml"), root)
        sweeps = resolve_sweeps(spec, FACTS)
        for request in (*resolve(spec, FACTS), *(sweep.base for sweep in sweeps)):
            with contextlib.suppress(PlanRefused):
                plan_request(request, COSTS)
    except SpecInvalid as refused:
        assert refused.faults and refused.exit_code == SPEC_INVALID
        lines = re.split("\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
        for fault in refused.faults:
            check(fault, lines)
        return refused.faults[0].code
    except ShoestringError as refused:
        assert refused.message and refused.hint
        return refused.code
    return "accepted"


def check(fault: Fault, lines: list[str]) -> None:
    """A fault is one line, with a known code and a hint, and lies inside the file."""
    assert fault.code in CODES and fault.hint and fault.message.isprintable() and fault.path.isprintable(), fault
    assert len(fault.message) <= 280 and 1 <= fault.line <= len(lines), (fault, len(lines))
    assert 1 <= fault.col <= len(lines[fault.line - 1]) + 1, (fault, lines[fault.line - 1])


class TooSlow(Exception):
    """An example took more than a second of processor time."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer than so many seconds of this process's processor time."""

    def stop(*_: object) -> None:
        raise TooSlow(f"more than {seconds} s of processor time")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_growth() -> None:
    """Let this process's address space grow by so much and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MAX_GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def draw_a_few() -> None:
    """Let Hypothesis build its tables of characters, which it keeps beside the project, before memory is limited."""

    @seed(0)
    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(FILE, st.text(min_size=1))
    def drawn(content: bytes, text: str) -> None:
        assert isinstance(content, bytes) and text

    drawn()


def round_of(number: int, n_examples: int, root: Path, seen: Counter[str]) -> None:
    """Throw so many files, drawn from seed `number`."""

    @seed(number)
    @settings(max_examples=n_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=[Phase.generate, Phase.shrink], print_blob=False)  # fmt: skip
    @given(FILE)
    def throw(content: bytes) -> None:
        with within(MAX_CPU_S):
            seen[read(content, root)] += 1

    throw()


def main(argv: list[str]) -> int:
    seconds, number = float(argv[0]), int(argv[1]) if len(argv) > 1 else int.from_bytes(os.urandom(4), "big")
    first, began, seen = number, time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(ROOT / "prompts", Path(root) / "prompts")
        for text in FILES:  # everything is imported and cached before the limit
            assert read(text.encode(), Path(root)) == "accepted", text
        draw_a_few()
        limit_growth()
        while number == first or time.monotonic() - began < seconds:
            try:
                round_of(number, ROUND, Path(root), seen)
            except BaseException:
                print(f"failed in the round of seed {number}: python tests/fuzz_spec.py 0 {number}", flush=True)
                raise
            number += 1
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"examples": seen.total(), "seconds": round(time.monotonic() - began, 1), "seed": first,
                      "rounds": number - first, "peak_mb": peak_mb, "outcomes": dict(seen.most_common())}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
