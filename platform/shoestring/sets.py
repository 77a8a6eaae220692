"""Data sets that are described, not built: enough to plan and price runs before anything is encoded. Pure."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field
from shoestring_trainer.config import DataConfig, Frozen, Side


class DescribedSet(Frozen):
    """What a manifest.json will say once the set is built."""

    space: Literal["latents", "pixels"]
    shape: tuple[Side, Side, Side] = Field(description="C, H, W of one training sample")
    size_px: int = Field(ge=4, description="pixels of the longer side once decoded")
    n_train: int = Field(ge=1)
    caption_dim: int = Field(ge=1)
    caption_tokens: float = Field(gt=0, description="mean true caption length, in tokens")

    def as_data(self, name: str, folder: Path) -> DataConfig:
        """The facts as a run has them; `folder` is where the set will lie."""
        digest = hashlib.sha256(f"described {self.model_dump_json()}".encode()).hexdigest()
        return DataConfig(path=str(folder), name=name, digest=digest, **self.model_dump())
