"""The verb that serves the app: to this machine, or to those who sign in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import Conflict, EnvironmentProblem, ShoestringError, UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LOOPBACK = "127.0.0.1"
HEALTH = "/_stcore/health"  # Streamlit's, open to everybody


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(ui))


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option("--address", help="Beyond loopback only with sign-in configured: docs/security.md.")
    ] = LOOPBACK,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    json_: Json = False,
) -> None:
    """Serve the app on this machine, or to those who sign in."""
    import os
    import signal
    import webbrowser

    from shoestring import sign_in
    from shoestring.cli.looking import open_project

    home, _ = open_project()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends with this process
    secrets = sign_in.read_secrets(home.root)
    closed = "auth" in secrets
    if closed or not sign_in.is_loopback(address):
        refuse_open(address, sign_in.problem(secrets), home.root)
    argv = ui_argv(address, port)
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    if closed:
        url = secrets["auth"]["redirect_uri"].removesuffix(sign_in.CALLBACK).replace("{port}", str(port))
    env = {**os.environ, "SHOESTRING_HOME": str(home.state)}
    if not json_:
        say("the app starts …")
    quiet = subprocess.DEVNULL  # Streamlit's own words about its address; its warnings come on stderr
    with subprocess.Popen(argv, cwd=home.root, env=env, stdin=quiet, stdout=quiet) as server:
        try:
            answers = _await_answer(server, address, port)
            if answers and json_:
                say_json({"url": url, "pid": server.pid})
            elif answers:
                say(f"Shoestring's app: {url}   (Ctrl-C ends it)")
                if closed:
                    say(f"  seen by {sign_in.who_enters(secrets)}")
                if not no_browser:
                    webbrowser.open(url)
            server.wait()
        finally:
            server.terminate()
    if server.returncode not in (0, -2, -15):
        raise ShoestringError(f"the app ended with exit code {server.returncode}")


def _await_answer(server: subprocess.Popen[bytes], address: str, port: int) -> bool:
    """Wait until the app answers, or has ended (False): a browser that comes sooner is refused, and stays so."""
    import contextlib
    import http.client
    import time

    here = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(address, address)
    while server.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            link = http.client.HTTPConnection(here, port, timeout=60)
            link.request("GET", HEALTH)
            if link.getresponse().status == http.HTTPStatus.OK:
                return True
        time.sleep(0.05)
    return False


def refuse_open(address: str, wrong: str, root: Path) -> None:
    """Raises UsageError where everybody has to sign in and nobody could."""
    from shoestring.sign_in import FILE, KEYS, is_loopback

    if wrong:
        where = "[auth] is begun" if is_loopback(address) else f"--address {address} is beyond this machine"
        raise UsageError(
            f"{where}, and nobody could sign in: {wrong}",
            f"write [auth] with {', '.join(KEYS)} into {root / FILE} (docs/security.md shows one), or stay here and "
            f"make a tunnel: ssh -L 8501:{LOOPBACK}:8501 HOST",
        )


def ui_argv(address: str, port: int) -> list[str]:
    """Streamlit's command line. Raises Conflict when the port is taken, UsageError for what is no address of ours."""
    import errno
    import importlib.util
    import socket

    package = importlib.util.find_spec("shoestring_ui")
    if package is None or not package.submodule_search_locations:
        raise EnvironmentProblem("the app is not installed", "pip install shoestring")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                hint = f"an address of this machine: {LOOPBACK}"
                raise UsageError(f"--address {address}: {error.strerror}", hint) from None
            raise Conflict(f"port {port} is taken ({error.strerror})", f"shoestring ui --port {port + 1}") from error
    app = Path(next(iter(package.submodule_search_locations))) / "served.py"
    return [
        *(sys.executable, "-m", "streamlit", "run", str(app)),
        *("--server.address", address, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false", "--server.enableXsrfProtection", "true"),
    ]
