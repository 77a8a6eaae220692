"""The command line that serves the app: this machine only, nothing sent anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

APP = Path(__file__).with_name("app.py")


def streamlit_argv(port: int, address: str = "127.0.0.1") -> list[str]:
    """Arguments for a process; theme, fonts and the rest are in `.streamlit/config.toml` beside app.py."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(APP)),
        *("--server.address", address, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false"),
    ]
