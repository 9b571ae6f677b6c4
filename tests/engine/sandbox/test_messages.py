"""The fixed structures: what is packed comes out again, and nothing else is taken."""

from __future__ import annotations

import pytest

from geoloom_engine.sandbox.messages import (
    TEXTS,
    Job,
    Malformed,
    Notice,
    Order,
    Outcome,
    Reply,
    What,
    forget,
    forgotten,
    plain,
)

JOB = Job(2**64 - 1, "<i4", "|b1", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, -7, 2**40)
MESSAGES = [
    Order(What.SPAWN, 2**64 - 1, 512 << 20, 1 << 20, 1 << 40),
    Notice(What.END, 7, 2**22, -11, 1.25),
    JOB,
    Reply(Outcome.FAILED, 2**63, 2, 17, tuple(TEXTS.values())),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
class TestEveryMessage:
    def test_comes_out_as_it_was_packed(self, message: Order | Notice | Job | Reply) -> None:
        assert type(message).unpack(message.pack()) == message

    def test_of_another_length_is_malformed(self, message: Order | Notice | Job | Reply) -> None:
        for content in (b"", message.pack()[:-1], message.pack() + b"\0"):
            with pytest.raises(Malformed):
                type(message).unpack(content)

    def test_that_begins_otherwise_is_malformed(self, message: Order | Notice | Job | Reply) -> None:
        with pytest.raises(Malformed):
            type(message).unpack(b"XXXX" + message.pack()[4:])


def test_unknown_kinds_are_malformed() -> None:
    reply = bytearray(Reply(Outcome.DONE, 1).pack())
    reply[4] = 99
    with pytest.raises(Malformed):
        Reply.unpack(bytes(reply))
    order = bytearray(Order(What.END, 1).pack())
    order[4] = 99
    with pytest.raises(Malformed):
        Order.unpack(bytes(order))


@pytest.mark.parametrize("which", range(len(TEXTS)))
def test_no_text_of_a_reply_is_longer_than_its_limit(which: int) -> None:
    lengths = [0] * len(TEXTS)
    lengths[which] = list(TEXTS.values())[which] + 1
    with pytest.raises(Malformed):
        Reply.unpack(MESSAGES[3]._replace(lengths=tuple(lengths)).pack())


def test_what_is_forgotten_is_the_channel() -> None:
    assert forgotten(forget(3)) == 3
    with pytest.raises(Malformed):
        forgotten(b"")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"IndexError: 3", "IndexError: 3"),
        ("Höhe 🌍 – ça va\n\tja".encode(), "Höhe 🌍 – ça va\n\tja"),
        (b"a\x00b\x1b[31mred\x07\r", "a�b�[31mred��"),
        (b"\xff\xfe", "��"),
        ("\u202eexe.gpj \u2066x\u2028y\ufeff\x85\U000e0041".encode(), "�exe.gpj �x�y���"),
        ("\ud800".encode("utf-8", "surrogatepass"), "���"),
    ],
)
def test_texts_do_nothing_but_show(content: bytes, shown: str) -> None:
    assert plain(content) == shown
