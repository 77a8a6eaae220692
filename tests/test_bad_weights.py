"""Bad input: files of weights from elsewhere, through `import_public`. One line with a class, no traceback, no run."""

from __future__ import annotations

import json
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shoestring_trainer import import_public
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.sealed import unseal
from shoestring_trainer.text import WordVectors

GOLDEN = Path(__file__).parent / "golden" / "microdit_small.safetensors"


class Evil:
    """Unpickling it would end the process."""

    def __reduce__(self) -> tuple:
        return sys.exit, (99,)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set that suits the golden file's network: latents of 4×8×8, captions 24 wide."""
    made, folder = procedural_set(copies=1), tmp_path_factory.mktemp("sets") / "latents"
    latents = np.zeros((len(made.items), 4, 8, 8), np.float16)
    states, words = WordVectors(24).encode(made.captions), {**made.text, "dim": 24}
    autoencoder = Path(__file__).parents[1] / "autoencoder"
    replace(made, latents=latents, text_states=states, text=words, autoencoder=autoencoder).write(folder)
    return folder


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    return {k.removeprefix("weights."): v for k, v in load_file(GOLDEN).items() if k.startswith("weights.")}


def header(content: bytes, claims: int | None = None) -> bytes:
    return struct.pack("<Q", len(content) if claims is None else claims) + content


def tensors(change) -> object:
    """A well-formed file whose tensors were changed."""
    return lambda path, public: save_file(change(dict(public)), path)


def said(**config: object) -> object:
    return lambda path, public: save_file(public, path, {"config": json.dumps(config)})


def flipped(path: Path, public: dict[str, torch.Tensor]) -> None:
    save_file(public, path)
    content = bytearray(path.read_bytes())
    content[content.index(b"blocks.0") + 1] ^= 1
    path.write_bytes(content)


def cut(path: Path, public: dict[str, torch.Tensor]) -> None:
    save_file(public, path)
    os.truncate(path, path.stat().st_size - 1)


def overlapping(path: Path, _: object) -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    path.write_bytes(header(json.dumps({"a": one, "b": one}).encode()) + b"\0" * 8)


def negative(path: Path, _: object) -> None:
    one = {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}
    path.write_bytes(header(json.dumps({"a": one}).encode()) + b"\0" * 8)


def content(it: bytes) -> object:
    return lambda path, public: path.write_bytes(it)


FILES = {
    "a pickle named safetensors": (lambda path, public: torch.save({"x": Evil()}, path), "not a readable safetensors"),
    "a header of 2^63 bytes": (content(header(b"{}", 2**63)), "not a readable safetensors"),
    "a header longer than the file": (content(header(b"{}", 10**9)), "not a readable safetensors"),
    "a header nested too deep": (content(header(b"[" * 100_000)), "not a readable safetensors"),
    "a header that is no JSON": (content(header(b"\xff" * 100)), "not a readable safetensors"),
    "truncated by a byte": (cut, "not a readable safetensors"),
    "a flipped bit in a name": (flipped, "layout"),
    "0 bytes": (content(b""), "not a readable safetensors"),
    "HTML": (content(b"<!DOCTYPE html><html>404</html>"), "not a readable safetensors"),
    "tensors over each other": (overlapping, "not a readable safetensors"),
    "a tensor of 2^124 values": (negative, "not a readable safetensors"),
    "no tensors": (tensors(lambda t: {"x": torch.ones(1)}), "no public MicroDiT checkpoint"),
    "whole numbers": (tensors(lambda t: {k: v.to(torch.int8) for k, v in t.items()}), "int8; allowed: float32"),
    "a tensor less": (tensors(lambda t: {k: v for k, v in t.items() if k != "blocks.1.norm1.weight"}), "1.norm1"),
    "a tensor of another shape": (tensors(lambda t: t | {"blocks.0.norm1.weight": torch.ones(3)}), "blocks.0.norm1"),
    "a tensor without dimensions": (tensors(lambda t: t | {"patch_mixer.0.norm1.weight": torch.ones(())}), "shapes"),
    "a tensor of too few dimensions": (tensors(lambda t: t | {"blocks.1.mlp.w1": torch.ones(2)}), "shapes"),
    "a block of 10^12": (tensors(lambda t: t | {f"blocks.{10**12}.norm1.weight": torch.ones(64)}), "no network"),
    "sizes that contradict": (said(dim=99), "dim is 99"),
    "sizes that are no numbers": (said(head_dim="all"), "head_dim"),
    "sizes that are lists": (said(qkv_ratio="x", every=[1]), "no network"),
    "sizes nested too deep": (
        lambda path, public: save_file(public, path, {"config": "[" * 100_000}), "not a readable safetensors"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(make, words, data, public, tmp_path, capsys):
    make(tmp_path / "w.safetensors", public)
    arguments = [str(tmp_path / "w.safetensors"), "--data", str(data), "--out", str(tmp_path / "run")]
    assert import_public.main(arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(("bad_checkpoint: ", "bad_config: ", "bad_data: ")) and words in line, line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors"]


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_what_is_no_file_is_not_read(path, data, tmp_path, capsys):
    assert import_public.main([path, "--data", str(data), "--out", str(tmp_path / "run")]) == 1
    assert "is not a file" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["[" * 100_000, '{"class": "os.system"}', '{"dim": {}}', "[]", ""])
def test_sizes_in_a_file_are_data_and_checked(model, data, public, tmp_path, capsys):
    save_file(public, tmp_path / "w.safetensors")
    (tmp_path / "sizes.json").write_text(model)
    arguments = [str(tmp_path / "w.safetensors"), "--data", str(data), "--out", str(tmp_path / "run")]
    assert import_public.main([*arguments, "--model", str(tmp_path / "sizes.json")]) == 1
    assert capsys.readouterr().err.startswith(("bad_config: ", "bad_checkpoint: ", "bad_data: "))


@pytest.mark.slow
@pytest.mark.parametrize("make", [
    lambda path: path.write_bytes(b"<!DOCTYPE html>"), lambda path: path.write_bytes(b""),
    lambda path: torch.save([1, [2, {"x": Evil()}]], path), lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."),
], ids=["HTML", "0 bytes", "a pickle that runs code", "an old pickle"])  # fmt: skip
def test_a_pickle_is_read_by_no_one_who_would_run_it(make, data, tmp_path, capsys):
    make(tmp_path / "w.pt")
    assert import_public.main([str(tmp_path / "w.pt"), "--data", str(data), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("bad_checkpoint: ") and "nothing is executed" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"null", b"[" * 100_000, b"\xff", b'{"version": 1}', b'{"version": []}']
)
def test_a_checkpoint_whose_manifest_is_none_does_not_verify(manifest, tmp_path):
    folder = RunDir(tmp_path).checkpoint(1, 1)
    folder.mkdir(parents=True)
    (folder / "MANIFEST.json").write_bytes(manifest)
    with pytest.raises(BadCheckpoint, match=folder.name):
        unseal(folder, ("state.json",))
