"""The house rules that matter: who may import whom, how long a file may be, and what the README promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [ROOT / "platform" / "shoestring", ROOT / "trainer" / "shoestring_trainer", ROOT / "ui" / "shoestring_ui"]
TRAINER_CONTRACT = {"config", "drawing", "run_dir", "flops", "presets", "manifest"}  # no torch: for the platform
HEAVY = ("torch", "diffusers", "accelerate", "transformers", "mlflow", "optuna", "streamlit", "dvc")
CEILING = 400

# Layers of the platform, lowest first: a file imports its own layer or a lower one, and never in a circle.
LAYERS = [
    {"records", "codes", "errors", "garbage", "json_text", "secret"},
    # pure, or reading files only
    {"file_lock", "home", "yaml_source", "faults", "dotted", "resources", "request_parts", "request", "merge",
     "samplers", "spec_parts", "parts", "spec",
     "schema", "resolve", "clone", "diff", "ranking", "rungs", "halving",
     "speed", "prices", "experience", "calibration", "cost", "steps", "run_plan", "file_plan", "plan",
     "provenance", "tail", "sets", "ranges", "memory", "quotes", "sign_in", "draw_plan",
     "spending", "forecasts", "odds", "bands"},
    # state: SQL lives here
    {"stored", "tables", "rows", "bulk", "budgets", "db", "migrate", "states", "retries", "moves", "unbooked", "leases",
     "roster", "runs", "submissions", "trials", "steering", "actions", "ledger", "series", "waiting", "line",
     "lineage", "pulse", "queries"},
    {"executors", "tracking"},
    {"heart", "poison", "attempt", "worker", "job", "dispatcher", "live", "measuring", "learning", "standings",
     "allowance", "study", "outcomes", "sweep_state", "sweep", "sweep_report",
     "showcase", "intake", "evaluation", "exchange", "doctor"},
    {"cli"},
]  # fmt: skip
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
STATE = LAYERS[2]
DOORS = {"actions", "queries", "db", "migrate"}  # what commands, sweeps and the app may open
WORKERS = {"heart", "attempt", "worker", "job", "dispatcher", "executors"}  # they hold leases, so they also use `runs`
UI_MAY_IMPORT = {
    "queries",
    "migrate",
    "actions",
    "spec",
    "errors",
    "records",
    "ranking",
    "odds",
    "bands",
    "forecasts",
    "spending",
    "standings",
    "rungs",
    "sweep_state",
    "prices",
    "home",
    "db",
    "plan",
    "cost",
    "sign_in",
    "clone",
    "intake",
    "draw_plan",
    "provenance",
    "quotes",
    "run_plan",
    "spec_parts",
}


def python_files(*folders: Path) -> list[Path]:
    return sorted(f for folder in folders for f in folder.rglob("*.py") if "__pycache__" not in f.parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(dotted module, whether it is imported when the file is) for every import statement."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    typing_only = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, ast.If) and "TYPE_CHECKING" in ast.unparse(f.test)
        for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        now = id(node) not in inside and id(node) not in typing_only
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the package's name"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", now


def within(path: Path, package: str) -> str:
    """The file's place in its package: 'runs', 'cli', 'executors'."""
    relative = path.relative_to(next(s for s in SOURCES if s.name == package))
    return relative.parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def platform_imports() -> Iterator[tuple[Path, str, str]]:
    for path in python_files(SOURCES[0]):
        for module, _ in imports(path):
            if module.startswith("shoestring."):
                yield path, within(path, "shoestring"), module.split(".")[1]


def test_the_platform_never_imports_torch_and_takes_only_the_contract_from_the_trainer():
    for path in python_files(SOURCES[0]):
        for module, _ in imports(path):
            head, *rest = module.split(".")
            assert head not in {"torch", "diffusers", "accelerate", "transformers", "torchmetrics"}, (
                name(path),
                module,
            )
            assert head != "shoestring_ui", (name(path), module)
            if head == "shoestring_trainer":
                assert rest[0] in TRAINER_CONTRACT, (name(path), module)


