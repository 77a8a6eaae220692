"""Requests: complete, and the same request whenever they compute the same."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoestring.diff import differences
from shoestring.errors import SpecInvalid, UsageError
from shoestring.request import Request
from shoestring.resolve import Facts, resolve, resolve_sweeps, value_at
from shoestring.spec import spec_from_text
from shoestring_trainer.config import DataConfig

DATA = DataConfig(
    path="/data/tiny", name="tiny", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16, n_train=100,
    caption_dim=32, caption_tokens=3.0,
)  # fmt: skip
FACTS = Facts(DATA, "c" * 64)
FIELDS = {
    "model": "{preset: nano}",
    "until": "{usd: 1}",
    "lr": "1e-3",
    "ema_decay": "0.5",
    "tags": "[x]",
    "notes": "hello",
    "priority": "3",
    "budget": "{max_usd: 2}",
    "stages": "[{share: 0.5, mask: {kind: random, ratio: 0.5}}, {share: 0.5, mask: {kind: none}}]",
}
SWEEP = """\
sweeps:
  s:
    base: a
    until: {usd: 0.5}
    seed: 7
    search:
      stages.0.mask.ratio: {low: 0, high: 0.9}
      model.experts.count: {choices: [1, 2]}
      batch_size: {low: 8, high: 16, step: 8}
    objectives: {val/loss: minimize, cost/usd: minimize}
"""


def text(fields: dict[str, str], name: str = "a", more: str = "") -> str:
    body = "".join(f"    {key}: {value}\n" for key, value in fields.items())
    return f"version: 1\nproject: tiny\ndata: tiny\nexperiments:\n  {name}:\n{body}{more}"


def requests(fields: dict[str, str] = FIELDS, name: str = "a", facts: Facts = FACTS, more: str = "") -> list[Request]:
    return resolve(spec_from_text(text(fields, name, more), facts_root()), facts)


def facts_root():
    from pathlib import Path

    return Path(__file__).parent


def request(**changes: str) -> Request:
    return requests(FIELDS | changes)[0]


def test_one_request_for_each_experiment_and_seed():
    found = requests(FIELDS | {"seeds": "[0, 5]"}, more="  b: {extends: a, seed: 2}\n")
    assert [(r.name, r.seed) for r in found] == [("a/s0", 0), ("a/s5", 5), ("b/s2", 2)]


def test_presentation_does_not_change_the_identity():
    same = requests(FIELDS | {"tags": "[y]", "notes": "other", "priority": "9", "budget": "{max_usd: 1}"}, name="other")
    assert same[0].spec_hash == request().spec_hash
    moved = Facts(DATA.model_copy(update={"path": "/elsewhere"}), "c" * 64)
    assert requests(facts=moved)[0].spec_hash == request().spec_hash


@pytest.mark.parametrize(
    "changes",
    [{"until": "{usd: 2}"}, {"lr": "2e-3"}, {"seed": "1"}, {"batch_size": "8"}, {"model": "{preset: nano, depth: 2}"}],
)
def test_what_is_computed_does(changes):
    assert request(**changes).spec_hash != request().spec_hash


def test_other_data_or_code_is_another_request():
    data = Facts(DATA.model_copy(update={"digest": "e" * 64}), "c" * 64)
    assert len({requests(facts=f)[0].spec_hash for f in (FACTS, data, Facts(DATA, "x"))}) == 3


def test_masks_that_differ_by_kind_alone_differ():
    none, zero = "[{mask: {kind: none}}]", "[{mask: {kind: random, ratio: 0}}]"
    assert request(stages=none).spec_hash != request(stages=zero).spec_hash


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_and_how_a_number_is_written_do_not_matter(draw: random.Random):
    keys = list(FIELDS)
    draw.shuffle(keys)
    fields = {key: FIELDS[key] for key in keys} | {"until": draw.choice(["{usd: 1}", "{usd: 1.0}", "{usd: 10e-1}"])}
    fields["priority"] = draw.choice(["3", "3.0"])
    fields["seed"] = draw.choice(["0", "0.0", "0e0"])
    assert requests(fields)[0].spec_hash == request().spec_hash


def test_a_default_written_out_is_the_same_request():
    assert request(caption_dropout="0.1", compute="{device: cpu}").spec_hash == request().spec_hash


def test_a_request_survives_json():
    asked = request()
    back = Request.model_validate(json.loads(asked.model_dump_json()))
    assert back == asked and back.spec_hash == asked.spec_hash


def test_with_param_makes_what_is_null_on_the_way():
    asked = request().with_param("model.experts.count", 4)
    assert asked.model.experts and asked.model.experts.count == 4
    assert asked.with_param("stages.0.mask.ratio", 0.25).stages[0].mask.ratio == 0.25
    assert request().model.experts is None


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("model.experst.count", 4, "unknown_param"),
        ("stages.9.lr", 1e-3, "unknown_param"),
        ("stages.0.mask.ratio", 1.0, "out_of_range"),
        ("stages.0.mask.ratio", 0.995, "does_not_fit"),
        ("stages.1.mask.ratio", 0.5, "unknown_field"),
        ("batch_size", 1.5, "wrong_type"),
        ("batch_size", "16", "wrong_type"),
        ("model.dim", 65, "invalid_value"),
    ],
)
def test_with_param_validates_again(path, value, code):
    with pytest.raises(UsageError) as caught:
        request().with_param(path, value)
    assert caught.value.code == code and path.split(".")[0] in caught.value.message


def test_a_sweep_is_ready_to_propose_trials():
    spec = spec_from_text(text(FIELDS, more=SWEEP), facts_root())
    (sweep,) = resolve_sweeps(spec, FACTS)
    assert sweep.base.until.usd == 0.5 and sweep.base.seed == 7
    assert [p.integer for p in sweep.parameters] == [False, True, True]
    trial = sweep.trial(3, {"stages.0.mask.ratio": 0.3, "model.experts.count": 2, "batch_size": 8})
    assert (trial.name, trial.experiment) == ("s/t3", "s.t3")
    assert value_at(trial, "stages.0.mask.ratio") == 0.3 and value_at(trial, "model.experts.count") == 2
    assert json.dumps(sweep.as_json())


def test_the_same_trial_twice_is_the_same_request():
    (sweep,) = resolve_sweeps(spec_from_text(text(FIELDS, more=SWEEP), facts_root()), FACTS)
    assert sweep.trial(1, {"batch_size": 8}).spec_hash == sweep.trial(2, {"batch_size": 8}).spec_hash


def test_the_price_row_says_where_to_compute_unless_the_spec_does():
    facts = Facts(DATA, "c" * 64, device="cuda")
    assert requests(facts=facts)[0].compute.device == "cuda"
    assert requests(FIELDS | {"compute": "{device: cpu}"}, facts=facts)[0].compute.device == "cpu"


def test_a_difference_names_only_what_differs():
    a, b = request(), request(lr="2e-3", seed="1").with_param("model.experts.count", 4)
    found = {d.path: (d.a, d.b) for d in differences(a.model_dump(mode="json"), b.model_dump(mode="json"))}
    assert found == {
        "model.experts": (None, {"count": 4, "capacity": 2.0, "every": 2}),
        "stages.0.lr": (1e-3, 2e-3),
        "stages.1.lr": (1e-3, 2e-3),
        "seed": (0, 1),
    }


def test_an_experiment_that_names_a_model_says_the_rest_itself():
    with pytest.raises(SpecInvalid) as caught:
        requests({"until": "{steps: 9}", "model": "{preset: spark}"})
    assert [(fault.code, fault.message) for fault in caught.value.faults] == [("missing_field", "`stages` is missing")]
