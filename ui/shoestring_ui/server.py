"""The command line that serves the app: this machine only, nothing sent anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

APP = Path(__file__).with_name("app.py")
SERVED = Path(__file__).with_name("served.py")  # the same with first drawings
LOOPBACK = "127.0.0.1"


def streamlit_argv(port: int, address: str = LOOPBACK, app: Path = SERVED) -> list[str]:
    """Arguments for a process; theme, fonts and the rest are in `.streamlit/config.toml` beside app.py."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(app)),
        *("--server.address", address, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false"),
    ]


def serve_nobody() -> None:
    """Say that this process draws pages without a server: only it sees them, so nobody has to sign in."""
    from streamlit import config

    config.set_option("server.address", LOOPBACK)
