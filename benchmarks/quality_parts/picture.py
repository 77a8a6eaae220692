"""The benchmark's curves as a picture: the mean over the seeds, and a band from the least to the most of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = {"paper": "#8a5a00", "ours": "#0b6e8f"}
NAMES = {"paper": "the paper's recipe", "ours": "ours"}


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw `result` (what `docs/quality.json` holds) into `file`: value over CPU-seconds, both on logarithmic axes."""
    figure, axes = plt.subplots(figsize=(7.5, 4.2), dpi=150, layout="constrained")
    trained = sorted({(c["recipe"], c["share"]) for c in result["curves"]}, reverse=True)
    for recipe, share in trained:
        curves = [np.array(c["points"]) for c in result["curves"] if (c["recipe"], c["share"]) == (recipe, share)]
        at = np.geomspace(max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves), 100)  # CPU-seconds all have
        values = np.stack([np.interp(np.log(at), np.log(c[:, 0]), c[:, 1]) for c in curves])  # (seeds, 100)
        colour = COLOURS[recipe]
        axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, linewidth=0)
        axes.plot(at, values.mean(axis=0), color=colour, linewidth=1.8)
        label = f"{NAMES[recipe]}, {np.mean([c[-1, 0] for c in curves]):,.0f} s"
        last = share == max(other for name, other in trained if name == recipe)
        axes.annotate(label, (at[-1], values[:, -1].mean()), xytext=(6 if last else -8, -5), textcoords="offset points",
                      color=colour, va="top", ha="left" if last else "right", fontsize=9)  # fmt: skip
    end = np.mean([c["points"][-1][1] for c in result["curves"] if c["recipe"] == "paper"])
    axes.axhline(end, color=COLOURS["paper"], linestyle=":", linewidth=1)
    low, high = result["cpu_seconds_ratio_interval"]
    axes.set_title(
        f"Where the paper's recipe ends, ours is after {result['cpu_seconds_ratio']:.3f} of its CPU-seconds "
        f"({low:.3f} to {high:.3f})", fontsize=10, loc="left",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(right=3 * max(c["points"][-1][0] for c in result["curves"]))  # room for words
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(y=0.1)
    axes.set_xlabel(f"CPU-seconds of training; bands: the range of {result['seeds']} seeds")
    axes.set_ylabel(result["metric"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    figure.savefig(file)
    plt.close(figure)
