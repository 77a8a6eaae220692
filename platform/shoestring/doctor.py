"""What this machine has and lacks, in words: ✓ fine, ! optional or worth knowing, ✗ must be mended."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from shoestring_trainer.manifest import read_manifest

from shoestring import provenance
from shoestring.errors import ShoestringError
from shoestring.home import Home

MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}
DISK_WARN_GB, DISK_FAIL_GB = 5.0, 0.5
CALIBRATION_OLD_S = 30 * 86400.0
_PACKAGE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it stands, the fact, and what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    fact: str
    hint: str = ""


def examine(home: Home) -> list[Check]:
    """Run every check on `home` and this interpreter; a check that breaks is a finding, never an exception."""
    looks: tuple[Callable[[], list[Check]], ...] = (
        python_version,
        functools.partial(packages, home.root),
        functools.partial(database, home),
        functools.partial(databases_apart, home),
        functools.partial(data_sets, home),
        functools.partial(calibration, home),
        functools.partial(disk, home),
        processor,
        programs,
    )
    found: list[Check] = []
    for look in looks:
        try:
            found += look()
        except Exception as error:
            name = getattr(look, "func", look).__name__
            found.append(Check(name.replace("_", " "), "fail", f"could not be looked at: {error}"))
    return found


def python_version(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> list[Check]:
    """Python 3.11 or newer."""
    shown = ".".join(map(str, version))
    if version < (3, 11):
        return [Check("Python", "fail", shown, "install Python 3.11 or newer and make the environment again")]
    return [Check("Python", "ok", f"{shown} at {sys.executable}")]


def packages(root: Path, distribution: str = "shoestring") -> list[Check]:
    """What our distribution requires is installed, at the versions of `constraints.txt` where there is one."""
    pinned = read_pins(root / "constraints.txt")
    missing, optional, other = list[str](), list[str](), list[str]()
    wanted = metadata.requires(distribution) or []
    for requirement in wanted:
        match = _PACKAGE.match(requirement)
        assert match
        name, extra = match.group(), "extra ==" in requirement
        try:
            version = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            (optional if extra else missing).append(name)
            continue
        pin = pinned.get(_plain(name))
        if pin and pin != version:
            other.append(f"{name} {version} (pinned {pin})")
    again = "run `./run test` or `pip install -c constraints.txt -e .[data,dev]`"
    checks = []
    if missing:
        checks.append(Check("packages", "fail", "missing: " + ", ".join(missing), again))
    if optional:
        checks.append(Check("packages", "warn", "not installed (extras data, dev): " + ", ".join(optional), again))
    if other:
        checks.append(Check("packages", "warn", "not as pinned: " + ", ".join(other), again))
    if not checks:
        how = "as pinned in constraints.txt" if pinned else "(no constraints.txt here to compare with)"
        checks.append(Check("packages", "ok", f"all {len(wanted)} are installed {how}"))
    return checks


def read_pins(lock: Path) -> dict[str, str]:
    """{package: version} of a constraints file; empty where there is none."""
    lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else []
    pairs = (line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    return {_plain(name): version.strip() for name, version in pairs}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def database(home: Home) -> list[Check]:
    """The database answers and has this program's schema."""
    from shoestring import migrate

    try:
        migrate.check(home.db_url)
    except ShoestringError as error:
        return [Check("database", "fail", error.message, error.hint)]
    if lacks := migrate.lacking(home.db_url):
        fact = f"{shown_url(home.db_url)} says that its schema is current, and lacks {', '.join(lacks)}"
        return [Check("database", "fail", fact, "go back to a copy that was whole, or use a new database")]
    return [Check("database", "ok", f"{shown_url(home.db_url)} answers, its schema is current")]


def databases_apart(home: Home) -> list[Check]:
    """Ours, MLflow's and Optuna's are three databases: the latter two own a table called `alembic_version`, and names
    of ours. Told by their addresses, whatever the spelling, and by the tables that are in ours."""
    from shoestring import migrate

    hint, shown = "point SHOESTRING_DB at a database of its own", shown_url(home.db_url)
    urls = {"shoestring": home.db_url, "MLflow": home.mlflow_url, "Optuna": home.optuna_url}
    places = {name: place(url) for name, url in urls.items()}
    shared = [name for name, where in places.items() if list(places.values()).count(where) > 1]
    if shared:
        return [Check("separate databases", "fail", f"{' and '.join(shared)} share {shown}", hint)]
    try:
        found = migrate.strangers(home.db_url)
    except ShoestringError:
        return [Check("separate databases", "warn", "the database does not answer", "see above")]
    if found:
        named = "; ".join(f"of {owner}: {', '.join(tables[:4])}" for owner, tables in found.items())
        status: Literal["warn", "fail"] = "fail" if found.keys() & {"MLflow", "Optuna"} else "warn"
        return [Check("separate databases", status, f"{shown} holds tables {named}", hint)]
    return [Check("separate databases", "ok", "runs, MLflow and Optuna each have their own")]


