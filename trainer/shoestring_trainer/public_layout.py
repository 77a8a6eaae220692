"""The public MicroDiT checkpoint layout: its names, its two constants and its sizes, in both directions.

    blocks.3.attn.proj.weight  ↔  blocks.3.self_attention.out.weight

A name is a group (`blocks.3`, `y_emb_preprocess`, or none), a module and a parameter; groups and modules are renamed,
the rest is shared. Shapes: D wide, p a patch's side, C channels, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from shoestring_trainer.config import Edm, Experts, ModelConfig, Objective
from shoestring_trainer.model import DiT, sin_cos_positions

FIRST = "x_embedder.proj.weight"  # every checkpoint of the layout has it
POSITIONS, MASK_TOKEN = "pos_embed", "mask_token"  # constants: (1, T, D) and zeros (1, 1, p·p·C)
CONSTANTS = (POSITIONS, MASK_TOKEN)

# public → ours
GROUPS = {"patch_mixer": "mixer", "blocks": "blocks", "y_emb_preprocess": "caption_block"}
OUTSIDE = {
    "x_embedder.proj": "patch_embed",
    "t_embedder.mlp.0": "time_mlp.0",
    "t_embedder.mlp.2": "time_mlp.2",
    **{f"y_embedder.y_proj.{part}": f"caption_mlp.{part}" for part in ("fc1", "norm", "fc2")},
    **{f"pooled_y_emb_process.{part}": f"pooled_mlp.{part}" for part in ("fc1", "norm", "fc2")},
    **{f"patch_mixer_map_xin.{part}": f"into_mixer.{part}" for part in "01"},
    **{f"patch_mixer_map_y.{part}": f"captions_into_mixer.{part}" for part in "01"},
    **{f"patch_mixer_map_xout.{part}": f"out_of_mixer.{part}" for part in "01"},
    "final_layer.norm_final": "head.norm",
    "final_layer.adaLN_modulation.1": "head.modulation",
    "final_layer.linear": "head.linear",
}
CAPTION_BLOCK = {
    "norm1": "norm_self",
    "attn.qkv": "self_attention.qkv",
    "attn.proj": "self_attention.out",
    "norm2": "norm_ffn",
    **{f"mlp.w{i}": f"ffn.w{i}" for i in "123"},
}
BLOCK = CAPTION_BLOCK | {
    "norm2": "norm_cross",
    "cross_attn.q_linear": "cross_attention.q",
    "cross_attn.kv_linear": "cross_attention.kv",
    "cross_attn.proj": "cross_attention.out",
    "norm3": "norm_ffn",
    "mlp.gate": "ffn.router",
    "adaLN_modulation.1": "modulation",
}
_NAME = re.compile(r"^(?:(?P<group>\w+)(?P<index>\.\d+)\.|(?P<caption>y_emb_preprocess|caption_block)\.)?(?P<rest>.+)$")


def our_name(public: str) -> str | None:
    """Translate a parameter's public name; None when the layout has no such name."""
    return _renamed(public, GROUPS, OUTSIDE, CAPTION_BLOCK, BLOCK)


def public_name(ours: str) -> str | None:
    """Translate a parameter's name in `DiT` to the layout's; None when it has none."""
    return _renamed(
        ours, *({new: old for old, new in table.items()} for table in (GROUPS, OUTSIDE, CAPTION_BLOCK, BLOCK))
    )


def _renamed(
    name: str, groups: dict[str, str], outside: dict[str, str], caption_block: dict[str, str], block: dict[str, str]
) -> str | None:
    match = _NAME.match(name)
    assert match
    group, rest = match["caption"] or match["group"] or "", match["rest"]
    if group and group not in groups:  # `t_embedder.mlp.0.weight` looks like a group and is none
        group, rest = "", name
    modules = caption_block if match["caption"] else block if group else outside
    prefix = f"{groups[group]}{match['index'] or ''}." if group else ""
    if rest in modules:  # a parameter without a module of its own: the experts' stacks
        return prefix + modules[rest]
    module, _, leaf = rest.rpartition(".")
    return f"{prefix}{modules[module]}.{leaf}" if module in modules and leaf in ("weight", "bias") else None


def patch_linear(conv: Tensor) -> Tensor:
    """Reorder a patch convolution (D, C, p, p) to the linear layer (D, p·p·C) on `patchify`'s order."""
    return conv.permute(0, 2, 3, 1).flatten(1)


