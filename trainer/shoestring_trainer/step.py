"""One optimiser update, and everything it needs: the same code trains a run and is timed by `measure`.

B images of this process, T tokens, x (B, C, H, W)
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from shoestring_trainer.config import AdamW as AdamWConfig
from shoestring_trainer.config import Muon as MuonConfig
from shoestring_trainer.config import Optimizer, TrainConfig
from shoestring_trainer.data import DataSet
from shoestring_trainer.device import open_accelerator
from shoestring_trainer.diffusion import Denoiser, drop_captions
from shoestring_trainer.ema import Ema
from shoestring_trainer.failures import NotFinite
from shoestring_trainer.masking import Keep, sample_keep
from shoestring_trainer.mixture import Mixture
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.muon import Muon
from shoestring_trainer.objectives import sample_sigma
from shoestring_trainer.optimizer import AdamW
from shoestring_trainer.schedule import lr_at
from shoestring_trainer.seeds import generator


@dataclass(frozen=True)
class Update:
    """What one update reports: loss and gradient norm before clipping (of all processes), learning rate, seconds.

    On a GPU, which works on while we go on, the seconds of a part may be counted with the next.
    """

    loss: float
    grad_norm: float
    lr: float
    data_s: float = 0.0  # choosing, reading and drawing noise
    optimizer_s: float = 0.0  # optimiser and average


@dataclass(frozen=True)
class Drawn:
    """The random part of one update on this process, on its device."""

    x: Tensor  # (B, C, H, W)
    captions: Captions
    sigma: Tensor  # (B,)
    noise: Tensor  # (B, C, H, W)
    keep: Keep | None

    def parts(self, n: int) -> list[Drawn]:
        """Cut it into `n` equal parts, in order."""
        size = len(self.x) // n
        return [self[first : first + size] for first in range(0, len(self.x), size)]

    def __getitem__(self, rows: slice) -> Drawn:
        states, mask = self.captions
        captions = Captions(states[rows], None if mask is None else mask[rows])
        keep = self.keep._replace(ids=self.keep.ids[rows]) if self.keep else None
        return Drawn(self.x[rows], captions, self.sigma[rows], self.noise[rows], keep)


@dataclass(frozen=True)
class Training:
    """A network being trained, with its data, average and optimiser. Make it with `build`."""

    config: TrainConfig
    mixtures: tuple[Mixture, ...]  # one a stage; stages on the same data share it
    accelerator: Accelerator
    net: DiT  # bare; `denoiser` holds it wrapped for autocast, ranks and compilation
    denoiser: Denoiser
    ema: Ema
    optimizer: AdamW | Muon

    def update(self, step: int) -> Update:
        """Do the update `step` → `step` + 1. Raises NotFinite before a bad gradient touches a weight."""
        _, stage, _ = self.config.stage_at(step)
        began = time.perf_counter()
        drawn = self.draw(step)
        data_s = time.perf_counter() - began
        loss = self._backward(drawn)
        norm = self.accelerator.clip_grad_norm_(self.net.parameters(), stage.grad_clip)
        lr = lr_at(self.config, step)
        loss_all = self.accelerator.reduce(loss, reduction="mean")
        report = Update(float(loss_all), float(norm), lr, data_s)
        self._check(report, step)
        began = time.perf_counter()
        self.optimizer.step(lr)
        self.optimizer.zero_grad()
        self.ema.update(self.net, step)
        return replace(report, optimizer_s=time.perf_counter() - began)

    def _backward(self, drawn: Drawn) -> Tensor:
        """Add up the gradients of the parts of this process's batch; return their mean loss, detached."""
        parts = drawn.parts(self.config.compute.accumulate)
        total = torch.zeros((), device=drawn.x.device)
        for part in parts:
            # only the last part's gradients, which hold all, travel between processes
            apart = nullcontext() if part is parts[-1] else self.accelerator.no_sync(self.denoiser.net)
            with apart:
                with self.autocast():
                    loss = self.denoiser.loss(part.x, part.sigma, part.noise, part.captions, part.keep) / len(parts)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def draw(self, step: int) -> Drawn:
        """Draw images, noise and mask of one update: functions of (seed, step) and nothing else.

        Each process draws for the whole batch and keeps its share, so that how many there are changes no number.
        """
        config, rank, n = self.config, self.accelerator.process_index, self.config.batch_size
        index, stage, _ = config.stage_at(step)
        share = n // config.compute.processes
        mine = slice(rank * share, (rank + 1) * share)
        mixture = self.mixtures[index]
        padded = mixture.longest_caption if config.compute.compile else None  # one length, so one graph
        x, captions = mixture.batch(mixture.picks(step * n + mine.start, share), padded)

        def gen(purpose: str) -> torch.Generator:
            return generator(config.seed, step, purpose)

        dropped = torch.rand(n, generator=gen("captions"))[mine] < config.caption_dropout
        captions = drop_captions(captions, dropped)
        sigma = sample_sigma(config.objective, stage.noise, n, gen("sigma"))[mine]
        noise = torch.randn((n, *x.shape[1:]), generator=gen("noise"))[mine]
        keep = sample_keep(stage.mask, n, config.n_tokens_at(index), gen("mask"))
        to = self.accelerator.device
        keep = keep._replace(ids=keep.ids[mine].to(to)) if keep else None
        return Drawn(x.to(to), captions_to(captions, to), sigma.to(to), noise.to(to), keep)

    def data_after(self, step: int) -> DataSet:
        """The set to evaluate and to draw with after `step` updates: that of the stage which did the last one."""
        return self.mixtures[self.config.stage_at(max(0, step - 1))[0]].main

    def images_seen(self, step: int) -> dict[str, int]:
        """Images drawn in `step` updates, by the name of their source and by origin."""
        seen: dict[str, int] = {}
        first = 0
        for stage, mixture in zip(self.config.stages, self.mixtures, strict=True):
            begin, end = (self.config.batch_size * min(step, edge) for edge in (first, first + stage.steps))
            for source, before, after in zip(mixture.sources, mixture.seen(begin), mixture.seen(end), strict=True):
                for name in (source.name, source.origin):
                    seen[name] = seen.get(name, 0) + after - before
            first += stage.steps
        return seen

    def highest(self, mine: int) -> int:
        """The highest of what the processes say: how they agree on what comes next."""
        if self.accelerator.num_processes == 1:
            return mine
        return int(self.accelerator.gather(torch.tensor([mine], device=self.accelerator.device)).max())

    def autocast(self) -> AbstractContextManager:
        """Compute in `compute.precision`; weights stay fp32."""
        return self.accelerator.autocast()

    def evaluator(self) -> Denoiser:
        """Give the denoiser with the averaged weights, for evaluation and samples."""
        return Denoiser(self.ema.net, self.config.objective)

    def _check(self, report: Update, step: int) -> None:
        for what, value in (("loss", report.loss), ("gradient norm", report.grad_norm)):
            if not math.isfinite(value):
                index, stage, _ = self.config.stage_at(step)
                raise NotFinite(
                    f"{what} is {value} at step {step} (stages.{index}, lr {report.lr:.3g}); the checkpoint before it "
                    f"is good. Lower stages.{index}.lr (now {stage.lr:g}) or lengthen warmup_steps"
                )


