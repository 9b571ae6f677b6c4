"""Messages of one size and descriptors, on packets and on streams."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloom_engine.sandbox import wire
from geoloom_engine.sandbox.messages import Malformed

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[True, False], ids=["packets", "stream"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    one, other = wire.pair(request.param)
    with one, other:
        yield one, other


def test_a_message_and_its_descriptors_arrive(pair: Pair) -> None:
    reading, writing = os.pipe()
    wire.send(pair[0], b"12345678", (writing,))
    assert wire.wait(pair[1], 5)
    content, found = wire.receive(pair[1], 8, 1) or (b"", [])
    assert content == b"12345678"
    assert not os.get_inheritable(found[0])
    os.write(found[0], b"x")
    assert os.read(reading, 1) == b"x"
    wire.close((reading, writing, *found))


def test_nothing_yet_and_the_end_are_told_apart(pair: Pair) -> None:
    assert wire.receive(pair[1], 8) is None
    assert not wire.wait(pair[1], 0)
    pair[0].close()
    assert wire.wait(pair[1], 5)
    assert wire.receive(pair[1], 8) == (b"", [])


def test_messages_are_told_apart(pair: Pair) -> None:
    for content in (b"11111111", b"22222222"):
        wire.send(pair[0], content)
    assert wire.receive(pair[1], 8) == (b"11111111", [])
    assert wire.receive(pair[1], 8) == (b"22222222", [])


def test_a_short_message_is_malformed(pair: Pair) -> None:
    wire.send(pair[0], b"1234")
    with pytest.raises(Malformed):
        wire.receive(pair[1], 8)


def test_a_long_packet_is_malformed() -> None:
    one, other = wire.pair(packets=True)
    with one, other:
        wire.send(one, b"123456789")
        with pytest.raises(Malformed):
            wire.receive(other, 8)


@pytest.mark.parametrize("sent", [1, 3, 8])
def test_descriptors_that_nobody_asked_for_are_closed(pair: Pair, sent: int) -> None:
    gc.collect()
    descriptors = [os.dup(0) for _ in range(sent)]
    before = len(list(Path("/dev/fd").iterdir()))
    wire.send(pair[0], b"12345678", descriptors)
    with pytest.raises(Malformed):
        wire.receive(pair[1], 8)
    assert len(list(Path("/dev/fd").iterdir())) == before
    wire.close(descriptors)


def test_sending_to_a_closed_end_fails(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        wire.send(pair[0], b"12345678")


def test_a_receiver_that_never_reads_holds_nobody_up(pair: Pair) -> None:
    def send() -> None:
        for _ in range(1_000_000):
            wire.send(pair[0], b"12345678" * 1000)

    with pytest.raises(BlockingIOError):
        send()


class TestLine:
    def test_messages_arrive(self, pair: Pair) -> None:
        one, other = wire.Line(pair[0], 4), wire.Line(pair[1], 8)
        one.send(b"12345678")
        other.send(b"abcd")
        assert other.wait(5)
        assert other.next() == b"12345678"
        assert one.wait(5)
        assert one.next() == b"abcd"
        assert not one.wait(0)

    def test_the_end_is_told(self, pair: Pair) -> None:
        line = wire.Line(pair[0], 8)
        pair[1].close()
        assert line.wait(5)
        assert line.next() == b""
        with pytest.raises(OSError, match="Broken pipe"):
            line.send(b"x")
        line.close()
        assert pair[0].fileno() == -1

    def test_a_short_message_is_malformed(self, pair: Pair) -> None:
        pair[1].send(b"123")
        with pytest.raises(Malformed):
            wire.Line(pair[0], 8).next()

    def test_a_long_packet_is_malformed(self) -> None:
        one, other = wire.pair(packets=True)
        with one, other:
            other.send(b"123456789")
            with pytest.raises(Malformed):
                wire.Line(one, 8).next()

    def test_descriptors_are_closed(self, pair: Pair) -> None:
        line = wire.Line(pair[0], 8)
        before = len(list(Path("/dev/fd").iterdir()))
        socket.send_fds(pair[1], [b"12345678"], [0, 1])
        assert line.next() == b"12345678"
        assert len(list(Path("/dev/fd").iterdir())) == before
