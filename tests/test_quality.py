"""Quality: the feature network, the kernel distance and its error, caption retrieval, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shoestring_trainer import config as c
from shoestring_trainer import metrics, quality
from shoestring_trainer.features import SHA256, FeatureNet, weights_path
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir


def normal(seed: int, n: int, shift: float = 0.0, width: int = 16) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_our_feature_network_gives_the_packages_features():
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(weights_path(), weights_only=True))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    with torch.inference_mode():
        x = FeatureNet.normalise(torch.from_numpy(pictures))
        expected = theirs.eval().extract_features(x).mean(dim=(2, 3))
    ours = FeatureNet()(pictures)
    assert ours.shape == (2, 1280)
    assert torch.allclose(ours, expected, atol=1e-4)
    assert len(SHA256) == 64


def test_the_kernel_distance_is_the_unbiased_mmd():
    x, y = normal(0, 5).double(), normal(1, 7, 0.5).double()

    def k(a, b):
        return float((a @ b / 16 + 1) ** 3)

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert metrics.kid(x, y).value == pytest.approx(xx + yy - 2 * xy)


def test_equal_distributions_are_near_zero_and_different_ones_far_in_standard_errors():
    same, shifted = metrics.kid(normal(0, 200), normal(1, 300)), metrics.kid(normal(0, 200, 0.5), normal(1, 300))
    assert abs(same.value) < 4 * same.se
    assert shifted.value > 5 * shifted.se


def test_the_standard_error_is_the_scatter_of_repeated_draws():
    repeats = [metrics.kid(normal(2 * i, 60, 0.3), normal(2 * i + 1, 60)) for i in range(200)]
    scatter = np.std([one.value for one in repeats])
    assert np.mean([one.se for one in repeats]) == pytest.approx(scatter, rel=0.2)


def test_a_ridge_finds_a_linear_relation():
    features, weight = normal(0, 200), normal(1, 16, width=4)
    ridge = metrics.fit_ridge(features, features @ weight + 3)
    new = normal(2, 50)
    assert torch.allclose(ridge(new) + ridge.centre, (new @ weight + 3).double(), atol=0.1)


def test_right_captions_are_retrieved_and_random_ones_are_not():
    generator = torch.Generator().manual_seed(0)
    captions, true = normal(0, 10), torch.arange(40) % 10
    right = metrics.retrieval(captions[true].double() + 0.1 * normal(1, 40), captions, true, generator)
    assert right.r1 == 1
    assert right.p == pytest.approx(1 / 2001)
    assert right.similarity > 0.9 > right.similarity_shuffled
    chance = metrics.retrieval(normal(2, 40).double(), captions, true, generator)
    assert chance.r1 < 0.4
    assert chance.p > 0.01


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    folder = tmp_path_factory.mktemp("quality")
    procedural_set(copies=1).write(folder / "procedural-16")
    job = c.TrainConfig(
        name="run",
        seed=0,
        data=read_manifest(folder / "procedural-16"),
        model=PRESETS["nano"],
        objective=c.Edm(kind="edm"),
        optimizer=c.AdamW(kind="adamw"),
        batch_size=4,
        stages=(c.Stage(steps=1, mask=c.NoMask(kind="none"), lr=1e-3),),
        evaluate=c.Evaluate(every_steps=1),
        checkpoints=c.Checkpoints(every_steps=1),
        price=c.Price(hardware="test", usd_per_hour=0.0, source="test"),
    )
    RunDir(folder / "run").write_config(job)
    return RunDir(folder / "run")


def test_the_command_measures_a_run_and_the_same_again(run, tmp_path):
    answers = []
    for name in ("a.json", "b.json"):
        arguments = [str(run.root), "--n", "8", "--steps", "2", "--untrained", "--out", str(tmp_path / name)]
        assert quality.main(arguments) == 0
        answers.append(json.loads((tmp_path / name).read_text()) | {"seconds": 0})
    assert answers[0] == answers[1]  # the second time with the real pictures' features from the data folder
    answer = answers[0]
    assert answer["eval/kid_effnet"] > 5 * answer["eval/kid_effnet_se"] > 0
    assert (answer["n"], answer["n_real"], answer["n_captions"], answer["n_fit"]) == (8, 7, 7, 33)
    assert answer["eval/retrieval_r1_real"] > 0.3 > answer["eval/retrieval_r1"]
    assert answer["eval/retrieval_p"] > 0.01
    assert answer["n_seen"] + answer["n_heldout"] == 8
    for split in ("seen", "heldout"):
        assert answer[f"eval/kid_effnet_{split}"] > 0 and answer[f"eval/kid_effnet_{split}_se"] > 0


def test_a_run_without_a_checkpoint_is_told_so(run, tmp_path, capsys):
    assert quality.main([str(run.root), "--n", "8", "--out", str(tmp_path / "q.json")]) == 1
    assert "train first" in capsys.readouterr().err
