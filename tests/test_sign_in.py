"""Beyond this machine nobody sees anything of a project before signing in: a real provider, the real app, Chromium."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from browser import PATIENCE_MS, Server, chromium, chromium_browser, served
from oidc_provider import CLIENT, SECRET
from projects import Project
from shoestring import sign_in
from shoestring.cli.main import app
from shoestring.home import Home
from shoestring.migrate import upgrade
from shoestring_ui.server import APP, streamlit_argv
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from typer.testing import CliRunner

HERE = Path(__file__).parent
COOKIE_SECRET = "0123456789abcdef" * 2
RUN = "a-run-of-ours"
needs_chromium = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


def secrets(**changes: object) -> dict[str, object]:
    whole = {
        "redirect_uri": "https://lab.example.org/oauth2callback", "cookie_secret": COOKIE_SECRET, "client_id": CLIENT,
        "client_secret": SECRET, "server_metadata_url": "https://id.example.org/.well-known/openid-configuration",
    }  # fmt: skip
    return {"auth": {key: value for key, value in (whole | changes).items() if value is not None}}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_only_this_machine_reaches_loopback(address: str):
    assert sign_in.is_loopback(address)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.0.2.1", "example.org", "unix:///tmp/app", "127.1"])
def test_everything_else_counts_as_reached_from_elsewhere(address: str | None):
    assert not sign_in.is_loopback(address)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "there is no [auth]"),
        ({"auth": "yes"}, "there is no [auth]"),
        ({"auth": {}}, "[auth] has no redirect_uri, cookie_secret, client_id, client_secret, server_metadata_url"),
        (secrets(client_secret=None), "[auth] has no client_secret"),
        (secrets(client_id=""), "[auth] has no client_id"),
        (secrets(cookie_secret="secret"), "shorter than 32 characters"),
        (secrets(redirect_uri="https://lab.example.org/"), "does not end in /oauth2callback"),
        (secrets(redirect_uri="http://lab.example.org/oauth2callback"), "redirect_uri is not https://"),
        (secrets(server_metadata_url="http://id.example.org/x"), "server_metadata_url is not https://"),
        ({**secrets(), "shoestring": {"alow": ["ada@example.org"]}}, "something else than allow"),
        ({**secrets(), "shoestring": {"allow": []}}, "allow is no list"),
        ({**secrets(), "shoestring": {"allow": "ada@example.org"}}, "allow is no list"),
    ],
)
def test_what_is_half_written_opens_nothing(found: dict[str, object], said: str):
    assert said in sign_in.problem(found)


def test_what_is_whole_is_enough_and_says_who_enters():
    assert sign_in.problem(secrets()) == ""
    assert "everybody who can sign in at id.example.org" in sign_in.who_enters(secrets())
    some = {**secrets(), "shoestring": {"allow": ["ada@example.org"]}}
    assert sign_in.problem(some) == "" and "ada@example.org" in sign_in.who_enters(some)


@pytest.mark.parametrize(
    ("user", "inside"),
    [
        ({"email": "ada@example.org"}, True),
        ({"email": "ADA@Example.org", "email_verified": True}, True),
        ({"email": "bob@lab.example"}, True),
        ({"email": "ada@example.org", "email_verified": False}, False),
        ({"email": "eve@example.org"}, False),
        ({"email": "eve@notlab.example"}, False),
        ({"email": "eve@lab.example@elsewhere.org"}, False),
        ({"email": ""}, False),
        ({"name": "ada@example.org"}, False),
    ],
)
def test_the_list_lets_in_addresses_and_whole_domains(user: dict[str, object], inside: bool):
    assert sign_in.may_enter(user, ["ada@example.org", "lab.example"]) is inside
    assert sign_in.may_enter(user, [])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("closed")
    home = Home(root=root, state=root / ".shoestring")
    home.state.mkdir()
    upgrade(home.db_url)
    project = Project(home)
    project.train(project.queue(RUN))
    return home


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_the_command_refuses_to_be_reached_from_elsewhere_and_says_what_to_write(
    home: Home, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home.root)
    monkeypatch.setenv("HOME", str(home.root))
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    done = CliRunner().invoke(app, ["ui", "--address", address])
    assert done.exit_code == 2
    assert "there is no [auth]" in done.stderr and str(Path(".streamlit") / "secrets.toml") in done.stderr
    assert all(key in done.stderr for key in sign_in.KEYS) and "ssh -L" in done.stderr


def write(home: Home, provider: Server, allow: str = "") -> None:
    """What whoever runs the app writes."""
    file = home.root / sign_in.FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"""
