"""What visitors may ask for, and what they may not."""

from __future__ import annotations

import asyncio
import html
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from geoloom_hub.apps.server import MAX_MESSAGE

V1 = "v1.kernel.websocket.jupyter.org"
CHANNELS = ("shell", "control", "stdin")


@pytest.fixture(scope="module")
def open_app(service: Any) -> Iterator[tuple[Any, str]]:
    """A visitor and the kernel of an app that is open."""
    visitor = service.visitor()
    kernel_id = visitor.open()
    yield visitor, kernel_id
    visitor.close(kernel_id)


def message(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "s", "version": "5.3"}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}


async def connected(visitor: Any, kernel_id: str, *protocols: str) -> WebSocketClientConnection:
    channels = f"services/apps/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"
    url = f"{visitor.url.replace('http', 'ws', 1)}/{channels}"
    request = HTTPRequest(url, headers={**visitor.headers(), "Origin": visitor.url})
    return await websocket_connect(request, subprotocols=list(protocols))


def code_requests(code: str) -> list[dict[str, Any]]:
    """All messages by which a frontend has a kernel do more than widgets need."""
    return [
        message("execute_request", {"code": code, "silent": False, "user_expressions": {"x": code}}),
        message("inspect_request", {"code": "open", "cursor_pos": 2, "detail_level": 0}),
        message("complete_request", {"code": "import o", "cursor_pos": 8}),
        message("is_complete_request", {"code": code}),
        message("history_request", {"hist_access_type": "tail", "n": 9, "output": True, "raw": True}),
        message("debug_request", {"command": "evaluate", "seq": 1, "arguments": {"expression": code}}),
        message("create_subshell_request", {}),
        message("input_reply", {"value": code}),
        message("interrupt_request", {}),
        message("shutdown_request", {"restart": True}),
    ]


@pytest.mark.parametrize("protocol", ["", V1])
def test_a_page_cannot_have_its_kernel_run_code(
    open_app: tuple[Any, str], tmp_path: Path, protocol: str
) -> None:
    visitor, kernel_id = open_app
    trace = tmp_path / "run"

    async def attack() -> list[dict[str, Any]]:
        socket = await connected(visitor, kernel_id, *filter(None, [protocol]))
        for channel in CHANNELS:
            for one in code_requests(f"open({str(trace)!r}, 'w')"):
                await socket.write_message(packed(one, channel, protocol), binary=bool(protocol))
        # Channels are served in order: after this answer, whatever was let through would have been done.
        for channel in ("control", "shell"):
            last = message("kernel_info_request", {})
            await socket.write_message(packed(last, channel, protocol), binary=bool(protocol))
        heard = []
        while sum(one["header"]["msg_type"] == "kernel_info_reply" for one in heard) < 2:
            text = await asyncio.wait_for(socket.read_message(), 60)
            assert text is not None
            heard.append(unpacked(text, protocol))
        socket.close()
        return heard

    heard = asyncio.run(attack())
    assert {one["parent_header"].get("msg_type") for one in heard} == {"kernel_info_request"}
    assert {one["header"]["msg_type"] for one in heard} <= {"kernel_info_reply", "status", "iopub_welcome"}
    assert not trace.exists()


def test_a_page_says_nothing_long(open_app: tuple[Any, str]) -> None:
    visitor, kernel_id = open_app

    async def attack() -> None:
        socket = await connected(visitor, kernel_id)
        await socket.write_message(b"x" * (MAX_MESSAGE + 1), binary=True)
        async with asyncio.timeout(60):
            while await socket.read_message() is not None:
                pass
        socket.close()

    asyncio.run(attack())
    assert visitor.ask("GET", f"api/kernels/{kernel_id}").status == 200


def packed(one: dict[str, Any], channel: str, protocol: str) -> bytes | str:
    if not protocol:
        return json.dumps({**one, "channel": channel})
    parts = [json.dumps(one[name]).encode() for name in ("header", "parent_header", "metadata", "content")]
    return bytes(serialize_msg_to_ws_v1(parts, channel))


