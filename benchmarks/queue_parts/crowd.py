"""Processes that begin at the same moment and tell what they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class Crowd:
    """Starts one process of `script` for each argv; every one prints `ready`, waits for a line, works, prints JSON."""

    def __init__(self, script: str, argvs: list[list[str]], packages: Path | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if packages:
            environment["PYTHONPATH"] = str(packages)
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / script), *argv],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for argv in argvs
        ]  # fmt: skip

    def go(self) -> list[Any]:
        """Wait until all are ready, let them begin, return what each said. Exits when one fails."""
        try:
            for process in self.processes:
                assert process.stdout
                if process.stdout.readline().strip() != "ready":
                    sys.exit(f"error: {process.args[1]} ended with exit code {process.wait()}; its words are above")
            for process in self.processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            said = [process.communicate()[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        if any(process.wait() for process in self.processes):
            sys.exit("error: a process of the benchmark failed; its words are above")
        return [json.loads(text) for text in said]
