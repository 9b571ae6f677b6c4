"""A file server on loopback that keeps to the rules until it is told not to."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from osgeo import gdal, osr

from geoloom_engine.readers.access import Access
from geoloom_engine.readers.ranges import Remote
from geoloom_engine.readers.wire import trusted

gdal.UseExceptions()

type Fault = Callable[[Any], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the server whose `FileServer` is `of`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    of: FileServer

    def log_message(self, *_: object) -> None: ...

    def do_CONNECT(self) -> None:
        """As a proxy: bytes to and fro until one side has enough."""
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as there:
            self.send_response(200)
            self.end_headers()
            self.of.asked.append((f"CONNECT {host}", None))
            back = threading.Thread(target=self.pass_on, args=(there, self.connection))
            back.start()
            self.pass_on(self.connection, there)
            back.join()
        self.close_connection = True

    def pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := here.recv(1 << 16):
                there.sendall(content)
            there.shutdown(socket.SHUT_WR)

    def setup(self) -> None:
        with self.of.lock:
            self.of.connections += 1
        super().setup()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        with self.of.lock:
            self.of.asked.append((path, self.headers.get("Range")))
            self.of.sent_headers.append(dict(self.headers))
            faults = self.of.faults[path]
            fault = faults[0] if faults else None
            if faults and (len(faults) > 1 or path not in self.of.lasting):
                faults.popleft()
        if fault is not None:
            fault(self)
            return
        content = self.of.files.get(path)
        if content is None:
            self.plain(404)
        else:
            self.part(content)

    def plain(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def wanted(self, content: bytes) -> tuple[int, int] | None:
        """First and last byte of the range asked for."""
        text = self.headers.get("Range")
        if text is None:
            return None
        first, _, last = text.removeprefix("bytes=").partition("-")
        return int(first), min(int(last), len(content) - 1)

    def part(self, content: bytes, **headers: str) -> None:
        """The range asked for, as it should be."""
        span = self.wanted(content)
        if span is None:
            self.counted(content, 200, {**self.of.marks, **headers})
        elif span[0] >= len(content):
            self.plain(416)
        else:
            told = {"Content-Range": f"bytes {span[0]}-{span[1]}/{len(content)}"}
            self.counted(content[span[0] : span[1] + 1], 206, {**told, **self.of.marks, **headers})

    def counted(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        with self.of.lock:
            self.of.sent += len(body)
        self.plain(status, body, **headers)


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, *_: object) -> None: ...


class FileServer:
    """Files by path, and what goes wrong with each."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.lock = threading.Lock()
        self.files: dict[str, bytes] = {}
        self.marks = {"ETag": '"one"'}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.lasting: set[str] = set()
        """Paths whose last fault stays."""
        self.asked: list[tuple[str, str | None]] = []
        self.sent_headers: list[dict[str, str]] = []
        self.sent = 0
        self.connections = 0
        self.over = threading.Event()
        self.handler = type("Bound", (Handler,), {"of": self})
        self._server = Quiet(("127.0.0.1", 0), self.handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.base = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, content: bytes, *faults: Fault, lasting: bool = False) -> str:
        """Serve a file, after some faults; its address."""
        self.files[path] = content
        self.faults[path].extend(faults)
        if lasting:
            self.lasting.add(path)
        return self.base + path

    # What can go wrong -----------------------------------------------------------------------------

    def status(self, status: int, body: bytes = b"", **headers: str) -> Fault:
        return lambda handler: handler.plain(status, body, **headers)

    def silence(self) -> Fault:
        """It accepts and says nothing."""

        def fault(handler: Handler) -> None:
            handler.close_connection = True
            self.over.wait()

        return fault

    def stall(self, after: int) -> Fault:
        """It stops in the middle of the body."""

        def fault(handler: Handler) -> None:
            self._begin(handler)
            handler.wfile.write(b"x" * after)
            self.over.wait()

        return fault

    def drip(self, head: bool = False) -> Fault:
        """It sends a byte now and then, of its headers or of its body, and never ends."""

        def fault(handler: Handler) -> None:
            handler.close_connection = True
            if head:
                handler.wfile.write(b"HTTP/1.1 206 Partial Content\r\nX-Slow: ")
            else:
                self._begin(handler)
            while not self.over.wait(0.02):
                try:
                    handler.wfile.write(b"x")
                except OSError:
                    return

        return fault

    def reset(self, after: int | None = None) -> Fault:
        """It resets the connection, at once or in the middle of the body."""

        def fault(handler: Handler) -> None:
            handler.close_connection = True
            if after is not None:
                self._begin(handler)
                handler.wfile.write(b"x" * after)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()

        return fault

    def break_off(self, after: int) -> Fault:
        """It closes the connection in the middle of the body."""

        def fault(handler: Handler) -> None:
            handler.close_connection = True
            self._begin(handler)
            handler.wfile.write(b"x" * after)

        return fault

    def whole(self, stated: int | None = None, chunked: bool = False) -> Fault:
        """It gives all of the file, whatever part was asked for."""

        def fault(handler: Handler) -> None:
            content = self.files[handler.path.partition("?")[0]]
            if not chunked:
                length = str(len(content) if stated is None else stated)
                handler.counted(content, 200, {**self.marks, "Content-Length": length})
                return
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))

        return fault

    def part(self, **headers: str) -> Fault:
        """The part asked for, with other headers."""
        return lambda handler: handler.part(self.files[handler.path.partition("?")[0]], **headers)

    def _begin(self, handler: Handler) -> None:
        content = self.files[handler.path.partition("?")[0]]
        first, last = handler.wanted(content) or (0, len(content) - 1)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        handler.send_header("Content-Length", str(last - first + 1))
        handler.end_headers()


@pytest.fixture
def server() -> Iterator[FileServer]:
    made = FileServer()
    yield made
    made.close()


@pytest.fixture
def other_server() -> Iterator[FileServer]:
    made = FileServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 by nobody, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Geoloom tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 7, now - timedelta(days=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[FileServer]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    made = FileServer(tls)
    # Certificates that are trusted are loaded once.
    trusted.cache_clear()
    yield made
    trusted.cache_clear()
    made.close()


@pytest.fixture
def access(server: FileServer) -> Access:
    return Access((server.base,))


@pytest.fixture
def remote(access: Access) -> Iterator[Remote]:
    """Quick to try again."""
    made = Remote(access, timeout=30, retries=2, pause=0.01, environment={})
    yield made
    made.close()


@pytest.fixture(scope="session")
def cog() -> tuple[bytes, np.ndarray]:
    """A cloud-optimised GeoTIFF, and its pixels (rows, cols)."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(1, 60000, (1000, 1200)).astype(np.uint16)
    dataset = gdal.GetDriverByName("MEM").Create("", 1200, 1000, 1, gdal.GDT_UInt16)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    dataset.SetSpatialRef(reference)
    dataset.SetGeoTransform((500000, 10, 0, 5000000, 0, -10))
    dataset.GetRasterBand(1).WriteArray(pixels)
    name = "/vsimem/remote-cog.tif"
    options = ["COMPRESS=DEFLATE", "BLOCKSIZE=256", "OVERVIEW_RESAMPLING=NEAREST"]
    gdal.GetDriverByName("COG").CreateCopy(name, dataset, options=options)
    file = gdal.VSIFOpenL(name, "rb")
    content = bytes(gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file))
    gdal.VSIFCloseL(file)
    gdal.Unlink(name)
    return content, pixels
