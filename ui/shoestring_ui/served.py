"""The app as a server of pages: each comes with its first drawing inside, shown until Streamlit's scripts take over.

Numbers are on the screen in a few tenths of a second, not after the hundred scripts of an empty page. Only on this
machine and only under its own names: beyond it everybody signs in first, and a page of another site that got hold of
the port by a name of its own (DNS rebinding) gets the empty page.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from shoestring import sign_in
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.file_util import get_static_dir

from shoestring_ui import first, gate
from shoestring_ui.server import APP

THEME = "shoestring_theme"  # a cookie: light or dark, as the browser was at its last visit
PLACE = "position: fixed; inset: 0; width: 100%; height: 100%; border: 0; z-index: 1000000"
SANDBOX = "allow-same-origin allow-top-navigation-by-user-activation"  # fonts and links; no script
KINDS = ",".join(f"[data-testid=stMain] .{kind}" for kind in first.KINDS)
FRAME = (
    f'<iframe id="first" title="Shoestring" style="{PLACE}" sandbox="{SANDBOX}" '
    f'data-cookie="{THEME}" data-content="{KINDS}"'
)
ENTRY = re.compile(r'<script type="module" crossorigin src="([^"]+)"></script>')  # where Streamlit's scripts begin
WARM_S = 3.0  # a database that has to be read from a slow disk takes longer: its first visitor waits with it
HERE = Path(__file__).parent
LOG = logging.getLogger(__name__)


class FirstDrawing:
    """Put a page's first drawing into the document that Streamlit serves for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        index = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
        entry = ENTRY.search(index)
        self.entry, self.source = (entry[0], entry[1]) if entry else ("", "")
        if entry:  # it runs in the one thread that draws the frame, so it begins after that; it is fetched meanwhile
            index = index.replace(entry[0], f'<link rel="modulepreload" crossorigin href="{entry[1]}">')
        before, body, after = index.partition("<body>")
        style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("first.css", "first.js"))
        self.before, self.after = f"{before}{body}".encode(), after.encode()
        self.style, self.script = f"<style>{style}</style>", f"<script>{script}</script>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a page; hand everything else on."""
        if not _wants_page(scope):
            await self.app(scope, receive, send)
            return
        dark = cookie_parser(Headers(scope=scope).get("cookie", "")).get(THEME) == "dark"
        head = {"content-type": "text/html; charset=utf-8", "cache-control": "no-cache", "vary": "cookie"}
        raw = [(name.encode(), value.encode()) for name, value in head.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": self.before, "more_body": True})  # its scripts load meanwhile
        page, query = scope["path"].removeprefix("/"), scope["query_string"].decode("latin-1")
        drawn = await asyncio.to_thread(_draw, page, query, dark)
        await send({"type": "http.response.body", "body": self._around(drawn, dark) + self.after})

    def _around(self, drawn: str, dark: bool) -> bytes:
        """In a frame in which no script runs, with styles of its own; of an empty drawing only the app's scripts."""
        if not drawn:
            return self.entry.encode()
        inside = f"<!doctype html><base target='_top'>{drawn}{self.style}".replace("target='_self'", "target='_top'")
        theme, quoted = "dark" if dark else "light", inside.replace("&", "&amp;").replace('"', "&quot;")
        facts = f'data-entry="{self.source}" data-theme="{theme}"'
        return f'{FRAME} {facts} srcdoc="{quoted}"></iframe>{self.script}'.encode()


def _draw(page: str = "", query: str = "", dark: bool = False, patience_s: float = first.PATIENCE_S) -> str:
    try:
        return first.draw(APP, page, query, dark, patience_s)
    except Exception:  # the app itself will say what is wrong
        LOG.exception("no first drawing of %s", page or "the first page")
        return ""


def _wants_page(scope: Scope) -> bool:
    """Whether somebody on this machine opens a page of the app, and nobody has to sign in."""
    from shoestring_ui.navigation import ADDRESSES  # their caches want the server's runtime, which is there by now

    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].removeprefix("/") not in ADDRESSES:
        return False
    host = Headers(scope=scope).get("host", "").rpartition(":")
    return gate.is_open() and sign_in.is_loopback((host[0] or host[2]).strip("[]"))


@asynccontextmanager
async def _ready(_: st.App) -> AsyncIterator[None]:
    await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(_warm))], timeout=WARM_S)
    yield


def _warm() -> None:
    """Draw a page for nobody before the first visitor is let in: it imports what all pages need."""
    gc.disable()  # what is imported stays: Python looked through all of it a dozen times, half a second together
    try:
        _draw(patience_s=WARM_S)
    finally:
        gc.freeze()  # nor does it look through that ever after
        gc.enable()


app = st.App(APP, lifespan=_ready, middleware=[Middleware(FirstDrawing)])