def unpacked(text: bytes | str, protocol: str) -> dict[str, Any]:
    if not protocol:
        return json.loads(text)  # type: ignore[no-any-return]
    assert isinstance(text, bytes)
    offsets = [
        int.from_bytes(text[8 * i : 8 * i + 8], "little")
        for i in range(int.from_bytes(text[:8], "little") + 1)
    ]
    header, parent = (json.loads(text[offsets[i] : offsets[i + 1]]) for i in (2, 3))
    return {"header": header, "parent_header": parent}


def test_nobody_else_reaches_the_kernel_of_a_page(service: Any, open_app: tuple[Any, str]) -> None:
    owner, kernel_id = open_app
    other = service.visitor()
    other.ask("GET", "")
    assert other.cookies
    assert other.cookies != owner.cookies
    assert owner.ask("GET", f"api/kernels/{kernel_id}").status == 200
    assert other.ask("GET", f"api/kernels/{kernel_id}").status == 404
    assert other.close(kernel_id).status in (403, 404)
    token = {"X-XSRFToken": "2|00000000|00|0"}
    other.ask("POST", f"voila/api/shutdown/{kernel_id}", token)
    for one in (other, service.visitor()):
        with pytest.raises(HTTPClientError, match="404"):
            asyncio.run(connected(one, kernel_id))
    assert owner.ask("GET", f"api/kernels/{kernel_id}").status == 200


def test_another_site_reaches_nothing_with_a_visitors_cookies(open_app: tuple[Any, str]) -> None:
    visitor, kernel_id = open_app
    evil = {"Origin": "http://evil.example"}

    async def attack() -> None:
        url = f"{visitor.url.replace('http', 'ws', 1)}/services/apps/api/kernels/{kernel_id}/channels"
        await websocket_connect(HTTPRequest(url, headers={**visitor.headers(), **evil}))

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(attack())
    # A form of another site sends cookies where the browser lets it, but knows none of their values.
    assert visitor.ask("POST", f"voila/api/shutdown/{kernel_id}", evil).status in (403, 404)
    assert visitor.ask("POST", f"voila/api/shutdown/{kernel_id}").status == 403
    assert visitor.ask("GET", f"api/kernels/{kernel_id}").status == 200


def test_cookies_of_a_visitor(service: Any) -> None:
    visitor = service.visitor()
    connection = http.client.HTTPConnection(urlsplit(visitor.url).netloc, timeout=60)
    connection.request(
        "GET", "/services/apps/", headers={"Host": "evil.example", "X-Forwarded-Proto": "https"}
    )
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    cookies = SimpleCookie()
    for line in answer.headers.get_all("Set-Cookie"):
        cookies.load(line)
    guest = cookies["geoloom-guest"]
    assert (guest["samesite"], guest["httponly"], guest["secure"]) == ("Lax", True, True)
    assert guest["path"] == "/services/apps/"
    assert all(one["path"] == "/services/apps/" and one["samesite"] == "Lax" for one in cookies.values())
    # A name that somebody else put into the request is in no link.
    assert "evil.example" not in page
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/kernels"),
        ("POST", "api/kernels"),
        ("DELETE", "api/kernels/KERNEL"),
        ("POST", "api/kernels/KERNEL/restart"),
        ("POST", "api/kernels/KERNEL/interrupt"),
        ("GET", "api/sessions"),
        ("GET", "api/contents"),
        ("GET", "api/terminals"),
        ("GET", "api/kernelspecs"),
        ("GET", "voila/api/contents"),
        ("GET", "voila/api/contents/secret.txt"),
        ("GET", "voila/tree"),
        ("GET", "voila/files/secret.png"),
        ("GET", "voila/files/small.ipynb"),
        ("GET", "voila/execution/KERNEL"),
        ("GET", "voila/query/KERNEL"),
        ("GET", "voila/render/secret.png"),
        ("GET", "voila/render/secret.txt"),
        ("GET", "voila/render/nothing.ipynb"),
        ("GET", "voila/render/../secret.txt"),
        ("GET", "voila/render/..%2fapps%2fsmall.ipynb"),
        ("GET", "voila/render/%2e%2e/apps/small.ipynb"),
        ("GET", "voila/static/../../../../../../../../../etc/passwd"),
        ("GET", "voila/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
        ("GET", "voila/static//etc/passwd"),
        ("GET", "voila/templates/lab/static/../../../../../../../../../../../etc/passwd"),
        ("GET", "voila/templates/../static/index.css"),
        ("GET", "voila/templates/%2e%2e/static/index.css"),
        ("GET", "voila/templates/lab"),
        ("GET", "voila/templates/lab/conf.json"),
        ("GET", "voila/labextensions/../../../../../../../../../etc/passwd"),
        ("GET", "voila/api/themes/../../../../../../../../../etc/passwd"),
        ("GET", "login"),
        ("GET", "logout"),
        ("GET", "secret.txt"),
        ("GET", "/"),
        ("GET", "/etc/passwd"),
    ],
)
def test_there_is_nothing_else(open_app: tuple[Any, str], method: str, path: str) -> None:
    visitor, kernel_id = open_app
    headers = {"X-XSRFToken": visitor.cookies["_xsrf"]}
    answer = visitor.ask(method, path.replace("KERNEL", kernel_id), headers)
    assert answer.status in (400, 403, 404, 405)
    assert "beside the apps" not in answer.text
    assert "root:" not in answer.text
    assert "Traceback" not in answer.text
    assert visitor.ask("GET", f"api/kernels/{kernel_id}").status == 200


