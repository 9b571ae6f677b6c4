from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import CapabilityError
from geoloom_engine.auth import Signer, same_secret

KEY, OTHER = "0" * 32, "1" * 32
SIGNER = Signer(["secret"])
SESSIONS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(SESSIONS, st.integers(10, 10**6))
def test_what_was_signed_verifies(session: str, lifetime: int) -> None:
    token, expires = SIGNER.sign(KEY, session, lifetime)
    capability = SIGNER.verify(token, KEY)
    assert (capability.key, capability.session, capability.expires) == (KEY, session, expires)
    assert abs(expires - time.time() - lifetime) < 2
    assert token.replace("-", "").replace("_", "").isalnum()


@given(SESSIONS, st.data())
def test_any_changed_character_is_refused(session: str, data: st.DataObject) -> None:
    token, _ = SIGNER.sign(KEY, session, 60)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCDwxyz0189-_").filter(lambda one: one != token[place]))
    changed = token[:place] + letter + token[place + 1 :]
    for other in (changed, token + letter, token + "=", token[:-1]):
        with pytest.raises(CapabilityError):
            SIGNER.verify(other, KEY)


@given(st.text(max_size=200))
def test_nonsense_is_refused(token: str) -> None:
    with pytest.raises(CapabilityError):
        SIGNER.verify(token, KEY)


def test_messages_say_what_is_wrong() -> None:
    token, _ = SIGNER.sign(KEY, "me", 60)
    old, _ = SIGNER.sign(KEY, "me", -60)
    foreign, _ = Signer(["else"]).sign(KEY, "me", 60)
    for given_token, key, words in (
        (token, OTHER, "another chain"),
        (old, KEY, "expired"),
        (foreign, KEY, "another engine"),
        ("x" * 40, KEY, "another chain|forged"),
        ("", KEY, "forged"),
    ):
        with pytest.raises(CapabilityError, match=words):
            SIGNER.verify(given_token, key)


def test_rights_are_not_widened() -> None:
    token, _ = SIGNER.sign(KEY, "me", 60, rights=1)
    with pytest.raises(CapabilityError, match="right"):
        SIGNER.verify(token, KEY, rights=2)


def test_secrets_rotate() -> None:
    token, _ = Signer(["old"]).sign(KEY, "me", 60)
    both = Signer(["new", "old"])
    assert both.verify(token, KEY).session == "me"
    newer, _ = both.sign(KEY, "me", 60)
    assert Signer(["new"]).verify(newer, KEY).session == "me"
    with pytest.raises(CapabilityError):
        Signer(["new"]).verify(token, KEY)


def test_signing_needs_a_secret() -> None:
    with pytest.raises(ValueError, match="secret"):
        Signer([])


def test_verifying_is_quick() -> None:
    token, _ = SIGNER.sign(KEY, "0123456789abcdef01234567", 60)
    best = min(_time(lambda: SIGNER.verify(token, KEY)) for _ in range(200))
    assert best < 1e-4


def test_secrets_compare_whole() -> None:
    assert same_secret("a", "a")
    assert not same_secret("a", "ab")
    assert not same_secret("ä\ud800", "a")


def _time(call: object) -> float:
    begun = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - begun


def test_what_was_verified_once_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer(["secret"])
    token, expires = signer.sign(KEY, "me", 60)
    assert signer.verify(token, KEY) == signer.verify(token, KEY)
    monkeypatch.setattr("geoloom_engine.auth.time.time", lambda: expires)
    with pytest.raises(CapabilityError, match="expired"):
        signer.verify(token, KEY)


def test_what_was_verified_once_opens_nothing_else() -> None:
    signer = Signer(["secret"])
    token, _ = signer.sign(KEY, "me", 60)
    signer.verify(token, KEY)
    with pytest.raises(CapabilityError, match="another chain"):
        signer.verify(token, OTHER)
    with pytest.raises(CapabilityError, match="right"):
        signer.verify(token, KEY, rights=2)
    for other in (token + "=", token[:-1], token.swapcase()):
        with pytest.raises(CapabilityError):
            signer.verify(other, KEY)


def test_a_bounded_number_of_tokens_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoloom_engine.auth.MOST_VERIFIED", 3)
    signer = Signer(["secret"])
    tokens = [signer.sign(KEY, f"session{i}", 60)[0] for i in range(10)]
    for _ in range(2):
        assert [signer.verify(token, KEY).session for token in tokens] == [f"session{i}" for i in range(10)]
    assert len(signer._verified) == 3
