"""Take the pictures of the app: every page, light and dark, on a desk and on a phone, in headless Chromium.

    python docs/make_pictures.py [--out docs/pictures] [--only overview-desk-light …]

Serves this project's database (SHOESTRING_HOME moves it) on a free port. Exits 1 when a page shows an exception, logs
an error, asks another host for anything, or is wider than its window.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Browser

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from browser import SIZES, Visit, chromium_browser, served  # what the tests look at pages with

ADDRESSES = {
    "overview": "",
    "queue": "queue",
    "run": "run",
    "run-samples": "run?tab=Samples",
    "compare": "compare",
    "samples": "samples",
    "sweep": "sweep",
    "cost": "cost",
    "new": "new",
}
TALLEST_PX = 6000
SETTLE_S = 1.2  # charts animate their first drawing


def take(browser: Browser, url: str, name: str, theme: str, size: str, out: Path) -> list[str]:
    """Open one page, save its picture, return what is wrong with it."""
    visit = Visit(browser, url, theme=theme, size=size)
    page = visit.open(ADDRESSES[name], SETTLE_S)
    wrong = visit.faults()
    width, height = SIZES[size]
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    visit.resize(width, max(height, min(tall, TALLEST_PX)))
    visit.settle(SETTLE_S)
    page.screenshot(path=out / f"{name}-{size}-{theme}.png")
    wrong += visit.faults()
    visit.close()
    return [f"{name} {size} {theme}: {w}" for w in wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", nargs="*", default=[], help="names like overview-desk-light, or a part of them")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with served() as server, chromium_browser() as browser:
        for name in ADDRESSES:
            for size in SIZES:
                for theme in ("light", "dark"):
                    if not args.only or any(part in f"{name}-{size}-{theme}" for part in args.only):
                        wrong += take(browser, server.url, name, theme, size, args.out)
    print("\n".join(wrong) or f"{args.out}: every page drawn, nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
