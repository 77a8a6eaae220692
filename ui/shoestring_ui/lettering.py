"""Letters for pictures that Pillow draws: the app's own fonts, DejaVu for what those lack, wrapped to a width."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

STATIC = Path(__file__).with_name("static")
ANY = ImageFont.FreeTypeFont | ImageFont.ImageFont
# by face, first choice first; Pillow finds the others among the system's
FILES = {
    "sans": (STATIC / "inter.woff2", "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf"),
    "mono": (STATIC / "jetbrains-mono.woff2", "DejaVuSansMono.ttf", "DejaVuSans.ttf"),
}
UNKNOWN = "\U0010ffff"  # no font has it: how a missing letter looks
DOTS = "…"


@dataclass(frozen=True)
class Style:
    face: str  # a key of FILES
    size_px: int
    weight: int = 400


class Lettering:
    """Fonts, opened once. One per drawing: a font is not to be shared between threads."""

    def __init__(self) -> None:
        self._fonts: dict[tuple[Style, str], ANY | None] = {}
        self._known: dict[tuple[Style, str, str], bool] = {}

    def font(self, text: str, style: Style) -> ANY:
        """The first font of this style that has all letters of `text`, else the one that misses the fewest."""
        fonts = {str(file): font for file in FILES[style.face] if (font := self._open(style, str(file)))}
        missed: dict[str, int] = {}
        for file, font in fonts.items():
            missed[file] = sum(not self._has(style, file, font, letter) for letter in set(text))
            if not missed[file]:
                return font
        return fonts[min(missed, key=lambda f: missed[f])] if missed else ImageFont.load_default(style.size_px)

    def width(self, text: str, style: Style) -> float:
        return self.font(text, style).getlength(text)

    def wrap(self, text: str, style: Style, width_px: float, most: int = 4) -> list[str]:
        """Lines no wider than `width_px`, at most so many, the last one with … where more would come."""
        lines: list[str] = []
        for word in printable(text).split():
            if lines and self.width(f"{lines[-1]} {word}", style) <= width_px:
                lines[-1] += f" {word}"
                continue
            while len(word) > 1 and self.width(word, style) > width_px and len(lines) <= most:
                cut = max(1, int(len(word) * width_px / self.width(word, style)))
                while cut > 1 and self.width(word[:cut], style) > width_px:
                    cut -= 1
                lines, word = [*lines, word[:cut]], word[cut:]
            lines.append(word)
            if len(lines) > most:
                break
        if len(lines) > most:
            last = lines[most - 1]
            while last and self.width(last + DOTS, style) > width_px:
                last = last[:-1]
            lines = [*lines[: most - 1], last.rstrip() + DOTS]
        return lines

    def _open(self, style: Style, file: str) -> ANY | None:
        key = (style, file)
        if key not in self._fonts:
            font: ImageFont.FreeTypeFont | None = None
            with contextlib.suppress(OSError):  # not installed, or woff2 without brotli
                font = ImageFont.truetype(file, style.size_px)
            if font is not None:
                with contextlib.suppress(OSError, NotImplementedError):  # a font of one weight
                    font.set_variation_by_axes([style.weight])
            self._fonts[key] = font
        return self._fonts[key]

    def _has(self, style: Style, file: str, font: ANY, letter: str) -> bool:
        key = (style, file, letter)
        if key not in self._known:
            self._known[key] = letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask(UNKNOWN))
        return self._known[key]


def printable(text: str) -> str:
    """The text in one line: what cannot be drawn is a space, half a surrogate pair a box."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in whole).split())
