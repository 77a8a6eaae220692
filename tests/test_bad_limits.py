"""The worst inputs, each in a process of its own: refused within a second of processor time and 200 MB of memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import doors
import pytest
from doors import GOOD
from shoestring.yaml_source import MAX_BYTES

MAX_CPU_S, MAX_MB = 1.0, 200
BOMB = "a: &a [x]\n" + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(20))
POINTS = "{batch_size: [1,2,3,4,5,6,7,8,9], seed: [1,2,3,4,5,6,7,8,9], ema_decay: [0,.1,.2,.3,.4,.5,.6,.7,.8]}"
PROMPTS = GOOD + "    samples: {prompts: p.txt, every_share: 1}\n"
SPECS: dict[str, tuple[str, str]] = {
    "an alias bomb": (BOMB, "anchor"),
    "20,000 brackets": ("[" * 20_000, "too_deep"),
    "5,000 digits": (GOOD.replace("10}", "7" * 5000 + "}"), "number_too_long"),
    "more than 256 KiB": (GOOD + "#" * MAX_BYTES, "too_large"),
    "100 MB": ("", "too_large"),
    "a caption line of 100 MB": (PROMPTS, "bad_prompts_file"),
    "prompts of /dev/zero": (PROMPTS.replace("p.txt", "zero"), "bad_prompts_file"),
    "a million matrix points": (
        GOOD + "".join(f"  e{i}: {{extends: a, matrix: {POINTS}}}\n" for i in range(600)), "too_many_runs"),
    "250 KiB of unknown fields": (GOOD + "".join(f"    x{i}: 1\n" for i in range(12_000)), "unknown_field"),
    "250 KiB of braces": ("{" + "a" * 250_000, "yaml_syntax"),
    "250 KiB of quotes": ("a: " + '"\\' * 125_000, "yaml_syntax"),
}  # fmt: skip


def prepare(root: Path, name: str, text: str) -> Path:
    file = doors.project(root, text)
    (root / "p.txt").touch()
    os.truncate(root / "p.txt", 100_000_000)
    (root / "zero").symlink_to("/dev/zero")
    if name == "100 MB":
        os.truncate(file, 100_000_000)
    return file


def in_a_child(command: Callable[[], object]) -> tuple[float, float]:
    """(seconds of processor time, peak MB of memory, this process's own included) of `command`, in a fork of ours."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = sum(os.times()[:2])
            command()
            facts = [sum(os.times()[:2]) - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
            os.write(theirs, json.dumps(facts).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        facts = json.loads(answer.read() or b"[0, 0]")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child failed; its own traceback is above"
    return facts[0], facts[1]


def spec_is_refused(root: Path, name: str) -> None:
    file = prepare(root, name, SPECS[name][0])
    assert SPECS[name][1] in [f["code"] for f in doors.refused("plan", str(file), exit_code=3).faults]


def picture_is_refused(root: Path, name: str) -> None:
    from shoestring_trainer.failures import BadData
    from shoestring_trainer.prepare.sources import open_picture

    with pytest.raises(BadData, match="pixels"):
        open_picture(doors.png_of(50_000, 50_000))


def manifest_is_refused(root: Path, name: str) -> None:
    file = doors.project(root)
    (root / "data" / "tiny" / "manifest.json").unlink()
    (root / "data" / "tiny" / "manifest.json").symlink_to("/dev/zero")
    doors.refused("plan", str(file), exit_code=4)


def device_is_refused(root: Path, name: str) -> None:
    doors.refused("plan", "/dev/zero", exit_code=6)


OTHERS = {"a picture of 50,000²": picture_is_refused, "/dev/zero as a manifest": manifest_is_refused,
          "/dev/zero as a spec": device_is_refused}  # fmt: skip


def measure() -> None:
    """Every case in a fork of this process, which has imported what the command line needs and nothing more."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        doors.accepted("plan", str(doors.project(Path(folder))))
    for name, refuse in {**dict.fromkeys(SPECS, spec_is_refused), **OTHERS}.items():
        with tempfile.TemporaryDirectory() as folder:
            cpu_s, peak_mb = in_a_child(lambda refuse=refuse, folder=folder, name=name: refuse(Path(folder), name))
        print(json.dumps({"name": name, "cpu_s": round(cpu_s, 3), "peak_mb": round(peak_mb)}), flush=True)


def test_the_worst_inputs_take_less_than_a_second_and_200_mb():
    argv = [sys.executable, __file__]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["name"] for one in found] == [*SPECS, *OTHERS]
    assert not [one for one in found if one["cpu_s"] > MAX_CPU_S or one["peak_mb"] > MAX_MB], found


if __name__ == "__main__":
    measure()
