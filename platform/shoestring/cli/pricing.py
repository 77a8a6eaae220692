"""The price catalogue: the verb prices, and runs priced on its other rows for `plan --on`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli.output import guarded, say, say_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoestring_trainer.config import TrainConfig

    from shoestring.home import Home
    from shoestring.quotes import Measured, Quote

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(prices))


def prices(json_: Json = False) -> None:
    """List what an hour of each hardware costs, what it can do, who says so, and since when. Nothing is fetched."""
    from shoestring.cli.planning import table
    from shoestring.home import Home
    from shoestring.prices import read_prices

    rows = read_prices(Home.find().root)
    if json_:
        return say_json({"prices": {name: row.model_dump() for name, row in rows.items()}})
    head = ("row", "$/hour", "spot", "TFLOP/s bf16", "fp32", "memory", "assumed of peak", "since")
    shown = [
        (
            name,
            f"{row.usd_per_hour:.4g}",
            "–" if row.spot_usd_per_hour is None else f"{row.spot_usd_per_hour:.4g}",
            _tflops(row.peak_tflops, "bf16"),
            _tflops(row.peak_tflops, "fp32"),
            f"{row.memory_gb:g} GB" if row.memory_gb else "–",
            f"{row.assumed_utilisation:.1%}" if row.peak_tflops else "–",
            row.date,
        )
        for name, row in rows.items()
    ]
    for line in table([head, *shown]):
        say(line)
    say()
    for name, row in rows.items():
        power = f"{row.watts:g} W at ${row.usd_per_kwh:g} a kWh; " if row.watts else ""
        say(f"{name}: {power}{row.source} ({row.date})")
        if row.spot_usd_per_hour is not None:
            say(f"  spot: {row.spot_source} ({row.spot_date})")
        if row.specs_source:
            say(f"  peak and memory: {row.specs_source} ({row.specs_date})")
    say("Next: shoestring plan --on all, or your own rows in prices.yaml (docs/spec.md)")


def quotes_on(
    home: Home, on: str, configs: Sequence[TrainConfig], past: Measured | None = None
) -> dict[str, list[Quote]]:
    """The runs on each of the rows named in `on`, separated by commas, or on all. Raises NotFound."""
    from shoestring.errors import NotFound
    from shoestring.faults import did_you_mean
    from shoestring.plan import costs_of
    from shoestring.prices import read_prices
    from shoestring.quotes import quote

    rows = read_prices(home.root)
    names = list(rows) if on == "all" else [name.strip() for name in on.split(",") if name.strip()]
    for name in names:
        if name not in rows:
            hint = did_you_mean(name, rows) or "`shoestring prices` lists them"
            raise NotFound(f"no price row is called {name!r}", hint)
    return {name: [quote(config, costs_of(home, name, rows[name]), past) for config in configs] for name in names}


def quote_lines(quotes: dict[str, list[Quote]]) -> list[str]:
    """A table: all the runs together on each row."""
    from shoestring.cli.planning import duration, money, size, spread, table
    from shoestring.ranges import NOTHING, ZERO

    head = ("on", "time, 10–90 %", "dollars, 10–90 %", "spot", "memory", "fits")
    rows, notes = [], []
    for name, some in quotes.items():
        needs = sum((one.needs for one in some), NOTHING)
        spot = sum((one.spot_usd for one in some if one.spot_usd), ZERO)
        fits = {True: "yes", False: "NO", None: "–"}[_all([one.fits for one in some])]
        spot_words = money(spot.p50) if any(one.spot_usd for one in some) else "–"
        peak = size(needs.memory_bytes.p50)
        rows.append((name, spread(needs.hours, duration), spread(needs.usd, money), spot_words, peak, fits))
        notes += [f"{name}: {note}" for note in dict.fromkeys(one.note for one in some)]
        notes += [f"{name}: {one.run} does not fit its memory" for one in some if one.fits is False]
    return [*table([head, *rows]), *notes]


def quotes_json(quotes: dict[str, list[Quote]]) -> dict[str, Any]:
    return {name: [one.as_json() for one in some] for name, some in quotes.items()}


def _all(fits: Sequence[bool | None]) -> bool | None:
    return False if False in fits else None if None in fits else True


def _tflops(peaks: float | dict[Any, float] | None, precision: str) -> str:
    found = peaks.get(precision) if isinstance(peaks, dict) else peaks
    return "–" if found is None else f"{found:g}"
