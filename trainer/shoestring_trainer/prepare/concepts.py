"""What an emoji shows: its code point, caption and concept family, and the split that the family decides."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoestring_trainer.prepare.encoded_set import Split

STYLE_PHRASES = {
    "3d": "a 3D render of",
    "flat": "a flat icon of",
    "glossy": "a glossy cartoon of",
    "simple": "a simple cartoon of",
}
GROUPS_LEFT_OUT = {"component", "symbols", "flags"}
LARGE_FAMILY = 12  # pictures
_PERSON = re.compile(
    r"\b(man|woman|person|boy|girl|child|adult|men|women|people|boys|girls|children|persons|male|female)\b('s)?"
)
_CLOCK = re.compile(r"^\w+( o'clock|-thirty)$")


@dataclass(frozen=True)
class Concept:
    """One emoji, whatever the style it is drawn in."""

    code: str
    label: str
    family: str
    group: str
    tags: tuple[str, ...]


def join_code(code: str) -> str:
    """The code points in the one spelling that all packages are joined on: lower case, no fe0f, no leading zeros."""
    return "-".join(part.lstrip("0") for part in code.lower().split("-") if part != "fe0f")


def family_of(label: str) -> str:
    """The concept without who does it: man, woman and person running (facing right) are one family.

    Clock faces are one family as well.
    """
    if _CLOCK.match(label):
        return "clock face"
    words = re.sub(r"[:,]", " ", _PERSON.sub(" ", label)).replace("facing right", " ").replace("older", "old").split()
    return " ".join(words) or "person"


def read_concepts(emojibase: Path) -> list[Concept]:
    """Every emoji without skin-tone variants, components, symbols and flags, in emojibase's order."""
    groups = {g["order"]: g["key"] for g in json.loads((emojibase / "messages.json").read_bytes())["groups"]}
    concepts = []
    for entry in json.loads((emojibase / "data.json").read_bytes()):  # skin tones are nested in `skins`
        group = groups.get(entry.get("group"), "component")
        if group in GROUPS_LEFT_OUT:
            continue
        label = entry["label"].lower().replace("’", "'")
        tags = tuple(entry.get("tags", ()))
        concepts.append(Concept(join_code(entry["hexcode"]), label, family_of(label), group, tags))
    return concepts


def caption_of(style: str, concept: Concept, n_tags: int = 0) -> str:
    """The style's phrase and the label, then up to `n_tags` tags that add a word.

    No tag by default: some are slang, and some do not describe the picture.
    """
    new = [tag for tag in concept.tags if tag not in concept.label.split()]
    return ", ".join([f"{STYLE_PHRASES[style]} {concept.label}", *new[:n_tags]])


def split_pictures(
    pictures: Sequence[tuple[str, str]], val_fraction: float, holdout_fraction: float, seed: int
) -> list[Split]:
    """The split of every (style, family), decided by hashes of their names, so that adding pictures moves none.

    `val`: whole families, in every style. `holdout`: one style of a family that training sees in at least two
    other styles; the style is seen with other families, so only the combination is new. The few large families
    (clock faces, "family: man, woman, boy") always train: one of them would fill a split.
    """
    styles: dict[str, set[str]] = {}
    size = Counter(family for _, family in pictures)
    for style, family in pictures:
        styles.setdefault(family, set()).add(style)
    held_out = {family: _held_out_style(family, drawn, holdout_fraction, seed) for family, drawn in styles.items()}

    def split(style: str, family: str) -> Split:
        if size[family] > LARGE_FAMILY:
            return "train"
        if _uniform(f"{seed} val {family}") < val_fraction:
            return "val"
        return "holdout" if held_out[family] == style else "train"

    return [split(style, family) for style, family in pictures]


def _held_out_style(family: str, styles: Iterable[str], fraction: float, seed: int) -> str | None:
    drawn = sorted(styles)
    if len(drawn) < 3 or _uniform(f"{seed} holdout {family}") >= fraction:
        return None
    return drawn[int(_uniform(f"{seed} style {family}") * len(drawn))]


def _uniform(name: str) -> float:
    """A number in [0, 1) that only the name decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
