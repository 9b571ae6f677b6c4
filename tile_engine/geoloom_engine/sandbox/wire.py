"""Sockets between processes of one machine: messages of one size, and descriptors that go with them.

Sequenced packets where the system has them. Elsewhere (macOS) a stream does as well, as all messages of
a direction have one size, and are so small that they arrive whole.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterable, Sequence

from geoloom_engine.sandbox.messages import Malformed

PACKETS = sys.platform == "linux"
"""Whether the system has all of: sequenced packets, memory without a name, handles of processes."""

MOST = 3
"""Descriptors that go with one message."""

_FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_SENDING = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_INT = array.array("i").itemsize


def pair(packets: bool = PACKETS) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if packets else socket.SOCK_STREAM)


def has_packets(one: socket.socket) -> bool:
    """Whether a socket carries packets; the other parts follow its choice."""
    return one.type == socket.SOCK_SEQPACKET


def send(one: socket.socket, content: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a message without waiting.

    Raises
    ------
    OSError
        The other end is closed, or has not read for long.
    """
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    one.sendmsg([content], ancillary, _SENDING)


def receive(one: socket.socket, size: int, most: int = 0) -> tuple[bytes, list[int]] | None:
    """The next message and its descriptors; None if there is none yet, nothing in it at the end of all.

    Raises
    ------
    Malformed
        It is of another size, or brings more than `most` descriptors.
    """
    # A longer packet shows by its one byte more; in a stream that byte belongs to the next message.
    asked = size + 1 if has_packets(one) else size
    try:
        content, ancillary, flags, _ = one.recvmsg(asked, socket.CMSG_SPACE(MOST * _INT), _FLAGS)
    except (BlockingIOError, InterruptedError):
        return None
    except ConnectionError:
        return b"", []
    descriptors = list(_descriptors(ancillary))
    if len(descriptors) > most or flags & socket.MSG_CTRUNC or len(content) not in (0, size):
        close(descriptors)
        raise Malformed(f"{len(content)} bytes and {len(descriptors)} descriptors came, not {size} bytes")
    return content, descriptors


def wait(one: socket.socket | int, seconds: float) -> bool:
    """Whether something came (or the end) within so many seconds; also of a process, by its handle."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Line:
    """A socket for short messages without descriptors: what it takes is a third of `send` and `receive`.

    Descriptors that come all the same are closed by the system.

    Parameters
    ----------
    connection
        The socket.
    size
        Bytes of the messages that come.
    """

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection = connection
        self._size = size
        self._asked = size + 1 if has_packets(connection) else size
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Whether something came (or the end) within so many seconds."""
        return bool(self._poll.poll(seconds * 1000))

    def send(self, content: bytes) -> None:
        """Send a message without waiting; an OSError if that cannot be."""
        self._connection.send(content, _SENDING)

    def next(self) -> bytes:
        """The message that has come; nothing in it at the end of all.

        Raises
        ------
        Malformed
            It is of another size.
        """
        try:
            content = self._connection.recv(self._asked, socket.MSG_DONTWAIT)
        except ConnectionError:
            return b""
        if len(content) not in (0, self._size):
            raise Malformed(f"{len(content)} bytes came, not {self._size}")
        return content

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def close(descriptors: Iterable[int]) -> None:
    """Close them all."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> Iterable[int]:
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found = array.array("i")
            found.frombytes(content[: len(content) - len(content) % _INT])
            yield from found
