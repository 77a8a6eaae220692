"""`python -m shoestring_trainer.import_public FILE --data FOLDER --out RUN_DIR`: public weights as a run's folder.

The folder holds `config.json`, one published checkpoint (weights = average = imported, fresh optimiser state) and
`public.safetensors`: the constants and number formats that came in, so that an export gives the same bytes back.
Weights from elsewhere count as one step: step 0 means untrained everywhere here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shoestring_trainer import config as c
from shoestring_trainer.failures import BadCheckpoint, BadConfig, BadData, told_in_a_line
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir, fsync_dir

IMPORTED_STEP = 1
RECORD = "public.safetensors"
FORMATS = ("float32", "float16", "bfloat16")  # float32 holds each of them exactly


@dataclass(frozen=True)
class Public:
    """The layout's part of a file: `tensors` by public name, `said` its `config` metadata, `left` other tensors."""

    tensors: dict[str, Any]
    said: dict[str, Any]
    left: int


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Import one file; print what it is as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shoestring_trainer.import_public", description=__doc__.splitlines()[0]
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=".safetensors, or .pt")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="encoded data set to draw with")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")
    parser.add_argument("--name", default="imported")
    parser.add_argument("--model", default="", help="a preset, or a JSON file of sizes, for what shapes do not tell")
    parser.add_argument("--prefix", help="what stands before the layout's names, when there are several")
    args = parser.parse_args(argv)
    facts = import_file(args)
    print(json.dumps(facts))
    return 0


def import_file(args: argparse.Namespace) -> dict[str, Any]:
    """Read, check and write the run's folder; return its facts. Raises TrainFailure."""
    from shoestring_trainer.public_layout import objective_of
    from shoestring_trainer.public_sizes import infer_model

    try:
        data = read_manifest(args.data)
    except (FileNotFoundError, ValueError) as error:
        raise BadData(str(error)) from error
    public = read_public(args.file, args.prefix)
    said = public.said | said_by(args.model)
    try:
        model = infer_model(public.tensors, said, data)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:  # shapes or sizes that nobody foresaw
        raise BadCheckpoint(f"{args.file} does not have the layout's shapes: {error}") from error
    try:
        config = run_config(args.name, data, model, objective_of(said))
    except ValueError as error:
        raise BadConfig(str(error)) from error
    write_run(args.out, config, public, {"file": args.file.name, "sha256": sha256(args.file)})
    n = sum(t.numel() for name, t in public.tensors.items())
    return {"n_tensors": len(public.tensors), "n_values": n, "left_out": public.left, "step": IMPORTED_STEP}


def said_by(model: str) -> dict[str, Any]:
    """Read the sizes that `--model` says: a preset's, or a JSON file's. Raises BadConfig."""
    from shoestring_trainer.public_layout import model_sizes

    if not model:
        return {}
    if model in PRESETS:
        sizes = model_sizes(PRESETS[model])
        return {name: value for name, value in sizes.items() if name != "pos_scale"}  # told by the positions
    try:
        sizes = json.loads(Path(model).read_bytes())
        assert isinstance(sizes, dict), "not a JSON object"
    except (OSError, ValueError, AssertionError, RecursionError) as error:
        raise BadConfig(f"--model {model}: neither a preset ({', '.join(PRESETS)}) nor a JSON file: {error}") from error
    experts = sizes.get("experts")
    if isinstance(experts, dict):  # as `model.experts` stands in experiments.yaml
        sizes |= {"experts": experts.get("count"), **{k: v for k, v in experts.items() if k != "count"}}
    ours = {"merge", "tail_depth", "conv"}  # no file of the public layout has them
    allowed = {*c.ModelConfig.model_fields, *c.Experts.model_fields, "objective", "sigma_data"} - {"count", *ours}
    if unknown := sizes.keys() - allowed:
        raise BadConfig(f"--model {model}: {', '.join(sorted(unknown))} unknown; allowed: {', '.join(sorted(allowed))}")
    return sizes


def read_public(path: Path, prefix: str | None = None) -> Public:
    """Read the layout's tensors of a `.safetensors` or `.pt`, without what stands before their names.

    Raises BadCheckpoint: not readable, not the layout, several of it.
    """
    if not path.is_file():
        raise BadCheckpoint(f"{path} is not a file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, prefix, path)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        argv = [sys.executable, "-m", "shoestring_trainer.unpickle", str(path.resolve()), str(out)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise BadCheckpoint(
                f"{path} was not read: {why}. Only tensors in plain dicts are read from a pickle, nothing is executed; "
                f"save such a state dict with torch.save, or use safetensors"
            )
        return _read_safetensors(out, prefix, path)


