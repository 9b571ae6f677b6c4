"""What all handlers share: who may ask, how errors are answered, and abandoned requests."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import tornado.web
from tornado.http1connection import HTTP1Connection

from geoloom.errors import (
    AccessError,
    EngineFault,
    EngineOverloaded,
    GeoloomError,
    NotFound,
    QuotaExceeded,
    RequestError,
)
from geoloom_engine import sending, sessions
from geoloom_engine.allowances import AtOnce, Exhausted
from geoloom_engine.auth import Capability
from geoloom_engine.callers import ADMIN_SCOPE, NOBODY, Caller, Forbidden
from geoloom_engine.logs import with_fields
from geoloom_engine.statuses import status_of
from geoloom_engine.usage import ASKER

if TYPE_CHECKING:
    from geoloom.chain import Chain
    from geoloom_engine.services import Services

log = logging.getLogger("geoloom_engine")

SHORT_BODY = 64 << 10
"""Bytes of JSON that are read on the event loop: 1 ms at most."""


class Handler(tornado.web.RequestHandler):
    """A handler that answers errors as JSON."""

    services: Services
    route: ClassVar[str] = "other"
    """Under which name its requests are counted."""
    guarded: ClassVar[bool] = True
    """Whether Host and Origin are checked: wherever no capability is."""
    waits: ClassVar[bool] = False
    """Whether it does nothing but wait: such requests are counted apart from those that are worked on."""

    def initialize(self, services: Services) -> None:
        """Tornado's hook: what `routes` handed over."""
        self.services = services
        self.caller: Caller = NOBODY
        self._failure: GeoloomError | None = None
        self._work: asyncio.Task[Any] | None = None
        self._left = False
        self._counted = True
        self._place: str | None = None
        services.begin()

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """Tornado's: give the answer, which has to be taken in time."""
        written = super().finish(chunk)
        connection = self.request.connection
        if not written.done() and isinstance(connection, HTTP1Connection):
            sending.limit(written, connection.stream, int(self._headers.get("Content-Length", 0)))
        return written

    def on_finish(self) -> None:
        """Tornado's hook: the answer is given."""
        self.uncount()

    def uncount(self) -> None:
        """Count the request as over, once."""
        if self._counted:
            self._counted = False
            self.services.end()
            if self._place is not None:
                self._at_once.leave(self._place)

    def set_default_headers(self) -> None:
        """Tornado's hook: headers of every answer."""
        self.set_header("Server", "geoloom")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """No hash over the body: tiles have better ones, the rest needs none."""

    def prepare(self) -> Awaitable[None] | None:
        """Tornado's hook: say which pages may read the answer, and check names where that is needed."""
        origin = self.request.headers.get("Origin")
        if origin is not None and self.services.hosts.trusts_origin(origin):
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Vary", "Origin")
        if self.guarded:
            self.check_names()
        return None

    def check_names(self) -> None:
        """Refuse requests from foreign pages and for foreign names."""
        origin = self.request.headers.get("Origin")
        if origin is not None and not self.services.hosts.trusts_origin(origin):
            raise Forbidden(
                f"Pages of {origin[:100]} may not call this engine.", hint="See GEOLOOM_ALLOWED_ORIGINS."
            )
        if not self.services.hosts.trusts_host(self.request.host):
            raise Forbidden(
                f"This engine does not answer to the name {self.request.host[:100]!r}.",
                hint="See GEOLOOM_ALLOWED_HOSTS.",
            )

    @property
    def session(self) -> str:
        """The session named in the request, as it is called inside: below the caller's own names."""
        name = sessions.given(self.request.headers.get("X-Geoloom-Session", "anonymous"))
        return sessions.internal(self.caller.owner, name)

    @property
    def authorization(self) -> str:
        """The header that says who asks."""
        return self.request.headers.get("Authorization", "")

    @property
    def origin(self) -> str:
        """Scheme and host under which whoever asks finds the engine, as the proxy in front says."""
        forwarded = self.request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
        scheme = forwarded if forwarded in ("http", "https") else self.request.protocol
        return f"{scheme}://{self.request.host}"

    @property
    def failure(self) -> GeoloomError | None:
        """What the request is answered with, if it failed."""
        return self._failure

    @property
    def asker(self) -> str | None:
        """The session that is charged for the request; None if nobody is known."""
        if self.caller is NOBODY:
            return None
        try:
            return self.session
        except RequestError:
            return sessions.internal(self.caller.owner, "anonymous")

    async def need_caller(self) -> Caller:
        """Who asks; refuses who may not.

        Raises
        ------
        AccessError
            Nobody known, or not one who may use this engine.
        EngineOverloaded
            A user who has too many requests under way.
        """
        self.caller = await self.services.callers.identify(self.authorization)
        asker = self.asker
        ASKER.set(asker)
        if asker and self.caller.owner and self._place is None:
            self._place = self._at_once.enter(asker)
        return self.caller

    @property
    def _at_once(self) -> AtOnce:
        return self.services.polls if self.waits else self.services.requests

    async def need_admin(self) -> Caller:
        """Who asks; refuses who may not see to others' affairs.

        Raises
        ------
        AccessError
            Nobody known, or no admin.
        """
        caller = await self.need_caller()
        if not caller.admin:
            raise Forbidden(
                f"This is for admins, and {caller.label} is none.", hint=f"They have the scope {ADMIN_SCOPE}."
            )
        return caller

    async def chain(self, key: str) -> Chain:
        """The chain of a key, if the caller may read all that it reads."""
        chain = await self.services.chains.get(key)
        await self.check_rights(chain)
        return chain

    async def check_rights(self, chain: Chain) -> None:
        """Refuse a chain that reads what the caller may not; raises Forbidden."""
        self.services.rights.require(self.caller, await self.services.chains.limits(chain))

    def check_href(self, href: str) -> None:
        """Refuse a file that the caller may not read; raises Forbidden."""
        rights = self.services.rights
        rights.require(self.caller, rights.of_href(href))

    async def capable_chain(self, key: str) -> Chain:
        """The chain of a key, by the capability in the URL; without one, as the caller may."""
        capability = await self.need_capability(key)
        if capability is None:
            return await self.chain(key)
        # Whoever has the URL asks in its owner's name, and so many times at once.
        self._place = self._at_once.enter(capability.session)
        return await self.services.chains.get(key)

    async def need_capability(self, key: str) -> Capability | None:
        """The capability in the URL; None if there is none and who asks is known instead."""
        token = self.get_query_argument("c", None)
        if token is None:
            self.check_names()
            if not self.authorization and not self.services.callers.open:
                raise AccessError(
                    "This address needs a permission.", hint="Use the layer's URL as the engine gave it."
                )
            await self.need_caller()
            return None
        capability = self.services.signer.verify(token, key)
        await self.services.revocations.check(capability)
        return capability

    async def json_body(self, limit: int = 1 << 20) -> dict[str, Any]:
        """The request's JSON object."""
        body = self.request.body
        if len(body) <= SHORT_BODY:
            return json_object(body, limit)
        return await self.services.wait_for(lambda: json_object(body, limit), remote=False)

    def answer(self, value: Any, cache: str = "no-store") -> None:
        """Finish with a JSON answer."""
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", cache)
        self.finish(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))

    async def attentive[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that is dropped when the client goes away."""
        self._work = asyncio.ensure_future(work)
        if self._left:
            self._work.cancel()
        try:
            result: T = await self._work
        except asyncio.CancelledError:
            if self._left:
                raise tornado.web.Finish from None
            raise
        finally:
            self._work = None
        return result

    def on_connection_close(self) -> None:
        """Tornado's hook: nobody waits for the answer any more."""
        self._left = True
        if self._work is not None:
            self._work.cancel()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Tornado's hook: turns any failure into one of our errors; defects get an incident."""
        if isinstance(value, GeoloomError) and not isinstance(value, EngineFault):
            self._failure = value
            if isinstance(value, EngineOverloaded):
                self.services.metrics.refused()
            if isinstance(value, Exhausted | QuotaExceeded):
                self.services.metrics.limited(value.limit if isinstance(value, Exhausted) else "quota")
            # A function's own words may have lines, which would look like other entries.
            said = " ".join(str(value).splitlines())
            log.debug("%s %s: %s", self.request.method, self.request.path, said)
        elif isinstance(value, tornado.web.HTTPError):
            self._failure = _of_http(value)
        elif isinstance(value, EngineFault) and value.incident is not None:
            # The worker that met it has logged it.
            self._failure = value
            self.services.metrics.fault()
        else:
            incident = secrets.token_hex(6)
            self._failure = EngineFault(
                "The engine failed at this request.",
                hint="This is a defect: report it with the incident's number.",
                incident=incident,
            )
            self.services.metrics.fault()
            assert typ is not None
            assert value is not None
            log.error(
                "incident %s: %s %s",
                incident,
                self.request.method,
                self.request.path,
                exc_info=(typ, value, tb),
                extra=with_fields(
                    self.asker, incident=incident, method=self.request.method, path=self.request.path
                ),
            )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's hook: the answer to a failed request."""
        error = self._failure or _of_http(tornado.web.HTTPError(status_code))
        if not isinstance(kwargs.get("exc_info", (None, None))[1], tornado.web.HTTPError):
            status_code = status_of(error)
        self.set_status(status_code)
        if status_code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status_code == 503:
            self.set_header("Retry-After", str(error.seconds if isinstance(error, Exhausted) else 1))
        self.set_header("Cache-Control", "no-store")
        self.answer_error(error)

    def answer_error(self, error: GeoloomError) -> None:
        """Finish with the error, as JSON; the status is set."""
        self.answer(error.to_json())


class Unknown(Handler):
    """Every path that is none."""

    guarded = False

    def prepare(self) -> None:
        """Answer all methods alike."""
        raise tornado.web.HTTPError(404)


@tornado.web.stream_request_body
class Refused(Handler):
    """A request that is refused before its body is read, which is passed over.

    Parameters
    ----------
    failure
        Why.
    """

    guarded = False

    def initialize(self, services: Services, failure: Exception | None = None) -> None:
        """Note the reason."""
        super().initialize(services)
        self._refusal = failure or tornado.web.HTTPError(400)

    def prepare(self) -> None:
        """Answer all methods alike."""
        super().prepare()
        raise self._refusal

    def data_received(self, chunk: bytes) -> None:
        """Tornado's hook: a part of the body, which nobody needs."""


def json_object(body: bytes, limit: int) -> dict[str, Any]:
    """A JSON object of at most `limit` bytes.

    Raises
    ------
    RequestError
        Too long, no JSON, no object, NaN or infinity in it, or text that is not Unicode.
    """
    if len(body) > limit:
        raise RequestError(f"The request has {len(body):,} bytes; at most {limit:,} are read.")

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        value = json.loads(body.decode("utf-8"), parse_constant=refuse)
        # Written out again, overflowing numbers (1e999) and lone surrogates show.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The request's body is not JSON: {_short(error)}.") from None
    if not isinstance(value, dict):
        raise RequestError("The request's body is JSON, but not an object.")
    return value


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not valid UTF-8"
    return str(error)[:200].rstrip(".")


def _of_http(error: tornado.web.HTTPError) -> GeoloomError:
    words = {
        404: NotFound(
            "There is nothing at this address.", hint="See docs/http.md for what the engine answers."
        ),
        405: RequestError("This address does not answer to that method."),
    }
    return words.get(error.status_code) or RequestError("The request is malformed.")
