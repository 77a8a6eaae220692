"""A page drawn once without a browser, as plain HTML: what is shown until Streamlit's scripts have come.

The app's own script runs as it will run for the browser a second later, which then finds most answers still fresh. What
it sends is put together as Streamlit would lay it out: words, tables and pictures as they are, widgets by their names.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from streamlit.proto.ClientState_pb2 import ContextInfo
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import RerunData
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.runtime.state import SessionState
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

PATIENCE_S = 0.5  # what is not drawn by then comes with the app, …
GRACE_S = 1.0  # … unless there is nothing yet to look at: so much longer
KINDS = ("figures", "graph", "plain", "matrix", "facts", "empty")  # classes of what there is to look at
CONTENT = re.compile(f"class='({'|'.join(KINDS)})")
LOOK_S = 0.01
WIDGETS = {"checkbox": "toggle", "button": "button", "download_button": "button"}  # the others are fields
HERE = " aria-current=page"
FOLDED = ("expandable", "popover")
MAIN = 0  # Streamlit's place for what a page shows; styles lie in another


@dataclass
class Piece:
    """An element, or a block with the pieces inside it by their place."""

    delta: Delta | None = None
    inside: dict[int, Piece] = field(default_factory=dict)


def draw(app: Path, page: str, query: str, dark: bool, patience_s: float = PATIENCE_S) -> str:
    """The page of that name (empty: the first) and query as HTML; of a slow one as far as it came in `patience_s`.

    Empty when there is nothing of it to look at by then, nor a second later.
    """
    pages = PagesManager(str(app), ScriptCache(), setup_watcher=False)
    state = SafeSessionState(SessionState(), lambda: None)
    runner = LocalScriptRunner(str(app), state, pages, user_info={})
    browser = ContextInfo(color_scheme="dark" if dark else "light")
    runner.request_rerun(RerunData(query_string=query, page_name=page, context_info=browser))
    runner.start()
    began = time.monotonic()
    while not runner.script_stopped() and (waited_s := time.monotonic() - began) < patience_s + GRACE_S:
        if waited_s > patience_s and _has_content(list(runner.forward_msgs())):
            break
        time.sleep(LOOK_S)
    is_whole = runner.script_stopped()
    runner.request_stop()  # at its next word to Streamlit; nobody waits for it
    sent = list(runner.forward_msgs())
    drawn = html(sent, page)
    return drawn if "<h1" in drawn and (is_whole or _has_content(sent)) else ""


def _has_content(sent: Sequence[ForwardMsg]) -> bool:
    return any(CONTENT.search(m.delta.new_element.html.body) for m in sent if m.HasField("delta"))


def html(sent: Sequence[ForwardMsg], page: str) -> str:
    """What a script sent for the page of that name, as HTML: styles, header, page."""
    roots = _put_together(m for m in sent if m.HasField("delta"))
    main = roots.pop(MAIN, Piece())
    logo = next((m.logo.image for m in sent if m.HasField("logo")), "")
    pages = next((m.navigation.app_pages for m in sent if m.HasField("navigation")), ())
    links = "".join(
        f"<a href='{escape(one.url_pathname or '.')}' target='_self'{HERE * (one.url_pathname == page)}>"
        f"{escape(one.page_name)}</a>"
        for one in pages
    )
    mark = f"<img class='mark' alt='' src='{escape(logo)}'>" if logo else ""
    return f"{''.join(map(_html, roots.values()))}<header>{mark}<nav>{links}</nav></header>{_html(main)}"


def _put_together(messages: Iterable[ForwardMsg]) -> dict[int, Piece]:
    """The trees that the messages make, each message at its path."""
    top = Piece()
    for message in messages:
        place = top
        for index in message.metadata.delta_path:
            place = place.inside.setdefault(index, Piece())
        place.delta = message.delta
    return top.inside


def _html(piece: Piece) -> str:
    kind = piece.delta.WhichOneof("type") if piece.delta else None
    if piece.delta and kind == "new_element":
        return _element(piece.delta.new_element)
    inside = "".join(_html(piece.inside[place]) for place in sorted(piece.inside))
    return _block(piece.delta.add_block, inside) if piece.delta and kind == "add_block" else _box("stacked", inside)


def _element(element: Any) -> str:
    kind = element.WhichOneof("type")
    if kind == "html":
        return f"<div class='stHtml'>{element.html.body}</div>"
    if kind == "heading":
        tag = element.heading.tag
        return f"<{tag}>{escape(element.heading.body)}</{tag}>"
    if kind == "plotly_chart":  # its script draws it
        return _box("place", "&nbsp;", element)
    return _widget(WIDGETS.get(kind, "field"), getattr(getattr(element, kind), "label", ""), element)


def _block(block: Any, inside: str) -> str:
    kind = block.WhichOneof("type")
    if kind == "column":
        return f"<div class='stacked' style='flex:{block.column.weight:.3f} 1 0'>{inside}</div>"
    if kind in FOLDED:
        return _widget("button", getattr(block, kind).label, block)
    if kind != "flex_container":
        return _box("stacked", inside)
    across = block.flex_container.direction == block.flex_container.HORIZONTAL
    key = f" st-key-{escape(block.id.rsplit('-', 1)[-1])}" if block.id else ""
    return _box(("abreast" if across else "stacked") + key, inside, block)


def _widget(look: str, label: str, of: Any) -> str:
    """The name of what can be used once the app is there, and its place."""
    return _box(look, f"<span>{escape(label)}</span><i></i>", of) if label else ""


def _box(name: str, inside: str, of: Any = None) -> str:
    wide, high = (of.width_config.pixel_width, of.height_config.pixel_height) if of else (0, 0)
    size = (f"width:{wide}px;flex:none;" if wide else "") + (f"--high:{high}px" if high else "")
    style = f" style='{size}'" if size else ""
    return f"<div class='{name}'{style}>{inside}</div>" if inside else ""
