"""Specs: defaults, extends, matrix, presets and prompts become complete experiments."""

from __future__ import annotations

from pathlib import Path

import pytest
from shoestring.errors import SpecInvalid
from shoestring.spec import read_spec, spec_from_text
from shoestring_trainer.config import NoMask, RandomMask
from shoestring_trainer.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
TOP = "version: 1\nproject: tiny\ndata: tiny\n"


def read(body: str, root: Path):
    return spec_from_text(TOP + body, root)


def experiments(body: str, root: Path):
    return {e.name: e.spec for e in read(body, root).experiments}


BASE = """\
defaults: {model: {preset: nano}, lr: 1e-3, until: {usd: 0.1}, stages: [{mask: {kind: none}}]}
experiments:
"""


def test_an_experiment_takes_what_it_does_not_write_from_the_defaults(tmp_path):
    spec = experiments(BASE + "  a:\n  b: {batch_size: 4}\n", tmp_path)
    assert spec["a"].batch_size == 16 and spec["b"].batch_size == 4
    assert spec["a"].model == PRESETS["nano"] and spec["a"].stages[0].lr == 1e-3
    assert spec["a"].stages[0].mask == NoMask(kind="none")


def test_extends_takes_the_parent_before_the_defaults(tmp_path):
    body = BASE + "  a: {ema_decay: 0.9, model: {depth: 2}}\n  b: {extends: a, model: {experts: {count: 4}}}\n"
    b = experiments(body, tmp_path)["b"]
    assert b.ema_decay == 0.9 and b.model.depth == 2 and b.model.experts.count == 4
    assert b.model.dim == PRESETS["nano"].dim


def test_a_child_may_count_in_something_else_than_its_parent(tmp_path):
    body = BASE + "  a: {until: {steps: 5}, evaluate: {every_steps: 2}, seed: 3}\n"
    body += "  b: {extends: a, until: {images: 64}, evaluate: {every_share: 0.5}, seeds: [1, 2]}\n"
    b = experiments(body, tmp_path)["b"]
    assert (b.until.steps, b.until.images, b.evaluate.every_steps, b.evaluate.every_share) == (None, 64, None, 0.5)
    assert b.all_seeds == (1, 2)


def test_another_kind_of_mask_replaces_the_whole_mask(tmp_path):
    body = BASE + "  a: {stages: [{mask: {kind: random, ratio: 0.5, place: naive}}]}\n"
    body += "  b: {extends: a, matrix: {stages.0.mask: [{kind: none}, {kind: random, ratio: 0.25}]}}\n"
    spec = experiments(body, tmp_path)
    assert spec["b.mask-none"].stages[0].mask == NoMask(kind="none")
    assert spec["b.mask-random"].stages[0].mask == RandomMask(kind="random", ratio=0.25)


def test_null_takes_an_inherited_part_away(tmp_path):
    body = BASE + "  a: {samples: {prompts: [x], every_share: 1}, model: {experts: {count: 2}}}\n"
    body += "  b: {extends: a, samples: null, model: {experts: null}}\n"
    spec = experiments(body, tmp_path)
    assert spec["a"].samples and spec["b"].samples is None and spec["b"].model.experts is None


def test_a_matrix_makes_one_experiment_for_each_combination(tmp_path):
    body = BASE + "  a: {matrix: {model.experts.count: [1, 4], batch_size: [8, 16]}}\n"
    spec = experiments(body, tmp_path)
    assert list(spec) == [
        "a.count-1.batch_size-8",
        "a.count-1.batch_size-16",
        "a.count-4.batch_size-8",
        "a.count-4.batch_size-16",
    ]
    assert spec["a.count-4.batch_size-8"].model.experts.count == 4


def test_stage_fields_may_stand_once_for_all_stages(tmp_path):
    stages = "[{share: 0.5, mask: {kind: none}}, {share: 0.5, mask: {kind: none}, lr: 1e-4}]"
    a = experiments(BASE + f"  a: {{cosine_to: 0.5, stages: {stages}}}\n", tmp_path)["a"]
    assert [(s.lr, s.cosine_to) for s in a.stages] == [(1e-3, 0.5), (1e-4, 0.5)]


def test_prompts_come_from_a_file_of_the_project(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "p.txt").write_text("# two\na red circle\n\na blue square\n")
    a = experiments(BASE + "  a: {samples: {prompts: prompts/p.txt, every_share: 1}}\n", tmp_path)["a"]
    assert a.samples.prompts == ("a red circle", "a blue square")


def test_a_learning_rate_in_scientific_notation_is_a_number(tmp_path):
    assert experiments(BASE + "  a: {lr: 1e-4}\n", tmp_path)["a"].stages[0].lr == 1e-4


def test_the_fault_points_to_the_parent_that_wrote_the_value(tmp_path):
    body = BASE + "  a: {batch_size: -1}\n  b: {extends: a}\n"
    with pytest.raises(SpecInvalid) as caught:
        read(body, tmp_path)
    assert [(f.line, f.path) for f in caught.value.faults] == [(6, "experiments.a.batch_size")]


@pytest.mark.parametrize("name", ["experiments.yaml", "experiments.full.yaml", "experiments.smoke.yaml"])
def test_the_shipped_files_are_valid(name):
    assert read_spec(ROOT / name).experiments


def test_the_demo_compares_five_experiments_at_the_same_dollars():
    spec = read_spec(ROOT / "experiments.yaml")
    assert [e.name for e in spec.experiments] == ["dense", "naive-75", "deferred-75", "deferred-75-moe", "hourglass"]
    assert len({e.spec.until.usd for e in spec.experiments}) == 1
    assert list(spec.top.sweeps) == ["mask-and-experts"] and spec.top.showcase
