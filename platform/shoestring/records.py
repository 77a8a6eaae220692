"""Frozen records that cross layers: what `queries` returns and the CLI, app and sweeps read. No ORM object leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MICRO = 1_000_000  # micro-dollars in a dollar: the unit of every stored amount
SPEC_VERSION = 1  # of a run's stored spec and config: the highest that this program knows
AGE_S = 3600.0  # what a point of priority is worth: this much waiting


DRAWING = "drawing"  # kind of a run that draws pictures with the weights of another, and trains nothing


def closing_usd(plan: Mapping[str, Any]) -> float:
    """What a pause costs by a run's plan; 0 where it does not say."""
    planned = plan.get("closing_usd")
    return float(planned) if isinstance(planned, int | float) else 0.0


@dataclass(frozen=True)
class Run:
    """One configuration to train: a row in the queue."""

    id: int
    name: str  # "deferred-75/s0": experiment or sweep trial, and seed
    experiment: str
    project: str
    seed: int
    state: str  # blocked queued leased running stopping paused succeeded failed cancelled
    reason: str  # why it is in that state, in words: "budget", "waits for run 3", a failure class, ""
    kind: str  # "experiment" | "trial" | "showcase" | "import" | "finetune" | "smoke" | "drawing"
    parent_id: int | None  # the run it continues, retries or draws from
    sweep_id: int | None
    spec_hash: str
    generation: int
    priority: int
    tags: tuple[str, ...]
    spec: dict[str, Any]  # the resolved request (normalised)
    config: dict[str, Any]  # the TrainConfig (a drawing's DrawConfig), as JSON
    plan: dict[str, Any]  # the priced plan (plan.RunPlan as JSON)
    run_dir: str
    lease_token: int
    owner: str
    want: str  # run | pause | cancel
    attempts: int
    failures: int
    step: int  # last step known
    n_steps: int
    checkpoint_step: int
    spent_usd: float  # actual, all attempts
    planned_usd: float
    max_usd: float | None
    failure_class: str
    failure_detail: str
    created_at: float  # unix seconds, all times
    started_at: float | None
    ended_at: float | None
    inexact: str = ""  # why its numbers may not be an uninterrupted run's: it resumed on other hardware or software
    provenance: dict[str, Any] = field(default_factory=dict)  # git, dirty patch, lock hash, data digest, hardware
    run_after: float = 0.0  # ready since, or not before
    spec_version: int = SPEC_VERSION
    engine: str = ""  # what carries or carried its last attempt: "local", "slurm"
    handle: str = ""  # the engine's number of that attempt's job
    queue: str = "default"  # only workers that serve it take the run
    gpus: int = 0  # the least that it needs, as all below; 1 GB = 10⁹ bytes
    gpu_memory_gb: float = 0.0  # of each GPU
    cpus: int = 1
    memory_gb: float = 0.0
    unreadable: str = ""  # "config: …": what of the row could not be read, and is empty here

    def __hash__(self) -> int:  # equal runs have the same; what is in JSON has none
        return hash((self.id, self.state, self.step, self.spent_usd))

    @property
    def closing_usd(self) -> float:
        """What a pause costs: an evaluation and a checkpoint."""
        return closing_usd(self.plan)

    @property
    def job(self) -> str:
        """Whose job carries it, or carried its last attempt, in words; "" where no engine did."""
        return f"{self.engine.capitalize()} job {self.handle}" if self.handle else ""

    @property
    def needs(self) -> str:
        """The least it needs, in words: `4 GPUs of 40 GB, 8 cores, 64 GB of memory`; "" where any machine will do."""
        size = f" of {self.gpu_memory_gb:g} GB" if self.gpu_memory_gb else ""
        gpus = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}{size}" if self.gpus else ""
        cpus = f"{self.cpus} cores" if self.cpus > 1 else ""
        memory = f"{self.memory_gb:g} GB of memory" if self.memory_gb else ""
        return ", ".join(part for part in (gpus, cpus, memory) if part)

    @property
    def due(self) -> float:
        """Its place in the queue: the lowest is claimed first. A point of priority is worth an hour of waiting."""
        return self.run_after - self.priority * AGE_S


@dataclass(frozen=True)
class Attempt:
    """One execution of a run."""

    run_id: int
    token: int
    worker: str
    started_at: float
    ended_at: float | None
    outcome: str  # running succeeded stopped failed lost preempted
    failure_class: str
    detail: str
    first_step: int
    last_step: int
    usd: float


@dataclass(frozen=True)
class Event:
    """A line of the append-only audit log."""

    id: int
    at: float
    run_id: int | None
    token: int | None
    kind: str  # submitted claimed started checkpoint beat_lost reaped paused resumed cancelled succeeded failed …
    detail: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    run_id: int
    step: int
    token: int
    path: str
    bytes: int
    state: str  # published corrupt deleted
    created_at: float


@dataclass(frozen=True)
class Worker:
    id: str  # host:boot:pid:start:uuid
    host: str
    pid: int
    hardware: str
    usd_per_hour: float
    state: str  # working idle draining gone
    run_id: int | None
    started_at: float
    beat_at: float


@dataclass(frozen=True)
class Series:
    """One metric of one run, ordered by step, with every possible x-axis beside it."""

    run_id: int
    key: str
    step: list[int]
    value: list[float]
    images: list[float]
    flops: list[float]
    usd: list[float]  # planned (useful) dollars at that step: the axis of equal dollars
    seconds: list[float]  # since the run's first attempt started, as journalled


@dataclass(frozen=True)
class Sample:
    """One picture of a seeded grid."""

    run_id: int
    step: int
    index: int
    prompt: str
    path: str
    usd: float
    images: int = 0  # training samples seen until then; 0 where the run's batch size is not known


@dataclass(frozen=True)
class Sweep:
    id: int
    name: str
    project: str
    base: str
    spec: dict[str, Any]  # the sweep's resolved YAML: search, objectives, budget, trials
    state: str  # running finished stopped
    max_usd: float | None
    spent_usd: float
    n_trials: int
    created_at: float


@dataclass(frozen=True)
class Trial:
    """One proposed configuration of a sweep, and the run that trains it."""

    sweep_id: int
    number: int
    run_id: int | None
    params: dict[str, Any]
    state: str  # proposed running complete failed pruned
    values: tuple[float, ...]  # one per objective, in the sweep's order; empty until complete


# What becomes of a dollar (`ledger`); those of WASTED bought nothing, `idle` is in no run's books.
OUTCOMES = ("useful", "unfinished", "repeated", "pruned", "failed", "cancelled", "idle")
WASTED = ("repeated", "pruned", "failed", "cancelled")


@dataclass(frozen=True)
class Spend:
    """A line of the ledger: micro-dollars of one outcome, spent between two moments."""

    micro: int
    outcome: str
    run_id: int | None  # None: an idle worker's, and of no experiment or project
    experiment: str
    project: str
    sweep: str  # "" outside sweeps
    machine: str
    began_at: float
    ended_at: float


@dataclass(frozen=True)
class Line:
    """What has not ended, in the order of claims: the first of it, how many there are, what they will still cost."""

    first: tuple[Run, ...]
    n_active: int
    n_waiting: int
    ahead_usd: float


@dataclass(frozen=True)
class Totals:
    """The row of figures on the overview, in SQL aggregates."""

    n_runs: int
    n_active: int
    n_queued: int
    n_succeeded: int
    n_failed: int
    spent_usd: float
    wasted_usd: float  # failed, cancelled and pruned runs, and work done twice after a crash
    ahead_usd: float  # what runs that have not ended may still spend by their plan
    workers_alive: int
