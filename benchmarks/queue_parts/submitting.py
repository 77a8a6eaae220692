"""From YAML text to queued runs: experiments a second that are read, validated, resolved, priced and entered.

A spec is one experiment written out in a file of up to 1,000, with a learning rate of its own, so that none equals
another: it is parsed, validated against the schema, merged with the defaults, resolved to a request that is validated
again together with the training job it makes, priced, and entered as a row with its event.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from queue_parts.filling import project, written
from queue_parts.places import Places
from shoestring import actions, queries
from shoestring.plan import plan_file, survey


def submitting(places: Places, kind: str, n_files: int, n_each: int) -> dict[str, Any]:
    """Submit files as `shoestring submit` does, one after another: specs/s, and ms a spec of each part (medians of
    files); `unpriced` leaves the pricing out of the sum. And what went wrong."""
    db = places.new(kind)
    home = project(places.folder / "project")
    file = home.root / "experiments.yaml"
    parts: list[tuple[float, float, float]] = []  # seconds: read and resolve; the same and price; enter
    wrong, new = [], 0
    try:
        for number in range(n_files):
            file.write_text(written(n_each, first=number * n_each))
            began = time.perf_counter()
            survey(file, home)
            read = time.perf_counter()
            planned = plan_file(file, home)
            priced = time.perf_counter()
            done = actions.submit_plans(db, planned.runs, runs_dir=home.runs)
            parts.append((read - began, priced - read, time.perf_counter() - priced))
            new += sum(not one.existed for one in done)
        again = actions.submit_plans(db, planned.runs, runs_dir=home.runs)
        n_stored = sum(
            queries.run(db, one.run_id).spec_hash == p.spec_hash for one, p in zip(again, planned.runs, strict=True)
        )
        if new != n_files * n_each or n_stored != n_each or not all(one.existed for one in again):
            wrong.append(
                f"{n_files * n_each} specs, {new} new runs; submitted again, {n_stored} of {n_each} are the same"
            )
    finally:
        places.drop(db)
    whole = [n_each / (priced + entered) for _, priced, entered in parts]
    return {
        "specs_per_s": statistics.median(whole),
        "unpriced_per_s": statistics.median(n_each / (read + entered) for read, _, entered in parts),
        "read_ms": statistics.median(1e3 * read / n_each for read, _, _ in parts),
        "price_ms": statistics.median(1e3 * (priced - read) / n_each for read, priced, _ in parts),
        "enter_ms": statistics.median(1e3 * entered / n_each for _, _, entered in parts),
        "wrong": wrong,
    }
