from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import RequestError
from geoloom_engine import sessions

NAMES = st.from_regex(sessions.GIVEN, fullmatch=True)
OWNERS = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)


@given(NAMES, OWNERS)
def test_an_owner_is_told_from_the_inner_name_alone(name: str, owner: str) -> None:
    inner = sessions.internal(owner, name)
    assert sessions.owner_of(inner) == owner
    assert sessions.INTERNAL.fullmatch(inner)
    assert len(inner) <= sessions.LONGEST


@given(NAMES, NAMES, OWNERS, OWNERS)
def test_no_two_owners_share_a_session(one: str, other: str, owner: str, stranger: str) -> None:
    if owner != stranger:
        assert sessions.internal(owner, one) != sessions.internal(stranger, other)


@given(NAMES)
def test_without_owners_each_session_is_its_own(name: str) -> None:
    assert sessions.internal("", name) == name
    assert sessions.owner_of(name) == name


@pytest.mark.parametrize("name", ["", "a" * 65, "0123456789ab~x", "a b", "a/b", "ä", "x\n", "a~b"])
def test_no_name_that_is_given_can_pose_as_anothers(name: str) -> None:
    with pytest.raises(RequestError, match="malformed"):
        sessions.given(name)
