"""What one training step costs: CPU seconds, images/s and memory of a preset, by mask ratio and batch size.

    python benchmarks/step.py --preset spark
    python benchmarks/step.py --preset microdit-tiny-2 --batches 16 --rounds 3 --profile

A turn is a process of its own with the allocator set (recipe: page faults flatter masking), doing exactly forward,
backward, clip and AdamW on random latents: one step to warm up, then `--steps` timed ones. The ratios take turns, so a
slow minute of the machine falls on all alike, and only one is in memory at a time; printed are medians, and ratios
between turns of one round. Memory is the peak beyond what imports take. `--data DIR` also times the loader on an
encoded set.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LATENT = {"spark": (8, 8, 8), "nano": (3, 16, 16)}  # others: the paper's 256 px, 4×32×32
CAPTION = {"spark": (9, 384), "nano": (8, 32)}  # tokens and width; others: the paper's 77×1024


def main() -> None:
    """Parse, measure, print a table and its ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="spark", help="a name of shoestring_trainer.presets")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.5, 0.75])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each ratio")
    parser.add_argument("--steps", type=int, default=2, help="timed steps in a turn")
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--profile", action="store_true", help="where the seconds of a step go, by kind of operation")
    parser.add_argument("--data", type=Path, metavar="DIR", help="an encoded set, to time the loader on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(json.loads(args.child))
    rows = []
    for batch in args.batches:
        rows += measure(args, batch)
    show(rows)
    answer: dict[str, Any] = {"preset": args.preset, "optimizer": args.optimizer, "rows": rows}
    if args.data:
        answer["loader_images_per_s"] = loader(args.data, args.batches[0])
        fastest = max(row["images_per_s"] for row in rows)
        print(f"loader: {answer['loader_images_per_s']:.0f} images/s, {answer['loader_images_per_s'] / fastest:.0f} × "
              f"the fastest step")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(answer, indent=1))


# ── one process of the group ────────────────────────────────────────────────────────────────────


