"""What a GPU is told before it trains. No GPU is needed to see that: the settings are the process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETTINGS = """
import sys
import torch
from shoestring_trainer.device import always_the_same
always_the_same(compiled={compiled})
print(torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32, "torch._inductor" in sys.modules)
"""
STEPS = """
import torch
from shoestring_trainer.config import Experts, ModelConfig
from shoestring_trainer.device import always_the_same
from shoestring_trainer.masking import Keep
from shoestring_trainer.model import Captions, DiT
always_the_same(compiled=False)
model = ModelConfig(dim=32, depth=2, head_dim=16, multiple_of=16, patch=2, mixer_depth=1, mixer_dim=32,
                    experts=Experts(count=4, capacity=2.0, every=1))
net = DiT(model, (3, 8, 8), 8)
net.init_weights(torch.Generator().manual_seed(0))
keep = Keep(torch.tensor([[0, 3, 5, 9]]).expand(2, -1))
net(torch.ones(2, 3, 8, 8), torch.zeros(2), Captions(torch.ones(2, 3, 8)), keep).square().sum().backward()
print(sum(p.grad is not None for p in net.parameters()) > 0)
"""


def said_by(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_adds_in_one_order_or_refuses_and_only_a_compiled_run_imports_the_compiler(compiled):
    assert said_by(SETTINGS.format(compiled=compiled)) == ["2", "False", str(compiled)]


def test_a_masked_step_with_experts_has_an_ordered_kernel_for_every_sum():
    assert said_by(STEPS) == ["True"]