def place(url: str) -> tuple[object, ...]:
    """Where a database is: the file, or server and name. Equal places are one database. Raises EnvironmentProblem."""
    from shoestring.db import parse_url, sqlite_path

    parsed = parse_url(url)
    if (file := sqlite_path(parsed)) is not None:
        return (file,)
    return (parsed.host or parsed.query.get("host", "localhost"), parsed.port or 5432, parsed.database)


def shown_url(url: str) -> str:
    """The address without its password."""
    from shoestring.db import redacted

    return redacted(url)


def data_sets(home: Home) -> list[Check]:
    """At least one encoded set is there and its manifest reads."""
    # data/raw holds the pictures before they are encoded, with a manifest of another kind
    folders = sorted(p.parent for p in home.data.glob("*/manifest.json") if p.parent.name != "raw")
    if not folders:
        hint = "`dvc repro` builds the demo's set; `./run smoke` makes the tiny procedural one"
        return [Check("data", "warn", f"no encoded set under {home.data}", hint)]
    checks = []
    for folder in folders:
        try:
            facts = read_manifest(folder)
        except ValueError as error:
            checks.append(Check(f"data {folder.name}", "fail", str(error)))
        else:
            shape = "×".join(map(str, facts.shape))
            fact = f"{facts.n_train} training images, {shape} {facts.space}, digest {facts.digest[:12]}"
            checks.append(Check(f"data {folder.name}", "ok", fact))
    return checks


def calibration(home: Home, now: float | None = None) -> list[Check]:
    """This machine's speed has been measured, and not long ago."""
    from shoestring.calibration import calibration_file, machine, read_calibration

    name = machine(provenance.hardware())
    hint = "`shoestring calibrate experiments.yaml` measures what a step costs here"
    found = read_calibration(home.calibrations, name)
    if not found.shapes:
        return [Check("calibration", "warn", f"none for {name}: plans rest on assumptions", hint)]
    age_s = (time.time() if now is None else now) - calibration_file(home.calibrations, name).stat().st_mtime
    fact = f"{len(found.shapes)} kinds of step measured {age_s / 86400:.0f} days ago on {name}"
    old = age_s > CALIBRATION_OLD_S
    return [Check("calibration", "warn" if old else "ok", fact, hint if old else "")]


def disk(home: Home, free_bytes: int | None = None) -> list[Check]:
    """Room for checkpoints where the state lives."""
    folder = next(p for p in (home.state, *home.state.parents) if p.exists())
    if not os.access(folder, os.W_OK):
        return [Check("disk", "fail", f"{folder} is not writable", "set SHOESTRING_HOME to a folder that is")]
    free_gb = (shutil.disk_usage(folder).free if free_bytes is None else free_bytes) / 1e9
    status: Literal["ok", "warn", "fail"] = (
        "fail" if free_gb < DISK_FAIL_GB else "warn" if free_gb < DISK_WARN_GB else "ok"
    )
    hint = "" if status == "ok" else "make room, or set SHOESTRING_HOME to a larger disk"
    return [Check("disk", status, f"{free_gb:.1f} GB free at {folder}", hint)]


def processor() -> list[Check]:
    """Cores, threads and GPUs, and the setting that halves a CPU's speed."""
    facts = provenance.hardware()
    threads = os.environ.get("OMP_NUM_THREADS")
    fact = f"{provenance.hardware_name(facts)}, {facts['ram_gb']} GB memory, load {os.getloadavg()[0]:.1f}"
    if not facts["gpus"] and threads and threads.isdigit() and int(threads) < facts["cores"]:
        fact += f", OMP_NUM_THREADS={threads}"
        return [Check("processor", "warn", fact, "unset OMP_NUM_THREADS to train on every core")]
    return [Check("processor", "ok", fact)]


def programs(which: Callable[[str], str | None] = shutil.which) -> list[Check]:
    """Programs beside Python: each says what it would be for."""
    here = Path(sys.executable).parent
    wanted = {
        "git": (("git",), "runs record the commit they were made from"),
        "npm": (("npm", "nodejs", "node"), "only to fetch the demo's pictures; `./run demo` takes it from PyPI"),
        "Chromium": (
            ("chromium", "chromium-browser", "google-chrome"),
            "only for pictures of the app and its browser tests",
        ),
    }
    checks = []
    for name, (commands, purpose) in wanted.items():
        path = next((p for c in commands if (p := which(c) or which(str(here / c)))), None)
        checks.append(Check(name, "ok", path) if path else Check(name, "warn", "not found", purpose))
    return checks
