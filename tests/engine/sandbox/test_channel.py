"""The line to the zygote: orders and answers, late ones, and what is no answer."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geoloom.errors import EngineFault, EngineOverloaded
from geoloom_engine.sandbox import channel, wire
from geoloom_engine.sandbox.channel import Channel, NewZygote, Spawned
from geoloom_engine.sandbox.messages import ORDER_SIZE, Notice, Order, What

Play = Callable[[socket.socket, Order], None]
ORDER = Order(What.SPAWN, 5, 1, 2, 3)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    one, other = wire.pair()
    with one, other:
        yield Channel(one), other


@pytest.fixture
def order(ends: tuple[Channel, socket.socket]) -> Callable[..., Spawned]:
    """Orders a worker of a zygote that plays so."""

    def get(play: Play, ask: Callable[[], None] = lambda: None) -> Spawned:
        def answer() -> None:
            assert wire.wait(ends[1], 10)
            content, descriptors = wire.receive(ends[1], ORDER_SIZE, 3) or (b"", [])
            play(ends[1], Order.unpack(content))
            wire.close(descriptors)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            return ends[0].spawn(ORDER, (0, 0, 0), ask)
        finally:
            thread.join()

    return get


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


def test_a_worker_is_ordered_with_its_descriptors(order: Callable[..., Spawned]) -> None:
    def play(zygote: socket.socket, order: Order) -> None:
        assert order == ORDER
        wire.send(zygote, Notice(What.SPAWN, 5, 77).pack(), (0,))

    spawned = order(play)
    assert spawned.pid == 77
    assert spawned.handle is not None
    os.close(spawned.handle)


def test_answers_to_earlier_orders_are_passed_over_and_closed(
    order: Callable[..., Spawned], ends: tuple[Channel, socket.socket]
) -> None:
    before = descriptors()
    wire.send(ends[1], Notice(What.SPAWN, 3, 1).pack(), (0,))

    def play(zygote: socket.socket, order: Order) -> None:
        wire.send(zygote, Notice(What.SPAWN, 4, 1).pack(), (0,))
        wire.send(zygote, Notice(What.SPAWN, 5, 77).pack())

    assert order(play) == Spawned(77, None, whole=False)
    assert descriptors() == before


def test_a_zygote_that_began_before_the_order_does_not_matter(
    order: Callable[..., Spawned], ends: tuple[Channel, socket.socket]
) -> None:
    for _ in range(3):
        wire.send(ends[1], Notice(What.HELLO, 0).pack())
    assert order(lambda zygote, _: wire.send(zygote, Notice(What.SPAWN, 5, 77).pack())).pid == 77


def greet(zygote: socket.socket) -> None:
    """Begin as a new zygote, and read the greeting that follows."""
    wire.send(zygote, Notice(What.HELLO, 0).pack())
    assert wire.wait(zygote, 10)
    assert Order.unpack(zygote.recv(ORDER_SIZE)) == Order(What.HELLO, 5)


def test_a_zygote_that_begins_after_the_order_may_still_find_it(order: Callable[..., Spawned]) -> None:
    def play(zygote: socket.socket, order: Order) -> None:
        greet(zygote)
        wire.send(zygote, Notice(What.SPAWN, 5, 77).pack())
        wire.send(zygote, Notice(What.HELLO, 5).pack())

    assert order(play).pid == 77


def test_an_order_that_an_earlier_zygote_took_with_it_is_lost(order: Callable[..., Spawned]) -> None:
    def play(zygote: socket.socket, order: Order) -> None:
        greet(zygote)
        wire.send(zygote, Notice(What.HELLO, 5).pack())

    with pytest.raises(NewZygote):
        order(play)


def test_no_room_for_processes_is_said(order: Callable[..., Spawned]) -> None:
    with pytest.raises(EngineOverloaded, match="temporarily unavailable"):
        order(lambda zygote, _: wire.send(zygote, Notice(What.REFUSED, 5, 11).pack()))


@pytest.mark.parametrize("answer", [b"x", b"x" * 1000, bytes(len(Notice(What.END, 1).pack()))])
def test_what_is_no_answer_is_a_fault(order: Callable[..., Spawned], answer: bytes) -> None:
    with pytest.raises(EngineFault):
        order(lambda zygote, _: wire.send(zygote, answer))


def test_who_orders_may_leave(ends: tuple[Channel, socket.socket]) -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        ends[0].spawn(ORDER, (0, 0, 0), ask)


def test_patience_ends(ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "FIRST_PATIENCE", 0.05)
    with pytest.raises(EngineOverloaded):
        ends[0].spawn(ORDER, (0, 0, 0), lambda: None)


@pytest.mark.parametrize(
    ("notice", "status"),
    [
        (Notice(What.END, 5, 77, -11, 0.5), -11),
        (Notice(What.UNKNOWN, 5), None),
        (Notice(What.HELLO, 5), None),
    ],
)
def test_how_a_worker_ended_is_told_if_it_is_known(
    ends: tuple[Channel, socket.socket], notice: Notice, status: int | None
) -> None:
    def play() -> None:
        assert wire.wait(ends[1], 10)
        assert Order.unpack(ends[1].recv(ORDER_SIZE)) == Order(What.END, 5)
        wire.send(ends[1], notice.pack())

    thread = threading.Thread(target=play)
    thread.start()
    found = ends[0].end(5)
    thread.join()
    assert (None if found is None else found.status) == status


def test_a_closed_line_is_a_fault_and_ends_nothing(ends: tuple[Channel, socket.socket]) -> None:
    ends[1].close()
    with pytest.raises(EngineFault):
        ends[0].spawn(ORDER, (0, 0, 0), lambda: None)
    assert ends[0].end(5) is None
