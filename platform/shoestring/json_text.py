"""JSON text of frozen values, letter by letter what `json` writes of their dump; a shared part is written once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shoestring_trainer.config import Frozen

MAX_KNOWN = 4096


class Writer:
    """Writes JSON in one style, `json.JSONEncoder`'s options, and remembers the text of parts by their identity:
    equality would not tell 0.0 from −0.0."""

    def __init__(self, **style: Any) -> None:
        encoder = json.JSONEncoder(**style)
        self.encode, self._sorted = encoder.encode, encoder.sort_keys
        self._comma, self._colon = encoder.item_separator, encoder.key_separator
        self._known: dict[int, tuple[Frozen, str]] = {}  # with the part itself, or its id could become another's

    def text(self, value: Any) -> str:
        """Of a frozen value, with its fields' texts remembered, or of plain data."""
        if isinstance(value, Frozen):
            return self.mapping({name: self.part(child) for name, child in vars(value).items()})
        return self.encode(value)

    def mapping(self, texts: Mapping[str, str]) -> str:
        """Of a mapping whose values are written already."""
        items = sorted(texts.items()) if self._sorted else texts.items()
        return "{" + self._comma.join([f'"{name}"{self._colon}{text}' for name, text in items]) + "}"

    def part(self, value: Any) -> str:
        """Of a field's value."""
        if isinstance(value, Frozen):
            known = self._known.get(id(value))
            if known is None:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                known = self._known[id(value)] = value, self.encode(value.model_dump(mode="json"))
            return known[1]
        if value is None:
            return "null"
        if type(value) is int or type(value) is float:  # finite, as every frozen value is
            return repr(value)
        if isinstance(value, tuple):
            return self.encode([one.model_dump(mode="json") if isinstance(one, Frozen) else one for one in value])
        return self.encode(value)


STORED = Writer()  # as SQLAlchemy writes a JSON column
CANONICAL = Writer(sort_keys=True, separators=(",", ":"), allow_nan=False)  # what is hashed
