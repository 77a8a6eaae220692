"""Parts: what is validated once for several experiments is what each of them would have been by itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from shoestring.parts import Parts
from shoestring.spec_parts import ExperimentSpec

STAGES = ({"mask": {"kind": "random", "ratio": 0.5}, "lr": 1, "noise": {"p_mean": 0}},)
USUAL = {"model": {"dim": 64, "depth": 3, "mixer_dim": 64}, "until": {"steps": 10}, "stages": STAGES}
GOOD = [
    USUAL,
    USUAL | {"evaluate": {"every_steps": 2, "sigmas": (1, 2.5)}, "samples": {"prompts": ("a",), "every_share": 1}},
    USUAL | {"optimizer": {"kind": "muon", "momentum": 0}, "objective": {"kind": "flow"}, "samples": None},
    USUAL | {"compute": {"compile": True}, "seeds": (3, 4), "tags": ("a", "b"), "budget": {"max_usd": 1}},
]
BAD = [
    {"until": {"steps": 10.5}},
    {"until": {"steps": True}},
    {"model": {"dim": 64, "depth": "3"}, "evaluate": {"every_steps": 2}},
    {"stages": ({**STAGES[0], "lr": -1}, {**STAGES[0], "mask": {"kind": "x"}})},
    {"stages": (), "optimizer": {"kind": "sgd"}, "unknown": {}},
    {"stages": STAGES * 2, "samples": ()},
    {"until": {"steps": 1}, "stages": ({**STAGES[0], "share": 0.5},) * 2, "tags": (1,)},
]


def whole(values):
    return ExperimentSpec.model_validate(values, strict=True)


def test_parts_make_the_same_experiment():
    parts = Parts()
    for values in GOOD + GOOD:
        made, alone = whole(parts.of(values)), whole(values)
        assert made == alone and made.model_dump_json() == alone.model_dump_json()
        assert made.model_dump(exclude_unset=True) == alone.model_dump(exclude_unset=True)


def test_equal_parts_are_one_object_and_1_is_neither_true_nor_1_0():
    parts = Parts()
    first, again = (parts.of({"until": {"steps": 10}})["until"] for _ in range(2))
    assert first is again
    for other in (True, 10.0):
        assert isinstance(parts.of({"until": {"steps": other}})["until"], dict)  # strict: refused with the whole


@pytest.mark.parametrize("values", BAD)
def test_parts_leave_what_is_wrong_to_be_said_of_the_whole(values):
    parts, said = Parts(), []
    for spec in (USUAL | values, parts.of(USUAL | values), parts.of(USUAL | values)):
        with pytest.raises(ValidationError) as refused:
            whole(spec)
        said.append([(e["type"], e["loc"], e["msg"]) for e in refused.value.errors()])
    assert said[0] == said[1] == said[2]
