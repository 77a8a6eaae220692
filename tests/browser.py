"""The app in a real browser: served, opened in Chromium, and watched for all that a page must not do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Page, Response, sync_playwright
from shoestring_ui.server import streamlit_argv

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW = "Chromium is not installed: apt-get install --no-install-recommends chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
FETCH = "Failed to load resource"  # judged by its status instead
PATIENCE_MS = 120_000  # a busy machine
STARTS_S = 240.0  # MLflow's server, on a busy machine
DRAWN = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  return app && app.dataset.testScriptState === 'notRunning'
    && document.querySelector('[data-testid=stMain] h1')
    && !document.querySelector('[data-testid=stSkeleton], #first')
    && [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(
         (chart) => !chart.offsetParent || chart.querySelector('.main-svg'));
}"""  # a chart in a closed expander is not drawn
TOO_WIDE = """() => [document.documentElement, document.querySelector('[data-testid=stMain]')].some(
  (part) => part && part.scrollWidth > part.clientWidth + 1)"""


@dataclass(frozen=True)
class Server:
    """A web server of this machine."""

    url: str
    pid: int


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    argv: Callable[[int], list[str]] = streamlit_argv,
    env: Mapping[str, str] | None = None,
    health: str = "/_stcore/health",
) -> Iterator[Server]:
    """Run `argv(port)` on a free port of this machine, until it answers and then to the end of the block."""
    port = free_port()
    url, quiet = f"http://127.0.0.1:{port}", subprocess.DEVNULL
    process = subprocess.Popen(argv(port), stdout=quiet, stdin=quiet, env={**os.environ, **(env or {})})
    try:
        end = time.monotonic() + STARTS_S
        while not _answers(url + health):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"error: {argv(port)[2]} did not start within {STARTS_S:.0f} s")
            time.sleep(0.1)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address, timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


def chromium() -> str | None:
    """Where this machine's Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium_browser() -> Iterator[Browser]:
    """This machine's Chromium, without a window and with a profile of its own. Raises SystemExit without one."""
    path = chromium()
    if path is None:
        raise SystemExit(f"error: {HOW}")
    with sync_playwright() as tool, tempfile.TemporaryDirectory() as profile:
        browser = tool.chromium.launch(
            executable_path=path, args=list(FLAGS), env={**os.environ, "XDG_CONFIG_HOME": profile}
        )
        yield browser
        browser.close()


class Visit:
    """A window of its own, and what went wrong in it: errors, refused and foreign requests, exceptions, width."""

    def __init__(self, browser: Browser, url: str, *, theme: str = "light", size: str = "desk", **more: Any) -> None:
        width, height = SIZES[size]
        self.url, self.wrong = url, list[str]()
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce", has_touch=size == "phone", **more,
        )  # fmt: skip
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.on("console", lambda said: self._hear(said.type, said.text))
        self.context.on("weberror", lambda problem: self.wrong.append(f"script: {problem.error}"))
        self.context.on("response", lambda r: self.wrong.append(f"{r.status} {r.url}") if _failed(r) else None)
        self.context.on("request", lambda r: self.wrong.append(f"asks {r.url}") if _foreign(r.url, url) else None)
        self.page: Page = self.context.new_page()

    def open(self, address: str, settle_s: float = 0.0) -> Page:
        """Go to a page of the app and wait until it is drawn."""
        self.page.goto(f"{self.url}/{address}")
        self.settle(settle_s)
        return self.page

    def settle(self, seconds: float = 0.0) -> None:
        """Wait until the page is drawn, and so many seconds more."""
        self.page.wait_for_function(DRAWN)
        if seconds:
            self.page.wait_for_timeout(1000 * seconds)

    def faults(self) -> list[str]:
        """What went wrong so far, and what is wrong with the page as it stands; forgotten then."""
        shown = self.page.locator("[data-testid=stException]")
        if shown.count():
            self.wrong.append(f"exception: {shown.first.inner_text()[:400]}")
        if self.page.evaluate(TOO_WIDE):
            self.wrong.append(f"wider than its window at {self.page.evaluate('innerWidth')} px")
        found, self.wrong[:] = list(self.wrong), []
        return found

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.settle(0.2)  # what is wider than before is laid out once more

    def close(self) -> None:
        self.context.close()

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith(FETCH):
            self.wrong.append(f"console: {text}")


def _foreign(address: str, url: str) -> bool:
    return not address.startswith((url, url.replace("http", "ws", 1), "data:", "blob:"))


def _failed(answer: Response) -> bool:
    """Say whether a resource is missing; Streamlit looks for its server below the page's own address first."""
    return answer.status >= 400 and "/_stcore/" not in answer.url
