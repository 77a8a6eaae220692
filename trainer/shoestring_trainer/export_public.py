"""`python -m shoestring_trainer.export_public RUN_DIR --out FILE.safetensors`: a run's weights in the public layout."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from shoestring_trainer.failures import BadCheckpoint, BadConfig, told_in_a_line
from shoestring_trainer.import_public import RECORD
from shoestring_trainer.run_dir import RunDir


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Export one run; print what it is as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shoestring_trainer.export_public", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--raw", action="store_true", help="the trained weights; default: their moving average")
    args = parser.parse_args(argv)
    facts = export_file(args.run_dir, args.out, args.raw)
    print(json.dumps(facts))
    return 0


def export_file(root: Path, out: Path, raw: bool = False) -> dict[str, Any]:
    """Write the newest good checkpoint's weights; return its step and the number of tensors.

    Weights that were imported get back the constants and the number formats that they came with.
    Raises BadConfig, BadCheckpoint.
    """
    from safetensors.torch import save_file

    from shoestring_trainer.public_layout import constants, export_weights, sizes_of
    from shoestring_trainer.restore import newest_good, stage_before
    from shoestring_trainer.train import read_config

    if out.suffix != ".safetensors":
        raise BadConfig(f"--out {out}: weights are written as .safetensors only")
    run_dir = RunDir(root)
    config = read_config(run_dir)
    if config.model.whole_grid:
        raise BadConfig(
            f"the public layout has no place for model.merge {config.model.merge} and model.conv {config.model.conv} "
            f"of {config.name}; shoestring export --diffusers DIR writes every model"
        )
    loaded = newest_good(run_dir)
    index = stage_before(config, loaded.step)
    model, data = config.model_at(index), config.data_at(index)
    tensors = export_weights(loaded.weights if raw else loaded.ema, model.patch)
    sizes = sizes_of(model, data.shape, data.caption_dim, config.objective)
    came = _as_it_came(root / RECORD)
    if came is None:
        tensors |= constants(model, data.shape)
    else:
        fixed, formats = came
        tensors = {name: value.to(formats[name]) for name, value in tensors.items()} | fixed
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, {"config": json.dumps(sizes)})
    partial.replace(out)
    return {"out": str(out), "step": loaded.step, "n_tensors": len(tensors), "weights": "raw" if raw else "ema"}


def _as_it_came(record: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The constants, and each tensor's dtype, of an imported run; None for any other."""
    import torch
    from safetensors import SafetensorError, safe_open

    if not record.exists():
        return None
    try:
        with safe_open(record, "pt") as file:
            fixed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            formats = json.loads(file.metadata()["formats"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{record} is damaged ({error}): import the weights again") from error
    return fixed, {name: getattr(torch, dtype) for name, dtype in formats.items()}


if __name__ == "__main__":
    sys.exit(main())
