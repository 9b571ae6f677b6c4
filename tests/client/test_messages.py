from __future__ import annotations

from geoloom.messages import MOST, Messages


def test_each_is_said_once_with_its_source() -> None:
    messages = Messages()
    for _ in range(3):
        messages.say("NDVI", "It is gone.")
    messages.say("engine", "No answer.", titled=False)
    assert messages.texts == ("It is gone.", "No answer.")
    assert "<b>NDVI</b>: It is gone." in messages.board.value
    assert "engine" not in messages.board.value
    assert messages.layout.display is None


def test_they_are_escaped() -> None:
    messages = Messages()
    messages.say("<i>", "<script>")
    assert "<i>" not in messages.board.value
    assert "<script>" not in messages.board.value


def test_one_source_or_all_can_be_silenced() -> None:
    messages = Messages()
    messages.say("a", "1")
    messages.say("b", "2")
    messages.unsay("a")
    assert messages.texts == ("2",)
    messages.dismiss.click()
    assert messages.texts == ()
    assert messages.layout.display == "none"


def test_only_the_newest_are_shown() -> None:
    messages = Messages()
    for number in range(MOST + 2):
        messages.say("a", f"message {number}.")
    assert "message 1." not in messages.board.value
    assert f"message {MOST + 1}." in messages.board.value
