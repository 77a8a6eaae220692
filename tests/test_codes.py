"""Every error code and failure class of the sources is in the registry, and nothing else; docs/errors.md shows it."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

import pytest
from shoestring import errors, retries
from shoestring.codes import CODES, EXITS, FAILURES, SPEC_INVALID, USAGE
from shoestring.errors import Fault, ShoestringError, UsageError

ROOT = Path(__file__).resolve().parents[1]
PLATFORM, TRAINER = ROOT / "platform" / "shoestring", ROOT / "trainer" / "shoestring_trainer"
# Where a code stands among the arguments of what makes an error or a fault.
PLACE = {"Fault": 4, "at": 2, "_fault": 2, "refuse": 2, "_refuse": 1, "PydanticCustomError": 0, "PlanRefused": 3}


@functools.cache
def trees(folder: Path) -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(folder.rglob("*.py"))]


def texts(node: ast.AST | None) -> set[str]:
    """The words that an expression can be, as far as they are written out: "a", or "a" if … else "b"."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def assigned(node: ast.stmt, name: str) -> set[str]:
    """What a statement `name = "x"`, or `other, name = y, "x"`, gives to `name`."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return set()
    left, right = node.targets[0], node.value
    if isinstance(left, ast.Tuple) and isinstance(right, ast.Tuple):
        pairs = zip(left.elts, right.elts, strict=True)
    else:
        pairs = zip([left], [right], strict=True)
    return {text for to, value in pairs if isinstance(to, ast.Name) and to.id == name for text in texts(value)}


def codes_of(path: Path, tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= {text for line in node.body for text in assigned(line, "code")}
        elif isinstance(node, ast.Call):
            found |= {text for word in node.keywords if word.arg == "code" for text in texts(word.value)}
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in PLACE and len(node.args) > PLACE[called]:
                found |= texts(node.args[PLACE[called]])
        elif isinstance(node, ast.FunctionDef) and (path.name, node.name) in (
            ("faults.py", "explain"),
            ("exchange.py", "_trainer"),  # the trainer's own words, in a tuple
        ):
            tuples = [t for t in ast.walk(node) if isinstance(t, ast.Tuple) and len(t.elts) in (3, 5)]
            first = [t.elts if len(t.elts) == 5 else t.elts[:1] for t in tuples]
            found |= {text for some in first for element in some for text in texts(element)} & set(CODES)
    return found


def failures_of(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= {text for line in node.body for text in assigned(line, "failure_class")}
        elif isinstance(node, ast.Call):
            found |= {text for word in node.keywords if word.arg == "failure_class" for text in texts(word.value)}
            if getattr(node.func, "id", "") == "Result" and len(node.args) > 2:
                found |= texts(node.args[2])
        elif isinstance(node, ast.FunctionDef) and node.name == "classify":
            returned = [r.value for r in ast.walk(node) if isinstance(r, ast.Return) and isinstance(r.value, ast.Tuple)]
            found |= {text for value in returned for text in texts(value.elts[0])}
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found |= {t for key, value in pairs if "failure_class" in texts(key) for t in texts(value)}
    return found - {""}


def test_every_code_of_the_sources_is_in_the_registry_and_vice_versa():
    found = {
        code: path.name for path, tree in trees(PLATFORM) if path.name != "codes.py" for code in codes_of(path, tree)
    }
    assert {code: file for code, file in found.items() if code not in CODES} == {}
    assert set(CODES) - set(found) == set(), "in the registry, and no source makes it"


def test_every_failure_class_of_the_sources_is_in_the_registry_and_vice_versa():
    found = {name for _, tree in trees(PLATFORM) + trees(TRAINER) for name in failures_of(tree)}
    found |= retries.PREEMPTED | retries.ONCE | retries.TERMINAL | retries.PAUSING
    assert found == set(FAILURES)


def test_every_kind_of_error_has_its_codes_exit_code_and_never_an_empty_hint():
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ShoestringError)]
    assert len(kinds) >= 8
    for kind in kinds:
        assert CODES[kind.code].exit_code == kind.exit_code in EXITS, kind
    assert all(code.exit_code in EXITS and code.means and code.do for code in CODES.values())
    assert all(failure.means and failure.do for failure in FAILURES.values())
    assert ShoestringError("x").hint and Fault("f", 1, 1, "", "empty", "x").hint


def test_an_error_with_an_unknown_code_or_another_exit_code_cannot_be_made():
    with pytest.raises(AssertionError, match=r"codes\.py"):
        ShoestringError("x", code="no_such_code")
    with pytest.raises(AssertionError, match=r"codes\.py"):
        Fault("f", 1, 1, "", "no_such_code", "x")
    with pytest.raises(AssertionError, match="exit code 4"):
        ShoestringError("x", code="no_database")
    assert CODES["out_of_range"].exit_code == SPEC_INVALID  # in a file; on the command line:
    assert UsageError("x", code="out_of_range").exit_code == USAGE


def test_the_page_of_errors_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_errors", ROOT / "docs" / "make_errors.py")
    assert spec and spec.loader
    make_errors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_errors)
    assert make_errors.PAGE.read_text(encoding="utf-8") == make_errors.page(), "run: python docs/make_errors.py"
