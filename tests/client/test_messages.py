from __future__ import annotations

from geoloom.messages import KEPT, MOST, Messages


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


def test_a_name_turns_no_letters_round() -> None:
    messages = Messages()
    messages.say("a\u202eb\n\x1b[2J", "gone")
    assert "<b>ab</b>: gone" in messages.board.value


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


def test_a_message_about_the_same_is_replaced_where_it_is() -> None:
    messages = Messages()
    messages.say("a", "It failed in 1 tile.", about="f")
    messages.say("a", "other")
    messages.say("a", "It failed in 2 tiles.", about="f", again=True)
    assert messages.texts == ("It failed in 2 tiles.", "other")


def test_what_was_taken_away_does_not_come_back() -> None:
    messages = Messages()
    messages.say("a", "It failed in 1 tile.", about="f")
    messages.dismiss.click()
    messages.say("a", "It failed in 2 tiles.", about="f", again=True)
    assert messages.texts == ()
    assert messages.layout.display == "none"


def test_prints_push_no_problem_out_of_sight_and_are_not_kept_for_ever() -> None:
    messages = Messages()
    messages.say("NDVI", "It is gone.")
    for number in range(KEPT + 20):
        messages.say("NDVI", f"printed: tile {number}.", quiet=True)
    assert "It is gone." in messages.board.value
    assert f"printed: tile {KEPT + 19}." in messages.board.value
    assert messages.board.value.count("printed: ") == MOST
    assert len(messages.texts) == 1 + KEPT


def test_a_print_is_no_problem() -> None:
    messages = Messages()
    messages.say("NDVI", "printed: 42", quiet=True)
    assert "<b>NDVI</b> printed: 42" in messages.board.value
    assert "⚠" not in messages.board.value


def test_code_is_shown_as_such() -> None:
    messages = Messages()
    messages.say("NDVI", "It failed.\n    3: a < b\nRun it:\n    m.replay()")
    assert messages.board.value.count("<code") == 2
    assert ">3: a &lt; b</code>Run it:<code" in messages.board.value
