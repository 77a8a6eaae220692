"""The process that takes steps for `steps.py`: `python taking.py ASKED.json`; a line of JSON for each shape."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from shoestring_trainer.allocator import keep_memory
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.flops import train_flops_per_image
from shoestring_trainer.step import Training, build

ROUNDS, ROUND_S, MIN_STEPS, WARM_UP = 3, 0.7, 3, 2
PEAK_TFLOPS = {"bf16": 989.0, "fp32": 66.9}  # of an H100 or H200, dense (prices.yaml, h100-sxm)


def child(asked: list[dict[str, Any]]) -> None:
    """Take the steps of every shape in turn; a line of JSON for each."""
    keep_memory()
    for one in asked:
        row = {"name": one["name"], "forecast_bytes": one["forecast_bytes"]}
        try:
            row |= timed(TrainConfig.model_validate(one["config"]))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(json.dumps(row), flush=True)
        gc.collect()
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def timed(config: TrainConfig) -> dict[str, Any]:
    """Build a run and time its updates, with sums in one order and, in turns, in any."""
    cuda = config.compute.device == "cuda"
    if cuda:
        free, total = torch.cuda.mem_get_info()
        context = total - free - torch.cuda.memory_reserved()  # of this process, if no other uses the GPU
        torch.cuda.reset_peak_memory_stats()
    training = build(config)
    began = time.perf_counter()
    training.update(0)
    first_s = time.perf_counter() - began
    seconds: dict[str, list[float]] = {"one": [], "any": []}
    step = 1
    compiled = bool(config.compute.compile)
    for number in range(ROUNDS):
        for order in ("one",) if compiled or not cuda else ("one", "any"):
            if not compiled:
                torch.set_deterministic_debug_mode("error" if cuda and order == "one" else "default")
            for _ in range(WARM_UP):
                training.update(step)
            sync(cuda)
            began, n = time.perf_counter(), 0
            while n < MIN_STEPS or time.perf_counter() - began < ROUND_S:
                training.update(step)
                n, step = n + 1, step + 1
            sync(cuda)
            seconds[order].append((time.perf_counter() - began) / n)
        if number == 0 and cuda:
            peak, allocated = torch.cuda.max_memory_reserved(), torch.cuda.max_memory_allocated()
    mean = sum(seconds["one"]) / ROUNDS
    data = config.data
    flops = config.batch_size * train_flops_per_image(
        config.model, data.shape, data.caption_tokens, config.stages[0].mask, data.caption_dim
    )
    tflops = flops / mean / 1e12
    return {
        "batch": config.batch_size,
        "s_per_step": mean,
        "spread": (max(seconds["one"]) - min(seconds["one"])) / 2 / mean,
        "s_per_step_any_order": sum(seconds["any"]) / ROUNDS if seconds["any"] else None,
        "first_s": first_s,
        "images_per_s": config.batch_size / mean,
        "tflops": tflops,
        "of_peak": tflops / PEAK_TFLOPS[config.compute.precision],
        "data_share": data_share(training, step, mean),
        "peak_bytes": peak if cuda else 0,
        "allocated_bytes": allocated if cuda else 0,
        "context_bytes": context if cuda else 0,
        "parameters": sum(p.numel() for p in training.net.parameters()),
        "software": torch.__version__,
    }


def data_share(training: Training, step: int, s_per_step: float, n: int = 3) -> float:
    """Share of a step in which images, captions, noise and masks are drawn and sent."""
    began = time.perf_counter()
    for number in range(n):
        training.draw(step + number)
    sync(training.accelerator.device.type == "cuda")
    return (time.perf_counter() - began) / n / s_per_step


def sync(cuda: bool) -> None:
    """Wait until the GPU has done what it was told."""
    if cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    child(json.loads(Path(sys.argv[1]).read_text()))
