"""The demo's pictures and captions, from the pinned packages, are the same everywhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from shoestring_trainer.prepare.build import build
from shoestring_trainer.prepare.encoded_set import EncodedSet, Item
from shoestring_trainer.prepare.fetch import KEPT, fetch
from shoestring_trainer.text import MINILM

ROOT = Path(__file__).resolve().parents[1]


def test_the_lock_file_pins_every_package_by_hash_and_names_no_registry():
    lock = json.loads((ROOT / "package-lock.json").read_bytes())
    wanted = json.loads((ROOT / "package.json").read_bytes())["dependencies"]
    for name, package in lock["packages"].items():
        assert "resolved" not in package
        assert name == "" or package["integrity"].startswith("sha512-")
    assert {package for package, _ in KEPT.values()} == set(wanted)
    assert all(lock["packages"][f"node_modules/{name}"]["version"] == version for name, version in wanted.items())


def test_the_demo_prompts_are_eight_sentences_in_all_four_styles():
    prompts = (ROOT / "prompts" / "demo.txt").read_text().splitlines()
    assert len(prompts) == len(set(prompts)) == 8
    assert {" ".join(prompt.split()[:4]) for prompt in prompts} == {
        "a 3D render of", "a flat icon of", "a glossy cartoon of", "a simple cartoon of",
    }  # fmt: skip


def test_every_output_of_the_data_stages_is_known_to_git_or_ignored_by_it():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        for out in stage["outs"]:
            if isinstance(out, str):  # cached by DVC
                assert subprocess.run(["git", "check-ignore", "-q", f"{out}/x"], cwd=ROOT, check=False).returncode == 0
            else:
                assert (ROOT / next(iter(out))).exists()


@pytest.mark.slow
def test_the_pinned_packages_give_the_published_digest(tmp_path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    fetch(ROOT, tmp_path / "packages")
    manifest = build(tmp_path / "packages", tmp_path / "raw", params["build"])
    assert manifest["n_images"] == 5579 and manifest["dropped"] == []
    items = [Item(**item) for item in json.loads((tmp_path / "raw" / "items.json").read_bytes())]
    captions = json.loads((tmp_path / "raw" / "captions.json").read_bytes())
    made = EncodedSet(
        name="emoji-32",
        images=np.load(tmp_path / "raw" / "images-32.npy"),
        items=items,
        captions=captions,
        text_states=[],  # neither these nor latents are part of the digest
        text=MINILM,
        autoencoder=ROOT / "autoencoder",
    )
    assert f"`{made.digest()}`" in (ROOT / "data" / "README.md").read_text()
    assert all(captions) and len(set(captions)) == len(captions)
    prompts = (ROOT / "prompts" / "demo.txt").read_text().splitlines()
    split = {captions[item.caption]: item.split for item in items}
    assert sorted(split[prompt] for prompt in prompts) == ["holdout"] * 2 + ["train"] * 6
    families = {s: {item.family for item in items if item.split == s} for s in ("train", "val", "holdout")}
    assert not families["val"] & (families["train"] | families["holdout"])
    assert families["holdout"] <= families["train"]