def test_the_trainer_never_imports_the_platform_the_app_sql_optuna_mlflow_or_streamlit():
    barred = {
        "shoestring",
        "shoestring_ui",
        "sqlalchemy",
        "alembic",
        "optuna",
        "mlflow",
        "streamlit",
        "sqlite3",
        "typer",
    }
    for path in python_files(SOURCES[1]):
        for module, _ in imports(path):
            assert module.split(".")[0] not in barred, (name(path), module)


def test_the_app_reads_through_queries_and_writes_through_actions():
    for path in python_files(SOURCES[2]):
        for module, _ in imports(path):
            head, *rest = module.split(".")
            assert head not in {"torch", "sqlalchemy", "sqlite3", "mlflow", "optuna", "alembic"}, (name(path), module)
            if head == "shoestring":
                assert rest[0] in UI_MAY_IMPORT, (name(path), module)
            if head == "shoestring_trainer":
                assert rest[0] in TRAINER_CONTRACT, (name(path), module)


def test_arrows_point_down_inside_the_platform():
    for path, source, target in platform_imports():
        assert source in LAYER, f"{name(path)}: say its layer in tests/test_house.py"
        assert LAYER[target] <= LAYER[source], f"{name(path)} (layer {LAYER[source]}) imports {target}"


def test_no_file_of_the_platform_imports_itself_in_a_circle():
    graph: dict[str, set[str]] = {}
    for _, source, target in platform_imports():
        if source != target:
            graph.setdefault(source, set()).add(target)
    list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle


def test_what_decides_touches_no_database_process_network_clock_or_chance():
    pure = {
        "records",
        "codes",
        "errors",
        "request",
        "clone",
        "merge",
        "samplers",
        "spec_parts",
        "spec",
        "resolve",
        "ranking",
        "rungs",
        "allowance",
        "odds",
        "bands",
        "forecasts",
        "spending",
        "speed",
        "cost",
        "steps",
        "run_plan",
    }
    barred = {"sqlalchemy", "sqlite3", "subprocess", "socket", "urllib", "mlflow", "optuna", "time", "random"}
    for path in python_files(SOURCES[0]):
        if within(path, "shoestring") in pure:
            for module, _ in imports(path):
                assert module.split(".")[0] not in barred, (name(path), module)


def test_sql_lives_in_the_state_layer_and_has_two_doors():
    for path in python_files(SOURCES[0]):
        source = within(path, "shoestring")
        if source in STATE:
            continue
        for module, _ in imports(path):
            head, *rest = module.split(".")
            assert head not in {"sqlalchemy", "sqlite3", "alembic"}, (name(path), module)
            if head == "shoestring" and rest[0] in STATE:
                allowed = DOORS | ({"runs", "states"} if source in WORKERS else {"states"})
                assert rest[0] in allowed, (name(path), module)


@pytest.mark.parametrize(("package", "home"), [("optuna", "study"), ("mlflow", "tracking")])
def test_a_heavy_package_lives_in_one_file_of_the_platform(package, home):
    users = {
        within(p, "shoestring") for p in python_files(SOURCES[0]) for m, _ in imports(p) if m.split(".")[0] == package
    }
    assert users <= {home}


def test_the_commands_import_nothing_heavy_until_a_verb_runs():
    code = "import sys, shoestring.cli.main; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & {*HEAVY, "sqlalchemy", "alembic", "pandas", "numpy", "plotly"}


def test_the_contract_pulls_no_torch():
    present = sorted(m for m in TRAINER_CONTRACT if (SOURCES[1] / f"{m}.py").exists())
    assert present == sorted(TRAINER_CONTRACT)
    code = f"import sys, {', '.join('shoestring_trainer.' + m for m in present)}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {m.split(".")[0] for m in done.stdout.split()} & {*HEAVY, "numpy", "shoestring"}


def test_no_file_is_over_the_ceiling():
    files = [*python_files(*SOURCES, ROOT / "tests", ROOT / "alembic", ROOT / "docs"), ROOT / "run"]
    long = {name(f): n for f in files if (n := len(f.read_text(encoding="utf-8").splitlines())) > CEILING}
    assert not long


