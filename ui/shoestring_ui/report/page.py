"""The page of a report: one file that asks no host for anything. Fonts, styles, scripts and pictures are inside.

Its policy (Content-Security-Policy) runs the two scripts that it carries, by their digest, and opens no connection.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from plotly.offline import get_plotlyjs

from shoestring_ui import theme, words
from shoestring_ui.charts import CONFIG
from shoestring_ui.report.pieces import both
from shoestring_ui.theme import DARK, LIGHT

HERE = Path(__file__).parent
FONTS = (("Inter", "inter.woff2", "100 900"), ("JetBrains Mono", "jetbrains-mono.woff2", "100 800"))
MARK = "<!doctype html>\n<!-- shoestring report -->\n"  # how a later one knows that it may replace this file


def page(title: str, facts: Sequence[tuple[str, str]], sections: Sequence[str]) -> str:
    """The whole document; `sections` are HTML, `title` and `facts` plain text."""
    script, plotly = (HERE / "report.js").read_text(encoding="utf-8"), get_plotlyjs()
    packed = base64.b64encode(gzip.compress(plotly.encode(), 9, mtime=0)).decode()
    return (
        f"{MARK}<html lang='en'><head><meta charset='utf-8'>"
        f"<meta http-equiv='Content-Security-Policy' content=\"{policy(script, plotly)}\">"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><meta name='referrer' content='no-referrer'>"
        f"<title>{words.escape(title)}</title><style>{_style()}</style></head><body>"
        f"<header><div class='mark'>{both(theme.wordmark)}</div><h1>{words.escape(title)}</h1>"
        f"{words.facts([(label, words.escape(text)) for label, text in facts])}{_contents(sections)}</header>"
        "<noscript><p class='note'>Charts need JavaScript; every number is in the tables below them.</p></noscript>"
        f"<main>{''.join(sections)}</main>"
        f"<script type='application/json' id='settings'>{json.dumps(CONFIG)}</script>"
        f"<script type='text/plain' id='plotly'>{packed}</script><script>{script}</script></body></html>\n"
    )


def policy(*scripts: str) -> str:
    """What the page may do: run these scripts, show what is inside it, and reach nothing."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    """The app's own style sheet after the variables of both palettes and the fonts."""
    faces = "".join(
        f"@font-face{{font-family:'{family}';font-weight:{weight};font-display:swap;"
        f"src:url(data:font/woff2;base64,{_read(theme.STYLE.parent / 'static' / name)}) format('woff2')}}"
        for family, name, weight in FONTS
    )
    dark = f"@media (prefers-color-scheme:dark){{:root{{{theme.variables(DARK)}}}}}"
    sheets = "\n".join(path.read_text(encoding="utf-8") for path in (theme.STYLE, HERE / "report.css"))
    return f"{faces}:root{{{theme.variables(LIGHT)}}}{dark}\n{sheets}"


def _read(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _contents(sections: Sequence[str]) -> str:
    """Links to the parts that are there."""
    names = {"overview": "Overview", "compare": "Compare", "samples": "Samples", "sweep": "Sweep", "cost": "Cost"}
    found = [key for key in names if any(f"<section id='{key}'>" in text for text in sections)]
    links = "".join(f"<a href='#{key}'>{names[key]}</a>" for key in found)
    return f"<nav>{links}</nav>"
