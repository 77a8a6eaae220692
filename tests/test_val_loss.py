"""`val/loss`: the same question to every run."""

from __future__ import annotations

import pytest
import torch
from shoestring_trainer.config import Edm, Evaluate, Flow
from shoestring_trainer.data import DataSet
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.failures import BadData
from shoestring_trainer.model import DiT
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.val_loss import ValLoss

CPU = torch.device("cpu")
EVALUATE = Evaluate(every_steps=1, n_images=3, sigmas=(0.2, 1.0, 5.0))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataSet:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return DataSet.open(folder)


def test_a_perfect_answer_scores_zero_and_a_constant_error_its_square(data):
    val_loss = ValLoss(data, EVALUATE, CPU)
    assert val_loss(lambda x, sigma, captions: val_loss.x)["val/loss"] == 0
    off = val_loss(lambda x, sigma, captions: val_loss.x + sigma[:, None, None, None] / 2)
    assert off["val/loss_at_0.2"] == pytest.approx(0.01, rel=1e-5)
    assert off["val/loss_at_5"] == pytest.approx(6.25, rel=1e-5)
    assert off["val/loss"] == pytest.approx((0.01 + 0.25 + 6.25) / 3, rel=1e-5)


def test_it_asks_about_the_first_val_images_with_their_captions_and_noise_of_that_level(data):
    asked = []
    ValLoss(data, EVALUATE, CPU)(lambda *question: asked.append(question) or question[0])
    x, captions = data.batch(data.val[:3])
    for sigma, (noisy, levels, given) in zip(EVALUATE.sigmas, asked, strict=True):
        assert torch.equal(given.states, captions.states)
        assert torch.equal(levels, torch.full((3,), sigma))
        assert (noisy - x).std().item() == pytest.approx(sigma, rel=0.1)


def test_every_run_is_asked_the_same(data):
    questions = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ValLoss(data, EVALUATE, CPU)(lambda x, *_: questions.append(x) or x)
    first, second = questions[:3], questions[3:]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_free_value_at_step_0_is_what_a_fresh_network_scores(data):
    net = DiT(PRESETS["nano"], (3, 16, 16), data.data_config().caption_dim)
    net.init_weights(torch.Generator().manual_seed(0))
    val_loss = ValLoss(data, EVALUATE, CPU)
    for objective in (Edm(kind="edm", sigma_data=0.9), Flow(kind="flow")):
        scored = val_loss(Denoiser(net.eval(), objective).denoise)
        assert val_loss.untrained(objective) == pytest.approx(scored, rel=1e-6)


def test_a_set_without_a_val_split_is_refused(data, tmp_path):
    empty = DataSet.open(data.path)
    empty.val = empty.val[:0]
    with pytest.raises(BadData, match="no val split"):
        ValLoss(empty, EVALUATE, CPU)
