"""The tables that are printed, each figure beside its target."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

FIRST_S, REACT_S, REACT_P95_S, GROWTH_MB, LIVE_CORE, RATIO = 1.0, 0.5, 1.0, 50.0, 0.05, 3.0


def shown(answer: dict[str, Any]) -> str:
    """Tables in Markdown."""
    lines = [*(_alone(answer) if "first_s" in answer else []), ""]
    for name, both in answer.get("beside_s", {}).items():
        ratio = median(both["MLflow"]) / median(both["Shoestring"])
        seconds = ", ".join(f"{who} {spread(times)} s" for who, times in both.items())
        lines.append(f"to {name}: {seconds}; {ratio:.1f} × faster{_missed(ratio >= RATIO)} (≥ {RATIO:g})")
    lines += [f"WRONG: {what}" for what in answer.get("wrong", ())]
    lines.append(f"load {answer['load_before']:.2f} before, {answer['load_after']:.2f} after")
    return "\n".join(lines)


def _alone(answer: dict[str, Any]) -> list[str]:
    heads = ["Page", f"first content s (≤ {FIRST_S:g})", "to work with s", "whole s",
             f"interaction s, median (≤ {REACT_S:g})", f"95th percentile (≤ {REACT_P95_S:g})"]  # fmt: skip
    lines = ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, first in answer["first_s"].items():
        reacted = answer["react_s"].get(name)
        cells = [
            spread(first, median(first) <= FIRST_S),
            *(spread(answer[key][name]) for key in ("ready_s", "whole_s")),
        ]
        if reacted:
            cells += [spread(reacted, median(reacted) <= REACT_S), _judged(p95(reacted), p95(reacted) <= REACT_P95_S)]
        lines.append(f"| {name} | {' | '.join([*cells, *['–'] * (5 - len(cells))])} |")
    blank = spread(answer["blank_s"])
    lines += [
        "",
        f"to work with, Streamlit itself: a page of one word, opened by the same browser in turns: {blank} s",
    ]
    memory = answer["memory_mb"]
    growth = memory["after"] - memory["before"]
    lines += [
        "",
        f"the very first visit, of a new server and a new browser: {answer['cold_s']['shown_s']:.2f} s, to work with "
        f"{answer['cold_s']['ready_s']:.2f} s",
        f"memory of the server: {memory['before']:.0f} MB, after {memory['interactions']} interactions "
        f"{memory['after']:.0f} MB: {growth:+.0f} MB{_missed(abs(growth) <= GROWTH_MB)} (target ± {GROWTH_MB:g}); "
        f"of those, {memory['lost']} were followed by nothing{_missed(not memory['lost'])}",
    ]
    for name, share in answer["live_core"].items():
        lines.append(f"a live page left alone, {name}: {100 * share:.1f} % of a core{_missed(share < LIVE_CORE)} (< 5)")
    return lines


def p95(times: Sequence[float]) -> float:
    """The 95th percentile, by the nearest rank."""
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]


def spread(times: Sequence[float], reached: bool = True) -> str:
    """`median (least – most)`."""
    return _judged(median(times), reached) + f" ({min(times):.2f} – {max(times):.2f})"


def _judged(seconds: float, reached: bool) -> str:
    return f"{seconds:.2f}{_missed(reached)}"


def _missed(reached: bool) -> str:
    return "" if reached else " missed"
