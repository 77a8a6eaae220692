"""What a GPU is told before it trains. No GPU is needed to see that: the settings are the process's."""

from __future__ import annotations

import subprocess
import sys

STEP = """
import sys
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
print(net.mixer[0].ffn.router.weight.grad is not None, "torch._inductor" in sys.modules)
print(torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32)
"""


def test_a_gpu_adds_in_one_order_or_refuses_which_a_masked_step_with_experts_gives_no_reason_to():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False", "2", "False"]  # and the compiler, which takes seconds, is left out
