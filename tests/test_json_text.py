"""JSON text of frozen values: what `json` itself writes, however often a part was written before."""

from __future__ import annotations

import json

from shoestring.json_text import CANONICAL, MAX_KNOWN, STORED, Writer
from shoestring_trainer.config import Edm, Frozen, LogNormal, Samples


class Inner(Frozen):
    shift: float
    words: tuple[str, ...] = ('a "quoted" ü\n', "")


class Outer(Frozen):
    name: str
    n: int
    ratio: float
    flag: bool
    nothing: Inner | None
    inner: Inner
    several: tuple[Inner, ...]
    pair: tuple[float, float] | None = (1e-7, 1e300)


def outer(inner: Inner, **changes) -> Outer:
    values = {"name": "é\\", "n": 2**63, "ratio": 0.1, "flag": True, "nothing": None, "several": (inner, inner)}
    return Outer(**{**values, "inner": inner, **changes})


def test_a_frozen_value_is_written_as_its_dump_is():
    for one in (outer(Inner(shift=1.0)), outer(Inner(shift=2.0), flag=False, several=(), ratio=5.0, pair=None)):
        for _ in range(2):
            dump = one.model_dump(mode="json")
            assert STORED.text(one) == json.dumps(dump)
            assert CANONICAL.text(one) == json.dumps(dump, sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert STORED.text({"b": [1, None], "a": float("nan")}) == json.dumps({"b": [1, None], "a": float("nan")})


def test_equal_parts_keep_their_own_zero():
    for shift in (0.0, -0.0, 0.0):
        one = outer(Inner(shift=shift))
        assert STORED.text(one) == json.dumps(one.model_dump(mode="json"))


def test_a_writer_forgets_and_never_takes_one_part_for_another():
    writer = Writer()
    for number in range(2 * MAX_KNOWN + 3):  # each is gone before the next is made, so ids come again
        part = LogNormal(p_mean=float(number))
        assert writer.part(part) == json.dumps(part.model_dump(mode="json"))
    for part in (Edm(kind="edm"), Samples(every_steps=1, prompts=("a",), guidance_interval=(0.1, 2.0))):
        assert writer.part(part) == json.dumps(part.model_dump(mode="json"))