def _read_safetensors(path: Path, prefix: str | None, shown_as: Path) -> Public:
    from safetensors import SafetensorError, safe_open

    from shoestring_trainer.public_layout import FIRST, find_prefixes

    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            found = find_prefixes(names)
            if prefix is not None:
                prefix = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
                found = [one for one in found if one == prefix]
            if not found:
                where = f" under {prefix!r}" if prefix else ""
                raise BadCheckpoint(f"{shown_as} holds no public MicroDiT checkpoint{where}: no {FIRST}")
            if len(found) > 1:
                choices = " or ".join(f"--prefix {one!r}" for one in found)
                raise BadCheckpoint(f"{shown_as} holds {len(found)} checkpoints: say {choices}")
            taken = {n.removeprefix(found[0]): file.get_tensor(n) for n in names if n.startswith(found[0])}
            said = json.loads((file.metadata() or {}).get("config", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{shown_as} is not a readable safetensors file: {error}") from error
    if odd := [name for name, tensor in taken.items() if str(tensor.dtype).removeprefix("torch.") not in FORMATS]:
        raise BadCheckpoint(f"{shown_as}: {odd[0]} is {taken[odd[0]].dtype}; allowed: {', '.join(FORMATS)}")
    return Public(taken, said if isinstance(said, dict) else {}, len(names) - len(taken))


def run_config(name: str, data: c.DataConfig, model: c.ModelConfig, objective: c.Objective) -> c.TrainConfig:
    """Describe weights trained elsewhere as a run that has ended. Raises ValidationError."""
    every = IMPORTED_STEP
    elsewhere = c.Stage(steps=IMPORTED_STEP, mask=c.NoMask(kind="none"), lr=1e-4)
    return c.TrainConfig(
        name=name,
        seed=0,
        data=data,
        model=model,
        objective=objective,
        optimizer=c.AdamW(kind="adamw"),
        batch_size=1,
        stages=(elsewhere,),
        evaluate=c.Evaluate(every_steps=every),
        checkpoints=c.Checkpoints(every_steps=every),
        price=c.Price(hardware="elsewhere", usd_per_hour=0.0, source="imported weights: what they cost is not known"),
    )


def write_run(out: Path, config: c.TrainConfig, public: Public, source: dict[str, str]) -> None:
    """Write the run's folder under a temporary name and rename it. Raises BadConfig when another run stands there."""
    if out.exists() and not (out / RECORD).exists():
        raise BadConfig(f"{out} exists and is no imported run: choose another folder")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _fill(RunDir(partial), config, public, source)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    fsync_dir(out.parent)


def _fill(run_dir: RunDir, config: c.TrainConfig, public: Public, source: dict[str, str]) -> None:
    from safetensors.torch import save_file

    from shoestring_trainer import checkpoint
    from shoestring_trainer.model import DiT
    from shoestring_trainer.public_layout import CONSTANTS, import_weights
    from shoestring_trainer.resume import Window, config_sha256
    from shoestring_trainer.step import build_optimizer

    net = DiT(config.model, config.data.shape, config.data.caption_dim)
    net.load_state_dict({name: tensor.float() for name, tensor in import_weights(public.tensors).items()})
    state = {
        "step": IMPORTED_STEP,
        "images": 0,
        "epoch": 0,
        "wall_seconds": 0.0,
        "window": asdict(Window()),
        "journal_offset": 0,
        "config_sha256": config_sha256(config),
        "software": {},
        "imported": source,
    }
    run_dir.write_config(config)
    checkpoint.save(run_dir, IMPORTED_STEP, 0, (net, net, build_optimizer(net, config.optimizer)), state, keep_last=1)
    constants = {name: tensor.contiguous() for name, tensor in public.tensors.items() if name in CONSTANTS}
    formats = {name: str(t.dtype).removeprefix("torch.") for name, t in public.tensors.items()}
    record = {"formats": json.dumps(formats), "said": json.dumps(public.said), **source}
    save_file(constants, run_dir.root / RECORD, record)


def sha256(path: Path) -> str:
    """Hash a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
