"""What a run needs of the machine that trains it, and what a machine offers one run. Pure. 1 GB = 10⁹ bytes."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from shoestring_trainer.config import Frozen

from shoestring.records import Run


class Resources(Frozen):
    """The least that a run asks for, beside a GPU for each of its processes on CUDA."""

    cpus: int = Field(default=1, ge=1, le=4096, description="cores, of all processes together")
    memory_gb: float = Field(default=0.0, ge=0, le=1e5, description="of the machine; 0: any")
    gpu_memory_gb: float = Field(default=0.0, ge=0, le=1e5, description="of each GPU; 0: any")


ANY_MACHINE = Resources()


@dataclass(frozen=True)
class Room:
    """What a worker offers a run of its queue: its whole machine (see `leases.claim`)."""

    queue: str = "default"
    gpus: int = 0
    gpu_memory_gb: float = 0.0
    cpus: int = 1024
    memory_gb: float = 1e6

    def holds(self, run: Run) -> bool:
        """Whether the run is of this queue and needs no more than there is; the claim says the same in SQL."""
        devices = run.gpus <= self.gpus and run.gpu_memory_gb <= self.gpu_memory_gb
        return run.queue == self.queue and devices and run.cpus <= self.cpus and run.memory_gb <= self.memory_gb
