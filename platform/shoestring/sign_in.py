"""Who may see the app from beyond this machine: what must stand in Streamlit's secrets.toml, and who is let in. Pure.

Streamlit signs people in with OpenID Connect once its file has a whole `[auth]`; `[shoestring]` of the same file says
who of them is let in. What is half written opens nothing.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shoestring.errors import EnvironmentProblem

FILE = Path(".streamlit") / "secrets.toml"  # in the home folder, then in the project's, which wins
KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
CALLBACK = "/oauth2callback"
SECRET_CHARS = 32  # of the secret that signs the cookies: whoever guesses it is anybody
NEW_SECRET = "python -c 'import secrets; print(secrets.token_hex(32))'"


def is_loopback(address: str | None) -> bool:
    """Whether only this machine reaches a server there; Streamlit takes no address for all of them."""
    try:
        return address == "localhost" or ipaddress.ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        return False


def read_secrets(root: Path) -> dict[str, Any]:
    """What Streamlit will read when it is started in `root`. Raises EnvironmentProblem for a file that is no TOML."""
    found: dict[str, Any] = {}
    for path in (Path.home() / FILE, root / FILE):
        if path.is_file():
            try:
                found |= tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise EnvironmentProblem(f"{path} cannot be read: {error}", "docs/security.md shows one") from None
    return found


def problem(secrets: Mapping[str, Any]) -> str:
    """Why nobody could sign in safely with these secrets, in words; empty when all is there."""
    auth = secrets.get("auth")
    if not isinstance(auth, Mapping):
        return "there is no [auth]"
    missing = [key for key in KEYS if not (isinstance(auth.get(key), str) and auth[key])]
    if missing:
        return f"[auth] has no {', '.join(missing)}"
    if len(auth["cookie_secret"]) < SECRET_CHARS:
        return f"cookie_secret is shorter than {SECRET_CHARS} characters; a new one: {NEW_SECRET}"
    if not urlsplit(auth["redirect_uri"]).path.endswith(CALLBACK):
        return f"redirect_uri does not end in {CALLBACK}"
    for key in ("redirect_uri", "server_metadata_url"):
        parts = urlsplit(auth[key])
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            return f"{key} is not https://, so what is sent there can be read on the way"
    return _allow_problem(secrets.get("shoestring", {}))


def _allow_problem(ours: Any) -> str:
    if not isinstance(ours, Mapping) or set(ours) - {"allow"}:
        return "[shoestring] has something else than allow = [...]"
    allow = ours.get("allow")
    if allow is None:
        return ""
    if not isinstance(allow, list | tuple) or not allow or not all(isinstance(one, str) and one for one in allow):
        return 'allow is no list of e-mail addresses and domains: allow = ["ada@example.org", "example.org"]'
    return ""


def allowed(secrets: Mapping[str, Any]) -> tuple[str, ...]:
    """The e-mail addresses and domains that are let in; empty: everybody whom the provider knows."""
    return tuple(secrets.get("shoestring", {}).get("allow") or ())


def may_enter(user: Mapping[str, Any], allow: Iterable[str]) -> bool:
    """Whether somebody who signed in is let in: by address or domain, and never by one that is not verified."""
    wanted = {one.casefold().removeprefix("@") for one in allow}
    if not wanted:
        return True
    email = str(user.get("email") or "").casefold()
    if email.count("@") != 1 or user.get("email_verified") is False:
        return False
    return email in wanted or email.split("@")[1] in wanted


def who_enters(secrets: Mapping[str, Any]) -> str:
    """Who is let in, in words."""
    provider, allow = urlsplit(secrets["auth"]["server_metadata_url"]).hostname, allowed(secrets)
    if allow:
        return f"whoever signs in at {provider} as {', '.join(allow)}"
    return f"everybody who can sign in at {provider}: name some with allow = [...] under [shoestring]"
