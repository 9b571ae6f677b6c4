"""Who asks: the holder of the engine's secret, or whom JupyterHub says a token belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from geoloom.errors import AccessError, EngineUnreachable
from geoloom_engine.auth import same_secret
from geoloom_engine.hub import Hub
from geoloom_engine.sessions import OWNER_DIGITS
from geoloom_engine.words import Words

REFUSED_SECONDS = 10.0
"""Seconds for which a token that the hub does not know is refused without asking again."""

GRACE = 3600.0
"""Seconds for which a token that was good stays so while the hub does not answer."""

AWAY_SECONDS = 5.0
"""Seconds for which such a hub is not asked again about a token: its silence takes as long each time."""

MOST_TOKENS = 10_000
"""Tokens remembered in one process, of those that are good and of those that are not."""

ADMIN_SCOPE = "custom:geoloom:admin"
"""Scope of the hub whose holders see everybody's usage."""

Kind = Literal["secret", "user", "service", "nobody"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    kind
        ``secret``: whoever has the engine's secret, who may everything; ``user`` or ``service`` of the hub;
        ``nobody``: not asked for yet.
    name
        Of the user or service.
    groups
        Of the hub, and ``user:NAME`` or ``service:NAME``.
    admin
        Whether to tell of other users.
    owner
        Hex digits that stand for kind and name wherever the name should not: in layers' URLs, in
        the names of sessions. Empty for the secret.
    """

    kind: Kind
    name: str = ""
    groups: frozenset[str] = frozenset()
    admin: bool = False
    owner: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.label.encode()).hexdigest()[:OWNER_DIGITS]
        object.__setattr__(self, "owner", digest if self.name else "")

    @property
    def label(self) -> str:
        """``user:NAME``, ``service:NAME``, or the kind alone."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


SECRET = Caller("secret", admin=True)
"""Who has the engine's secret; anybody where none is set."""

NOBODY = Caller("nobody")
"""Who has not been asked for."""


class Forbidden(AccessError):
    """Known, and not allowed: answered with 403, travels as an `AccessError`."""

    def to_json(self) -> dict[str, Any]:
        """As `AccessError`, which clients know."""
        return {**super().to_json(), "error": "AccessError"}


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a token, and until when it is not asked again."""

    caller: Caller | None
    refusal: AccessError | None
    until: float
    at_most: float


class Callers:
    """Tells who asks, from the header ``Authorization``; used from one event loop.

    Parameters
    ----------
    secret
        The engine's own; empty: none.
    hub
        Tells whose the other tokens are; None: there are none.
    service
        What the engine is called as a service of the hub.
    recheck
        Seconds for which the hub's word is taken.
    meet
        Told each caller that comes new, or comes back.
    words
        What the hub said to other workers.
    """

    def __init__(
        self,
        secret: str,
        hub: Hub | None,
        service: str,
        recheck: float,
        meet: Callable[[Caller], None] = lambda caller: None,
        words: Words | None = None,
    ) -> None:
        self._secret = secret
        self._hub = hub
        self._scopes = {"access:services", f"access:services!service={service}"}
        self._recheck = recheck
        self._meet = meet
        self._words = words
        # Apart, so that whoever tries many tokens does not have good ones forgotten.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}

    @property
    def open(self) -> bool:
        """Whether anybody may ask anything."""
        return not self._secret and self._hub is None

    def has_secret(self, authorization: str) -> bool:
        """Whether the header brings the engine's secret (any does where there is none at all)."""
        return self.open or (bool(self._secret) and same_secret(_token(authorization), self._secret))

    async def identify(self, authorization: str) -> Caller:
        """Who sent this header.

        Raises
        ------
        AccessError
            Nobody known.
        Forbidden
            A user or service that may not use this engine.
        EngineUnreachable
            The hub does not answer, and has not told of this token before.
        """
        if self.has_secret(authorization):
            return SECRET
        token = _token(authorization)
        if self._hub is None or not token:
            raise AccessError(
                "This request needs the engine's token.",
                hint="Send 'Authorization: Bearer …' with the value of GEOLOOM_TOKEN"
                + (", or a token of JupyterHub." if self._hub else "."),
            )
        found = await self._look_up(self._hub, token)
        if found.caller is None:
            assert found.refusal is not None
            raise type(found.refusal)(found.refusal.message, hint=found.refusal.hint)
        return found.caller

    async def _look_up(self, hub: Hub, token: str) -> _Known:
        # Memory dumps and tracebacks show no tokens.
        name = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(name) or self._refused.get(name)
        if known is not None and time.monotonic() < known.until:
            return known
        try:
            found = await self._asked(name, hub, token)
        except EngineUnreachable:
            if known is None or known.caller is None or time.monotonic() > known.at_most:
                raise
            until = min(time.monotonic() + AWAY_SECONDS, known.at_most)
            known = self._known[name] = replace(known, until=until)
            return known
        self._known.pop(name, None)
        self._refused.pop(name, None)
        book = self._refused if found.caller is None else self._known
        book[name] = found
        while len(book) > MOST_TOKENS:
            book.popitem(last=False)
        return found

    async def _asked(self, name: bytes, hub: Hub, token: str) -> _Known:
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.ensure_future(self._ask(hub, token, name))
            task.add_done_callback(lambda done: self._asking.pop(name, None))
        return await asyncio.shield(task)

    async def _ask(self, hub: Hub, token: str, name: bytes) -> _Known:
        model, age = await self._said(hub, token, name)
        now = time.monotonic()
        if model is None:
            refusal = AccessError(
                "JupyterHub does not know this token.",
                hint="It may have been revoked or have expired: restart your server, or make a new token.",
            )
            return _Known(None, refusal, now + REFUSED_SECONDS, now)
        caller = _caller(model)
        if not self._scopes & set(model.get("scopes") or ()):
            words = f"{caller.label} may not use this engine with this token."
            hint = f"The token lacks the scope {sorted(self._scopes)[-1]}; ask whoever runs the hub."
            return _Known(None, Forbidden(words, hint=hint), now + REFUSED_SECONDS, now)
        self._meet(caller)
        # An old word is taken while the hub does not answer: it is asked again soon.
        fresh = self._recheck - age if age < self._recheck else AWAY_SECONDS * (age > 0)
        return _Known(caller, None, now + fresh, now + GRACE - age)

    async def _said(self, hub: Hub, token: str, name: bytes) -> tuple[Mapping[str, Any] | None, float]:
        """What the hub says of a token, and how many seconds ago it did."""
        kept = None if self._words is None else await self._words.get(name)
        if kept is not None and kept.age < self._recheck:
            return kept.model, kept.age
        try:
            model = await hub.identify(token)
        except EngineUnreachable:
            if kept is None or kept.age > GRACE:
                raise
            return kept.model, kept.age
        if self._words is not None:
            await self._words.put(name, model)
        return model, 0.0


def _caller(model: Mapping[str, Any]) -> Caller:
    kind: Kind = "service" if model.get("kind") == "service" else "user"
    name = str(model["name"])
    # A login provider may know a group of any name, and none makes its members another user.
    groups = {str(group) for group in model.get("groups") or ()}
    groups = {group for group in groups if not group.startswith(("user:", "service:"))} | {f"{kind}:{name}"}
    return Caller(kind, name, frozenset(groups), ADMIN_SCOPE in (model.get("scopes") or ()))


def _token(authorization: str) -> str:
    """The token of a header; JupyterHub's own clients write ``token`` for ``Bearer``."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else ""