[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "{COOKIE_SECRET}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
{allow}
""")


@contextmanager
def app_by_command(home: Home) -> Iterator[Server]:
    """The app as `shoestring ui` serves it to every address of this machine."""
    verb = [sys.executable, "-m", "shoestring.cli.main", "ui", "--no-browser", "--address", "0.0.0.0", "--port"]
    env = {"HOME": str(home.root), "SHOESTRING_HOME": str(home.state)}
    with served(lambda port: [*verb, str(port)], env) as server:
        yield server


class Visitor:
    """A browser that remembers everything that the app ever sent it."""

    def __init__(self, browser, url: str) -> None:
        self.url, self.context, self.sent = url, browser.new_context(), list[str]()
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("websocket", lambda one: one.on("framereceived", self._keep))

    def _keep(self, payload: bytes | str) -> None:
        self.sent.append(payload if isinstance(payload, str) else payload.decode("latin-1"))

    def open(self, path: str = "", until: str = "Sign in") -> None:
        self.page.goto(f"{self.url}/{path}")
        self.page.get_by_role("heading", name=until).first.wait_for()

    def sign_in(self, email: str) -> None:
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("input[name=email]").fill(email)
        self.page.get_by_role("button", name="I am").click()

    def saw(self, text: str) -> bool:
        return any(text in one for one in self.sent) or text in self.page.content()


@pytest.mark.slow
@needs_chromium
def test_who_signs_in_sees_the_project_who_does_not_or_is_not_on_the_list_sees_nothing(home: Home):
    with ExitStack() as stack:
        listen = [sys.executable, str(HERE / "oidc_provider.py")]
        health = "/.well-known/openid-configuration"
        provider = stack.enter_context(served(lambda port: [*listen, str(port)], health=health))
        write(home, provider, '[shoestring]\nallow = ["ada@example.org"]')
        server = stack.enter_context(app_by_command(home))
        browser = stack.enter_context(chromium_browser())

        nobody = Visitor(browser, server.url)
        nobody.open("run?run=1")
        assert not nobody.saw(RUN) and not nobody.saw("tiny")
        forged = create_signed_value("another secret" * 3, "_streamlit_user", '{"is_logged_in": true}')
        nobody.context.add_cookies([{"name": "_streamlit_user", "value": forged.decode(), "url": server.url}])
        nobody.open()
        assert not nobody.saw(RUN)
        nobody.sign_in("eve@example.org")
        nobody.page.get_by_role("heading", name="You are not on the list").wait_for()
        assert nobody.saw("eve@example.org") and not nobody.saw(RUN)

        ada = Visitor(browser, server.url)
        ada.open()
        ada.sign_in("ada@example.org")
        ada.page.get_by_role("heading", name="Quality per dollar").wait_for()
        ada.page.get_by_text(RUN).first.wait_for()
        assert ada.saw(RUN) and ada.saw("ada@example.org")
        ada.page.get_by_role("button", name="Sign out").click()
        ada.page.get_by_role("heading", name="Sign in").wait_for()
        ada.sent.clear()
        ada.open("run?run=1")
        assert not ada.saw(RUN)
        (home.root / sign_in.FILE).unlink()


@needs_chromium
def test_streamlit_started_by_hand_for_every_address_shows_nothing(home: Home):
    env = {"HOME": str(home.root), "SHOESTRING_HOME": str(home.state)}
    with served(partial(streamlit_argv, address="0.0.0.0"), env) as server, chromium_browser() as browser:
        visitor = Visitor(browser, server.url)
        visitor.open("run?run=1", until="Nothing is shown")
        visitor.page.get_by_text("there is no [auth]").first.wait_for()
        assert not visitor.saw(RUN)


def test_streamlit_started_by_hand_without_an_address_serves_this_machine_only():
    file = tomllib.loads((APP.parent / ".streamlit" / "config.toml").read_text())
    assert sign_in.is_loopback(file["server"]["address"])
