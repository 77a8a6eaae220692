"""Render the overview without a browser and check that every finished run of the database stands on it.

`python -m shoestring_ui.probe` exits 1 with the reason when a page raises or a run is missing.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from shoestring import queries
from shoestring.db import Database
from shoestring.home import Home

from shoestring_ui.server import serve_nobody


def shown_text() -> str:
    """All text of the overview page. Raises RuntimeError when the page shows an exception."""
    logging.getLogger("streamlit").setLevel(logging.ERROR)  # it misses a browser; that is the point
    serve_nobody()
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_file(str(Path(__file__).with_name("app.py")), default_timeout=60).run()
    if page.exception:
        raise RuntimeError(page.exception[0].message)
    pieces = [str(element.value) for element in page.main if hasattr(element, "value")]
    pieces += [frame.value.to_string() for frame in page.dataframe]
    return "\n".join(pieces + [str(block.value) for block in page.markdown])


def main() -> int:
    runs = queries.runs(Database(Home.find().db_url), state="succeeded", drawings=False)
    text = shown_text()
    missing = [run.name for run in runs if run.name not in text]
    if missing or not runs:
        print(f"error: the overview does not show {missing or 'any finished run'}", file=sys.stderr)
        return 1
    print(f"page: the overview shows all {len(runs)} finished runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
