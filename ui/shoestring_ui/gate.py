"""The door of the app: on this machine it is open, beyond it everybody signs in before anything is shown.

Streamlit checks who somebody is (OpenID Connect, its signed cookie); `shoestring.sign_in` says what must be configured
and who is let in. This stands in the app itself, so starting Streamlit by hand does not go round it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from shoestring import sign_in
from streamlit.runtime.secrets import secrets_singleton

from shoestring_ui import words

HINT = "What to write into .streamlit/secrets.toml beside experiments.yaml is in docs/security.md; then start it again."


def is_open() -> bool:
    """Whether nobody has to sign in: only this machine reaches the app, and no sign-in is configured."""
    return "auth" not in _secrets() and sign_in.is_loopback(st.get_option("server.address"))


def guard() -> None:
    """Return to whoever may see the project; end the page for everybody else."""
    if is_open():
        return
    secrets = _secrets()
    if wrong := sign_in.problem(secrets):
        _closed("Nothing is shown: nobody could sign in", f"This app is reached from elsewhere, and {wrong}. {HINT}")
    user = st.user.to_dict()
    if not user.get("is_logged_in"):
        st.title("Sign in", anchor=False)
        st.html("<p class='lede'>What is here is shown to those who sign in.</p>")
        st.button("Sign in", type="primary", on_click=st.login)
        st.stop()
    name = str(user.get("email") or user.get("name") or user.get("sub") or "somebody")
    _sign_out(name)
    if not sign_in.may_enter(user, sign_in.allowed(secrets)):
        text = f"Whoever runs this app has not let {name} in. Ask them, or sign out and come with another address."
        _closed("You are not on the list", text)


def _secrets() -> Mapping[str, Any]:
    """What Streamlit itself goes by. A file that it cannot read counts as an [auth] with nothing in it."""
    if secrets_singleton.load_if_toml_exists():
        return secrets_singleton.to_dict()
    return {"auth": {}} if any(Path(path).exists() for path in st.get_option("secrets.files")) else {}


def _sign_out(name: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        st.html(f"<span class='note'>{words.escape(name)}</span>", width="content")
        st.button("Sign out", on_click=st.logout)


def _closed(title: str, text: str) -> NoReturn:
    st.title(title, anchor=False)
    st.html(f"<div class='empty'><p>{words.escape(text)}</p></div>")
    st.stop()
