"""Our network against a second one on public names, written from the paper's facts: at the golden sizes and at others.

The reference is slow and short: loops over images and experts, whole-image maps. It is first held to the golden file,
so that what it says at other sizes is what the public definition says.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from shoestring_trainer import config as c
from shoestring_trainer import parity
from shoestring_trainer.model import DiT
from shoestring_trainer.public_layout import constants, export_weights, sizes_of
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden" / "microdit_small.safetensors"
SMALL = c.ModelConfig(dim=64, depth=4, head_dim=16, multiple_of=16, patch=2, mixer_depth=2, mixer_dim=48)
CAPTION_DIM, L = 24, 7


class Reference:
    """The public network on a public state dict `w`."""

    def __init__(self, w: dict[str, Tensor], head_dim: int, capacity: float, sigma_data: float = 0.9) -> None:
        self.w, self.head_dim, self.capacity, self.sigma_data = w, head_dim, capacity, sigma_data
        self.patch = w["x_embedder.proj.weight"].shape[-1]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], None, 1e-6)

    def mlp(self, x: Tensor, name: str) -> Tensor:
        x = F.gelu(self.linear(x, f"{name}.fc1"), approximate="tanh")
        return self.linear(self.norm(x, f"{name}.norm"), f"{name}.fc2")

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = (F.layer_norm(one, one.shape[-1:], None, None, 1e-6) for one in (q, k))
        q, k, v = (one.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for one in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def self_attention(self, x: Tensor, name: str) -> Tensor:
        return self.linear(self.attend(*self.linear(x, f"{name}.qkv").chunk(3, -1)), f"{name}.proj")

    def cross_attention(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        k, v = self.linear(y, f"{name}.kv_linear").chunk(2, -1)
        return self.linear(self.attend(self.linear(x, f"{name}.q_linear"), k, v), f"{name}.proj")

    def ffn(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.gate.weight" not in self.w:
            return self.linear(F.silu(self.linear(x, f"{name}.w1")) * self.linear(x, f"{name}.w2"), f"{name}.w3")
        share = self.linear(x, f"{name}.gate").softmax(-1)  # (B, N, E)
        n_experts = share.shape[-1]
        k = min(max(int(self.capacity * x.shape[1] / n_experts), 1), x.shape[1])
        images = []
        for image, shares in zip(x, share, strict=True):
            out = torch.zeros_like(image)
            for expert in range(n_experts):
                weight, ids = shares[:, expert].topk(k)
                hidden = F.gelu(image[ids] @ self.w[f"{name}.w1"][expert])
                out = out.index_add(0, ids, weight[:, None] * (hidden @ self.w[f"{name}.w2"][expert]))
            images.append(out)
        return torch.stack(images)

    def block(self, x: Tensor, y: Tensor, condition: Tensor, name: str) -> Tensor:
        a, b, gate, d, e, last = self.modulation(condition, name, 6)
        x = x + gate * self.self_attention(self.norm(x, f"{name}.norm1") * (1 + b) + a, f"{name}.attn")
        x = x + self.cross_attention(self.norm(x, f"{name}.norm2"), y, f"{name}.cross_attn")
        return x + last * self.ffn(self.norm(x, f"{name}.norm3") * (1 + e) + d, f"{name}.mlp")

    def modulation(self, condition: Tensor, name: str, n: int) -> tuple[Tensor, ...]:
        activated = F.gelu(condition, approximate="tanh")
        return self.linear(activated, f"{name}.adaLN_modulation.1").unsqueeze(1).chunk(n, -1)

    def between(self, x: Tensor, name: str) -> Tensor:
        return self.linear(self.norm(x, f"{name}.0"), f"{name}.1") if f"{name}.0.weight" in self.w else x

    def network(self, x: Tensor, c_noise: Tensor, y: Tensor, keep: Tensor | None) -> Tensor:
        """Patches (B, K, p·p·C)."""
        angles = c_noise[:, None] * 10000.0 ** (-torch.arange(256) / 256)
        time = F.gelu(self.linear(torch.cat([angles.cos(), angles.sin()], -1), "t_embedder.mlp.0"), approximate="tanh")
        y, name = self.mlp(y, "y_embedder.y_proj"), "y_emb_preprocess"
        y = y + self.self_attention(self.norm(y, f"{name}.norm1"), f"{name}.attn")
        y = y + self.ffn(self.norm(y, f"{name}.norm2"), f"{name}.mlp")
        condition = self.linear(time, "t_embedder.mlp.2") + self.mlp(y.mean(1), "pooled_y_emb_process")
        x = F.conv2d(x, self.w["x_embedder.proj.weight"], self.w["x_embedder.proj.bias"], stride=self.patch)
        x = x.flatten(2).transpose(1, 2) + self.w["pos_embed"]
        x, mixer_y = self.between(x, "patch_mixer_map_xin"), self.between(y, "patch_mixer_map_y")
        for i in range(self.count("patch_mixer")):
            x = self.block(x, mixer_y, condition, f"patch_mixer.{i}")
        if keep is not None:
            x = torch.stack([image[ids] for image, ids in zip(x, keep, strict=True)])
        x = self.between(x, "patch_mixer_map_xout")
        for i in range(self.count("blocks")):
            x = self.block(x, y, condition, f"blocks.{i}")
        shift, scale = self.modulation(condition, "final_layer", 2)
        return self.linear(self.norm(x, "final_layer.norm_final") * (1 + scale) + shift, "final_layer.linear")

    def count(self, group: str) -> int:
        return len({name.split(".")[1] for name in self.w if name.startswith(f"{group}.")})

    def denoise(self, x: Tensor, sigma: Tensor, y: Tensor, keep: Tensor | None = None) -> Tensor:
        s, d, p = sigma.view(-1, 1, 1, 1), self.sigma_data, self.patch
        patches = self.network(x / (s**2 + d**2).sqrt(), sigma.log() / 4, y, keep)
        batch, channels, rows, columns = len(x), x.shape[1], x.shape[2] // p, x.shape[3] // p
        if keep is not None:
            whole = torch.zeros(batch, rows * columns, patches.shape[-1])
            patches = torch.stack([w.index_copy(0, i, k) for w, i, k in zip(whole, keep, patches, strict=True)])
        image = patches.view(batch, rows, columns, p, p, channels).permute(0, 5, 1, 3, 2, 4)
        return d**2 / (s**2 + d**2) * x + s * d / (s**2 + d**2).sqrt() * image.reshape(x.shape)

    def loss(self, x: Tensor, sigma: Tensor, noise: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        p, s, d = self.patch, sigma.view(-1, 1, 1, 1), self.sigma_data
        error = (s**2 + d**2) / (s * d) ** 2 * (self.denoise(x + s * noise, sigma, y, keep) - x) ** 2
        per_patch = F.avg_pool2d(error.mean(1, keepdim=True), p).flatten(1)  # (B, T)
        return per_patch.gather(1, keep).mean(1).mean()

    @torch.no_grad()
    def sample(self, start: Tensor, y: Tensor) -> Tensor:
        """Heun, six steps, guidance 3."""
        ramp, null = torch.linspace(0, 1, 6, dtype=torch.float64), torch.zeros_like(y)
        levels = [*(80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, torch.tensor(0.0)]

        def slope(x: Tensor, sigma: Tensor) -> Tensor:
            s = sigma.float().expand(len(x))
            free, bound = self.denoise(x.float(), s, null), self.denoise(x.float(), s, y)
            return (x - (free + 3.0 * (bound.double() - free))) / sigma

        x = start.double() * 80
        for sigma, following in pairwise(levels):
            first = slope(x, sigma)
            ahead = x + (following - sigma) * first
            x = ahead if following == 0 else x + (following - sigma) * (first + slope(ahead, following)) / 2
        return x.float()


def answers(w: dict[str, Tensor], given: dict[str, Tensor], head_dim: int, capacity: float) -> dict[str, Tensor]:
    """The golden file's tensors, computed by the reference from its inputs."""
    first = next((n for n in sorted(w, key=lambda n: n.startswith("blocks")) if n.endswith("mlp.w1")), None)
    leaves = [n for n in ("x_embedder.proj.weight", first) if n]
    w = {name: tensor.clone().requires_grad_(name in leaves) for name, tensor in w.items()}
    net, x, sigma, y = Reference(w, head_dim, capacity), given["x"], given["sigma"], given["captions"]
    noisy = x + given["noise"] * sigma.view(-1, 1, 1, 1)
    loss = net.loss(x, sigma, given["noise"], y, given["keep"])
    gradients = torch.autograd.grad(loss, [w[name] for name in leaves])
    with torch.no_grad():
        full, masked = net.denoise(noisy, sigma, y), net.denoise(noisy, sigma, y, given["keep"])
    named = dict(zip(("grad_patch_embed", "grad_first_expert_w1"), gradients, strict=False))
    sampled = net.sample(given["sample_start"], y)
    return {"denoised_full": full, "denoised_masked": masked, "loss_masked": loss.detach().view(1),
            "sample_heun6_cfg3": sampled, **named}  # fmt: skip


