"""Bad input: every mistake has its code, its exit code, its place and no traceback (the Fields group)."""

from __future__ import annotations

import os
import time

import pytest
from shoestring.errors import SPEC_INVALID, SpecInvalid
from shoestring.resolve import Facts, resolve, resolve_sweeps
from shoestring.spec import spec_from_text
from shoestring_trainer.config import DataConfig

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
DATA = DataConfig(
    path="/data/tiny", name="tiny", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16, n_train=100,
    caption_dim=32, caption_tokens=3.0,
)  # fmt: skip
FACTS = Facts(DATA, "c" * 64)


def read(text: str, root) -> None:
    spec = spec_from_text(text, root)
    resolve(spec, FACTS)
    resolve_sweeps(spec, FACTS)


def faults(text: str, root):
    began = time.process_time()
    with pytest.raises(SpecInvalid) as caught:
        read(text, root)
    assert time.process_time() - began < 2  # seconds of processor time
    assert caught.value.exit_code == SPEC_INVALID
    for fault in caught.value.faults:
        assert "\n" not in fault.message and len(fault.message) < 300, fault
        line = text.split("\n")[fault.line - 1]
        assert 1 <= fault.col <= len(line) + 1
    return caught.value.faults


def with_line(line: str, indent: int = 4) -> str:
    return GOOD + " " * indent + line + "\n"


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_the_good_one_is_good(tmp_path):
    read(GOOD, tmp_path)


