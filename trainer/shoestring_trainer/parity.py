"""Compare this implementation with numbers from the public model definition.

    python -m shoestring_trainer.parity FILE.safetensors [--device cuda]

FILE holds public weights (`weights.*`), inputs and outputs (recipe §6), and its metadata the sizes. Prints JSON,
tensor → relative error; exit 1 above 1e-4.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.masking import Keep
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.public_layout import FIRST, POSITIONS, import_weights, model_of, objective_of, patch_linear
from shoestring_trainer.sampling import noise_levels, sample

TOLERANCE = 1e-4


def compare(path: Path, device: str = "cpu") -> dict[str, float]:
    """Compute every golden tensor on `device` → ‖ours − golden‖ / ‖golden‖. Raises KeyError when the file lacks one."""
    with safe_open(path, "pt", device) as file:
        golden = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        sizes = json.loads(file.metadata()["config"])
    public = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    shape = tuple(golden["x"].shape[1:])
    net = DiT(model_of(sizes, public[FIRST].shape[-1]), shape, sizes["cap_dim"])
    net.load_state_dict(import_weights(public))
    net.to(device)
    denoiser = Denoiser(net, objective_of(sizes))
    ours = _outputs(denoiser, golden) | _gradients(net, denoiser, golden)
    ours["positions"], golden["positions"] = net.get_buffer("positions"), public[POSITIONS][0]
    return {name: float((value - golden[name]).norm() / golden[name].norm()) for name, value in ours.items()}


def _outputs(denoiser: Denoiser, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    captions, keep, sigma = Captions(golden["captions"]), Keep(golden["keep"]), golden["sigma"]
    noisy = golden["x"] + golden["noise"] * sigma.view(-1, 1, 1, 1)
    sigmas = noise_levels(6, denoiser.objective)
    with torch.no_grad():
        return {
            "denoised_full": denoiser.denoise(noisy, sigma, captions),
            "denoised_masked": denoiser.denoise(noisy, sigma, captions, keep),
            "sample_heun6_cfg3": sample(denoiser, captions, golden["sample_start"], sigmas, 3.0, "heun"),
        }


def _gradients(net: DiT, denoiser: Denoiser, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """The masked loss and two of its gradients; the expert is the first MoE block's first matrix."""
    loss = denoiser.loss(
        golden["x"], golden["sigma"], golden["noise"], Captions(golden["captions"]), Keep(golden["keep"])
    )
    loss.backward()
    values = {"loss_masked": loss.detach().view(1)}
    golden["grad_patch_embed"] = patch_linear(golden["grad_patch_embed"])
    gradients = {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}
    values["grad_patch_embed"] = gradients["patch_embed.weight"]
    if "grad_first_expert_w1" in golden:
        first = next(name for name in gradients if name.endswith("ffn.w1"))
        values["grad_first_expert_w1"] = gradients[first]
    return values


def main() -> None:
    """Print the errors; exit 1 when one is above the tolerance."""
    parser = argparse.ArgumentParser(prog="shoestring_trainer.parity", description="Compare with public numbers.")
    parser.add_argument("file", type=Path, help="golden file, safetensors")
    parser.add_argument("--device", default="cpu", help="cuda, mps (default cpu)")
    args = parser.parse_args()
    errors = compare(args.file, args.device)
    print(json.dumps(errors, indent=1))
    raise SystemExit(any(not error <= TOLERANCE for error in errors.values()))


if __name__ == "__main__":
    main()
