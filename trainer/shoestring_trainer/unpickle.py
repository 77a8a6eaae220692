"""`python -m shoestring_trainer.unpickle FILE.pt OUT.safetensors`: the tensors of a `.pt`, by dotted names.

A process of its own, because this is the one place where a pickle is read: with torch's weights-only unpickler, which
makes tensors and plain containers and calls nothing else, and with no way round it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from shoestring_trainer.public_layout import find_prefixes


def main(argv: list[str] | None = None) -> int:
    """Convert one file; return the exit code, the reason of a failure on the error stream."""
    parser = argparse.ArgumentParser(prog="python -m shoestring_trainer.unpickle", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    try:
        content = torch.load(args.file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none makes the unpickler say
        said = str(error).strip().splitlines()
        print(f"{type(error).__name__}: {said[0] if said else 'no reason given'}", file=sys.stderr)
        return 1
    tensors = dict(walk(content))
    prefixes = find_prefixes(tensors)
    kept = {name: value for name, value in tensors.items() if name.startswith(tuple(prefixes))} if prefixes else {}
    save_file({name: value.detach().clone().contiguous() for name, value in kept.items()}, args.out)
    return 0


def walk(content: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Find the tensors in nested dicts: ('state.model.dit.x', tensor); what stands in other containers is left."""
    if isinstance(content, Tensor):
        yield path, content
    elif isinstance(content, dict):
        for key, value in content.items():
            if isinstance(key, str):
                yield from walk(value, f"{path}.{key}" if path else key)


if __name__ == "__main__":
    sys.exit(main())
