"""`python -m shoestring_trainer.sample RUN_DIR --out DIR`: draw pictures for prompts with a run's averaged weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from shoestring_trainer.allocator import keep_memory
from shoestring_trainer.config import Samples, TrainConfig
from shoestring_trainer.failures import BadConfig, told_in_a_line

DEFAULT_PROMPTS = 16


@told_in_a_line
def main(argv: list[str] | None = None) -> int:
    """Draw the pictures and a grid; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shoestring_trainer.sample", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="000.png …, grid.png, meta.json go here")
    parser.add_argument("--prompts-file", type=Path, metavar="FILE", help="a prompt a line (default: the run's own)")
    parser.add_argument("--seed", type=int, help="noise (default: the run's own, as are the next three)")
    parser.add_argument("--steps", type=int, help="solver steps")
    parser.add_argument("--guidance", type=float, help="how much the caption is exaggerated; 1 not at all")
    parser.add_argument("--sampler", choices=["heun", "dpmpp2m", "euler"])
    parser.add_argument("--untrained", action="store_true", help="with the weights that training started from")
    args = parser.parse_args(argv)
    keep_memory()
    draw(args)
    return 0


def draw(args: argparse.Namespace) -> None:
    """Draw what the arguments ask for. Raises TrainFailure."""
    import numpy as np

    from shoestring_trainer import grids  # torch
    from shoestring_trainer.restore import restore

    restored = restore(args.run_dir, args.untrained)
    samples = samples_of(args, restored.config, restored.data.captions)
    how = (restored.denoiser, restored.data, samples, restored.device)
    if args.prompts_file:  # typed: each alone, as in the queue
        pictures = np.stack([grids.draw_alone(*how, index) for index in range(len(samples.prompts))])
    else:  # the run's own: as it drew them itself
        pictures = grids.draw(*how)
    grids.write(args.out, pictures, restored.meta(samples))
    print(f"{len(pictures)} pictures of step {restored.step}: {args.out / 'grid.png'}")


def samples_of(args: argparse.Namespace, config: TrainConfig, captions: list[str]) -> Samples:
    """Merge the arguments over the run's own samples. Raises BadConfig for values that are not allowed."""
    own = config.samples or Samples(every_steps=1, prompts=tuple(captions[:DEFAULT_PROMPTS]))
    given = {"seed": args.seed, "n_steps": args.steps, "guidance": args.guidance, "sampler": args.sampler}
    if args.prompts_file:
        try:
            lines = args.prompts_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"--prompts-file {args.prompts_file}: {error}") from error
        given["prompts"] = tuple(line.strip() for line in lines if line.strip())
    if args.prompts_file or args.seed is not None:
        own = own.model_copy(update={"seeds": None})  # they belong to the run's own prompts
    fields = own.model_dump() | {name: value for name, value in given.items() if value is not None}
    try:
        return Samples(**fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadConfig(faults) from error


if __name__ == "__main__":
    sys.exit(main())
