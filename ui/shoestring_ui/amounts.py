"""Numbers as people read them: dollars, counts, times, shares. Pure."""

from __future__ import annotations

import math

DASH = "–"


def usd(amount: float | None) -> str:
    """Dollars, below one with at least three significant digits: $1,890 · $12.50 · $0.0200 · $0.00154."""
    if amount is None or not math.isfinite(amount):
        return DASH
    sign, size = ("−" if amount < 0 else ""), abs(amount)
    if size == 0:
        return "$0"
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 1:
        return f"{sign}${size:.2f}"
    places = max(4, 2 - int(f"{size:.2e}".split("e")[1]))  # the exponent after rounding
    return f"{sign}${size:.{places}f}" if places <= 9 else f"{sign}<$0.000000001"


def count(number: float | None) -> str:
    """1,234 · 5.1 M · 3.2 G · 8.1 T: at most three digits and a prefix from a hundred thousand on."""
    if number is None or not math.isfinite(number):
        return DASH
    if abs(number) < 100_000:
        return f"{number:,.0f}"
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:,.0f}"


def value(number: float | None) -> str:
    """A metric's value with four significant digits."""
    if number is None or not math.isfinite(number):
        return DASH
    return f"{number:.4g}" if abs(number) < 10_000 else f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """A percentage: 12 % · 0.4 %."""
    if whole <= 0:
        return DASH
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def span(seconds: float | None) -> str:
    """A length of time: 8 s · 3 min 20 s · 2 h 5 min · 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds % 60 else f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def size(n_bytes: float) -> str:
    """Bytes: 812 B · 1.4 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes:.0f} B"
