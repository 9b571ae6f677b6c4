"""Who may open apps where the hub's login is in front."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from geoloom_hub.apps.visitors import Guests, visitors

USERS = {
    "annas-token": {"kind": "user", "name": "anna", "scopes": ["access:services!service=apps"]},
    "berts-token": {"kind": "user", "name": "bert", "scopes": ["access:services!service=apps"]},
    "a-kernels-token": {"kind": "user", "name": "carl", "scopes": ["access:services!service=tiles"]},
}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as tells whose a token is."""

    def do_GET(self) -> None:
        found = USERS.get(self.headers.get("Authorization", "").split()[-1])
        content = json.dumps(found or {"message": "no such token"}).encode()
        self.send_response(200 if found and self.path == "/hub/api/user" else 403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def guarded(start_service: Callable[..., Any]) -> Iterator[Any]:
    """The service behind the login of a hub."""
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        with start_service(
            JUPYTERHUB_API_URL=f"http://127.0.0.1:{hub.server_port}/hub/api",
            JUPYTERHUB_CLIENT_ID="service-apps",
            JUPYTERHUB_SERVICE_NAME="apps",
        ) as service:
            yield service
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["", "voila/render/small.ipynb", "nothing"])
def test_who_is_not_logged_in_is_sent_to_the_hub(guarded: Any, path: str) -> None:
    answer = guarded.visitor().ask("GET", path)
    assert answer.status == 302
    assert answer.headers["Location"].startswith("/hub/api/oauth2/authorize?client_id=service-apps&")
    assert "code_challenge" in answer.headers["Location"]
    assert guarded.open_apps() == 0


@pytest.mark.parametrize(
    "headers", [{}, bearer("made-up"), bearer("a-kernels-token"), bearer("the-services-own-token")]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "voila/render/small.ipynb"),
        ("GET", "api/kernels/00000000-0000-4000-8000-000000000000"),
        ("GET", "api/kernels/00000000-0000-4000-8000-000000000000/channels"),
        ("POST", "voila/api/shutdown/00000000-0000-4000-8000-000000000000"),
        ("POST", "nothing"),
    ],
)
def test_who_may_not_gets_nothing(guarded: Any, headers: dict[str, str], method: str, path: str) -> None:
    answer = guarded.visitor().ask(method, path, headers)
    assert answer.status in (302, 403, 404)
    assert "geoloom-ended" not in answer.text
    assert guarded.open_apps() == 0


def test_users_of_the_hub_have_apps_of_their_own(guarded: Any) -> None:
    anna, bert = bearer("annas-token"), bearer("berts-token")
    visitor = guarded.visitor()
    assert "You are anna" in visitor.ask("GET", "", anna).text
    page = visitor.ask("GET", "voila/render/small.ipynb", anna)
    assert page.status == 200
    for secret in ("annas-token", "the-services-own-token"):
        assert secret not in page.text
    kernel = f"api/kernels/{visitor.kernel_of(page)}"
    assert visitor.ask("GET", kernel, anna).status == 200
    assert visitor.ask("GET", kernel, bert).status == 404
    ending = f"voila/api/shutdown/{visitor.kernel_of(page)}"
    assert visitor.ask("POST", ending, bert).status == 404
    assert visitor.ask("POST", ending, anna).status == 204
    assert guarded.open_apps() == 0


def test_assets_need_no_login_and_hold_nothing_of_anybody(guarded: Any) -> None:
    assert guarded.visitor().ask("GET", "voila/static/voila.js").status == 200


def test_without_the_hubs_variables_nobody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_CLIENT_ID", "JUPYTERHUB_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ValueError, match="JUPYTERHUB_API_TOKEN, JUPYTERHUB_CLIENT_ID, JUPYTERHUB_SERVICE_NAME"
    ):
        visitors(False, "/services/apps/")
    assert isinstance(visitors(True, "/services/apps/"), Guests)
