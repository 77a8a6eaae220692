"""What a GPU gives this trainer: the same bits after a kill, the public numbers, seconds, memory and dollars a step.

    python benchmarks/gpu.py [same parity steps] [--json FILE] [--usd-per-hour 2.0]

same     trainings of all kinds, killed twice and gone on with: the final weights' sha256 against one left alone
parity   the public model's tensors (tests/golden), computed in fp32 there
steps    seconds, TFLOP/s and memory of steps, among them the paper's four stages, whose price follows; each shape also
         with sums in any order, in turns, which is what reproducible bits cost

It needs one GPU with nothing else on it, and takes about five minutes on an H200. `--only` takes some of the shapes;
with `--device cpu` it runs where there is no GPU, for small shapes: to see that the script works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpu_parts import same, stages, steps
from shoestring_trainer.parity import compare

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("same", "parity", "steps")


def main() -> int:
    """Do the parts; exit 1 when a sum differs or a golden number is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here too")
    parser.add_argument("--usd-per-hour", type=float, default=2.0, help="of this GPU, for the paper's price")
    parser.add_argument("--only", nargs="+", metavar="SHAPE", help=f"of steps: {', '.join(steps.SHAPES)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    answer: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in args.parts or PARTS:
            match part:
                case "same":
                    answer[part] = same.check(Path(folder), args.device)
                case "parity":
                    golden = ROOT / "tests" / "golden" / "microdit_small.safetensors"
                    answer[part] = compare(golden, args.device)
                    print(f"parity: at most {max(answer[part].values()):.2g} (relative) from the public numbers")
                case "steps":
                    answer[part] = steps.measure(Path(folder), args.device, args.only or list(steps.SHAPES))
                    answer["paper"] = stages.price(answer[part], args.usd_per_hour)
            if args.json:
                args.json.write_text(json.dumps(answer, indent=1))
    missed = any(error > 1e-4 for error in answer.get("parity", {}).values())
    return int(missed or not all(one["same"] for one in answer.get("same", [])))


if __name__ == "__main__":
    sys.exit(main())
