"""The pages of the app, in the order of its navigation."""

from __future__ import annotations

from shoestring_ui.views import compare, costs, new_run, overview, queued, run, samples, sweep

FIRST = "overview"  # at the address of the app itself
PAGES = (
    ("Overview", overview.page, FIRST),
    ("Queue", queued.page, "queue"),
    ("Run", run.page, "run"),
    ("Compare", compare.page, "compare"),
    ("Samples", samples.page, "samples"),
    ("Sweep", sweep.page, "sweep"),
    ("Cost", costs.page, "cost"),
    ("New run", new_run.page, "new"),
)
ADDRESSES = frozenset("" if path == FIRST else path for _, _, path in PAGES)
