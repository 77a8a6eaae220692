"""A run that draws: the same pictures as drawn at once, whatever happens in between, and nothing told twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError
from shoestring_trainer import config as c
from shoestring_trainer import sample
from shoestring_trainer.drawing import DrawConfig, DrawnFrom, fault_of, kept, manifest_sha256
from shoestring_trainer.journal import read
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.supervise import Stop
from shoestring_trainer.train import train
from trained import trained_run

PROMPTS = ("a red circle", "a small orange house", "a blue cross")
HOW = {"seed": 7, "n_steps": 3, "guidance": 2.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    """A run that made four steps."""
    return trained_run(tmp_path_factory.mktemp("draw"))


def drawing(run: RunDir, folder: Path, prompts: tuple[str, ...] = PROMPTS) -> RunDir:
    """A drawing's folder, ready for its first attempt."""
    newest = run.published()[0]
    config = DrawConfig(
        kind="drawing",
        name="drawing/run",
        source=DrawnFrom(run_dir=str(run.root), checkpoint=newest.name, sha256=manifest_sha256(newest)),
        samples=c.Samples(every_steps=1, prompts=prompts, **HOW),
        price=c.Price(hardware="test", usd_per_hour=3.6, source="test"),
        planned_usd_per_picture=0.001,
    )
    RunDir(folder).write_config(config)
    return RunDir(folder)


class After(Stop):
    """Asks to stop once so many pictures are in the folder."""

    def __init__(self, folder: RunDir, n: int) -> None:
        super().__init__()
        self.folder, self.n = folder, n

    @property
    def reason(self) -> str:
        there = len(list(self.folder.samples.glob("*/[0-9]*.png")))
        return "stopped_by_request" if there >= self.n else ""

    @reason.setter
    def reason(self, value: str) -> None: ...


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def at_once(run, tmp_path_factory) -> dict[str, bytes]:
    """What `shoestring sample` draws."""
    folder = tmp_path_factory.mktemp("at-once")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    argv = [str(run.root), "--out", str(folder / "out"), "--prompts-file", str(folder / "prompts.txt")]
    assert sample.main([*argv, "--seed", "7", "--steps", "3", "--guidance", "2"]) == 0
    return pictures(folder / "out")


def test_a_drawing_draws_bit_by_bit_what_sampling_at_once_does(run, at_once, tmp_path):
    folder = drawing(run, tmp_path / "d")
    result = train(folder.root, token=1)
    assert (result.outcome, result.failure_class, result.step) == ("succeeded", "", 3)
    assert pictures(folder.sample_step(4)) == at_once and len(at_once) == 4
    meta = json.loads((folder.sample_step(4) / "meta.json").read_text())
    assert (meta["step"], meta["usd"], meta["prompts"], meta["seed"]) == (4, 0.04, list(PROMPTS), 7)
    lines = read(folder.journal(1))
    assert [line["step"] for line in lines] == [1, 2, 3] == [line["metrics"]["progress/images"] for line in lines]
    seconds = [line["metrics"]["cost/seconds"] for line in lines]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    last = lines[-1]["metrics"]
    assert last["cost/usd"] == pytest.approx(seconds[2] / 1000) and last["progress/usd"] == pytest.approx(0.003)
    assert last["progress/flops"] == pytest.approx(3 * lines[0]["metrics"]["progress/flops"])
    assert not list(folder.root.glob("**/*.partial"))


def test_a_stopped_drawing_goes_on_with_the_pictures_not_yet_drawn(run, at_once, tmp_path):
    folder = drawing(run, tmp_path / "d")
    stopped = train(folder.root, 1, stop=After(folder, 1))
    assert (stopped.outcome, stopped.step, kept(folder).n) == ("stopped", 1, 1)
    first = folder.sample_step(4) / "000.png"
    drawn_at = first.stat().st_mtime_ns
    assert train(folder.root, 2, stop=After(folder, 2)).step == 2
    assert train(folder.root, 3).outcome == "succeeded"
    assert pictures(folder.sample_step(4)) == at_once and first.stat().st_mtime_ns == drawn_at
    lines = read(folder.journal(3))
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[:1] == read(folder.journal(1)) and lines[:2] == read(folder.journal(2))


