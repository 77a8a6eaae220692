"""What no source does, and that docs/security.md names tests that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT / name for name in ("platform", "trainer", "ui", "alembic", "benchmarks", "docs")]
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput", "pickle.load",
    "pickle.loads", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open", "joblib.load",
}  # fmt: skip
FORBIDDEN_WORDS = {"shell": True, "allow_pickle": True, "trust_remote_code": True, "unsafe_allow_html": True,
                   "weights_only": False, "verify": False}  # fmt: skip
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


@functools.cache
def nodes(*kinds: type[ast.AST]) -> list[tuple[str, ast.AST]]:
    """(file, node) of every node of these kinds in every source."""
    paths = [ROOT / "run", *(file for folder in FOLDERS for file in folder.rglob("*.py"))]
    trees = [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]
    return [(name, node) for name, tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


def calls() -> list[tuple[str, ast.Call]]:
    return [(name, node) for name, node in nodes(ast.Call, ast.Import, ast.ImportFrom) if isinstance(node, ast.Call)]


def dotted(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def test_no_source_runs_data_as_code_or_reads_a_pickle():
    assert not [(name, dotted(call.func)) for name, call in calls() if dotted(call.func) in FORBIDDEN_CALLS]
    words = [(name, word.arg, ast.unparse(word.value)) for name, call in calls() for word in call.keywords]
    assert not [it for it in words if it[1] in FORBIDDEN_WORDS and it[2] == str(FORBIDDEN_WORDS[it[1]])]
    imported = [(name, alias.name) for name, node in nodes(ast.Call, ast.Import, ast.ImportFrom)
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]  # fmt: skip
    assert not [it for it in imported if it[1].split(".")[0] in PICKLES]


def test_every_pickle_of_torch_is_read_by_its_weights_only_reader():
    loads = [(name, call) for name, call in calls() if dotted(call.func) == "torch.load"]
    assert loads
    for name, call in loads:
        assert {word.arg: ast.unparse(word.value) for word in call.keywords}.get("weights_only") == "True", name


def test_processes_are_started_with_lists_of_arguments():
    for name, call in calls():
        if dotted(call.func) in ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.call"):
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), (name, ast.unparse(call))


def test_no_module_is_imported_by_a_name_from_data():
    allowed = {
        "platform/shoestring/cli/main.py",  # its own list of files
        "trainer/shoestring_trainer/autoencoder.py",  # a class that stands in KINDS
        "trainer/shoestring_trainer/diffusers_parts.py",  # what an exported folder carries, loaded by diffusers
    }
    found = {name for name, call in calls() if dotted(call.func) == "importlib.import_module"}
    assert {name for name in found if not name.startswith("benchmarks/")} <= allowed


def test_sql_is_put_together_from_our_own_names_only():
    allowed = {"platform/shoestring/db.py", "platform/shoestring/migrate.py", "platform/shoestring/bulk.py",
               "platform/shoestring/tables.py"}  # fmt: skip
    verbs = ("text", "execute", "exec_driver_sql")
    built = {name for name, call in calls() if dotted(call.func).rsplit(".", 1)[-1] in verbs
             and call.args and isinstance(call.args[0], ast.JoinedStr | ast.BinOp)}  # fmt: skip
    assert {name for name in built if name.startswith("platform/")} <= allowed


@pytest.mark.parametrize("page", ["security.md"])
def test_every_test_that_the_page_names_exists(page):
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, function in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in source, (file, function)
