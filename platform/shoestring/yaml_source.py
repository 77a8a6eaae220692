"""Read a YAML file strictly: plain data whose every node remembers where it was written.

A subset of YAML 1.2 (docs/spec.md): UTF-8, at most 256 KiB and 32 levels, one document, string keys, no anchors,
aliases, merge keys or tags, no key twice. Numbers and words are YAML 1.2's: `1e-4` is a number, `no` and `1:30` are
text. `012` is refused, because half of all tools read it as ten. An integral number is an integer however it is
written (`1.0`, `1e3`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from shoestring.errors import Fault, NotFound, SpecInvalid

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_FAULTS = 50
MAX_DIGITS = 40
MAX_NODES = 25_000

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_UNPRINTABLE = re.compile(  # control characters, surrogates, separators, directions, spaces of no width
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_BREAK = re.compile("\r\n|\r|\n")
_BEGINS_NUMBER = frozenset("-+.0123456789")


class Node(NamedTuple):
    """A value and where it was written: line and column from 1, its path in the file, its key's place if it has one.

    A tuple, because a file has thousands, and a frozen dataclass takes three times as long to make.
    """

    value: Any  # dict[str, Node] | list[Node] | str | int | float | bool | None
    line: int
    col: int
    path: str = ""
    key_at: tuple[int, int] | None = None

    def holding(self, value: Any) -> Node:
        """Another value at the same place."""
        return Node(value, self.line, self.col, self.path, self.key_at)

    def plain(self) -> Any:
        """The value without positions; sequences as tuples."""
        return _plain(self.value)

    def get(self, key: str) -> Node | None:
        """The child under `key`, or None; also when this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def nearest(self, path: Iterable[str | int]) -> Node:
        """The deepest node on `path`. Parts that name no child (tags of a union) are stepped over."""
        node = self
        for part in path:
            known: Container[Any] = node.value if isinstance(node.value, dict) else ()
            if isinstance(node.value, list) and isinstance(part, int):
                known = range(len(node.value))
            if part in known:
                node = node.value[part]
        return node


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child.value) for key, child in value.items()}
    if isinstance(value, list):
        return tuple([_plain(child.value) for child in value])
    return value


@dataclass(frozen=True)
class Document:
    """One parsed file: its name as shown in faults, and its root node (a mapping)."""

    file: str
    root: Node


def load(path: Path, shown_as: str | None = None) -> Document:
    """Read and parse the file at `path`. Raises NotFound, SpecInvalid with every fault."""
    if not path.is_file():
        raise NotFound(f"{path} is not a file", "name a YAML file of experiments; `experiments.yaml` is the usual one")
    with open(path, "rb") as file:
        return parse(file.read(MAX_BYTES + 1), shown_as or str(path))


