"""A run as a folder that diffusers loads in a process that has no Shoestring."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from shoestring_trainer import config as c
from shoestring_trainer import export_diffusers, import_public, sample
from shoestring_trainer.data import DataSet
from shoestring_trainer.model import DiT
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.prompts import Prompts
from shoestring_trainer.public_layout import constants, export_weights, sizes_of
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.text import MINILM, open_text_encoder

MODEL = c.ModelConfig(
    dim=32, depth=3, head_dim=8, multiple_of=8, patch=2, mixer_depth=1, mixer_dim=24, experts=c.Experts(count=3)
)
PROMPTS = ["a red circle", "something that nobody drew"]
ELSEWHERE = """
import sys

class NoShoestring:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("shoestring", "shoestring_trainer", "shoestring_ui"):
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, NoShoestring())
import numpy as np
from diffusers import DiffusionPipeline

for folder in sys.argv[2:]:
    pipe = DiffusionPipeline.from_pretrained(folder, custom_pipeline=f"{folder}/pipeline.py", trust_remote_code=True)
    prompts = sys.argv[1].split("|")
    np.save(f"{folder}/drawn.npy", pipe(prompts, seed=7, num_inference_steps=3, output_type="np").images)
    pipe(prompts[0], seed=7, num_inference_steps=1).images[0].save(f"{folder}/drawn.png")
assert not [name for name in sys.modules if name.split(".")[0] in ("shoestring", "shoestring_trainer")]
"""


def make_run(folder: Path, latents: bool, objective: c.Objective) -> RunDir:
    """A run with random weights, drawing pixels or the shipped autoencoder's latents."""
    made, shape = procedural_set(copies=1), (3, 16, 16)
    if latents:
        shape = (8, 8, 8)
        values = torch.randn(len(made.items), *shape).half().numpy()
        made = replace(made, latents=values, autoencoder=Path(__file__).parents[1] / "autoencoder")
    made.write(folder / "set")
    net, generator = DiT(MODEL, shape, 32), torch.Generator().manual_seed(0)
    net.init_weights(generator)
    weights = {k: v + torch.randn(v.shape, generator=generator) * 0.05 for k, v in net.state_dict().items()}
    public = export_weights(weights, MODEL.patch) | constants(MODEL, shape)
    save_file(public, folder / "w.safetensors", {"config": json.dumps(sizes_of(MODEL, shape, 32, objective))})
    arguments = [str(folder / "w.safetensors"), "--data", str(folder / "set"), "--out", str(folder / "run")]
    assert import_public.main(arguments) == 0
    run = RunDir(folder / "run")
    own = c.Samples(every_steps=1, prompts=("a red circle",), sampler="heun", guidance_interval=(0.05, 10.0))
    run.write_config(run.read_config().model_copy(update={"samples": own}))
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, RunDir]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("pixels", "latents")}
    return {
        "pixels": make_run(folders["pixels"], False, c.Flow(kind="flow", shift=1.5)),
        "latents": make_run(folders["latents"], True, c.Edm(kind="edm", sigma_data=0.7)),
    }


@pytest.mark.slow
def test_diffusers_draws_the_same_pictures_in_a_process_without_shoestring(runs, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    for name, run in runs.items():
        assert export_diffusers.main([str(run.root), "--out", str(tmp_path / name)]) == 0
        arguments = ["--prompts-file", str(tmp_path / "prompts.txt"), "--seed", "7", "--steps", "3", "--guidance", "3"]
        assert sample.main([str(run.root), "--out", str(tmp_path / f"{name}-ours"), *arguments]) == 0
    folders = [str(tmp_path / name) for name in runs]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    argv = [sys.executable, "-c", ELSEWHERE, "|".join(PROMPTS), *folders]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in runs:
        drawn = np.load(tmp_path / name / "drawn.npy")
        ours = [np.asarray(Image.open(tmp_path / f"{name}-ours" / f"{i:03d}.png")) for i in range(len(PROMPTS))]
        assert drawn.std() > 5 and (drawn == np.stack(ours)).all()


def test_the_folder_carries_the_modules_that_drawing_needs_and_no_others():
    modules = export_diffusers.carried_modules()
    assert {"model.py", "blocks.py", "experts.py", "sampling.py", "objectives.py", "text.py"} <= modules.keys()
    assert not {"train.py", "step.py", "data.py", "attempt.py", "optimizer.py"} & modules.keys()
    for name, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                named = [node.module] if node.module else [alias.name for alias in node.names]
                assert {f"{module}.py" for module in named} <= modules.keys(), name
            elif isinstance(node, ast.Import | ast.ImportFrom):
                assert "shoestring_trainer" not in ast.unparse(node), name


def test_a_folder_of_something_else_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    assert export_diffusers.main([str(runs["pixels"].root), "--out", str(tmp_path / "mine")]) == 1
    assert "is no exported model" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_sentence_encoder_goes_along_and_encodes_new_sentences(tmp_path):
    made = procedural_set(copies=1)
    states = [np.zeros((2, MINILM["dim"]), np.float16) for _ in made.captions]
    replace(made, text_states=states, text=MINILM).write(tmp_path / "set")
    assert export_diffusers._write_text_encoder(tmp_path / "text_encoder", DataSet.open(tmp_path / "set"))
    carried = Prompts.from_pretrained(tmp_path / "text_encoder")
    new = "a small green house"
    expected = open_text_encoder(MINILM).encode([new])[0]
    assert (carried([new]).states[0].numpy() == expected.astype(np.float32)).all()
    assert not carried([made.captions[0]]).states.any()  # a caption of the set is looked up
