"""Parts of remote files: what servers do wrong ends in the bytes asked for, or in one sentence."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from geoloom.errors import SourceError, SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.ranges import WHOLE, Remote

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def read(remote: Remote, access: Access) -> Any:
    def read_(href: str, start: int = 100, length: int = 300) -> bytes:
        part = remote.read(access.resolve(href), start, length)
        return part.content[start - part.start :][:length]

    return read_


def refused(read: Any, href: str, kind: type[SourceError], words: str) -> SourceError:
    """The error, which names the file and says what to do, and names neither server nor address."""
    with pytest.raises(kind, match=words) as caught:
        read(href)
    error = caught.value
    assert error.message.startswith("a.tif")
    assert error.message.endswith(".")
    assert error.hint
    assert "127.0.0.1" not in str(error)
    assert "secret" not in str(error)
    assert type(error) is kind
    return error


def test_a_part_and_what_is_known_of_the_file(remote: Remote, access: Access, server: Any) -> None:
    server.marks = {"ETag": '"x"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    part = remote.read(access.resolve(server.put("/a.tif", CONTENT)), 100, 300)
    assert (part.start, part.content, part.size) == (100, CONTENT[100:400], len(CONTENT))
    assert part.marks == ('"x"', "Wed, 21 Oct 2015 07:28:00 GMT")
    assert (
        remote.read(access.resolve(server.base + "/a.tif"), len(CONTENT) - 10, 300).content == CONTENT[-10:]
    )
    assert server.connections == 1
    assert server.sent == 310


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(read: Any, server: Any, status: int) -> None:
    href = server.put("/a.tif", CONTENT, server.status(status), server.status(status))
    assert read(href) == CONTENT[100:400]
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", ["reset", "reset in the body", "break off", "stall", "silence"])
def test_a_failure_once_is_not_noticed(remote: Remote, access: Access, server: Any, fault: str) -> None:
    remote.timeout = 3.0
    made = {
        "reset": server.reset(),
        "reset in the body": server.reset(100),
        "break off": server.break_off(100),
        "stall": server.stall(100),
        "silence": server.silence(),
    }[fault]
    part = remote.read(access.resolve(server.put("/a.tif", CONTENT, made)), 100, 300)
    assert part.content == CONTENT[100:400]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, SourceUnreadable, r"the server answered 400 \(Bad Request\)"),
        (401, SourceUnreadable, r"the server answered 401 \(Unauthorized\)"),
        (403, SourceUnreadable, r"the server answered 403 \(Forbidden\)"),
        (404, SourceNotFound, r"a\.tif is not there: the server answered 404 \(Not Found\)"),
        (410, SourceNotFound, r"a\.tif is not there: the server answered 410 \(Gone\)"),
        (416, SourceUnreadable, "it is shorter than it was"),
        (418, SourceUnreadable, "the server answered 418"),
        (304, SourceUnreadable, "the server answered 304"),
        (204, SourceUnreadable, "the server answered 204"),
        (799, SourceUnreadable, "the server answered 799"),
    ],
)
def test_what_stays_is_said_at_once(
    read: Any, server: Any, status: int, kind: type[SourceError], words: str
) -> None:
    href = server.put("/a.tif", CONTENT, server.status(status), lasting=True)
    refused(read, href + "?sig=secret", kind, words)
    assert len(server.asked) == 1


def test_what_does_not_pass_is_given_up(read: Any, server: Any) -> None:
    href = server.put("/a.tif", CONTENT, server.status(503), lasting=True)
    refused(read, href, SourceUnreadable, r"the server answered 503 \(Service Unavailable\)")
    assert len(server.asked) == 3


def test_an_empty_file(read: Any, server: Any) -> None:
    with pytest.raises(SourceUnreadable, match=r"a\.tif cannot be read: it is empty"):
        read(server.put("/a.tif", b""), start=0)


@pytest.mark.parametrize("fault", ["silence", "stall", "drip", "drip of headers"])
def test_nothing_hangs(read: Any, remote: Remote, server: Any, fault: str) -> None:
    remote.timeout = 0.5
    made = {
        "silence": server.silence(),
        "stall": server.stall(100),
        "drip": server.drip(),
        "drip of headers": server.drip(head=True),
    }[fault]
    href = server.put("/a.tif", CONTENT, made, lasting=True)
    before = time.monotonic()
    refused(read, href, SourceUnreadable, "no answer, or not all of it, in 0.5 s")
    assert time.monotonic() - before < 15


def test_nobody_listens() -> None:
    access = Access(("http://127.0.0.1:9",))
    remote = Remote(access, pause=0.001, environment={})
    with pytest.raises(SourceUnreadable, match="does not answer"):
        remote.read(access.resolve("http://127.0.0.1:9/a.tif"), 0, 10)


def test_a_wait_that_the_server_asks_for_is_kept(access: Access, server: Any) -> None:
    remote = Remote(access, timeout=30, retries=1, pause=0.001, environment={})
    href = server.put("/a.tif", CONTENT, server.status(503, Retry_After="1"))
    before = time.monotonic()
    remote.read(access.resolve(href), 0, 10)
    assert time.monotonic() - before >= 1
    remote.close()


@pytest.mark.parametrize("wait", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_wait_beyond_the_time_is_not_begun(access: Access, server: Any, wait: str) -> None:
    remote = Remote(access, timeout=20, retries=2, pause=0.001, environment={})
    href = server.put("/a.tif", CONTENT, server.status(503, Retry_After=wait), lasting=True)
    before = time.monotonic()
    with pytest.raises(SourceUnreadable, match="503"):
        remote.read(access.resolve(href), 0, 10)
    assert time.monotonic() - before < 10
    assert len(server.asked) == 1
    remote.close()


@pytest.mark.parametrize("wait", ["soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", ""])
def test_a_wait_without_sense_is_none(read: Any, server: Any, wait: str) -> None:
    assert read(server.put("/a.tif", CONTENT, server.status(503, Retry_After=wait))) == CONTENT[100:400]


# Servers that give other bytes than asked for -------------------------------------------------------


def test_a_small_file_may_come_as_a_whole(read: Any, server: Any) -> None:
    assert read(server.put("/a.tif", CONTENT, server.whole())) == CONTENT[100:400]
    assert read(server.put("/a.tif", CONTENT, server.whole(chunked=True))) == CONTENT[100:400]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_file_is_not_downloaded(read: Any, server: Any, chunked: bool) -> None:
    href = server.put("/a.tif", bytes(WHOLE * 3), server.whole(chunked=chunked), lasting=True)
    words = "more than 4 MB" if chunked else "all of this one would be 13 MB"
    with pytest.raises(SourceRefused, match=words) as caught:
        read(href)
    assert "gives no parts of files" in caught.value.message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-299/10240"},
        {"Content-Range": "bytes 100-398/10240"},
        {"Content-Range": "bytes 100-400/10240"},
        {"Content-Length": "299"},
        {"Content-Length": "301"},
    ],
)
def test_another_part_than_asked_for(read: Any, server: Any, headers: dict[str, str]) -> None:
    href = server.put("/a.tif", CONTENT, server.part(**headers), lasting=True)
    refused(read, href, SourceUnreadable, "another part than the one asked for")


@pytest.mark.parametrize("told", ["", "bytes */10240", "bytes 100-399/*", "pages 1-2/3"])
def test_a_part_of_unknown_place(read: Any, server: Any, told: str) -> None:
    href = server.put("/a.tif", CONTENT, server.part(**{"Content-Range": told}), lasting=True)
    refused(read, href, SourceUnreadable, "does not say which part")


def test_a_compressed_answer(read: Any, server: Any) -> None:
    href = server.put("/a.tif", CONTENT, server.part(**{"Content-Encoding": "gzip"}), lasting=True)
    refused(read, href, SourceUnreadable, "sends it compressed")
    assert server.sent_headers[0]["Accept-Encoding"] == "identity"


def test_more_bytes_than_stated(read: Any, server: Any) -> None:
    """They are nobody's answer: neither this one's nor the next one's."""
    href = server.put("/a.tif", CONTENT)
    server.faults["/a.tif"].append(
        lambda handler: (handler.part(CONTENT), handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n"))
    )
    assert read(href) == CONTENT[100:400]
    assert read(href, 500, 20) == CONTENT[500:520]


def test_no_http_at_all(read: Any, server: Any) -> None:
    href = server.put(
        "/a.tif", CONTENT, lambda handler: handler.wfile.write(b"220 ftp ready\r\n"), lasting=True
    )
    refused(read, href, SourceUnreadable, "does not answer")


def test_headers_without_end(read: Any, server: Any) -> None:
    def fault(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\n" + b"X-More: 1\r\n" * 1000)

    refused(read, server.put("/a.tif", CONTENT, fault, lasting=True), SourceUnreadable, "does not answer")


ODD = ("", "0", "-1", "9" * 30, "9" * 5000, "²", "0x10", "bytes 0-0/0", "bytes 5-3/10", "bytes 100-399/50")


@pytest.mark.parametrize(
    "text", [*ODD, "bytes 100-399/" + "9" * 5000, "Fri, 31 Dec 9999 23:59:59 -2359", "http://["]
)
def test_odd_headers_end_in_bytes_or_a_sentence(read: Any, remote: Remote, server: Any, text: str) -> None:
    remote.timeout = 2.0
    for status, name in ((206, "Content-Range"), (206, "ETag"), (503, "Retry-After"), (302, "Location")):
        sent = text.encode("utf-8").decode("latin-1")

        def fault(handler: Any, status: int = status, name: str = name, sent: str = sent) -> None:
            if status == 206:
                handler.part(CONTENT, **{name: sent})
            else:
                handler.plain(status, **{name: sent})

        href = server.put(f"/{name}/a.tif", CONTENT, *[fault] * 5)
        try:
            assert read(href) == CONTENT[100:400]
        except SourceError as error:
            assert error.message.startswith("a.tif")  # noqa: PT017 - either is right


# Whole files -----------------------------------------------------------------------------------------


def test_a_whole_file(remote: Remote, access: Access, server: Any) -> None:
    place = access.resolve(server.put("/a.tif", CONTENT))
    assert remote.whole(place, len(CONTENT)) == CONTENT
    assert server.asked[-1] == ("/a.tif", None)
    with pytest.raises(SourceRefused, match="too large to be read as a whole"):
        remote.whole(place, len(CONTENT) - 1)


# Redirects ---------------------------------------------------------------------------------------------


def test_redirects_are_followed_where_allowed(read: Any, server: Any) -> None:
    server.put("/b.tif", CONTENT)
    for status in (301, 302, 303, 307, 308):
        path = f"/{status}/a.tif"
        href = server.put(path, b"", server.status(status, Location="/b.tif?sig=1"), lasting=True)
        assert read(href) == CONTENT[100:400]
    before = len(server.asked)
    assert read(href) == CONTENT[100:400]
    assert [path for path, _ in server.asked[before:]] == ["/b.tif"], "where it led is known for a while"


def test_each_hop_is_checked(read: Any, server: Any, other_server: Any) -> None:
    other_server.put("/b.tif", CONTENT)
    server.put("/c.tif", b"", server.status(302, Location=other_server.base + "/b.tif"), lasting=True)
    href = server.put("/a.tif", b"", server.status(302, Location="/c.tif"))
    refused(read, href, SourceRefused, "redirects outside")
    assert [path for path, _ in server.asked] == ["/a.tif", "/c.tif"]
    assert other_server.connections == 0


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/b", "//127.0.0.1:9/b", "s3://bucket/key", "http://u:p@[::1]/"],
)
def test_nowhere_else(read: Any, server: Any, target: str) -> None:
    refused(
        read,
        server.put("/a.tif", b"", server.status(302, Location=target)),
        SourceRefused,
        "redirects outside",
    )


def test_a_redirect_is_checked_at_every_read(read: Any, server: Any, other_server: Any) -> None:
    href = server.put("/a.tif", CONTENT)
    assert read(href) == CONTENT[100:400]
    server.faults["/a.tif"].append(server.status(302, Location=other_server.base + "/b.tif"))
    refused(read, href, SourceRefused, "redirects outside")
    assert other_server.connections == 0


def test_a_circle(read: Any, server: Any) -> None:
    href = server.put("/a.tif", b"", server.status(302, Location="/a.tif"), lasting=True)
    refused(read, href, SourceUnreadable, "redirects without end")
    assert len(server.asked) < 10


def test_a_redirect_without_an_address(read: Any, server: Any) -> None:
    refused(
        read, server.put("/a.tif", b"", server.status(302), lasting=True), SourceUnreadable, "answered 302"
    )


def test_a_target_that_is_good_no_more_is_asked_for_anew(read: Any, server: Any) -> None:
    server.put("/old.tif", CONTENT)
    server.put("/new.tif", CONTENT[::-1])
    href = server.put("/a.tif", b"", server.status(302, Location="/old.tif"))
    assert read(href) == CONTENT[100:400]
    server.faults["/old.tif"].append(server.status(403))
    server.faults["/a.tif"].append(server.status(302, Location="/new.tif"))
    assert read(href) == CONTENT[::-1][100:400]


def test_a_certificate_by_nobody(tls_server: Any) -> None:
    access = Access((tls_server.base,))
    remote = Remote(access, timeout=20, environment={})
    with pytest.raises(SourceUnreadable, match=r"a\.tif cannot be read: the certificate of its server"):
        remote.read(access.resolve(tls_server.put("/a.tif", CONTENT)), 0, 10)
    assert tls_server.connections <= 1
    remote.close()


# Addresses -----------------------------------------------------------------------------------------------


def test_a_name_that_leads_inside_is_refused(server: Any) -> None:
    """What ``http://`` alone allows is the public network, whatever a name stands for just now."""
    server.put("/a.tif", CONTENT)
    access = Access(("http://",))
    remote = Remote(access, timeout=2, environment={})
    for host in ("localhost", "127.0.0.1"):
        href = server.base.replace("127.0.0.1", host) + "/a.tif"
        with pytest.raises(SourceRefused, match="inside a network"):
            remote.read(access.resolve(href), 0, 10)
    assert server.connections == 0
    remote.close()


@pytest.mark.parametrize(
    ("allowed", "address", "reached"),
    [
        ("http://", "127.0.0.1", False),
        ("http://", "::ffff:127.0.0.1", False),
        ("http://", "10.1.2.3", False),
        ("http://", "169.254.169.254", False),
        ("http://data.example", "169.254.169.254", False),
        ("http://data.example", "127.0.0.1", True),
    ],
)
def test_the_address_counts_that_a_name_stands_for_now(
    server: Any, monkeypatch: pytest.MonkeyPatch, allowed: str, address: str, reached: bool
) -> None:
    server.put("/a.tif", CONTENT)
    port = int(server.base.rpartition(":")[2])
    allowed = f"{allowed}:{port}" if allowed.endswith("example") else allowed
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
    )
    access = Access((allowed,))
    remote = Remote(access, timeout=2, environment={})
    place = access.resolve(f"http://data.example:{port}/a.tif")
    if reached:
        assert remote.read(place, 0, 10).content == CONTENT[:10]
    else:
        with pytest.raises(SourceRefused, match=r"a\.tif: its server is inside a network"):
            remote.read(place, 0, 10)
        assert server.connections == 0
    remote.close()


