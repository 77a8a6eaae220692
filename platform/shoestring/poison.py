"""Poisonous rows: runs whose stored config this program cannot train. Whoever claims one fails it and goes on."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.drawing import DrawConfig, config_class

from shoestring.records import SPEC_VERSION, Run


class Poisonous(ValueError):
    """The run's row is not to be trained; the sentence says why."""

    failure_class = "poisonous"


def stored_config(run: Run) -> TrainConfig | DrawConfig:
    """Read what a claimed run is to train, or to draw, from its row. Raises Poisonous."""
    why = run.unreadable if "config" in run.unreadable else ""
    if run.spec_version > SPEC_VERSION:
        why = f"it has version {run.spec_version}, and this program knows versions up to {SPEC_VERSION}"
    elif not why and not Path(run.run_dir).is_absolute():
        why = f"its folder {run.run_dir!r} is no absolute path"
    if not why:
        try:
            return config_class(run.config).model_validate(run.config)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg']}" for one in error.errors()[:3]]
            why = "; ".join(faults)
    raise Poisonous(
        f"what is stored of it cannot be trained: {why}. A newer shoestring wrote it, or it was changed since: "
        f"submit its experiment once more with --again"
    )
