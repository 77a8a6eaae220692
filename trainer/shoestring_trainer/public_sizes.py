"""A network's sizes from the tensors of a public checkpoint: what shapes tell, and what has to be said.

Shapes do not tell a head's width, the experts' capacity or σ_data; of a few values they allow only some. What is said
(options, or the file's `config` metadata) is believed, and every shape is compared afterwards.
Shapes: D wide, p a patch's side, C channels, T tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from shoestring_trainer.config import DataConfig, ModelConfig
from shoestring_trainer.failures import BadCheckpoint, BadData
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.public_layout import (
    CONSTANTS,
    FIRST,
    MASK_TOKEN,
    POSITIONS,
    constants,
    model_of,
    our_name,
    public_shapes,
    some,
)
from shoestring_trainer.widths import backbone_widths, caption_ffn, mixer_widths

CAPTION_IN, MIXER_NORM = "y_embedder.y_proj.fc1.weight", "patch_mixer.0.norm1.weight"
HEAD_DIMS = (8, 16, 32, 48, 64, 72, 80, 96, 128, 256)
MULTIPLES = tuple(2**i for i in range(10, -1, -1))  # any that gives these widths gives this network
QKV_RATIOS, MLP_RATIOS = ((0.5, 1.0), (1.0, 1.0)), ((0.5, 4.0), (4.0, 4.0))


def infer_model(tensors: Mapping[str, Tensor], said: dict[str, Any], data: DataConfig) -> ModelConfig:
    """Find the sizes of a checkpoint and check every name, shape and constant against them.

    `said` holds sizes as `config` metadata does. Raises BadCheckpoint with what does not fit, BadData when the data
    set has other captions, channels or tokens.
    """
    _check_names(tensors)
    _check_data(tensors, data)
    seen = _seen(tensors)
    for name in ("dim", "depth", "mixer_depth", "mixer_dim", "patch", "experts"):
        if said.get(name, seen[name]) not in (seen[name], None):
            raise BadCheckpoint(f"{name} is {said[name]} in what was said and {seen[name]} in the tensors")
    if POSITIONS in tensors:
        seen["pos_scale"] = _pos_scale(tensors[POSITIONS])
    model = _choose({**seen, **{k: v for k, v in said.items() if v is not None}}, tensors)
    _check_shapes(tensors, model, data)
    _check_constants(tensors, model, data)
    return model


def _seen(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the sizes that shapes tell."""
    dim, _, patch, _ = tensors[FIRST].shape
    gates = {name: tensor for name, tensor in tensors.items() if name.endswith("mlp.gate.weight")}
    places = [int(name.split(".")[1]) for name in gates]
    return {
        "dim": dim,
        "patch": patch,
        "depth": _count(tensors, "blocks"),
        "mixer_depth": _count(tensors, "patch_mixer"),
        "mixer_dim": len(tensors[MIXER_NORM]) if MIXER_NORM in tensors else dim,
        "experts": len(next(iter(gates.values()))) if gates else 0,
        "every": min(places) + 1 if places else 2,
    }


def _count(tensors: Mapping[str, Tensor], group: str) -> int:
    found = {int(match[1]) for name in tensors if (match := re.match(rf"{group}\.(\d+)\.", name))}
    return max(found, default=-1) + 1


def _choose(sizes: dict[str, Any], tensors: Mapping[str, Tensor]) -> ModelConfig:
    """Try what is not said; the widths inside the blocks decide. Raises BadCheckpoint for none, or several."""
    tries = {"head_dim": HEAD_DIMS, "multiple_of": MULTIPLES, "qkv_ratio": QKV_RATIOS, "mlp_ratio": MLP_RATIOS}
    options = [(sizes[name],) if name in sizes else values for name, values in tries.items()]
    fitting: dict[int, ModelConfig] = {}
    why = ""
    for values in product(*options):
        try:
            model = model_of(sizes | dict(zip(tries, values, strict=True)), sizes["patch"])
        except ValidationError as error:
            why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            continue
        if _widths(model) == _widths_of(tensors, model):
            fitting.setdefault(model.head_dim, model)
    if fitting:
        model = next(iter(fitting.values()))
        if len(fitting) == 1:
            return model
        preset = next((n for n, p in PRESETS.items() if p.dim == sizes["dim"] and _widths(p) == _widths(model)), None)
        hint = f", or --model {preset}, which these shapes are" if preset else ""
        raise BadCheckpoint(
            f"the shapes allow head_dim {', '.join(map(str, fitting))}: say which, in a JSON file "
            f'{{"head_dim": …}} for --model{hint}'
        )
    tried = "; ".join(f"{name} {'/'.join(map(str, values))}" for name, values in zip(tries, options, strict=True))
    raise BadCheckpoint(f"no network with these widths among {tried}{f' ({why})' if why else ''}: say the sizes")