def patch_convolution(linear: Tensor, patch: int) -> Tensor:
    """Reorder (D, p·p·C) to (D, C, p, p); undoes `patch_linear`."""
    return linear.unflatten(1, (patch, patch, -1)).permute(0, 3, 1, 2).contiguous()


def import_weights(public: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn a public checkpoint into a state dict of `DiT`. Raises KeyError with the names the layout does not have."""
    ours = {name: our_name(name) for name in public if name not in CONSTANTS}
    if unknown := [name for name, new in ours.items() if new is None]:
        raise KeyError(f"names that the public layout does not have: {some(unknown)}")
    weights = {str(new): public[name] for name, new in ours.items()}
    weights["patch_embed.weight"] = patch_linear(weights["patch_embed.weight"])
    return weights


def export_weights(ours: dict[str, Tensor], patch: int) -> dict[str, Tensor]:
    """Turn a state dict of `DiT` into a public checkpoint, without the constants."""
    public = {str(public_name(name)): weight for name, weight in ours.items()}
    assert "None" not in public, "every parameter of the network has a public name"
    public[FIRST] = patch_convolution(public[FIRST], patch)
    return public


def constants(model: ModelConfig, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Make the constants that a checkpoint of this model and sample shape (C, H, W) holds."""
    channels, height, width = shape
    positions = sin_cos_positions(model.dim, height // model.patch, width // model.patch, model.pos_scale)
    return {POSITIONS: positions.unsqueeze(0), MASK_TOKEN: torch.zeros(1, 1, model.patch**2 * channels)}


def public_shapes(model: ModelConfig, shape: tuple[int, int, int], caption_dim: int) -> dict[str, tuple[int, ...]]:
    """List the names of a checkpoint of this model with their shapes; computes and allocates nothing."""
    with torch.device("meta"):
        weights = DiT(model, shape, caption_dim).state_dict()
        return {name: tuple(t.shape) for name, t in export_weights(weights, model.patch).items()}


def find_prefixes(names: Iterable[str]) -> list[str]:
    """List what stands before the layout's names: '' for a bare state dict, `dit.`, `state.model.dit.`…"""
    return sorted(name.removesuffix(FIRST) for name in names if name == FIRST or name.endswith(f".{FIRST}"))


def sizes_of(model: ModelConfig, shape: tuple[int, int, int], caption_dim: int, objective: Objective) -> dict[str, Any]:
    """Describe a checkpoint as its `config` metadata does: what shapes do not tell is in it."""
    channels, height, width = shape
    facts: dict[str, Any] = {
        "latent": height if height == width else [height, width],
        "channels": channels,
        "cap_dim": caption_dim,
    }
    facts |= {"objective": objective.model_dump(mode="json")}
    return model_sizes(model) | facts | ({"sigma_data": objective.sigma_data} if isinstance(objective, Edm) else {})


def model_sizes(model: ModelConfig) -> dict[str, Any]:
    """Write the network's shape as `config` metadata does, experts flat; undone by `model_of`."""
    experts = model.experts.model_dump() if model.experts else {"count": 0}
    return model.model_dump(mode="json", exclude={"experts"}) | {"experts": experts.pop("count"), **experts}


def model_of(sizes: dict[str, Any], patch: int) -> ModelConfig:
    """Read the network's shape from `config` metadata. Raises ValidationError."""
    every, capacity = sizes.get("every") or 2, sizes.get("capacity") or 2.0
    experts = Experts(count=sizes["experts"], capacity=capacity, every=every) if sizes.get("experts") else None
    shared = {name: value for name, value in sizes.items() if name in ModelConfig.model_fields}
    return ModelConfig.model_validate(shared | {"patch": patch, "experts": experts})


def objective_of(sizes: dict[str, Any]) -> Objective:
    """Read the objective: the paper's EDM unless it is said otherwise. Raises ValueError."""
    said = sizes.get("objective") or {"kind": "edm", **{k: sizes[k] for k in ("sigma_data",) if k in sizes}}
    try:
        return TypeAdapter(Objective).validate_python(said)
    except ValidationError as error:
        raise ValueError(f"objective {said}: {error.errors()[0]['msg']}") from error


def some(names: Iterable[str], n: int = 4) -> str:
    """Name the first `n`, and say how many more there are."""
    listed = list(names)
    return ", ".join(listed[:n]) + (f" and {len(listed) - n} more" if len(listed) > n else "")
