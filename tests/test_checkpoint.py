"""Checkpoints: one verifies to the last bit or does not exist."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from shoestring_trainer import checkpoint, sealed
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import RunDir
from torch import nn

STATE = {"config_sha256": "c0ffee", "journal_offset": 17, "wall_seconds": 1.5}


def save(run: RunDir, step: int, token: int = 1, keep_last: int = 5):
    torch.manual_seed(step)
    return checkpoint.save(run, step, token, (nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(2, 2)), STATE, keep_last)


@pytest.fixture
def run(tmp_path) -> RunDir:
    return RunDir(tmp_path)


def test_what_was_saved_is_loaded(run):
    torch.manual_seed(7)
    parts = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(2, 2)
    path = checkpoint.save(run, 7, 3, parts, STATE, keep_last=2)
    loaded = checkpoint.load_newest(run)
    assert path.name == "step-00000007.t3"
    assert (loaded.step, loaded.token, loaded.state, loaded.journal_offset) == (7, 3, STATE, 17)
    for part, tensors in zip(parts, (loaded.weights, loaded.ema, loaded.optimizer), strict=True):
        assert all(torch.equal(tensors[name], value) for name, value in part.state_dict().items())


def test_nothing_published_is_nothing_to_load(run):
    assert checkpoint.load_newest(run) is None


def test_nothing_is_pickled(run):
    assert {p.suffix for p in save(run, 1).iterdir()} == {".safetensors", ".json"}


def test_the_last_few_are_kept(run):
    for step in (1, 2, 3, 4):
        save(run, step, keep_last=2)
    assert [p.name for p in run.published()] == ["step-00000004.t1", "step-00000003.t1"]
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["step-00000003.t1", "step-00000004.t1"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [*checkpoint.FILES, "MANIFEST.json"])
def test_damage_to_any_file_falls_back_to_the_one_before(run, name, damage):
    save(run, 1)
    damage(save(run, 2) / name)
    assert checkpoint.load_newest(run).step == 1
    assert [p.name for p in run.published()] == ["step-00000001.t1"]


def test_all_damaged_fails_loudly_again_and_again(run):
    for step in (1, 2):
        flip(save(run, step) / "weights.safetensors")
    for _ in range(2):
        with pytest.raises(BadCheckpoint, match="delete that folder"):
            checkpoint.load_newest(run)


def test_a_checkpoint_that_lost_its_manifest_is_damaged_not_absent(run):
    (save(run, 1) / "MANIFEST.json").unlink()
    with pytest.raises(BadCheckpoint, match="delete that folder"):
        checkpoint.load_newest(run)


def test_whichever_bit_of_a_manifest_changes_it_is_refused_or_says_the_same(run):
    path = save(run, 1)
    file, sealed_as = path / "MANIFEST.json", sealed.unseal(path, checkpoint.FILES)
    content = file.read_bytes()
    for bit in range(8 * len(content)):
        spoilt = bytearray(content)
        spoilt[bit // 8] ^= 1 << bit % 8
        file.write_bytes(spoilt)
        try:
            assert sealed.unseal(path, checkpoint.FILES) == sealed_as, bytes(spoilt)
        except BadCheckpoint:
            continue


def test_a_manifest_cannot_name_other_files(run):
    path = save(run, 1)
    manifest = json.loads((path / "MANIFEST.json").read_text())
    manifest["files"]["../../secret"] = manifest["files"].pop("state.json")
    (path / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(BadCheckpoint, match="allowed"):
        checkpoint.read(path)


def test_another_checkpoints_manifest_is_refused(run):
    first, second = save(run, 1), save(run, 2)
    shutil.copy(first / "MANIFEST.json", second / "MANIFEST.json")
    with pytest.raises(BadCheckpoint, match="another checkpoint"):
        checkpoint.read(second)


def test_a_pickle_under_a_tensor_files_name_is_refused(run):
    path = save(run, 1)
    torch.save({"weight": torch.zeros(2)}, path / "weights.safetensors")
    manifest = json.loads((path / "MANIFEST.json").read_text())
    manifest["files"]["weights.safetensors"] = {
        "size": (path / "weights.safetensors").stat().st_size,
        "sha256": sealed.sync_and_hash(path / "weights.safetensors"),
    }
    (path / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(BadCheckpoint, match="SafetensorError"):
        checkpoint.read(path)


def test_what_a_killed_attempt_left_half_written_is_cleared(run):
    published = save(run, 1)
    for name in (".step-00000002.t1.partial", ".step-00000000.t1.removed", ".step-00000003.t2.partial"):
        (run.checkpoints / name).mkdir()
    assert run.published() == [published]
    sealed.sweep_partials(run, token=2)
    assert sorted(p.name for p in run.checkpoints.iterdir()) == [".step-00000003.t2.partial", published.name]


def test_a_save_that_fails_leaves_nothing(run):
    class Unsaveable:
        def state_dict(self):
            raise OSError(28, "No space left on device")

    save(run, 1)
    with pytest.raises(OSError):
        checkpoint.save(run, 2, 1, (nn.Linear(2, 2), Unsaveable(), nn.Linear(2, 2)), STATE, 2)
    assert [p.name for p in run.checkpoints.iterdir()] == ["step-00000001.t1"]