def parse(content: bytes, file: str) -> Document:
    """Parse the bytes of a file called `file`. Raises SpecInvalid with every fault."""
    text = _decode(content, file)
    faults: list[Fault] = []
    try:
        root = _Builder(file, faults).build(yaml.parse(text, Loader=_PARSER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and error.context_mark and mark.index >= len(text.rstrip()):
            mark = error.context_mark  # at the end: what was left open is the better place
        lines = _BREAK.split(text)
        line = min(mark.line + 1, len(lines)) if mark else 1  # the parser's end may be a line after the last
        col = min(mark.column + 1 if mark and mark.line < len(lines) else MAX_BYTES, len(lines[line - 1]) + 1)
        faults.append(Fault(file, line, col, "", "yaml_syntax", _sentence(error), _syntax_hint(text, line, col)))
        raise SpecInvalid(faults) from None
    except yaml.reader.ReaderError as error:
        line, col = _line_col(text, min(max(error.position, 0), len(text)))
        what = f"character {error.character!r} is not allowed in YAML"
        faults.append(Fault(file, line, col, "", "bad_character", what, "remove it"))
        raise SpecInvalid(faults) from None
    except yaml.YAMLError as error:
        raise SpecInvalid([*faults, Fault(file, 1, 1, "", "yaml_syntax", str(error))]) from None
    if root is None or root.value is None:
        faults.append(
            Fault(file, 1, 1, "", "empty", "the file says nothing", "start with `version: 1`; see docs/spec.md")
        )
    elif not isinstance(root.value, dict) and not faults:
        what = f"the top of the file must be a mapping, not {kind_of(root.value)}"
        faults.append(Fault(file, root.line, root.col, "", "wrong_type", what, "start with `version: 1`"))
    if faults:
        raise SpecInvalid(faults)
    assert root is not None
    return Document(file, root)


def kind_of(value: Any) -> str:
    """The kind of a value, in a user's words."""
    if value is None:
        return "nothing"
    kinds = {bool: "true/false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    return kinds.get(type(value), "a list")


def _decode(content: bytes, file: str) -> str:
    def refuse(line: int, col: int, code: str, message: str, hint: str) -> SpecInvalid:
        return SpecInvalid([Fault(file, line, col, "", code, message, hint)])

    if len(content) > MAX_BYTES:
        raise refuse(1, 1, "too_large", f"the file is larger than {MAX_BYTES // 1024} KiB", "split it into several")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refuse(1, 1, "not_utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line, col = _line_col(content[: error.start].decode("utf-8"), None)
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise refuse(line, col, "not_utf8", what, "save the file as UTF-8") from None
    bad = _UNPRINTABLE.search(text)
    if bad:
        line, col = _line_col(text, bad.start())
        raise refuse(line, col, "bad_character", f"there is a character {bad_character(text)}", "remove it")
    return text


def bad_character(text: str) -> str:
    """The first character of `text` that is not allowed in a spec, in words; "" when there is none."""
    bad = _UNPRINTABLE.search(text)
    return f"U+{ord(bad[0]):04X}, which is invisible or a control character" if bad else ""


def _line_col(text: str, position: int | None) -> tuple[int, int]:
    lines = _BREAK.split(text[:position])
    return len(lines), len(lines[-1]) + 1


def _sentence(error: yaml.MarkedYAMLError) -> str:
    return ": ".join(part for part in (error.context, error.problem) if part) or "not YAML"


def _syntax_hint(text: str, line: int, col: int) -> str:
    lines = _BREAK.split(text)
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: col + 1]:
        return "indent with spaces, not tabs"
    return "check quotes, brackets and indentation here and on the line above"


@dataclass(slots=True)
class _Open:
    """A mapping or list that is still being read, and the key that waits for its value."""

    node: Node
    key: str | None = None
    key_at: tuple[int, int] | None = None
    key_due: bool = False


class _Builder:
    """Turn parser events into nodes without recursion, collecting faults on the way."""

    def __init__(self, file: str, faults: list[Fault]) -> None:
        self.file, self.faults = file, faults
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents, self.nodes = 0, 0

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            kind, mark = type(event), event.start_mark
            line, col = mark.line + 1, mark.column + 1
            if kind is yaml.ScalarEvent:
                self._unadorned(event, line, col)
                self._place(self._scalar(event, line, col), line, col)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._unadorned(event, line, col)
                self._open({} if kind is yaml.MappingStartEvent else [], line, col)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.stack.pop()
            elif kind is yaml.AliasEvent:
                self._fault(line, col, "alias", f"alias *{event.anchor} is not allowed", "use `extends` or `defaults`")
                self._place(None, line, col)
            elif kind is yaml.DocumentStartEvent:
                self.documents += 1
                if self.documents == 2:
                    self._fault(line, col, "several_documents", "a second document starts", "one file, one document")
                    break
            if len(self.faults) >= MAX_FAULTS:
                break
        return self.root

    def _fault(self, line: int, col: int, code: str, message: str, hint: str = "") -> None:
        path = self._path(self.stack[-1]) if self.stack else ""
        self.faults.append(Fault(self.file, line, col, path, code, message, hint))

    def _path(self, top: _Open) -> str:
        """The path of what comes next in an open container."""
        node = top.node
        part = top.key if isinstance(node.value, dict) else str(len(node.value))
        return f"{node.path}.{part}" if node.path and part else part or node.path

    def _unadorned(self, event: Any, line: int, col: int) -> None:
        if event.anchor:
            self._fault(line, col, "anchor", f"anchor &{event.anchor} is not allowed", "use `extends` or `defaults`")
        if event.tag:
            self._fault(line, col, "tag", f"tag {event.tag} is not allowed", "write plain values")

    def _open(self, value: dict[str, Node] | list[Node], line: int, col: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self._fault(line, col, "too_deep", f"nested deeper than {MAX_DEPTH} levels", "flatten it")
            raise SpecInvalid(self.faults)
        placed = self._place(value, line, col)
        self.stack.append(_Open(placed, key_due=isinstance(value, dict)))

    def _place(self, value: Any, line: int, col: int) -> Node:
        """Put a value where the innermost open container expects one; returns it as a node, with its path."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._fault(line, col, "too_large", f"more than {MAX_NODES} values", "split the file")
            raise SpecInvalid(self.faults)
        if not self.stack:
            node = Node(value, line, col)
            self.root = self.root or node
            return node
        top = self.stack[-1]
        if top.key_due:
            node = Node(value, line, col)
            self._take_key(top, node)
            return node
        node = Node(value, line, col, self._path(top), top.key_at)
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        else:
            if top.key is not None:
                top.node.value[top.key] = node
            top.key, top.key_at, top.key_due = None, None, True
        return node

    def _take_key(self, top: _Open, node: Node) -> None:
        top.key_due = False
        if not isinstance(node.value, str):
            what = f"a key must be text, not {kind_of(node.value)}"
            self._fault(node.line, node.col, "non_string_key", what, "put it in quotes")
        elif node.value == "<<":
            self._fault(node.line, node.col, "merge_key", "merge keys (<<) are not allowed", "use `extends`")
        elif node.value in top.node.value:
            first = top.node.value[node.value].key_at
            what = f"key {shown(node.value)} is written twice; first on line {first[0] if first else node.line}"
            self._fault(node.line, node.col, "duplicate_key", what, "keep one of them")
        else:
            top.key, top.key_at = node.value, (node.line, node.col)

    def _scalar(self, event: Any, line: int, col: int) -> Any:
        text = event.value
        if event.style == '"' and (bad := bad_character(text)):  # only an escape brings what `_decode` has not seen
            self._fault(line, col, "bad_character", f"there is a character {bad}", "remove it")
            return _UNPRINTABLE.sub("?", text)
        if event.style or not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _BEGINS_NUMBER:
            return text
        if _LEADING_ZERO.match(text) and _FLOAT.fullmatch(text):
            without = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)
            hint = f'write {without} for the number, "{text}" for text'
            self._fault(line, col, "leading_zero", f"{shown(text)} could be a decimal or an octal number", hint)
            return None
        if len(text) > MAX_DIGITS and (_DECIMAL.fullmatch(text) or _BASED.fullmatch(text)):
            what = f"a number of {len(text)} digits; at most {MAX_DIGITS} are read"
            self._fault(line, col, "number_too_long", what, "write a smaller number, or quote it")
            return None
        return _number(text)


def _number(text: str) -> Any:
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return int(number) if math.isfinite(number) and number.is_integer() and abs(number) < 2**53 else number
    special = _SPECIAL.fullmatch(text)
    if special:
        return math.nan if special[3] else math.copysign(math.inf, -1.0 if special[1] == "-" else 1.0)
    return text


def shown(value: Any, limit: int = 60) -> str:
    """A value as quoted in an error: one short line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
