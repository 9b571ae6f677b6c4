"""What sessions are called: by who asks, and inside the engine.

A client names its session itself. Where several people share an engine, each one's names are his own: inside
the engine a name stands behind its owner's, and the owner's never comes from the request.
"""

from __future__ import annotations

import re

from geoloom.errors import RequestError

GIVEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a client may call a session."""

OWNER_DIGITS = 16
"""Hex digits that stand for an owner: too many to find a name of one's own that has another's."""

INTERNAL = re.compile(rf"(?:[0-9a-f]{{{OWNER_DIGITS}}}~)?[A-Za-z0-9_-]{{1,64}}")
"""What a session is called inside: ``OWNER~NAME``, or ``NAME`` where there are no owners."""

LONGEST = OWNER_DIGITS + 1 + 64
"""Characters of the longest."""


def given(name: str) -> str:
    """The name, if a session may be called so; raises RequestError."""
    if not GIVEN.fullmatch(name):
        raise RequestError(
            "The session's name is malformed.", hint="Use up to 64 letters, digits, '-' and '_'."
        )
    return name


def internal(owner: str, name: str) -> str:
    """What a session is called inside; `owner` is empty where there are none."""
    return f"{owner}~{name}" if owner else name


def owner_of(session: str) -> str:
    """Whose a session is: its owner, or where there are none the session itself."""
    return session.partition("~")[0]
