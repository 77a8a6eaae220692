"""The device that a run computes on, and that it computes the same bits every time."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils import deterministic

from shoestring_trainer.config import TrainConfig
from shoestring_trainer.failures import BadConfig


def open_accelerator(config: TrainConfig) -> Accelerator:
    """Take the device, or say why not. Raises BadConfig."""
    device = config.compute.device
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise BadConfig(f"compute.device {device} is not available here (usable: {usable})")
    if device == "cuda":
        always_the_same(compiled=bool(config.compute.compile))
    precision = "bf16" if config.compute.precision == "bf16" else "no"
    if AcceleratorState._shared_state.get("_mixed_precision", precision) != precision:
        AcceleratorState._reset_state()  # it is one a process, and `measure` builds runs of several precisions
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision)
    if accelerator.num_processes != config.compute.processes:
        raise BadConfig(
            f"compute.processes is {config.compute.processes}, but {accelerator.num_processes} were started; "
            f"start them with torchrun --nproc-per-node {config.compute.processes}"
        )
    return accelerator


def always_the_same(compiled: bool) -> None:
    """Have a GPU add in one order, so that a run that goes on after a crash ends with the weights of one that did not.

    By default gradients are summed in whatever order threads arrive. An operation that has no ordered kernel raises
    RuntimeError. A CPU needs none of this.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    if compiled:
        torch.use_deterministic_algorithms(True)  # inductor too; imports it, which takes seconds
    else:
        torch.set_deterministic_debug_mode("error")
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # with NaN, to find bugs
    torch.backends.cudnn.allow_tf32 = False  # products are not in tf32 either: fp32 is fp32
