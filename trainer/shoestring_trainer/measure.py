"""`python -m shoestring_trainer.measure CONFIGS.json --out FILE.json`: how long this machine takes for what runs do.

CONFIGS is a list of TrainConfig. Each distinct (model, shape, batch, mask, compute) of their stages is timed with the
code that trains (`step.Training.update`); each model also for evaluation, samples and checkpoints. Several rounds
over all of them, so that a slow minute of the machine falls on everything alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from pydantic import TypeAdapter, ValidationError

from shoestring_trainer.allocator import keep_memory
from shoestring_trainer.config import Stage, TrainConfig
from shoestring_trainer.failures import BadConfig, told_in_a_line
from shoestring_trainer.flops import calibration_key, train_flops_per_image
from shoestring_trainer.run_dir import write_atomic
from shoestring_trainer.supervise import process_started_at

if TYPE_CHECKING:  # torch waits until the configs are read
    from shoestring_trainer.step import Training

ROUNDS, WARM_UP_STEPS, MIN_STEPS = 4, 2, 2


@dataclass
class Job:
    """One thing to time: a config cut down to one stage, and the seconds of its steps so far, by round."""

    key: str
    config: TrainConfig
    rounds: list[list[float]] = field(default_factory=list)
    first_s: float = 0.0  # the first step of a process, slower than the others

    @property
    def seconds(self) -> list[float]:
        """Of all rounds together."""
        return [one for steps in self.rounds for one in steps]

    @property
    def model(self) -> str:
        """What the overheads depend on."""
        return self.config.model.model_dump_json()

    def measured(self) -> dict[str, Any]:
        """The step's seconds, those of each round, and the spread: half the range of 10th to 90th percentile.

        The middle mean (of the middle half) forgets a moment in which the machine had something else to do, and is
        nearer to what a long run pays than the median.
        """
        config, ordered = self.config, sorted(self.seconds)
        low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
        data = config.data
        flops = train_flops_per_image(
            config.model, data.shape, data.caption_tokens, config.stages[0].mask, data.caption_dim
        )
        return {
            "key": self.key,
            "s_per_step": statistics.fmean(_middle_half(ordered)),
            "s_per_step_rounds": [statistics.fmean(_middle_half(sorted(steps))) for steps in self.rounds],
            "s_per_step_spread": (high - low) / 2,
            "n_steps": len(ordered),
            "flops_per_step": flops * config.batch_size,
        }


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shoestring_trainer.measure", description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, metavar="CONFIGS.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--seconds", type=float, default=6.0, help="of steps for each distinct shape (default 6)")
    args = parser.parse_args(argv)
    keep_memory()
    configs = read_configs(args.configs)
    measured = measure(configs, args.seconds, args.out.resolve().parent, launched_at())
    if measured:
        write_atomic(args.out, json.dumps(measured, indent=1, allow_nan=False).encode())
    return 0


def launched_at() -> float:
    """Unix time at which this process began; of several, when torchrun did, which started them."""
    if "TORCHELASTIC_RUN_ID" in os.environ and (launcher := psutil.Process().parent()):
        return launcher.create_time()
    return process_started_at()


def read_configs(path: Path) -> list[TrainConfig]:
    """Read the list. Raises BadConfig."""
    try:
        configs = TypeAdapter(list[TrainConfig]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadConfig(f"{path}: {error}") from error
    if not configs:
        raise BadConfig(f"{path} holds no config; give at least one")
    return configs


def measure(configs: list[TrainConfig], seconds: float, scratch: Path, started_at: float) -> dict[str, Any]:
    """Time every distinct shape, and what a run does besides steps. `started_at`: unix time of this process's start.

    All configs ask for as many processes as there are. Each takes its share of every step; the rest is the first one's
    work, as in a run, and so is the answer: the others get {}.

    The answer: `device`; `measured`, a list of `Job.measured` with the overheads of its model; `overheads`, the same
    averaged over models, and `startup_s`: from the start of a process to steps at full speed, with what is loaded
    once (validation images, decoder, prompts).
    """
    from shoestring_trainer import attempt  # noqa: F401 (imports what a run imports, so that startup_s is a run's)
    from shoestring_trainer.overheads import time_overheads
    from shoestring_trainer.step import build

    jobs = distinct_jobs(configs)
    training = build(jobs[0].config)
    startup_s, is_main = time.time() - started_at, training.accelerator.is_main_process
    overheads: dict[str, list[dict[str, float]]] = {}
    for again in range(ROUNDS):
        for job in jobs:
            if again or job is not jobs[0]:
                training = build(job.config)
            time_steps(job, training, seconds / ROUNDS)
            if again in (0, ROUNDS - 1) and len(overheads.setdefault(job.model, [])) < 1 + bool(again):
                once_s, each_s = time_overheads(training, scratch) if is_main else (0.0, {})
                overheads[job.model].append(each_s)
                startup_s += once_s if job is jobs[0] and not again else 0.0
                training.accelerator.wait_for_everyone()
            if is_main:
                said = f"{job.key}: {statistics.median(job.seconds):.4f} s a step ({len(job.seconds)} timed)"
                print(said, flush=True)
    if not is_main:
        return {}
    startup_s += max(0.0, jobs[0].first_s - statistics.median(jobs[0].seconds))
    # of a model's two measurements, minutes apart, the quicker: what disturbed the other one is not the run's doing
    quicker = {m: {name: min(one[name] for one in twice) for name in twice[0]} for m, twice in overheads.items()}
    names = quicker[jobs[0].model]
    return {
        "device": device(training),
        "measured": [job.measured() | quicker[job.model] for job in jobs],
        "overheads": {"startup_s": startup_s}
        | {name: statistics.fmean(one[name] for one in quicker.values()) for name in names},
    }


def distinct_jobs(configs: list[TrainConfig]) -> list[Job]:
    """List what differs in the time of a step, in the order of first appearance."""
    jobs: dict[str, Job] = {}
    for config in configs:
        for index, stage in enumerate(config.stages):
            data, model = config.data_at(index), config.model_at(index)
            shape = (model, data.shape, config.batch_size, stage.mask, config.compute)
            key = calibration_key(*shape, config.optimizer.kind)
            alone: Stage = stage.model_copy(update={"steps": 10**6, "warmup_steps": 0, "data": None})
            jobs.setdefault(
                key,
                Job(key, config.model_copy(update={"stages": (alone,), "start": None, "data": data, "model": model})),
            )
    return list(jobs.values())


def device(training: Training) -> dict[str, Any]:
    """Name the machine and the software that the numbers hold for."""
    import torch

    where = training.accelerator.device
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else _cpu_name()
    return {
        "device": where.type,
        "name": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": training.accelerator.num_processes,
        "machine": platform.machine(),
        "system": platform.system(),
        "torch": torch.__version__,
    }


def time_steps(job: Job, training: Training, seconds: float) -> None:
    """Add a round of single steps' seconds to the job, after a warm-up, for about `seconds`."""
    done, spent = 0, 0.0
    job.rounds.append([])
    while training.highest(int(done < WARM_UP_STEPS + MIN_STEPS or spent < seconds)):
        began = time.perf_counter()
        training.update(done)  # ends by reading the loss, so a GPU has finished too
        took = time.perf_counter() - began
        if done >= WARM_UP_STEPS:
            job.rounds[-1].append(took)
            spent += took
        elif done == 0:
            job.first_s = job.first_s or took
        done += 1


def _middle_half(ordered: list[float]) -> list[float]:
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
