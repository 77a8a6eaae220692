"""Bad input: every mistake in a field has its code, its place and a hint, through `shoestring plan` (exit code 3)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import doors
import pytest
from doors import GOOD


def faults(text: str, root: Path) -> list[dict[str, Any]]:
    began = time.process_time()
    found = doors.faults(root, text)
    assert time.process_time() - began < 2  # seconds of processor time, which a busy machine makes up to twice as many
    return found


def place_of(fault: dict[str, Any], text: str) -> str:
    return text.split("\n")[fault["line"] - 1][fault["col"] - 1 :]


def with_line(line: str, indent: int = 4) -> str:
    return GOOD + " " * indent + line + "\n"


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


ACCEPTED = [
    GOOD,
    changed("1e-3", "1e-4"),
    changed("1e-3", "+.5e0"),
    changed("steps: 10", "steps: 1e1"),
    changed("steps: 10", "steps: 10.0"),
    "\ufeff" + GOOD,
    GOOD.replace("\n", "\r\n"),
    with_line("notes: 🙂 é 中"),
    with_line("priority: -1000"),
    with_line("seed: 9223372036854775807"),
    changed("  a:", "  con.0_x:"),
]


@pytest.mark.parametrize("text", ACCEPTED, ids=range(len(ACCEPTED)))
def test_what_is_right_is_accepted(text, tmp_path):
    (run,) = doors.accepted("plan", str(doors.project(tmp_path, text)))["runs"]
    assert run["n_steps"] == 10


GRID = (
    "matrix: {" + ", ".join(f"{name}: {list(range(1, 1001))}" for name in ("batch_size", "seed", "model.depth")) + "}"
)
DRAWN = "samples: {prompts: [a], every_share: 1, "
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
    (changed("version: 1", "version: true"), "bad_choice", "true", "version: 1"),
    (changed("version: 1", "version: 99"), "unsupported_version", "99", "upgrade"),
    (changed("{kind: none}", "{kind: random}"), "missing_field", "{kind", "`ratio`"),
    (changed("nano}", "nano, qkv_ratio: [1]}"), "missing_field", "[1]", "value 2"),
    (with_line(f"notes: {'x' * 20_000}"), "out_of_range", "xxx", "20000 characters"),
    (with_line("tags: [" + "a, " * 40 + "b]"), "out_of_range", "[a", "41 values"),
    (with_line("budget: {max_usd: 1e-9}"), "budget_below_checkpoint", "1e-9", "checkpoint"),
    (with_line(GRID), "too_many_runs", "{batch", "1000000000"),
    (with_line("matrix: {stages.7.lr: [1]}"), "unknown_field", "[1]", "entry 7"),
    (with_line(DRAWN + "guidance_interval: [3, 1]}"), "does_not_fit", "{prompts", "low must be below high"),
    (with_line(DRAWN + "seeds: [1, 2]}"), "does_not_fit", "{prompts", "2 seeds for 1 prompts"),
    (with_line("output: /etc"), "unknown_field", "output", "output"),
    (with_line("out: runs/../../x"), "unknown_field", "out", "out"),
    (with_line("env: {LD_PRELOAD: x.so}"), "unknown_field", "env", "env"),
    (with_line("env: {HUB_TOKEN: abc}"), "unknown_field", "env", "env"),
    (with_line("callback: os.system"), "unknown_field", "callback", "callback"),
    (with_line("slurm: {partition: gpu; rm -rf ~}"), "unknown_field", "slurm", "slurm"),
    (with_line("compute: {launch: [--privileged]}"), "unknown_field", "launch", "launch"),
    (changed("nano}", "nano, class: torch.nn.Module}"), "unknown_field", "class", "class"),
    (changed("data: tiny", "data: /dev/zero"), "bad_name", "/dev", "a-z"),
    (changed("data: tiny", "data: /etc"), "bad_name", "/etc", "a-z"),
    (changed("data: tiny", "data: runs/../../x"), "bad_name", "runs", "a-z"),
    (changed("data: tiny", "data: %2e%2e/"), "yaml_syntax", "%2e", "check"),
    (changed("data: tiny", "data: '%2e%2e/'"), "bad_name", "'%2e", "a-z"),
    (changed("data: tiny", "data: 'http://169.254.169.254/'"), "bad_name", "'http", "a-z"),
    (changed("data: tiny", "data: 'file:///etc/passwd'"), "bad_name", "'file", "a-z"),
    (changed("  a:", "  a\u202eb:"), "bad_character", "\u202e", "U+202E"),
    (changed("  a:", '  "a\\u202eb":'), "bad_character", '"a', "U+202E"),
    (changed("tiny\ndata", "tiny\nhardware: h100; rm -rf ~\ndata"), "bad_name", "h100", "a-z"),
    (changed("tiny\ndata", "tiny\nhardware: nobody-has-it\ndata"), "unknown_hardware", "nobody", "known"),
    (with_line("samples: {prompts: large.txt, every_share: 1}"), "bad_prompts_file", "large", "64 KiB"),
    (with_line("samples: {prompts: many.txt, every_share: 1}"), "bad_prompts_file", "many", "65 prompts"),
    (with_line("samples: {prompts: nul.txt, every_share: 1}"), "bad_prompts_file", "nul", "U+0000"),
    (with_line("samples: {prompts: latin.txt, every_share: 1}"), "bad_prompts_file", "latin", "UnicodeDecodeError"),
    (with_line("samples: {prompts: data, every_share: 1}"), "bad_prompts_file", "data", "not a file"),
    (with_line("samples: {prompts: zero, every_share: 1}"), "bad_prompts_file", "zero", "out of the project"),
    (with_line(f"samples: {{prompts: [{'x' * 501}], every_share: 1}}"), "out_of_range", "xxx", "501 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "there", "word"), CASES, ids=[f"{i}-{c[1]}" for i, c in enumerate(CASES)])
def test_a_bad_field_is_refused_where_it_stands(text, code, there, word, tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "many.txt").write_text("a red apple\n" * 65)
    (tmp_path / "nul.txt").write_bytes(b"a red\0apple\n")
    (tmp_path / "latin.txt").write_bytes(b"a red \xe4pple\n")
    (tmp_path / "large.txt").touch()
    os.truncate(tmp_path / "large.txt", 100_000_000)  # a hundred MB without a line break, none of them on the disk
    os.symlink("/etc/hostname", tmp_path / "link.txt")
    os.symlink("/dev/zero", tmp_path / "zero")
    found = faults(text, tmp_path)
    fault = next((f for f in found if f["code"] == code), None)
    assert fault, found
    assert place_of(fault, text).startswith(there), fault
    assert word in f"{fault['message']} {fault['hint']}", fault


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
    (sweep("{batch_sise: {choices: [1, 2]}}"), "unknown_field", "batch_sise", "did you mean `batch_size`"),
    (sweep("{data.path: {choices: [/etc, /dev/zero]}}"), "unknown_field", "data.path", "'data'"),
    (sweep("{name: {choices: [x, y]}}"), "unknown_field", "name", "'name'"),
    (sweep("{'': {choices: [1, 2]}}"), "unknown_field", "''", "known"),
    (sweep("{model..dim: {choices: [1, 2]}}"), "unknown_param", "model..dim", "known"),
    (sweep("{seed: {choices: [1, 2]}}"), "bad_search", "seed", "fixed"),
    (sweep("{stages.0.lr: {low: 1e-9, high: 1, step: 1e-9}}"), "bad_search", "1e-9}", "million"),
    (sweep("{batch_size: {low: 1, high: 2, choices: [1]}}"), "bad_search", "[1]", "either"),
    (sweep("{batch_size: {low: 1}}"), "bad_search", "{low", "one of them"),
    (sweep("{batch_size: {low: .nan, high: 2}}"), "not_finite", ".nan", "finite"),
    (sweep("{lr: {choices: [1]}}").replace("val/loss", "'; DROP TABLE runs'"), "bad_format", "'; D", "val/loss"),
    (sweep("{stages.3.lr: {choices: [1, 2]}}"), "unknown_param", "stages.3", "3"),
    (sweep("{stages.0.mask.ratio: {low: 0, high: 0.5}}"), "unknown_field", "stages.0", "ratio"),
    (sweep("{batch_size: {low: 0, high: 4}}"), "out_of_range", "batch_size", "at least 1"),
    (sweep("{until.steps: {low: 1, high: 4}}", "until: {steps: 5}"), "bad_search", "until.steps", "fixed"),
    (sweep("{model: {choices: [1]}, model.dim: {choices: [64]}}"), "bad_search", "model", "both"),
    (sweep("{batch_size: {choices: [1, 2]}}").replace("base: a", "base: b"), "unknown_experiment", "b", "known: a"),
    (sweep("{batch_size: {choices: [1, 2]}}").replace("minimize", "minimise"), "bad_choice", "minimise", "`minimize`"),
    (sweep("{batch_size: {choices: [1, 2]}}", "trials: 0"), "out_of_range", "0", "at least 1"),
    (sweep("{batch_size: {choices: [1, 2]}}", "budget: {max_usd: 0}"), "out_of_range", "0", "more than 0"),
    (sweep("{batch_size: {choices: [1, 2]}}", "sampler: tpee"), "bad_choice", "tpee", "did you mean `tpe`"),
    (sweep("{batch_size: {choices: [1, 2]}}", "sampler: {name: os.system}"), "bad_choice", "{name", "known"),
    (sweep("{batch_size: {choices: [1, 2]}}", "sampler: {name: tpe, callback: x}"), "unknown_field", "callback", ""),
    (sweep("{batch_size: {choices: [1, 2]}}", "sampler: {name: random, popsize: 2}"), "bad_search", "2", "no options"),
    (sweep("{batch_size: {choices: [1, 2]}}", "sampler: 7"), "wrong_type", "7", "mapping"),
    (sweep("{stages.0.lr: {low: 1e-4, high: 1e-3}}", "sampler: grid"), "bad_search", "grid", "has no end"),
    (
        sweep("{batch_size: {low: 1, high: 1000}, stages.0.warmup_steps: {low: 0, high: 999999}}", "sampler: grid"),
        "bad_search", "grid", "more than 10,000 points",
    ),
    (sweep("{lr: {choices: [1]}}", "rungs: {usd: [0.002, 0.001]}"), "bad_search", "[0.002", "each rung above"),
    (sweep("{lr: {choices: [1]}}", "rungs: {usd: [0.002]}"), "out_of_range", "[0.002]", "at least 2"),
    (sweep("{lr: {choices: [1]}}", "rungs: {usd: [1, 2], keep: 1}"), "out_of_range", "1", "less than 1"),
    (sweep("{until.steps: {low: 1, high: 4}}", "rungs: {usd: [1, 2]}"), "bad_search", "until.steps", "fixed"),
    (
        sweep("{lr: {choices: [1]}}", "rungs: {usd: [1, 2]}").replace("val/loss", "cost/usd"),
        "bad_search", "{usd", "not known while",
    ),
    (sweep("{batch_size: {choices: [1, 2]}}", "constraints: {cost/usd: .inf}"), "not_finite", ".inf", "finite"),
    (sweep("{batch_size: {choices: [1, 2]}}", "constraints: {cost: 1}"), "bad_format", "cost", "val/loss"),
    (sweep("{batch_size: {choices: [1, 2]}}", "enqueue: [{batch_size: 3}]"), "bad_search", "{batch", "outside"),
    (sweep("{batch_size: {choices: [1, 2]}}", "enqueue: [{lr: 3}]"), "bad_search", "{lr", "not searched"),
    (sweep("{batch_size: {choices: [1, 2]}}", "warm_start: false"), "bad_choice", "false", "True"),
    (sweep("{batch_size: {choices: [1, 2]}}", "trials: 1000000"), "out_of_range", "1000000", "at most 10000"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "there", "word"), SWEEPS, ids=[f"{i}-{c[1]}" for i, c in enumerate(SWEEPS)])
def test_a_bad_sweep_is_refused_where_it_stands(text, code, there, word, tmp_path):
    found = faults(text, tmp_path)
    fault = next((f for f in found if f["code"] == code), None)
    assert fault, found
    assert place_of(fault, text).startswith(there), fault
    assert word in f"{fault['message']} {fault['hint']}", fault


def test_every_mistake_is_reported_at_once(tmp_path):
    text = changed("1e-3", "-1").replace("nano", "spork").replace("data: tiny", "data: A") + "    modle: 1\n"
    codes = [f["code"] for f in faults(text, tmp_path)]
    assert codes == ["bad_name", "unknown_preset", "out_of_range", "unknown_field"]


def test_a_mistake_in_the_defaults_is_reported_once_and_there(tmp_path):
    text = GOOD.replace("experiments:", "defaults: {ema_decay: 2}\nexperiments:\n  b: {extends: a}\n  c: {extends: a}")
    (fault,) = faults(text, tmp_path)
    assert (fault["line"], fault["path"], fault["code"]) == (4, "defaults.ema_decay", "out_of_range")


def test_twenty_thousand_unknown_fields_are_refused_quickly(tmp_path):
    assert len(faults(GOOD + "".join(f"    x{i}: 1\n" for i in range(12_000)), tmp_path)) <= 50


def test_the_seventeenth_ancestor_is_one_too_many(tmp_path):
    chain = "".join(f"  e{i}: {{extends: e{i - 1}}}\n" for i in range(1, 30))
    codes = {f["code"] for f in faults(GOOD.replace("  a:", "  e0:") + chain, tmp_path)}
    assert codes == {"too_deep"}


DEFAULTS = "defaults: {until: {steps: 9}, model: {preset: nano}, lr: 1, stages: [{mask: {kind: none}}]"
TOP = f"version: 1\nproject: tiny\ndata: tiny\n{DEFAULTS}"
TEN = "{batch_size: [1,2,3,4,5,6,7,8,9,10], seed: [1,2,3,4,5,6,7,8,9,10], ema_decay: [0,.1,.2,.3,.4,.5,.6,.7,.8,.9]}"
RANGES = "{" + ", ".join(f"model.depth{i}: {{low: 1, high: 2}}" for i in range(16)) + "}"
STAGES = "[" + ", ".join(["{share: 0.015625, mask: {kind: none}}"] * 64) + "]"
LARGE = {
    "a thousand points of each of many matrices": (
        TOP + "}\nexperiments:\n" + "".join(f"  e{i}: {{matrix: {TEN}}}\n" for i in range(400)), "too_many_runs"),
    "a parent that is not there, a thousand times": (
        TOP + "}\nexperiments:\n" + "".join(f"  experiment-{i}: {{extends: experimnet-{i}}}\n" for i in range(999)),
        "unknown_experiment"),
    "a base that is not there, a hundred times": (
        TOP + "}\nexperiments:\n" + "".join(f"  experiment-{i}: {{}}\n" for i in range(300)) + "sweeps:\n" + "".join(
            f"  s{i}: {{base: experimnet-{i}, search: {{lr: {{choices: [1]}}}}, objectives: {{val/loss: minimize}}}}\n"
            for i in range(100)), "unknown_experiment"),
    "a file of many prompts, named a thousand times": (
        TOP + ", samples: {prompts: p.txt, every_share: 1}}\nexperiments:\n" + "".join(
            f"  e{i}: {{seed: {i}}}\n" for i in range(1000)), "bad_prompts_file"),
    "a hundred choices of many fields of many sweeps": (
        TOP + "}\nexperiments: {a: {}}\nsweeps:\n" + "".join(
            f"  s{i}: {{base: a, objectives: {{val/loss: minimize}}, search: {{batch_size: &, model.depth: &}}}}\n"
            for i in range(80)).replace("&", f"{{choices: {list(range(1, 101))}}}"), "bad_search"),
    "sixteen ranges of a hundred sweeps": (
        TOP + "}\nexperiments: {a: {}}\nsweeps:\n" + "".join(
            f"  s{i}: {{base: a, objectives: {{val/loss: minimize}}, search: {RANGES}}}\n" for i in range(100)),
        "bad_search"),
    "a thousand runs of sixty-four stages": (
        TOP.replace("[{mask: {kind: none}}]", STAGES) + "}\nexperiments:\n" + "".join(
            f"  e{i}: {{seed: {i}}}\n" for i in range(1000)), "too_many_runs"),
    "a thousand long names that are nearly right": (
        TOP + "}\nexperiments:\n" + "".join(f"  {'a' * 55}{i}: {{extends: {'a' * 55}x{i}}}\n" for i in range(999)),
        "unknown_experiment"),
    "a path of a thousand parts": (
        TOP + "}\nexperiments: {a: {matrix: {? '" + "a." * 5000 + "b' : [1]}}}\n", "too_deep"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code"), LARGE.values(), ids=LARGE)
def test_a_file_that_would_take_minutes_is_refused_within_a_second(text, code, tmp_path):
    (tmp_path / "p.txt").write_text("a\n" * 32_000)
    assert code in [f["code"] for f in faults(text, tmp_path)]
