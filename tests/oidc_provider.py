"""A small OpenID Connect provider that believes whoever says who they are: `python tests/oidc_provider.py PORT`.

Discovery, authorisation code with PKCE (S256), RS256 tokens, keys and the end of a session: what a real one has.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "shoestring", "the client's secret"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
CODES: dict[str, dict[str, str]] = {}


class Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        issuer = f"http://{self.headers['Host']}"
        if parts.path == "/.well-known/openid-configuration":
            self.answer({
                "issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/keys", "end_session_endpoint": f"{issuer}/end",
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"], "code_challenge_methods_supported": ["S256"],
            })  # fmt: skip
        elif parts.path == "/keys":
            self.answer({"keys": [KEY.as_dict(private=False)]})
        elif parts.path == "/authorize":
            hidden = "".join(f"<input type=hidden name='{escape(k)}' value='{escape(v)}'>" for k, v in asked.items())
            form = f"<form action=/consent>{hidden}<input name=email><button>I am</button></form>"
            self.answer(f"<!doctype html><title>Who are you?</title>{form}".encode(), "text/html")
        elif parts.path == "/consent":
            code = secrets.token_urlsafe(16)
            CODES[code] = asked
            self.go(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        elif parts.path == "/end":
            self.go(asked["post_logout_redirect_uri"])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        said = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        asked = CODES.pop(said["code"][0])
        client = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(said["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if self.headers["Authorization"] != f"Basic {client}" or challenge != asked["code_challenge"]:
            return self.send_error(401)
        issuer, now, email = f"http://{self.headers['Host']}", int(time.time()), asked["email"]
        claims = {
            "iss": issuer, "aud": CLIENT, "sub": email, "email": email, "nonce": asked["nonce"],
            "email_verified": not email.startswith("unverified"), "iat": now, "exp": now + 600,
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)
        self.answer({"access_token": "none", "token_type": "Bearer", "expires_in": 600, "id_token": token})

    def answer(self, content: Any, kind: str = "application/json") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def go(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