def child(asked: dict[str, Any]) -> None:
    """Build, then do one step for each line on stdin and answer its seconds; a line `profile` profiles one."""
    from shoestring_trainer.allocator import keep_memory

    allocator = keep_memory()
    import torch
    from shoestring_trainer.config import AdamW, Edm, LogNormal, Muon, NoMask, RandomMask
    from shoestring_trainer.diffusion import Denoiser
    from shoestring_trainer.flops import train_flops_per_image
    from shoestring_trainer.masking import sample_keep
    from shoestring_trainer.model import Captions, DiT
    from shoestring_trainer.objectives import sample_sigma
    from shoestring_trainer.presets import PRESETS
    from shoestring_trainer.step import build_optimizer

    imported_mb = peak_mb()
    model, ratio, batch = PRESETS[asked["preset"]], asked["ratio"], asked["batch"]
    shape, (length, width) = LATENT.get(asked["preset"], (4, 32, 32)), CAPTION.get(asked["preset"], (77, 1024))
    mask = RandomMask(kind="random", ratio=ratio) if ratio else NoMask(kind="none")
    generator = torch.Generator().manual_seed(0)
    net = DiT(model, shape, width)
    net.init_weights(generator)
    kinds = {"adamw": AdamW(kind="adamw"), "muon": Muon(kind="muon")}
    optimizer = build_optimizer(net, kinds[asked["optimizer"]])
    objective = Edm(kind="edm")
    denoiser = Denoiser(net, objective)
    n_tokens = (shape[1] // model.patch) * (shape[2] // model.patch)

    def step() -> None:
        x0, noise = torch.randn(2, batch, *shape, generator=generator)
        captions = Captions(torch.randn(batch, length, width, generator=generator))
        sigma = sample_sigma(objective, LogNormal(), batch, generator)
        denoiser.loss(x0, sigma, noise, captions, sample_keep(mask, batch, n_tokens, generator)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.25)
        optimizer.step(1e-4)
        optimizer.zero_grad()

    parameters = sum(p.numel() for p in net.parameters())
    flops = batch * train_flops_per_image(model, shape, length, mask, width)
    tell({"parameters": parameters, "flops": flops, "imported_mb": imported_mb, "allocator": allocator})
    for line in sys.stdin:
        if line.strip() == "profile":
            tell(profile(step))
            continue
        began, cpu_began = time.perf_counter(), time.process_time()
        step()
        tell({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_began, "peak_mb": peak_mb()})


def profile(step: Any) -> dict[str, float]:
    """Shares of a step's CPU time by kind of operation (self time)."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    kinds = {
        "mm": ("aten::mm", "aten::addmm"),
        "bmm": ("aten::bmm", "aten::baddbmm"),
        "attention": ("attention",),
        "norm": ("layer_norm",),
        "optimiser": ("_fused_adamw", "foreach"),
        "gather": ("gather", "index", "scatter"),
        "elementwise": ("mul", "add", "silu", "gelu", "copy", "sum", "softmax"),
    }
    with profiler(activities=[ProfilerActivity.CPU]) as found:
        step()
    shares: dict[str, float] = {}
    for event in found.key_averages():
        kind = next((k for k, words in kinds.items() if any(word in event.key for word in words)), "other")
        shares[kind] = shares.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(shares.values())
    return {kind: value / total for kind, value in sorted(shares.items(), key=lambda pair: -pair[1])}


def tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def peak_mb() -> float:
    """Peak resident memory of this process in MB (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


# ── the group ───────────────────────────────────────────────────────────────────────────────────


def measure(args: argparse.Namespace, batch: int) -> list[dict[str, Any]]:
    """Time all ratios at one batch size in turns; a row for each."""
    rows: list[dict[str, Any]] = [{"ratio": ratio, "batch": batch} for ratio in args.ratios]
    rounds = []
    for number in range(args.rounds):
        print(f"\rbatch {batch}: round {number + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
        rounds.append([turn(args, row, number == args.rounds - 1) for row in rows])
    print(file=sys.stderr)
    for index, row in enumerate(rows):
        own = [turns[index] for turns in rounds]
        against = [turns[0]["cpu_s"] / turns[index]["cpu_s"] for turns in rounds]
        row |= {
            "cpu_s": statistics.median(a["cpu_s"] for a in own),
            "images_per_s": batch / min(a["wall_s"] for a in own),
            "peak_mb": max(a["peak_mb"] for a in own) - row["imported_mb"],
            "speedup": statistics.median(against),
            "speedup_range": [min(against), max(against)],
            "predicted": rows[0]["flops"] / row["flops"],
        }
    return rows


def turn(args: argparse.Namespace, row: dict[str, Any], last: bool) -> dict[str, float]:
    """One turn of a row's process: medians of its timed steps. What does not change is written into `row`."""
    asked = {"preset": args.preset, "optimizer": args.optimizer, "ratio": row["ratio"], "batch": row["batch"]}
    argv = [sys.executable, __file__, "--child", json.dumps(asked)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    row |= ask(process)
    answers = [ask(process, "step") for _ in range(1 + args.steps)][1:]
    if last and args.profile:
        row["profile"] = ask(process, "profile")
    process.communicate()
    return {name: statistics.median(answer[name] for answer in answers) for name in answers[0]}


def ask(process: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    """Send a line, if any, and read the answer."""
    assert process.stdin and process.stdout
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"error: a process of the benchmark ended with exit code {process.wait()}; its words are above")
    return json.loads(answer)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table; speed-ups are against the first ratio, in CPU time."""
    print(f"{rows[0]['parameters'] / 1e6:.2f} M parameters, allocator {'set' if rows[0]['allocator'] else 'not set'}")
    print(
        f"{'batch':>5} {'ratio':>5} {'CPU s':>8} {'img/s':>7} {'GFLOP/s':>8} {'MB':>7}  speed-up (range), of predicted"
    )
    for row in rows:
        low, high = row["speedup_range"]
        gflops = row["flops"] / row["cpu_s"] / 1e9
        print(
            f"{row['batch']:>5} {row['ratio']:>5g} {row['cpu_s']:>8.3f} {row['images_per_s']:>7.1f} {gflops:>8.1f} "
            f"{row['peak_mb']:>7.0f}  {row['speedup']:.2f} ({low:.2f}–{high:.2f}), {row['predicted']:.2f}: "
            f"{row['speedup'] / row['predicted']:.0%}"
        )
    for row in rows:
        if "profile" in row:
            parts = ", ".join(f"{kind} {share:.0%}" for kind, share in row["profile"].items())
            print(f"profile of batch {row['batch']}, ratio {row['ratio']:g}: {parts}")


def loader(folder: Path, batch: int, seconds: float = 3.0) -> float:
    """Images/s that the loader alone delivers: shuffled batches of images and padded captions."""
    from shoestring_trainer.data import DataSet
    from shoestring_trainer.seeds import epoch_order

    data, done, began = DataSet.open(folder), 0, time.perf_counter()
    rows = data.train[epoch_order(0, 0, len(data.train)).numpy()]
    while time.perf_counter() - began < seconds:
        first = done * batch % (len(rows) - batch)
        data.batch(rows[first : first + batch])
        done += 1
    return done * batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
