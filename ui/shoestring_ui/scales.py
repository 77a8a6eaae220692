"""One axis of a chart that the server draws: where a value lies on it, and its ticks in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from shoestring_ui.amounts import count, usd

TICKS = 6  # at most: a phone has room for so many
PAD = 0.03  # of the range, beyond its ends
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
TIMES_S = (
    *(1, 5, 15, 30, MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S, HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S),
    *(DAY_S * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


@dataclass(frozen=True)
class Scale:
    """From `low` to `high`, in logarithms where `log`; each tick is (place from 0 to 1, label)."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def of(self, values: Any) -> np.ndarray:
        """Places of values from 0 to 1; what has none (no number; nothing or less on a logarithmic axis) is NaN."""
        return (numbers(values, self.log) - self.low) / (self.high - self.low)


def numbers(values: Any, log: bool = False) -> np.ndarray:
    """Values as floats, times as Unix seconds, nothing as NaN; their logarithms to the base of ten where `log`."""
    plain = [v.timestamp() if isinstance(v, datetime) else math.nan if v is None else v for v in values]
    found = np.asarray(plain, dtype=float)
    return np.log10(np.where(found > 0, found, np.nan)) if log else found


def scale(axis: Any, drawn: Sequence[Any], half: float = 0.0) -> Scale:
    """The scale of a Plotly axis over what is drawn on it: sequences of values; with cells, half of one at each end."""
    log = axis.type == "log"
    known = np.concatenate([numbers(values, log) for values in drawn]) if drawn else np.array([])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if axis.range is not None:
        low, high = axis.range
    elif half:
        low, high = low - half, high + half
    else:
        if axis.rangemode == "tozero" and not log:
            low, high = min(low, 0.0), max(high, 0.0)
        pad = PAD * (high - low) or abs(high) * PAD or 1.0
        low, high = low - pad * (low != 0.0 or axis.rangemode != "tozero"), high + pad
    if axis.tickvals is not None:
        ticks = [(math.log10(v) if log else v, t) for v, t in zip(axis.tickvals, axis.ticktext, strict=True)]
        ticks = _few([(at, text) for at, text in ticks if low <= at <= high])
    elif any(isinstance(v, datetime) for values in drawn for v in values[:1]):
        ticks = _times(low, high)
    elif log:
        ticks = _powers(low, high, axis.tickprefix or "")
    else:
        ticks = _steps(low, high, axis.tickprefix or "")
    return Scale(low, high, log, tuple(((at - low) / (high - low), text) for at, text in ticks))


def _few(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Every tick of names; of a ladder of numbers each second, third … one where they are too many."""
    every = -(-len(ticks) // (2 * TICKS))
    return ticks[::every]


def _steps(low: float, high: float, prefix: str) -> list[tuple[float, str]]:
    """Whole multiples of 1, 2 or 5 times a power of ten, written with as many decimals as that needs."""
    rough = (high - low) / (TICKS + 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    places = [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(at, _written(at, decimals, prefix)) for at in places]


def _written(at: float, decimals: int, prefix: str) -> str:
    if abs(at) >= 100_000:
        return prefix + count(at)
    if 0 < abs(at) < 1e-4 and not prefix:
        return f"{at:.2g}"
    return f"{'−' if at < 0 else ''}{prefix}{abs(at):,.{decimals}f}" if at else f"{prefix}0"


def _powers(low: float, high: float, prefix: str) -> list[tuple[float, str]]:
    """1, 2 and 5 times powers of ten; powers alone where the range is wide."""
    rungs = (1, 2, 5) if high - low < TICKS / 2 else (1,)
    among = range(math.floor(low), math.ceil(high) + 1)
    found = [n * 10.0**power for power in among for n in rungs if low <= math.log10(n) + power <= high]
    if len(found) < 4 and high - low < 1:  # too few lie in a narrow range
        return [(math.log10(at), text) for at, text in _steps(10**low, 10**high, prefix) if at > 0]
    return _few([(math.log10(at), usd(at) if prefix else f"{at:g}") for at in found])


def _times(low: float, high: float) -> list[tuple[float, str]]:
    """Whole seconds, minutes, hours or days, in UTC."""
    step = next((s for s in TIMES_S if (high - low) / s <= TICKS - 1), TIMES_S[-1])
    form = "%H:%M:%S" if step < MINUTE_S else "%d %b" if step >= DAY_S else "%d %b %H:%M"
    places = [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(at, datetime.fromtimestamp(at, UTC).strftime(form)) for at in places]
