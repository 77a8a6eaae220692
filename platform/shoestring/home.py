"""Where things live: the project's root and its `.shoestring/` folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoestring.secret import revealed


@dataclass(frozen=True)
class Home:
    """Paths of one project. `root` holds experiments.yaml and data/; `state` holds databases and run folders."""

    root: Path
    state: Path

    @staticmethod
    def find(start: Path | None = None) -> Home:
        """The nearest folder upwards with `experiments.yaml` (else `start`); `SHOESTRING_HOME` moves the state."""
        start = (start or Path.cwd()).resolve()
        root = next((p for p in (start, *start.parents) if (p / "experiments.yaml").is_file()), start)
        state = Path(os.environ.get("SHOESTRING_HOME") or root / ".shoestring").expanduser().resolve()
        return Home(root=root, state=state)

    @property
    def db_url(self) -> str:
        """`SHOESTRING_DB` or what it refers to, else the SQLite file of this project. Raises EnvironmentProblem."""
        return revealed(os.environ.get("SHOESTRING_DB") or f"sqlite:///{self.state / 'shoestring.db'}")

    @property
    def mlflow_url(self) -> str:
        return f"sqlite:///{self.state / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.state / "mlflow-artifacts"

    @property
    def optuna_url(self) -> str:
        return f"sqlite:///{self.state / 'optuna.db'}"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def calibrations(self) -> Path:
        return self.state / "calibrations"

    @property
    def data(self) -> Path:
        return self.root / "data"