def _widths(model: ModelConfig) -> list[tuple[int, int]]:
    """(inside self-attention, inside the FFN) of the backbone, the mixer and the caption block."""
    blocks = [(block.attention, block.ffn) for block in (*backbone_widths(model), *mixer_widths(model))]
    return [*blocks, (model.dim, caption_ffn(model))]


def _widths_of(tensors: Mapping[str, Tensor], model: ModelConfig) -> list[tuple[int, int]]:
    depths = {"blocks": model.depth, "patch_mixer": model.mixer_depth}
    groups = [*(f"{name}.{i}" for name, depth in depths.items() for i in range(depth)), "y_emb_preprocess"]
    try:
        return [(tensors[f"{group}.attn.proj.weight"].shape[1], _ffn(tensors, f"{group}.mlp")) for group in groups]
    except KeyError as error:
        raise BadCheckpoint(f"{error.args[0]} is missing") from error


def _ffn(tensors: Mapping[str, Tensor], name: str) -> int:
    return tensors[f"{name}.w1"].shape[2] if f"{name}.w1" in tensors else len(tensors[f"{name}.w1.weight"])


def _pos_scale(positions: Tensor) -> float:
    """Read the scale off the second column's first angle, 1/scale; (1, T, D)."""
    if positions.shape[1] < 2:
        return 1.0
    quarter = -(-positions.shape[-1] // 4)
    sin, cos = float(positions[0, 1, 0]), float(positions[0, 1, quarter])
    angle = math.atan2(sin, cos)
    return round(1 / angle, 2) if angle > 0 else 1.0


def _check_names(tensors: Mapping[str, Tensor]) -> None:
    missing = [name for name in (FIRST, CAPTION_IN) if name not in tensors]
    unknown = [name for name in tensors if name not in CONSTANTS and our_name(name) is None]
    if missing or unknown:
        wrong = ([f"missing: {some(missing)}"] if missing else []) + ([f"unknown: {some(unknown)}"] if unknown else [])
        raise BadCheckpoint(f"not the public MicroDiT layout; {'; '.join(wrong)}")
    if tensors[FIRST].ndim != 4 or tensors[FIRST].shape[2] != tensors[FIRST].shape[3]:
        raise BadCheckpoint(f"{FIRST} has shape {tuple(tensors[FIRST].shape)}; a square patch (D, C, p, p) is allowed")


def _check_data(tensors: Mapping[str, Tensor], data: DataConfig) -> None:
    """Compare captions, channels and tokens with the data set's. Raises BadData."""
    caption_dim, (_, channels, patch, _) = tensors[CAPTION_IN].shape[1], tensors[FIRST].shape
    faults = []
    if caption_dim != data.caption_dim:
        faults.append(f"reads captions {caption_dim} wide, and the set's are {data.caption_dim}")
    if channels != data.shape[0]:
        faults.append(f"draws {channels} channels, and the set's samples have {data.shape[0]}")
    rows, columns = data.shape[1] // patch, data.shape[2] // patch
    if data.shape[1] % patch or data.shape[2] % patch:
        faults.append(f"has patches of {patch}, which do not divide the set's {data.shape[1]}×{data.shape[2]}")
    elif POSITIONS in tensors and tensors[POSITIONS].shape[1] != rows * columns:
        faults.append(f"has {tensors[POSITIONS].shape[1]} positions, and the set's samples make {rows}×{columns}")
    if faults:
        raise BadData(f"data set {data.name} does not suit these weights: the network {'; it '.join(faults)}")


def _check_shapes(tensors: Mapping[str, Tensor], model: ModelConfig, data: DataConfig) -> None:
    """Compare every name and shape. Raises BadCheckpoint."""
    wanted = public_shapes(model, data.shape, data.caption_dim)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name not in CONSTANTS}
    wrong = [f"{n} is {found[n]}, not {wanted[n]}" for n in wanted.keys() & found.keys() if found[n] != wanted[n]]
    parts = {
        "missing": sorted(wanted.keys() - found.keys()),
        "not of this network": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(wrong),
    }
    if any(parts.values()):
        told = "; ".join(f"{what}: {some(names)}" for what, names in parts.items() if names)
        raise BadCheckpoint(f"the tensors do not make one network of dim {model.dim}, depth {model.depth}: {told}")


def _check_constants(tensors: Mapping[str, Tensor], model: ModelConfig, data: DataConfig) -> None:
    """Compare the constants with ours, as exactly as their number format allows. Raises BadCheckpoint."""
    for name, ours in constants(model, data.shape).items():
        if name not in tensors:
            continue
        theirs = tensors[name]
        tolerance = 1e-5 if theirs.dtype == torch.float32 else torch.finfo(theirs.dtype).eps
        if theirs.shape != ours.shape or float((theirs.float() - ours).abs().max()) > tolerance:
            what = f"sine and cosine at scale {model.pos_scale:g}" if name != MASK_TOKEN else "zero"
            raise BadCheckpoint(f"{name} is not the constant it is here ({what}): these weights expect another one")
