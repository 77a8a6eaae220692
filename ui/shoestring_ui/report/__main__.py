"""Print a report as one page: `python -m shoestring_ui.report PROJECT`, which `shoestring report` calls."""

from __future__ import annotations

import argparse
import sys

from shoestring.db import Database
from shoestring.home import Home

from shoestring_ui.report.costs import costs
from shoestring_ui.report.page import page
from shoestring_ui.report.quality import compare, overview
from shoestring_ui.report.samples import samples
from shoestring_ui.report.subject import made_of, subject
from shoestring_ui.report.sweeps import sweeps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project")
    parser.add_argument("--runs", default="", help="ids: 1,2,5")
    parser.add_argument("--metric", default="")
    args = parser.parse_args()
    home = Home.find()
    ids = [int(part) for part in args.runs.split(",") if part]
    about = subject(Database(home.db_url), args.project, ids, args.metric)
    sections = [part(about) for part in (overview, compare, samples, sweeps, costs)]
    text = page(f"{about.project}: quality per dollar", made_of(about, home), sections)
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
