"""Pictures as they stand in a page: small ones pixel for pixel, large ones reduced to what is shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image

MAX_BYTES = 16_000_000  # of one file
SMALL_BYTES = 24_000  # a file of at most this is sent as it is
MAX_PIXELS = 4096 * 4096
JPEG_QUALITY = 88
PHONE_PX = 96
MISSING = "picture is missing"
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # Pillow's ways to say so


@dataclass(frozen=True)
class Inline:
    """A picture as an address that holds it, and its own size in pixels."""

    address: str
    width: int
    height: int


def room(columns: int) -> int:
    """How wide a picture may be, in CSS pixels, in a table of so many columns of pictures."""
    return 160 if columns <= 5 else 128 if columns <= 7 else 96


def shown_px(native: int, space: int) -> int:
    """How wide a picture is shown: the largest whole multiple of its pixels that fits, so that each stays a square."""
    return space // native * native if native <= space else space


def image(path: str, alt: str, space: int = 160) -> str:
    """An `img` element that holds the picture; words where the file is gone. `alt` is escaped already."""
    try:
        stat = Path(path).stat()
        found = _inline(path, stat.st_mtime_ns, stat.st_size, 2 * space)
    except OSError:
        found = None
    if found is None:
        return f"<span class='under'>{MISSING}</span>"
    wide, phone = shown_px(found.width, space), shown_px(found.width, min(space, PHONE_PX))
    smooth = " smooth" if found.width > space else ""
    return (
        f"<img class='sample{smooth}' alt='{alt}' title='{alt}' src='{found.address}' "
        f"style='--wide:{wide}px;--phone:{phone}px;aspect-ratio:{found.width}/{found.height}'>"
    )


@st.cache_data(ttl=3600, max_entries=2048, show_spinner=False)
def _inline(path: str, changed_ns: int, size: int, most_px: int) -> Inline | None:
    """The file of this age and size as an address; None where it is no picture."""
    if size > MAX_BYTES:
        return None
    try:
        content = Path(path).read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            if len(content) <= SMALL_BYTES and max(picture.size) <= most_px:
                picture.load()
                return Inline(_address(content, "png"), *picture.size)
            reduced = picture.convert("RGB")
        reduced.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        reduced.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    except UNREADABLE:
        return None
    return Inline(_address(out.getvalue(), "jpeg"), *reduced.size)


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