@pytest.mark.parametrize(
    ("torn", "n"),
    [
        (lambda f: f.journal(1).write_bytes(f.journal(1).read_bytes()[:-9]), 2),  # killed between file and line
        (lambda f: f.journal(1).write_bytes(b""), 0),
        (lambda f: f.journal(1).unlink(), 0),
        (lambda f: (f.sample_step(4) / "001.png").unlink(), 1),
        (lambda f: shutil.rmtree(f.samples), 0),
        (lambda f: f.journal(2).parent.mkdir(), 3),  # an attempt that died before it wrote anything
    ],
    ids=["torn line", "empty journal", "no journal", "no picture", "no pictures", "empty attempt"],
)
def test_what_a_crash_has_torn_is_drawn_again_to_the_same_bits(run, at_once, tmp_path, torn, n):
    folder = drawing(run, tmp_path / "d")
    assert train(folder.root, 1).outcome == "succeeded"
    torn(folder)
    assert kept(folder).n == n
    assert train(folder.root, 3).outcome == "succeeded"
    assert pictures(folder.sample_step(4)) == at_once
    assert [line["step"] for line in read(folder.journal(3))] == [1, 2, 3]


def test_a_checkpoint_that_is_gone_or_another_is_told_and_not_replaced(run, tmp_path):
    copy = RunDir(Path(shutil.copytree(run.root, tmp_path / "run")))
    folder = drawing(copy, tmp_path / "d")
    manifest = copy.published()[0] / "MANIFEST.json"
    manifest.write_text(manifest.read_text() + " ")
    other = train(folder.root, 1)
    assert other.failure_class == "bad_checkpoint" and "not the checkpoint that was chosen" in other.detail
    shutil.rmtree(copy.checkpoints)
    gone = train(folder.root, 2)
    assert gone.failure_class == "bad_checkpoint" and "is gone" in gone.detail
    assert not folder.samples.exists()


def test_nobody_draws_from_a_drawing(run, tmp_path, capsys):
    folder = drawing(run, tmp_path / "d")
    assert sample.main([str(folder.root), "--out", str(tmp_path / "x")]) == 1
    assert f"the run that it draws from is in {run.root}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ((), "0 prompts: 1 to 16"),
        (("x",) * 17, "17 prompts: 1 to 16"),
        (("a red circle", "  "), "prompt 2 is empty"),
        (("a\nb",), "line break"),
        (("a\u2028b",), "line break"),
        (("a\r",), "line break"),
        (("a\x00b",), r"'\x00'"),
        (("\ud800",), r"'\ud800'"),
        (("x" * 301,), "301 characters: at most 300"),
    ],
)
def test_prompts_that_cannot_be_drawn_are_named(prompts, said):
    assert said in fault_of(prompts)
    assert not fault_of(("x" * 300,) * 16) and not fault_of(("❤️ für 猫, “x” & <b>",))


def test_a_config_that_is_no_drawing_is_refused_whole(run, tmp_path):
    good = DrawConfig.model_validate_json(drawing(run, tmp_path / "d").config_path.read_bytes()).model_dump()
    source = good["source"]
    for wrong in (
        {"source": {**source, "checkpoint": "../step-00000004.t0"}},
        {"source": {**source, "checkpoint": "step-00000004.t0/.."}},
        {"source": {**source, "sha256": "0"}},
        {"compute": {"processes": 2}},
        {"samples": {**good["samples"], "prompts": ["a\nb"]}},
        {"stages": []},
        {"kind": "training"},
    ):
        with pytest.raises(ValidationError):
            DrawConfig.model_validate({**good, **wrong})