def captions_to(captions: Captions, device: torch.device) -> Captions:
    """Move captions to `device`."""
    return Captions(captions.states.to(device), None if captions.mask is None else captions.mask.to(device))


def open_mixtures(config: TrainConfig) -> tuple[Mixture, ...]:
    """Open what each stage trains on. Raises BadData when a set is missing, damaged or another one."""
    opened: dict[str, Mixture] = {}
    for index in range(len(config.stages)):
        data = config.data_at(index)
        opened.setdefault(data.model_dump_json(), Mixture(data, config.seed))
    return tuple(opened[config.data_at(index).model_dump_json()] for index in range(len(config.stages)))


def fresh_net(config: TrainConfig) -> DiT:
    """Build the network with the first weights of the run's seed, on the CPU."""
    others = {stage.data.shape for stage in config.stages if stage.data} - {config.data.shape}
    net = DiT(config.model, config.data.shape, config.data.caption_dim, sorted(others))
    net.init_weights(generator(config.seed, 0, "weights"))
    return net


def build(config: TrainConfig) -> Training:
    """Build a run at step 0 on the device that the config names. Raises BadConfig, BadData."""
    accelerator = open_accelerator(config)
    mixtures = open_mixtures(config)
    net = fresh_net(config).to(accelerator.device)
    net.recompute = config.compute.recompute
    ema = Ema(net, config.ema_decay)  # copied before the wrappers
    optimizer = build_optimizer(net, config.optimizer)
    wrapped: Any = accelerator.prepare_model(net)
    if config.compute.compile:
        backend = "inductor" if config.compute.compile is True else config.compute.compile
        wrapped = torch.compile(wrapped, backend=backend, dynamic=False)  # one graph a stage: its shapes
    denoiser = Denoiser(wrapped, config.objective)
    return Training(config, mixtures, accelerator, net, denoiser, ema, optimizer)


def build_optimizer(net: DiT, config: Optimizer) -> AdamW | Muon:
    """Make the optimiser that the config names."""
    match config:
        case AdamWConfig():
            return AdamW(net.named_parameters(), config)
        case MuonConfig():
            return Muon(net.named_parameters(), config)
