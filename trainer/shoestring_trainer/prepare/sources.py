"""Pictures out of the fetched packages: one per style and code point, white behind, square.

S pixels a side
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from shoestring_trainer.prepare.concepts import join_code

ICON_SETS = {"flat": "fluent-emoji-flat", "glossy": "noto", "simple": "twemoji"}
PACKAGE_OF_STYLE = {"3d": "fluent-emoji-3d", **ICON_SETS}


def read_icons(folder: Path) -> dict[str, str]:
    """{join code: SVG} of one Iconify package; hidden icons are left out, oblong ones centred in a square."""
    icon_set = json.loads((folder / "icons.json").read_bytes())
    names = json.loads((folder / "chars.json").read_bytes())
    icons, aliases = icon_set["icons"], icon_set.get("aliases", {})
    svgs: dict[str, str] = {}
    for char, name in names.items():
        icon = icons.get(name) or icons.get(aliases.get(name, {}).get("parent"))
        if icon and not icon.get("hidden"):
            svgs.setdefault(join_code(char), svg_of(icon, icon_set))
    return svgs


def svg_of(icon: dict, icon_set: dict) -> str:
    """The icon's body in a square SVG; left, top, width and height default to the set's, then to 0, 0, 16, 16."""
    left, top, width, height = (
        icon.get(key, icon_set.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    side = max(width, height)
    box = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="{box}">{icon["body"]}</svg>'


def read_pictures(archive: Path) -> dict[str, bytes]:
    """{join code: WebP file} of the 3D pictures."""
    with zipfile.ZipFile(archive) as pictures:
        return {join_code(Path(name).stem): pictures.read(name) for name in pictures.namelist()}


def draw(source: str | bytes, size_px: int) -> np.ndarray:
    """(S, S, 3) uint8 on white, from an SVG text or the bytes of an RGBA picture."""
    if isinstance(source, str):
        import resvg_py

        png = resvg_py.svg_to_bytes(
            svg_string=source, width=size_px, height=size_px, background="white", skip_system_fonts=True
        )
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    picture = Image.open(io.BytesIO(source)).convert("RGBA")
    side = max(picture.size)
    white = Image.new("RGBA", (side, side), "white")
    white.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(white.convert("RGB").resize((size_px, size_px), Image.Resampling.BOX))


def shrink(image: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S, 3) → (size_px, size_px, 3) by the mean of each square, rounded; S is a multiple of size_px."""
    k = image.shape[0] // size_px
    total = image.astype(np.int64).reshape(size_px, k, size_px, k, 3).sum(axis=(1, 3))
    return ((total + k * k // 2) // (k * k)).astype(np.uint8)