def test_no_file_is_named_after_what_it_is_not():
    files = python_files(*SOURCES, ROOT / "tests", ROOT / "alembic")
    barred = {"utils", "util", "helpers", "helper", "common", "base", "misc", "pages"}
    assert not [name(f) for f in files if barred & {*(p.removesuffix(".py") for p in f.relative_to(ROOT).parts)}]
    standard = sys.stdlib_module_names & {f.stem for f in files}
    assert standard <= {"__init__", "__main__"}, (
        f"a standard module has that name: {standard - {'__init__', '__main__'}}"
    )


def test_source_roots_are_no_packages_and_packages_start_empty():
    for folder in ("platform", "trainer", "ui", "alembic", "tests", "alembic/versions", "tests/e2e"):
        assert not (ROOT / folder / "__init__.py").exists(), folder
    assert not [name(s) for s in SOURCES if (s / "__init__.py").read_text().strip()]


def test_the_standard_library_still_has_its_platform():
    code = "import platform, alembic; print(platform.system(), hasattr(alembic, 'op') or alembic.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.split()[0], done.stderr


def tracked_texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT)
    files = (
        [ROOT / f for f in listed.stdout.split("\0") if f] if listed.returncode == 0 else python_files(ROOT / "tests")
    )
    for file in files:
        if file.is_file() and file.stat().st_size < 2_000_000:
            try:
                yield name(file), file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_tracked_file_names_a_registry_or_a_machines_folder():
    host = re.compile(r'"resolved"\s*:\s*"http|--(extra-)?index-url|registry\.[a-z]+\.[a-z]+|' + "|".join((
        r"pypi\.org/simple", r"files\.pythonhosted", r"npmjs\.", r"yarnpkg\.")))  # fmt: skip
    place = re.compile(r"(^|[\s\"'=(])/(" + "|".join(("work", "home", "root", "Users")) + r")/[A-Za-z0-9_]")
    here = "tests/test_house.py"
    found = [
        (f, m.group()) for f, text in tracked_texts() if f != here for m in (host.search(text), place.search(text)) if m
    ]
    assert not found


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_only_files_that_exist():
    rows = re.search(r"^#+ Adding .*?\n(.*?)(?=^#|\Z)", readme(), re.M | re.S | re.I)
    assert rows, "the README has a section 'Adding …' with the table of what to touch"
    named = re.findall(r"`([\w./-]+\.(?:py|yaml|json|md|ttf))`", rows[1])
    assert named
    folders = [ROOT, *SOURCES, SOURCES[0] / "executors", ROOT / "alembic"]
    assert not [n for n in named if not any((f / n).exists() for f in folders)]


def test_the_readme_names_only_verbs_that_exist():
    run = subprocess.run([sys.executable, "run", "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    verbs = set(re.findall(r"^    (\w+)", run, re.M))
    assert set(re.findall(r"\./run (\w+)", readme())) <= verbs

    from shoestring.cli.main import app
    from typer.main import get_command

    commands = set(get_command(app).commands)
    assert set(re.findall(r"^\s*\$?\s*shoestring ([a-z]+)|`shoestring ([a-z]+)", readme(), re.M)) <= {
        pair for c in commands for pair in ((c, ""), ("", c))
    }


def test_help_is_there_for_every_verb():
    from shoestring.cli.main import app
    from typer.main import get_command

    def walk(command, path):
        assert command.help, f"{' '.join(path)} has no help"
        for sub, inner in getattr(command, "commands", {}).items():
            walk(inner, [*path, sub])

    walk(get_command(app), ["shoestring"])


def test_what_the_readme_and_the_docs_link_to_is_there_and_is_kept():
    kept = set(subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                              text=True, check=True).stdout.split("\n"))  # fmt: skip
    missing = []
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve().relative_to(ROOT).as_posix()
            if "://" not in target and path not in kept and not any(name.startswith(path + "/") for name in kept):
                missing.append(f"{page.name} links to {target}")
    assert not missing, missing


def test_words_for_pytest_reach_it_in_their_order():
    words = ["--collect-only", "-q", "-k", "walked_here and not nothing", "tests/test_browser.py"]
    done = subprocess.run([sys.executable, ROOT / "run", "test", *words], capture_output=True, text=True, check=False)
    assert "test_every_page_of_the_navigation_is_walked_here" in done.stdout and "1/" in done.stdout, done.stdout
