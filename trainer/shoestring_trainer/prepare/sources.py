"""Pictures out of the fetched packages: one per style and code point, white behind, square.

S pixels a side
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shoestring_trainer.failures import BadData
from shoestring_trainer.prepare.concepts import join_code

ICON_SETS = {"flat": "fluent-emoji-flat", "glossy": "noto", "simple": "twemoji"}
PACKAGE_OF_STYLE = {"3d": "fluent-emoji-3d", **ICON_SETS}
FORMATS = ("WEBP", "PNG")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
MAX_PX, MAX_PICTURE_BYTES, MAX_ARCHIVE_BYTES = 4096 * 4096, 4 << 20, 512 << 20


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
    """{join code: WebP file} of the 3D pictures, none of them written anywhere. Raises BadData before reading any."""
    try:
        with zipfile.ZipFile(archive) as pictures:
            entries = pictures.infolist()
            odd = [e for e in entries if not re.fullmatch(r"[0-9a-f_-]+\.webp", e.filename)]
            large = [e for e in entries if e.file_size > MAX_PICTURE_BYTES]
            if odd or large:
                bad = (odd or large)[0]
                raise BadData(f"{archive} holds {bad.filename!r} of {bad.file_size} bytes, which is no picture of it")
            if (total := sum(e.file_size for e in entries)) > MAX_ARCHIVE_BYTES:
                raise BadData(f"{archive} unpacks to {total} bytes, more than {MAX_ARCHIVE_BYTES}")
            return {join_code(Path(e.filename).stem): pictures.read(e) for e in entries}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # zipfile's own words for: damaged, packed in a way it does not know, encrypted
        raise BadData(f"{archive} cannot be read ({error}): delete it and fetch it again") from error


def draw(source: str | bytes, size_px: int) -> np.ndarray:
    """(S, S, 3) uint8 on white, from an SVG text or the bytes of a picture. Raises BadData."""
    if isinstance(source, str):
        import resvg_py

        try:
            png = resvg_py.svg_to_bytes(
                svg_string=source, width=size_px, height=size_px, background="white", skip_system_fonts=True
            )
        except ValueError as error:
            raise BadData(f"no SVG: {error}") from error
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    picture = open_picture(source)
    side = max(picture.size)
    white = Image.new("RGBA", (side, side), "white")
    white.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(white.convert("RGB").resize((size_px, size_px), Image.Resampling.BOX))


def try_to_draw(source: str | bytes, size_px: int) -> np.ndarray | str:
    """`draw`, or why that cannot be drawn."""
    try:
        return draw(source, size_px)
    except BadData as error:
        return str(error)


def open_picture(content: bytes) -> Image.Image:
    """The picture in a file's bytes, upright, as RGBA; its size is looked at before it is decoded. Raises BadData."""
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > MAX_PX:
            raise BadData(f"{picture.width}×{picture.height} pixels, more than {MAX_PX}")
        if getattr(picture, "n_frames", 1) > 1 or picture.mode not in MODES:
            raise BadData(
                f"mode {picture.mode}, {getattr(picture, 'n_frames', 1)} frames; one frame of 8 bits is wanted"
            )
        return ImageOps.exif_transpose(picture).convert("RGBA")
    except Image.DecompressionBombError as error:
        raise BadData(f"more than {MAX_PX} pixels") from error
    except (OSError, ValueError, SyntaxError) as error:  # whatever a file that is none makes the decoder say
        raise BadData(f"no whole {' or '.join(FORMATS)} picture: {type(error).__name__}") from error


def shrink(image: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S, 3) → (size_px, size_px, 3) by the mean of each square, rounded; S is a multiple of size_px."""
    k = image.shape[0] // size_px
    total = image.astype(np.int64).reshape(size_px, k, size_px, k, 3).sum(axis=(1, 3))
    return ((total + k * k // 2) // (k * k)).astype(np.uint8)
