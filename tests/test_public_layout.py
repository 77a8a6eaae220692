"""The public checkpoint layout: names both ways, sizes from shapes, files read safely, refusals that explain."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from shoestring_trainer import config as c
from shoestring_trainer import export_public, import_public
from shoestring_trainer import public_layout as layout
from shoestring_trainer.failures import BadCheckpoint, BadData, TrainFailure
from shoestring_trainer.model import DiT
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.public_sizes import infer_model
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.text import WordVectors
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden" / "microdit_small.safetensors"
SHAPE, CAPTION_DIM = (4, 8, 8), 24
SMALL = c.ModelConfig(dim=64, depth=4, head_dim=16, multiple_of=16, patch=2, mixer_depth=2, mixer_dim=48)
SIZES = {
    "no experts": (SMALL, SHAPE),
    "equal mixer and backbone": (SMALL.model_copy(update={"mixer_dim": 64, "experts": c.Experts(count=4)}), SHAPE),
    "3 experts, 16 channels": (SMALL.model_copy(update={"experts": c.Experts(count=3)}), (16, 8, 8)),
    "5 experts, positions over 2": (
        SMALL.model_copy(update={"experts": c.Experts(count=5), "pos_scale": 2.0}), (4, 16, 16),
    ),
    "no mixer, not square": (SMALL.model_copy(update={"mixer_depth": 0, "mixer_dim": 64}), (4, 8, 16)),
    "heads of 32": (SMALL.model_copy(update={"dim": 128, "depth": 6, "head_dim": 32, "mixer_dim": 96}), SHAPE),
}  # fmt: skip


def data_of(shape: tuple[int, int, int], caption_dim: int = CAPTION_DIM) -> c.DataConfig:
    return c.DataConfig(
        path="/data", name="d", digest="0", space="latents", shape=shape, size_px=32, n_train=8,
        caption_dim=caption_dim, caption_tokens=7,
    )  # fmt: skip


def checkpoint(model: c.ModelConfig = SMALL, shape: tuple[int, int, int] = SHAPE) -> dict[str, Tensor]:
    """A public checkpoint of a fresh network with stirred weights."""
    net, generator = DiT(model, shape, CAPTION_DIM), torch.Generator().manual_seed(0)
    net.init_weights(generator)
    stirred = {k: v + torch.randn(v.shape, generator=generator) * 0.02 for k, v in net.state_dict().items()}
    return layout.export_weights(stirred, model.patch) | layout.constants(model, shape)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """An encoded set with latents 4×8×8 and captions 24 wide, as the golden file's network wants them."""
    made, folder = procedural_set(copies=1), tmp_path_factory.mktemp("data") / "latents"
    latents = torch.randn(len(made.items), *SHAPE, generator=torch.Generator().manual_seed(0)).half().numpy()
    states, words = WordVectors(CAPTION_DIM).encode(made.captions), {**made.text, "dim": CAPTION_DIM}
    autoencoder = Path(__file__).parents[1] / "autoencoder"
    replace(made, latents=latents, text_states=states, text=words, autoencoder=autoencoder).write(folder)
    return folder


def imported(file: Path, data: Path, out: Path, *options: str) -> RunDir:
    assert import_public.main([str(file), "--data", str(data), "--out", str(out), *options]) == 0
    return RunDir(out)


def exported(run: RunDir, out: Path, *options: str) -> dict[str, Tensor]:
    assert export_public.main([str(run.root), "--out", str(out), *options]) == 0
    return load_file(out)


def same_bytes(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k].view(-1).view(torch.uint8),
                                                                              b[k].view(-1).view(torch.uint8))
        for k in a
    )  # fmt: skip


# ── names and shapes ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("preset", [name for name, model in PRESETS.items() if not model.whole_grid])
def test_every_name_of_a_network_goes_there_and_back(preset):
    model = PRESETS[preset]
    shape = (4, 8 * model.patch, 8 * model.patch)
    for public in layout.public_shapes(model, shape, 24):
        ours = layout.our_name(public)
        assert ours is not None and layout.public_name(ours) == public