def test_names_of_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    access = Access(("http://",))
    remote = Remote(access, retries=0, environment={})
    with pytest.raises(SourceUnreadable, match=r"a\.tif cannot be read"):
        remote.read(access.resolve("http://none.invalid/a.tif"), 0, 10)
    remote.close()


@pytest.mark.parametrize("host", ["a..b", "x" * 80 + ".invalid"])
def test_names_that_no_server_can_have(host: str) -> None:
    with pytest.raises(SourceRefused, match="has no proper host"):
        Access(("http://",)).resolve(f"http://{host}/a.tif")


def test_odd_characters_in_an_address(read: Any, server: Any) -> None:
    server.put("/%C3%A4%20b/a.tif", CONTENT)
    assert read(f"{server.base}/%C3%A4%20b/a.tif") == CONTENT[100:400]
    assert read(f"{server.base}/ä%20b/a.tif") == CONTENT[100:400]


# Connections ---------------------------------------------------------------------------------------------


def test_the_connection_is_used_again(read: Any, server: Any) -> None:
    href = server.put("/a.tif", CONTENT, server.status(404), server.status(503))
    with pytest.raises(SourceNotFound):
        read(href)
    for start in range(20):
        assert read(href, start) == CONTENT[start : start + 300]
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_no_failure(access: Access, server: Any) -> None:
    def close(handler: Any) -> None:
        handler.part(CONTENT)
        handler.close_connection = True

    remote = Remote(access, timeout=5, retries=0, environment={})
    place = access.resolve(server.put("/a.tif", CONTENT, close, close))
    for _ in range(3):
        assert remote.read(place, 0, 10).content == CONTENT[:10]
    remote.close()
