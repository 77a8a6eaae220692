"""How many CPU-seconds our recipe needs to be as good as the paper's: same data, latents, evaluation, machine.

    python benchmarks/quality.py                             # 20 minutes of two cores a training, three seeds: 2 h
    python benchmarks/quality.py --minutes 3 --seeds 1       # a quick look, about 5 minutes

Each seed trains the paper's recipe (frozen in `quality_parts/recipes.py`) for the whole time, and ours for a sixth and
a third of it, each with its own schedule from warm-up to the last step. Two trainings at a time, a core each; a
training's time is its CPU-seconds, evaluation left out. At the end of each, KID and retrieval of pictures for captions
that training never showed. FOLDER keeps what is finished: given again, the benchmark goes on where it was stopped.

Prints the curves' ends and the ratio; writes `docs/quality.json` when asked with `--json`, draws the curves when
asked with `--plot`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARES = (1 / 6, 1 / 3)  # of the paper's CPU-seconds that ours is trained for
PAPER, OURS = "paper", "ours"
METRIC = "val/loss"
PIXELS = ("eval/kid_effnet", "eval/kid_effnet_se", "eval/retrieval_r1")


def main() -> None:
    """Train what is missing, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of two cores, for the paper's recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=300, help="drawn for KID and retrieval; 0 leaves them out")
    parser.add_argument("--evaluations", type=int, default=20, help="of each training")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "emoji-32")
    parser.add_argument("--folder", type=Path, default=ROOT / ".shoestring" / "quality")
    parser.add_argument("--long", action="store_true", help="train ours for the paper's whole time too")
    parser.add_argument("--at-once", type=int, default=2, help="trainings side by side, a thread each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args, json.loads(args.child))
    if not (args.data / "manifest.json").exists():
        sys.exit(f"error: {args.data} is no encoded set\n  → dvc repro encode")
    args.folder.mkdir(parents=True, exist_ok=True)
    jobs = planned(args)
    with ThreadPoolExecutor(args.at_once) as pool:
        records = list(pool.map(lambda job: record_of(args, job), jobs))
    result = compared(records)
    print(told(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.plot:
        from quality_parts.picture import draw

        draw(result, args.plot)


def planned(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The trainings, the longest first: recipe, seed, CPU-seconds."""
    budget_s = args.minutes * 60 * 2
    shares = [*SHARES, *([1.0] if args.long else [])]
    wanted = [(PAPER, 1.0), *((OURS, share) for share in sorted(shares, reverse=True))]
    return [
        {"recipe": recipe, "seed": seed, "share": share, "cpu_s": budget_s * share}
        for recipe, share in wanted
        for seed in range(args.seeds)
    ]


def record_of(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    """What a training came to: from its file, or trained now in a process of its own."""
    file = args.folder / f"{job['recipe']}-{job['cpu_s']:.0f}s-seed{job['seed']}.json"
    if not file.exists():
        words = [sys.executable, __file__, "--child", json.dumps({**job, "file": str(file.resolve())})]
        words += ["--data", str(args.data.resolve()), "--pictures", str(args.pictures)]
        words += ["--evaluations", str(args.evaluations)]
        done = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"error: {' '.join(words[1:4])} ended with code {done.returncode}")
    return json.loads(file.read_bytes())


def child(args: argparse.Namespace, job: dict[str, Any]) -> None:
    """Train, judge, write the record and the grid."""
    from quality_parts.judging import draw_grid, judged
    from quality_parts.recipes import RECIPES
    from quality_parts.training import train
    from shoestring_trainer.allocator import keep_memory
    from shoestring_trainer.run_dir import write_atomic

    keep_memory()
    name = f"{job['recipe']}, seed {job['seed']}, {job['cpu_s']:.0f} CPU-s"

    def tick(point: Any) -> None:
        print(f"{name}: {point.cpu_s:6.0f} CPU-s  {METRIC} {point.losses[METRIC]:.4f}", file=sys.stderr, flush=True)

    trained = train(RECIPES[job["recipe"]], args.data, job["seed"], job["cpu_s"], args.evaluations, tick)
    record = {**job, **trained.record()}
    file = Path(job["file"])
    if args.pictures:
        record["pixels"] = judged(trained, args.pictures)
        draw_grid(trained, ROOT / "prompts" / "demo.txt", file.with_suffix(".png"))
    write_atomic(file, json.dumps(record).encode())


def compared(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Curves, ends and the ratio of CPU-seconds."""
    from quality_parts.crossing import ratio

    def curve(record: dict[str, Any]) -> list[tuple[float, float]]:
        return [(point["cpu_s"], point["losses"][METRIC]) for point in record["points"]]

    paper = [r for r in records if r["recipe"] == PAPER]
    seeds = sorted({r["seed"] for r in records})
    ours = [[curve(r) for r in records if r["recipe"] == OURS and r["seed"] == seed] for seed in seeds]
    found = ratio([curve(r) for r in paper], ours)
    ends = []
    for name, share in sorted({(r["recipe"], r["share"]) for r in records}):
        group = [r for r in records if (r["recipe"], r["share"]) == (name, share)]
        ends.append({
            "recipe": name, "share": share, "seeds": len(group),
            "cpu_s": statistics.fmean(r["cpu_s"] for r in group),
            "images": statistics.fmean(r["images"] for r in group), "parameters": group[0]["parameters"],
            **{METRIC: [curve(r)[-1][1] for r in group]},
            **{key: [r["pixels"][key] for r in group] for key in PIXELS if all("pixels" in r for r in group)},
        })  # fmt: skip
    return {
        "cpu_seconds_ratio": found["ratio"], "cpu_seconds_ratio_interval": [found["low"], found["high"]],
        "metric": METRIC, "seeds": len(seeds), "paper_cpu_s": statistics.fmean(r["cpu_s"] for r in paper),
        "ends": ends, "curves": [{"recipe": r["recipe"], "seed": r["seed"], "share": r["share"], "points": curve(r)}
                                 for r in records],
    }  # fmt: skip


def told(result: dict[str, Any]) -> str:
    """The table and the ratio, in words."""
    lines = [f"{'recipe':<8}{'CPU-s':>8}{'images':>10}  {METRIC:<18}KID × 1000 (its se)   retrieval R@1"]
    for end in result["ends"]:
        kid = retrieval = "–"
        if "eval/kid_effnet" in end:
            se = statistics.fmean(end["eval/kid_effnet_se"])
            kid = f"{1e3 * statistics.fmean(end['eval/kid_effnet']):.1f} ({1e3 * se:.1f})"
            retrieval = f"{statistics.fmean(end['eval/retrieval_r1']):.3f}"
        loss = end[METRIC]
        spread = f" ± {statistics.stdev(loss):.4f}" if len(loss) > 1 else ""
        lines.append(f"{end['recipe']:<8}{end['cpu_s']:>8.0f}{end['images']:>10,.0f}  "
                     f"{f'{statistics.fmean(loss):.4f}{spread}':<18}{kid:<22}{retrieval}")  # fmt: skip
    found, (low, high) = result["cpu_seconds_ratio"], result["cpu_seconds_ratio_interval"]
    if found is None:
        lines.append("ours did not reach the paper's final value in the time it had")
    else:
        whole_s = result["paper_cpu_s"]
        upper, upper_s = ("not reached",) * 2 if high is None else (f"{high:.3f}", f"{high * whole_s:.0f}")
        lines.append(
            f"ours is where the paper's recipe ended after {found * whole_s:.0f} CPU-seconds "
            f"({low * whole_s:.0f} to {upper_s}): {found:.3f} of its own ({low:.3f} to {upper})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