def test_the_golden_checkpoint_has_exactly_the_names_and_shapes_we_expect():
    golden = {k.removeprefix("weights."): v for k, v in load_file(GOLDEN).items() if k.startswith("weights.")}
    model = SMALL.model_copy(update={"experts": c.Experts(count=4)})
    found = {name: tuple(t.shape) for name, t in golden.items() if name not in layout.CONSTANTS}
    assert found == layout.public_shapes(model, SHAPE, CAPTION_DIM)
    assert all(torch.equal(t, golden[name]) for name, t in layout.constants(model, SHAPE).items())


@pytest.mark.parametrize("name", ["blocks.0.attn.qkv.scale", "blocks.0.mlp", "head.weight", "blocks.x.norm1.weight"])
def test_a_name_outside_the_layout_is_unknown(name):
    assert layout.our_name(name) is None


@pytest.mark.parametrize(("model", "shape"), SIZES.values(), ids=SIZES)
def test_sizes_are_read_from_shapes_and_weights_come_back_equal(model, shape):
    public = checkpoint(model, shape)
    found = infer_model(public, {}, data_of(shape))
    assert found.model_copy(update={"multiple_of": model.multiple_of}) == model
    net = DiT(found, shape, CAPTION_DIM)
    net.load_state_dict(layout.import_weights(public))
    again = layout.export_weights(net.state_dict(), found.patch) | layout.constants(found, shape)
    assert same_bytes(public, again)


def test_heads_that_the_shapes_leave_open_have_to_be_said():
    wide = SMALL.model_copy(update={"qkv_ratio": (1.0, 1.0), "mlp_ratio": (4.0, 4.0)})
    with pytest.raises(BadCheckpoint, match=r"head_dim 8, 16"):
        infer_model(checkpoint(wide), {}, data_of(SHAPE))
    assert infer_model(checkpoint(wide), {"head_dim": 16}, data_of(SHAPE)).head_dim == 16


# ── files ───────────────────────────────────────────────────────────────────────────────────────


def test_the_golden_weights_become_a_run_and_come_back_byte_equal(data, tmp_path):
    run = imported(GOLDEN, data, tmp_path / "run")
    config = run.read_config()
    assert config.model.head_dim == 16 and config.objective == c.Edm(kind="edm", sigma_data=0.9)
    golden = {k.removeprefix("weights."): v for k, v in load_file(GOLDEN).items() if k.startswith("weights.")}
    assert same_bytes(exported(run, tmp_path / "ema.safetensors"), golden)
    assert same_bytes(exported(run, tmp_path / "raw.safetensors", "--raw"), golden)
    again = imported(tmp_path / "ema.safetensors", data, tmp_path / "again")  # its own metadata says the sizes
    assert again.read_config().model == config.model


def test_half_precision_comes_back_in_half_precision(data, tmp_path):
    halves = {name: tensor.bfloat16() for name, tensor in checkpoint().items()}
    save_file(halves, tmp_path / "halves.safetensors")
    run = imported(tmp_path / "halves.safetensors", data, tmp_path / "run")
    assert same_bytes(exported(run, tmp_path / "out.safetensors"), halves)


@pytest.mark.parametrize("nest", [
    lambda t: t,
    lambda t: {"state_dict": {f"dit.{k}": v for k, v in t.items()} | {"vae.conv.weight": torch.ones(2)}, "epoch": 3},
    lambda t: {"state": {"model": {f"dit.{k}": v for k, v in t.items()}, "rng": [1, 2]}},
])  # fmt: skip
def test_a_pickle_of_tensors_in_dicts_is_read_in_another_process(data, tmp_path, nest):
    public = checkpoint()
    torch.save(nest(public), tmp_path / "weights.pt")
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({"head_dim": 16, "multiple_of": 16}))
    run = imported(tmp_path / "weights.pt", data, tmp_path / "run", "--model", str(sizes))
    assert run.read_config().model == SMALL
    assert same_bytes(exported(run, tmp_path / "out.safetensors"), public)