MANY = f"matrix: {{batch_size: {list(range(1, 41))}, seed: {list(range(40))}}}"
# (what is written, code, what stands at the reported place, a word of the message or hint)
CASES = [
    (with_line("modle: 1"), "unknown_field", "modle", "did you mean `model`"),
    (with_line("lr_: 1"), "unknown_field", "lr_", "lr"),
    (changed("{kind: none}", "{kind: none, ratio: 0.5}"), "unknown_field", "ratio", "kind"),
    (changed("{preset: nano}", "{preset: nano, dpeth: 3}"), "unknown_field", "dpeth", "did you mean `depth`"),
    (changed("    until: {steps: 10}\n", ""), "missing_field", "", "until"),
    (changed("project: tiny\n", ""), "missing_field", "version", "project"),
    (changed("    lr: 1e-3\n", ""), "missing_field", "{mask", "lr"),
    (changed("{kind: none}", "{ratio: 0.5}"), "missing_field", "{ratio", "kind"),
    (changed("version: 1", "version: 2"), "unsupported_version", "2", "upgrade"),
    (changed("version: 1", "version: one"), "bad_choice", "one", "1"),
    (changed("nano", "spork"), "unknown_preset", "spork", "did you mean `spark`"),
    (changed("1e-3", '"1e-4"'), "wrong_type", '"1e-4"', "without quotes"),
    (changed("1e-3", ".nan"), "not_finite", ".nan", "finite"),
    (changed("1e-3", ".inf"), "not_finite", ".inf", "finite"),
    (changed("1e-3", "-1e-3"), "out_of_range", "-1e-3", "more than 0"),
    (changed("1e-3", "1e300"), "out_of_range", "1e300", "at most 10"),
    (changed("1e-3", "1:30"), "wrong_type", "1:30", "number"),
    (changed("1e-3", "012"), "leading_zero", "012", "write 12"),
    (changed("steps: 10", "steps: 0"), "out_of_range", "0}", "at least 1"),
    (changed("steps: 10", "steps: 1.5"), "wrong_type", "1.5", "write 1 or 2"),
    (changed("steps: 10", "steps: true"), "wrong_type", "true", "whole number"),
    (changed("steps: 10", "steps: 1" + "0" * 30), "out_of_range", "1000", "at most"),
    (changed("steps: 10", "steps: 10, usd: 1"), "not_exactly_one", "{steps", "exactly one"),
    (changed("{steps: 10}", "{}"), "not_exactly_one", "{}", "exactly one"),
    (changed("steps: 10", "images: 3"), "invalid_value", "3}", "more"),
    (with_line("compute: {processes: 3}"), "does_not_fit", "", "not divisible"),
    (with_line("compute: {processes: 9999}"), "out_of_range", "9999", "at most 1024"),
    (with_line("compute: {precision: fp8}"), "bad_choice", "fp8", "fp32"),
    (with_line("compute: {precision: no}"), "bad_choice", "no", "fp32"),
    (changed("{kind: none}", "{kind: random, ratio: 1.0}"), "out_of_range", "1.0", "less than 1"),
    (changed("{kind: none}", "{kind: random, ratio: -0.1}"), "out_of_range", "-0.1", "at least 0"),
    (changed("{kind: none}", "{kind: random, ratio: 0.99}"), "does_not_fit", "0.99", "keeps no token"),
    (changed("{kind: none}", "{kind: blocks}"), "bad_choice", "{kind", "none"),
    (changed("nano}", "nano, patch: 3}"), "does_not_fit", "3}", "does not divide"),
    (changed("nano}", "nano, dim: 65}"), "invalid_value", "65", "multiple of head_dim"),
    (with_line("seed: -1"), "out_of_range", "-1", "at least 0"),
    (with_line("seed: 18446744073709551616"), "out_of_range", "1844", "less than"),
    (with_line("seed: 012"), "leading_zero", "012", "12"),
    (with_line("seeds: []"), "out_of_range", "[]", ""),
    (with_line("seeds: [1, 1]"), "invalid_value", "[1", "twice"),
    (with_line("checkpoints: {every_steps: 0}"), "out_of_range", "0", "at least 1"),
    (with_line("checkpoints: {every_steps: 1, every_usd: 1}"), "not_exactly_one", "{every", "exactly one"),
    (with_line("budget: {max_usd: 0}"), "out_of_range", "0", "more than 0"),
    (with_line("budget: {max_usd: -3}"), "out_of_range", "-3", "more than 0"),
    (with_line('budget: {max_usd: "$$"}'), "wrong_type", '"$$"', "without currency"),
    (with_line("priority: 1e9"), "out_of_range", "1e9", "at most 1000"),
    (with_line("tags: nightly"), "wrong_type", "nightly", "a list"),
    (with_line("extends: b"), "unknown_experiment", "b", "known: a"),
    (with_line("extends: a"), "extends_cycle", "a", "circle"),
    (with_line("matrix: {model.dim: 3}"), "bad_matrix", "3", "lists"),
    (with_line("matrix: {batch_size: [1, -2]}"), "out_of_range", "-2", "at least 1"),
    (with_line(MANY), "too_many_runs", "{batch", "1600"),
    (with_line("samples: {prompts: none.txt, every_share: 1}"), "bad_prompts_file", "none.txt", "not a file"),
    (with_line("samples: {prompts: ../out.txt, every_share: 1}"), "bad_prompts_file", "../", "out of the project"),
    (with_line("samples: {prompts: /dev/zero, every_share: 1}"), "bad_prompts_file", "/dev", "out of the project"),
    (with_line("samples: {prompts: link.txt, every_share: 1}"), "bad_prompts_file", "link", "out of the project"),
    (with_line("samples: {prompts: empty.txt, every_share: 1}"), "bad_prompts_file", "empty", "no prompt"),
    (with_line("samples: {prompts: [], every_share: 1}"), "out_of_range", "[]", ""),
    (changed("stages: [{mask: {kind: none}}]", "stages: []"), "out_of_range", "[]", ""),
    (changed("[{mask: {kind: none}}]", "[{mask: {kind: none}}, {mask: {kind: none}}]"), "bad_shares", "{mask", "share"),
    (changed("[{mask: {kind: none}}]", "[{mask: {kind: none}, share: 0.5}]"), "bad_shares", "[{mask", "sum to 1"),
    (changed("data: tiny", "data: ../../etc/x"), "bad_name", "../", "a-z"),
    (changed("data: tiny", 'data: ""'), "bad_name", '""', "a-z"),
    (changed("  a:", "  -rf:"), "bad_name", "-rf", "a-z"),
    (changed("  a:", "  CON:"), "bad_name", "CON", "a-z"),
    (changed("  a:", f"  {'a' * 300}:"), "bad_name", "aaa", "64"),
    (changed("  a:", "  🙂:"), "bad_name", "🙂", "a-z"),
    (changed("  a:", '  "a\\n#SBATCH":'), "bad_name", '"a', "a-z"),
    (changed("experiments:\n  a:", "experiments: []\nx:\n  a:"), "wrong_type", "[]", "mapping"),
    (GOOD + "defaults: 3\n", "wrong_type", "3", "mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "there", "word"), CASES, ids=[f"{i}-{c[1]}" for i, c in enumerate(CASES)])
def test_a_bad_field_is_refused_where_it_stands(text, code, there, word, tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    os.symlink("/etc/hostname", tmp_path / "link.txt")
    found = [f for f in faults(text, tmp_path) if f.code == code]
    assert found, [(f.code, str(f)) for f in faults(text, tmp_path)]
    fault = found[0]
    place = text.split("\n")[fault.line - 1][fault.col - 1 :]
    assert place.startswith(there), f"{fault}: {place!r}"
    assert word in f"{fault.message} {fault.hint}", fault


SWEEP = """\
sweeps:
  s:
    base: a
    search: {lr_scale}
    objectives: {val/loss: minimize}
"""


def sweep(search: str, more: str = "") -> str:
    return GOOD + SWEEP.replace("{lr_scale}", search) + (f"    {more}\n" if more else "")


SWEEPS = [
    (sweep("{batch_size: {low: 9, high: 3}}"), "bad_search", "9", "above"),
    (sweep("{stages.0.lr: {low: 0, high: 1, log: true}}"), "bad_search", "", "log"),
    (sweep("{batch_size: {choices: []}}"), "out_of_range", "[]", ""),
    (sweep("{batch_size: {choices: [1, 1]}}"), "bad_search", "[1", "twice"),
    (sweep("{ema_decay: {low: 0, high: 0.9, step: 1e-12}}"), "bad_search", "1e-12", "million"),
    (sweep("{batch_sise: {choices: [1, 2]}}"), "unknown_field", "batch_sise", "batch_sise"),
    (sweep("{stages.3.lr: {choices: [1, 2]}}"), "unknown_param", "stages.3", "3"),
    (sweep("{stages.0.mask.ratio: {low: 0, high: 0.5}}"), "unknown_field", "stages.0", "ratio"),
    (sweep("{batch_size: {low: 0, high: 4}}"), "out_of_range", "batch_size", "at least 1"),
    (sweep("{until.steps: {low: 1, high: 4}}", "until: {steps: 5}"), "bad_search", "until.steps", "fixed"),
    (sweep("{model: {choices: [1]}, model.dim: {choices: [64]}}"), "bad_search", "model", "both"),
    (sweep("{batch_size: {choices: [1, 2]}}").replace("base: a", "base: b"), "unknown_experiment", "b", "known: a"),
    (sweep("{batch_size: {choices: [1, 2]}}").replace("minimize", "minimise"), "bad_choice", "minimise", "`minimize`"),
    (sweep("{batch_size: {choices: [1, 2]}}", "trials: 0"), "out_of_range", "0", "at least 1"),
    (sweep("{batch_size: {choices: [1, 2]}}", "budget: {max_usd: 0}"), "out_of_range", "0", "more than 0"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "there", "word"), SWEEPS, ids=[f"{i}-{c[1]}" for i, c in enumerate(SWEEPS)])
def test_a_bad_sweep_is_refused_where_it_stands(text, code, there, word, tmp_path):
    found = [f for f in faults(text, tmp_path) if f.code == code]
    assert found, [(f.code, str(f)) for f in faults(text, tmp_path)]
    place = text.split("\n")[found[0].line - 1][found[0].col - 1 :]
    assert place.startswith(there), f"{found[0]}: {place!r}"
    assert word in f"{found[0].message} {found[0].hint}", found[0]


def test_every_mistake_is_reported_at_once(tmp_path):
    text = changed("1e-3", "-1").replace("nano", "spork").replace("data: tiny", "data: A") + "    modle: 1\n"
    assert [f.code for f in faults(text, tmp_path)] == ["bad_name", "unknown_preset", "out_of_range", "unknown_field"]


def test_a_mistake_in_the_defaults_is_reported_once_and_there(tmp_path):
    text = GOOD.replace("experiments:", "defaults: {ema_decay: 2}\nexperiments:\n  b: {extends: a}\n  c: {extends: a}")
    (fault,) = faults(text, tmp_path)
    assert (fault.line, fault.path, fault.code) == (4, "defaults.ema_decay", "out_of_range")


def test_twenty_thousand_unknown_fields_are_refused_quickly(tmp_path):
    assert len(faults(GOOD + "".join(f"    x{i}: 1\n" for i in range(12_000)), tmp_path)) <= 50


def test_the_seventeenth_ancestor_is_one_too_many(tmp_path):
    chain = "".join(f"  e{i}: {{extends: e{i - 1}}}\n" for i in range(1, 30))
    codes = {f.code for f in faults(GOOD.replace("  a:", "  e0:") + chain, tmp_path)}
    assert codes == {"too_deep"}