def golden_file(path: Path, model: c.ModelConfig, shape: tuple[int, int, int]) -> Path:
    """A file like the golden one, of another network with random weights."""
    generator = torch.Generator().manual_seed(3)
    random = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731
    net = DiT(model, shape, CAPTION_DIM)
    net.init_weights(generator)
    weights = {k: v + 0.05 * random(*v.shape) for k, v in net.state_dict().items()}
    public = export_weights(weights, model.patch) | constants(model, shape)
    n_tokens = shape[1] * shape[2] // model.patch**2
    keep = torch.stack([torch.randperm(n_tokens, generator=generator)[: n_tokens // 4] for _ in range(2)])
    given = {"x": random(2, *shape), "noise": random(2, *shape), "sigma": random(2).exp(), "keep": keep,
             "captions": random(2, L, CAPTION_DIM), "sample_start": random(2, *shape)}  # fmt: skip
    capacity = model.experts.capacity if model.experts else 2.0
    tensors = given | answers(public, given, model.head_dim, capacity)
    sizes = sizes_of(model, shape, CAPTION_DIM, c.Edm(kind="edm"))
    save_file({k: v.contiguous() for k, v in tensors.items()} | {f"weights.{k}": v for k, v in public.items()}, path,
              {"config": json.dumps(sizes)})  # fmt: skip
    return path


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_reference_gives_the_golden_numbers():
    golden = load_file(GOLDEN)
    public = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    found = answers(public, golden, head_dim=16, capacity=2.0)
    assert len(found) == 6 and max(relative(value, golden[name]) for name, value in found.items()) < 1e-5


def with_experts(count: int, **sizes: object) -> c.ModelConfig:
    return SMALL.model_copy(update={"experts": c.Experts(count=count), **sizes})


@pytest.mark.parametrize(("model", "shape"), [
    (with_experts(4, mixer_dim=64), (4, 8, 8)),
    (with_experts(3), (16, 8, 8)),
    (with_experts(5, pos_scale=2.0), (4, 16, 16)),
    (SMALL, (4, 8, 16)),
    (with_experts(1, depth=2, mixer_depth=3, patch=1), (3, 4, 4)),
], ids=["equal widths", "3 experts, 16 channels", "5 experts, positions over 2", "no experts, not square", "1 expert"],
)  # fmt: skip
def test_the_network_equals_the_reference_at_other_sizes(model, shape, tmp_path):
    errors = parity.compare(golden_file(tmp_path / "golden.safetensors", model, shape))
    assert len(errors) == (7 if model.experts else 6) and max(errors.values()) < 1e-5, errors


@pytest.mark.slow
def test_the_command_prints_every_error_and_fails_above_the_tolerance(tmp_path):
    tensors = load_file(GOLDEN)
    tensors["denoised_full"] = tensors["denoised_full"] * 1.001
    from safetensors import safe_open

    with safe_open(GOLDEN, "pt") as file:
        save_file(tensors, tmp_path / "wrong.safetensors", file.metadata())
    for path, code in ((GOLDEN, 0), (tmp_path / "wrong.safetensors", 1)):
        argv = [sys.executable, "-m", "shoestring_trainer.parity", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == code and "denoised_full" in json.loads(done.stdout)