class Evil:
    """Unpickling it would call `exit`."""

    def __reduce__(self) -> tuple:
        return sys.exit, (0,)


def test_a_pickle_that_would_run_code_is_refused(data, tmp_path, capsys):
    torch.save({**checkpoint(), "more": Evil()}, tmp_path / "evil.pt")
    arguments = [str(tmp_path / "evil.pt"), "--data", str(data), "--out", str(tmp_path / "run")]
    assert import_public.main(arguments) == 1
    assert "nothing is executed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_checkpoints_in_one_file_have_to_be_told_apart(data, tmp_path):
    public = checkpoint()
    both = {f"model.{k}": v for k, v in public.items()} | {f"ema.{k}": v + 1 for k, v in public.items()}
    save_file(both, tmp_path / "both.safetensors")
    with pytest.raises(BadCheckpoint, match=r"--prefix 'ema.' or --prefix 'model.'"):
        import_public.read_public(tmp_path / "both.safetensors")
    run = imported(tmp_path / "both.safetensors", data, tmp_path / "run", "--prefix", "model")
    assert same_bytes(exported(run, tmp_path / "out.safetensors"), public)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


def without(name: str) -> dict[str, Tensor]:
    return {k: v for k, v in checkpoint().items() if k != name}


@pytest.mark.parametrize(("public", "said", "error", "told"), [
    (lambda: without("blocks.2.norm2.weight"), {}, BadCheckpoint, r"missing: blocks\.2\.norm2\.weight"),
    (lambda: without("y_embedder.y_proj.fc1.weight"), {}, BadCheckpoint, r"missing: y_embedder"),
    (lambda: checkpoint() | {"blocks.0.lora.weight": torch.ones(1)}, {}, BadCheckpoint, r"unknown: blocks\.0\.lora"),
    (lambda: checkpoint() | {"t_embedder.mlp.0.weight": torch.ones(64, 256)}, {}, BadCheckpoint, r"\(64, 256\), not"),
    (lambda: checkpoint() | {"pos_embed": checkpoint()["pos_embed"] * 1.01}, {}, BadCheckpoint, "pos_embed"),
    (lambda: checkpoint() | {"mask_token": torch.ones(1, 1, 16)}, {}, BadCheckpoint, "mask_token"),
    (checkpoint, {"depth": 6}, BadCheckpoint, "depth is 6"),
    (checkpoint, {"head_dim": 32}, BadCheckpoint, "head_dim 32"),
    (lambda: checkpoint(shape=(16, 8, 8)), {}, BadData, "16 channels"),
    (lambda: checkpoint(shape=(4, 16, 16)), {}, BadData, "64 positions"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_reason(public, said, error, told):
    with pytest.raises(error, match=told):
        infer_model(public(), said, data_of(SHAPE))


def test_captions_of_another_width_are_refused():
    with pytest.raises(BadData, match="captions 24 wide, and the set's are 32"):
        infer_model(checkpoint(), {}, data_of(SHAPE, 32))


@pytest.mark.parametrize(("model", "told"), [("huge", "neither a preset"), ("{'dim'", "neither a preset")])
def test_a_model_that_is_neither_preset_nor_file_is_refused(model, told):
    with pytest.raises(TrainFailure, match=told):
        import_public.said_by(model)


def test_a_files_unknown_sizes_are_named(tmp_path):
    (tmp_path / "s.json").write_text('{"heads": 3}')
    with pytest.raises(TrainFailure, match="heads unknown; allowed: capacity, depth"):
        import_public.said_by(str(tmp_path / "s.json"))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint, match="not a readable safetensors"):
        import_public.read_public(tmp_path / "a.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "b.safetensors")
    with pytest.raises(BadCheckpoint, match="holds no public MicroDiT checkpoint"):
        import_public.read_public(tmp_path / "b.safetensors")
