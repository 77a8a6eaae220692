"""Take the pictures of the app: every page, light and dark, on a desk and on a phone, in headless Chromium.

    python docs/make_pictures.py [--out docs/pictures] [--only overview-desk-light …]

Serves this project's database (SHOESTRING_HOME moves it) on a free port. Exits 1 when a page shows an exception, logs
an error, asks another host for anything, or is wider than its window.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, Response, TimeoutError, sync_playwright
from shoestring_ui.server import streamlit_argv

ADDRESSES = {
    "overview": "",
    "queue": "queue",
    "run": "run",
    "run-samples": "run?tab=Samples",
    "compare": "compare",
    "samples": "samples",
    "sweep": "sweep",
    "cost": "cost",
}
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
FETCH = "Failed to load resource"  # judged by its status instead
PATIENCE_MS = 180_000  # a busy machine
TALLEST_PX = 6000
SETTLE_S = 1.2  # charts animate their first drawing


@contextmanager
def served() -> Iterator[str]:
    """The app on a free port of this machine; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(streamlit_argv(port), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                if urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).status == 200:
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.25)
        else:
            raise SystemExit("error: the app did not start within a minute")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)


def take(browser: Browser, url: str, name: str, theme: str, size: str, out: Path) -> list[str]:
    """Open one page, save its picture, return what is wrong with it."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce", has_touch=size == "phone",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on(
        "console",
        lambda m: wrong.append(f"console: {m.text}") if m.type == "error" and not m.text.startswith(FETCH) else None,
    )
    page.on("pageerror", lambda e: wrong.append(f"script: {e}"))
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if failed(r) else None)
    page.on("request", lambda r: wrong.append(f"asks {r.url}") if foreign(r.url, url) else None)
    page.goto(f"{url}/{ADDRESSES[name]}")
    settle(page)
    if page.locator("[data-testid=stException]").count():
        wrong.append(f"exception: {page.locator('[data-testid=stException]').first.inner_text()[:400]}")
    if page.evaluate("document.documentElement.scrollWidth") > width:
        wrong.append("the page is wider than its window")
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(height, min(tall, TALLEST_PX))})
    settle(page)
    page.screenshot(path=out / f"{name}-{size}-{theme}.png")
    context.close()
    return [f"{name} {size} {theme}: {w}" for w in wrong]


def foreign(address: str, url: str) -> bool:
    return not address.startswith((url, url.replace("http", "ws", 1), "data:", "blob:"))


def failed(answer: Response) -> bool:
    """Say whether a resource is missing; Streamlit looks for its server below the page's own address first."""
    return answer.status >= 400 and "/_stcore/" not in answer.url


def settle(page: Page) -> None:
    """Wait until the page has been drawn and stays so."""
    page.wait_for_selector("[data-testid=stMain] h1")
    with suppress(TimeoutError):  # a live page on a busy machine is never idle
        page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')", timeout=20_000)
    page.wait_for_timeout(1000 * SETTLE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", nargs="*", default=[], help="names like overview-desk-light, or a part of them")
    args = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("error: no Chromium on this machine\n  → install chromium")
    args.out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with served() as url, sync_playwright() as tool, tempfile.TemporaryDirectory() as profile:
        browser = tool.chromium.launch(
            executable_path=chromium, args=list(FLAGS), env={**os.environ, "XDG_CONFIG_HOME": profile}
        )
        for name in ADDRESSES:
            for size in SIZES:
                for theme in ("light", "dark"):
                    if not args.only or any(part in f"{name}-{size}-{theme}" for part in args.only):
                        wrong += take(browser, url, name, theme, size, args.out)
        browser.close()
    print("\n".join(wrong) or f"{args.out}: every page drawn, nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
