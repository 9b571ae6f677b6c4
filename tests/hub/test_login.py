"""A login with OpenID Connect, against a provider made up here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from oauthenticator.generic import GenericOAuthenticator
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from geoloom_hub.settings import SOURCE

PEOPLE = {
    "code-anna": {"preferred_username": "anna", "email": "anna@example.org", "groups": ["fields"]},
    "code-eva": {"preferred_username": "eva", "groups": ["fields", "staff"]},
    "code-mallory": {"preferred_username": "mallory", "groups": ["others"]},
}


class Provider(BaseHTTPRequestHandler):
    """Tells its addresses, gives a token for a code, and says whose the token is."""

    def do_GET(self) -> None:
        base = f"http://{self.headers['Host']}/realm"
        if self.path == "/realm/.well-known/openid-configuration":
            self.reply(
                {
                    "authorization_endpoint": f"{base}/auth",
                    "token_endpoint": f"{base}/token",
                    "userinfo_endpoint": f"{base}/who",
                }
            )
        elif self.path == "/realm/who":
            self.reply(PEOPLE[self.headers["Authorization"].removeprefix("Bearer token-of-")])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        expected = {"client_id": ["geoloom"], "client_secret": ["secret"], "code_verifier": ["verifier"]}
        if self.path != "/realm/token" or any(sent.get(name) != value for name, value in expected.items()):
            self.send_error(400)
            return
        self.reply({"access_token": f"token-of-{sent['code'][0]}", "token_type": "Bearer"})

    def reply(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The configuration's part about logging in."""
    for name in list(os.environ):
        if name.startswith(("GEOLOOM_", "OAUTH")):
            monkeypatch.delenv(name)

    def configure(issuer: str, **environment: str) -> Config:
        told = {
            "HOME": str(tmp_path),
            "LOGIN": "oidc",
            "OIDC_URL": issuer,
            "OAUTH_CLIENT_ID": "geoloom",
            "OAUTH_CLIENT_SECRET": "secret",
            "OAUTH_CALLBACK": "https://hub.example.org/hub/oauth_callback",
            **environment,
        }
        for name, value in told.items():
            monkeypatch.setenv(f"GEOLOOM_HUB_{name}", value)
        return PyFileConfigLoader("jupyterhub_config.py", str(SOURCE)).load_config()

    return configure


def issuer_of(provider: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{provider.server_port}/realm"


def log_in(config: Config, code: str) -> dict[str, Any] | None:
    """What JupyterHub learns of who comes back from the provider with a code."""
    state = base64.urlsafe_b64encode(json.dumps({"code_verifier": "verifier"}).encode()).decode()
    handler = SimpleNamespace(get_argument=lambda name: code, get_state_cookie=lambda: state)

    async def run() -> dict[str, Any] | None:
        authenticator = GenericOAuthenticator(config=config)
        found: dict[str, Any] | None = await authenticator.get_authenticated_user(handler, None)
        return found

    return asyncio.run(run())


def test_groups_decide_who_gets_in_and_who_is_admin(provider: ThreadingHTTPServer, configure: Any) -> None:
    config = configure(issuer_of(provider), OIDC_GROUPS_CLAIM="groups", GROUPS="fields", ADMIN_GROUPS="staff")
    assert config.GenericOAuthenticator.authorize_url == f"{issuer_of(provider)}/auth"
    anna, eva = log_in(config, "code-anna"), log_in(config, "code-eva")
    assert anna is not None
    assert eva is not None
    assert (anna["name"], bool(anna["admin"]), anna["groups"]) == ("anna", False, ["fields"])
    assert (eva["name"], bool(eva["admin"]), eva["groups"]) == ("eva", True, ["fields", "staff"])
    assert log_in(config, "code-mallory") is None


def test_nobody_gets_in_unless_that_is_said(provider: ThreadingHTTPServer, configure: Any) -> None:
    assert log_in(configure(issuer_of(provider)), "code-anna") is None
    assert log_in(configure(issuer_of(provider), USERS="anna"), "code-anna") is not None
    assert log_in(configure(issuer_of(provider), USERS="anna"), "code-mallory") is None
    assert log_in(configure(issuer_of(provider), USERS="", ALLOW_ALL="1"), "code-mallory") is not None


def test_another_claim_can_be_the_name(provider: ThreadingHTTPServer, configure: Any) -> None:
    found = log_in(configure(issuer_of(provider), ALLOW_ALL="1", OIDC_USERNAME="email"), "code-anna")
    assert found is not None
    assert found["name"] == "anna@example.org"


def test_a_provider_that_is_away_does_not_keep_the_hub_from_starting_again(
    provider: ThreadingHTTPServer, configure: Any
) -> None:
    first = configure(issuer_of(provider))
    provider.socket.close()
    assert configure(issuer_of(provider)).GenericOAuthenticator == first.GenericOAuthenticator


def test_an_address_that_is_no_provider_is_told_in_a_sentence(
    provider: ThreadingHTTPServer, configure: Any
) -> None:
    wrong = issuer_of(provider).removesuffix("realm") + "nothing"
    with pytest.raises(SystemExit, match=r"GEOLOOM_HUB_OIDC_URL is .* does not tell where to log in"):
        configure(wrong)
