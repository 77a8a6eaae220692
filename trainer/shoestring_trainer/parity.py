"""Compare this implementation with numbers from the public model definition.

    python -m shoestring_trainer.parity FILE.safetensors

FILE holds public weights (`weights.*`), inputs and outputs (recipe §6), and its metadata the sizes. Prints JSON,
tensor → relative error; exit 1 above 1e-4.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from shoestring_trainer.config import Experts, ModelConfig
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.masking import Keep
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.sampling import sample

TOLERANCE = 1e-4

# public name → ours, applied in order; the rest of a name (`weight`, `bias`, `w1`…) is shared
RENAMES = (
    (r"^x_embedder\.proj\.", "patch_embed."),
    (r"^t_embedder\.mlp\.", "time_mlp."),
    (r"^y_embedder\.y_proj\.", "caption_mlp."),
    (r"^y_emb_preprocess\.", "caption_block."),
    (r"^pooled_y_emb_process\.", "pooled_mlp."),
    (r"^patch_mixer_map_xin\.", "into_mixer."),
    (r"^patch_mixer_map_y\.", "captions_into_mixer."),
    (r"^patch_mixer_map_xout\.", "out_of_mixer."),
    (r"^patch_mixer\.", "mixer."),
    (r"^final_layer\.norm_final\.", "head.norm."),
    (r"^final_layer\.", "head."),
    (r"adaLN_modulation\.1\.", "modulation."),
    (r"^(mixer|blocks)\.(\d+)\.norm2\.", r"\1.\2.norm_cross."),
    (r"^(mixer|blocks)\.(\d+)\.norm3\.", r"\1.\2.norm_ffn."),
    (r"^caption_block\.norm2\.", "caption_block.norm_ffn."),
    (r"\.norm1\.", ".norm_self."),
    (r"\.cross_attn\.q_linear\.", ".cross_attention.q."),
    (r"\.cross_attn\.kv_linear\.", ".cross_attention.kv."),
    (r"\.cross_attn\.proj\.", ".cross_attention.out."),
    (r"\.attn\.proj\.", ".self_attention.out."),
    (r"\.attn\.", ".self_attention."),
    (r"\.mlp\.gate\.", ".ffn.router."),
    (r"^(mixer|blocks)\.(\d+)\.mlp\.|^(caption_block)\.mlp\.", lambda m: f"{m[3] or f'{m[1]}.{m[2]}'}.ffn."),
)
BUFFERS = {"pos_embed", "mask_token"}  # constants in both


def our_name(public: str) -> str:
    """Translate a parameter's name."""
    for pattern, ours in RENAMES:
        public = re.sub(pattern, ours, public)
    return public


def patch_linear(conv: Tensor) -> Tensor:
    """Reorder a patch convolution (D, C, p, p) to the linear layer (D, p·p·C) on `patchify`'s order."""
    return conv.permute(0, 2, 3, 1).flatten(1)


def import_weights(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn a public checkpoint into a state dict of `DiT`."""
    ours = {our_name(name): weight for name, weight in public.items() if name not in BUFFERS}
    ours["patch_embed.weight"] = patch_linear(ours["patch_embed.weight"])
    return ours


def model_config(sizes: dict[str, Any], patch: int) -> ModelConfig:
    """Read the sizes that the golden file's metadata gives."""
    experts = Experts(count=sizes["experts"], capacity=sizes["capacity"], every=2) if sizes.get("experts") else None
    shared = {name: value for name, value in sizes.items() if name in ModelConfig.model_fields}
    return ModelConfig.model_validate(shared | {"patch": patch, "experts": experts})


def compare(path: Path) -> dict[str, float]:
    """Compute every golden tensor → ‖ours − golden‖ / ‖golden‖. Raises KeyError when the file lacks one."""
    with safe_open(path, "pt") as file:
        golden = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        sizes = json.loads(file.metadata()["config"])
    public = {name.removeprefix("weights."): t for name, t in golden.items() if name.startswith("weights.")}
    shape = tuple(golden["x"].shape[1:])
    net = DiT(model_config(sizes, public["x_embedder.proj.weight"].shape[-1]), shape, sizes["cap_dim"])
    net.load_state_dict(import_weights(public))
    denoiser = Denoiser(net, sizes["sigma_data"])
    ours = _outputs(denoiser, golden) | _gradients(net, denoiser, golden)
    ours["positions"], golden["positions"] = net.get_buffer("positions"), public["pos_embed"][0]
    return {name: float((value - golden[name]).norm() / golden[name].norm()) for name, value in ours.items()}


def _outputs(denoiser: Denoiser, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    captions, keep, sigma = Captions(golden["captions"]), Keep(golden["keep"]), golden["sigma"]
    noisy = golden["x"] + golden["noise"] * sigma.view(-1, 1, 1, 1)
    with torch.no_grad():
        return {
            "denoised_full": denoiser.denoise(noisy, sigma, captions),
            "denoised_masked": denoiser.denoise(noisy, sigma, captions, keep),
            "sample_heun6_cfg3": sample(denoiser, captions, golden["sample_start"], 6, 3.0, "heun"),
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
    errors = compare(parser.parse_args().file)
    print(json.dumps(errors, indent=1))
    raise SystemExit(any(not error <= TOLERANCE for error in errors.values()))


if __name__ == "__main__":
    main()