def test_an_apps_page_holds_neither_its_code_nor_a_token(service: Any) -> None:
    visitor = service.visitor()
    answer = visitor.ask("GET", "voila/render/small.ipynb?template=lab&theme=dark&token=x")
    assert "1 + 1" not in answer.text
    assert "the-services-own-token" not in answer.text
    for host in ("cdn.jsdelivr.net", "cdnjs", "unpkg", "fonts.g"):
        assert host not in answer.text
    visitor.close(visitor.kernel_of(answer))


def test_the_kernel_knows_no_secret_but_the_engines_token(service: Any) -> None:
    visitor = service.visitor()
    answer = visitor.ask("GET", "voila/render/told.ipynb?GEOLOOM_ENGINE_URL=evil&PYTHONSTARTUP=/tmp/x")
    environment = json.loads(html.unescape(answer.text.split("<pre>")[1].split("</pre>")[0]))
    assert {name for name in environment if name.startswith("JUPYTERHUB_")} == {"JUPYTERHUB_API_TOKEN"}
    assert not {name for name in environment if name.startswith("GEOLOOM_APPS_")}
    assert "PYTHONSTARTUP" not in environment
    visitor.close(visitor.kernel_of(answer))


def test_the_list_shows_the_apps(service: Any) -> None:
    answer = service.visitor().ask("GET", "")
    assert 'href="/services/apps/voila/render/small.ipynb"' in answer.text
    assert "secret" not in answer.text


def test_when_all_places_are_taken_a_page_says_so(start_service: Any) -> None:
    with start_service(
        GEOLOOM_APPS_GUESTS="1",
        GEOLOOM_APPS_KERNELS="3",
        GEOLOOM_APPS_KERNELS_EACH="2",
        GEOLOOM_APPS_LEFT="5",
    ) as service:
        asyncio.run(fill(service))
        # Pages that went away without a word, as those on telephones do, leave no kernel behind either.
        deadline = time.monotonic() + 60
        while service.open_apps():
            assert time.monotonic() < deadline
            time.sleep(0.1)


async def fill(service: Any) -> None:
    first, second, third = service.visitor(), service.visitor(), service.visitor()
    open_pages = []

    async def opened(visitor: Any) -> None:
        kernel_id = await asyncio.to_thread(visitor.open)
        open_pages.append((visitor, kernel_id, await connected(visitor, kernel_id)))

    first.ask("GET", "")
    await asyncio.gather(opened(first), opened(first), opened(second))
    assert service.open_apps() == 3
    refused = first.ask("GET", "voila/render/small.ipynb")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
    assert "You have 2 apps open" in refused.text
    refused = third.ask("GET", "voila/render/small.ipynb")
    assert refused.status == 503
    assert "All places are taken" in refused.text
    assert "Traceback" not in service.log.read_text()
    visitor, kernel_id, socket = open_pages.pop()
    assert (await asyncio.to_thread(visitor.close, kernel_id)).status == 204
    await opened(third)
    assert service.open_apps() == 3
    for _, _, socket in open_pages:
        socket.close()
