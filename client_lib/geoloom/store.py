"""Chains and blobs by key, in Redis or Valkey.

Values are named by their content, so a value found under a name can be checked: what does not hash
to its name is never handed out, and the next `put` replaces it. What is not saved expires when it
has not been used for a while; each use renews it.

A client writes here directly only where its user is trusted; kernels behind a hub go through the
engine (`geoloom.engine_client`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from geoloom.chain import Chain, is_key, key_of
from geoloom.errors import CorruptChain, EngineUnreachable, NotFound, RequestError

if TYPE_CHECKING:
    import redis

DAY = 86400
CHAIN_TTL = 30 * DAY
TIMEOUT = 2.0
"""Seconds to wait for the server."""

USES = 200
"""What one use of a chain or blob counts as: more than a tile that nobody asked for again.

A full server lets go of what was used least first (volatile-lfu). It counts logarithmically: a new
tile is 5 or 6, and what was used two hundred times more about 11. Counted once, 4 of 5 new chains
were gone after 120 MB of tiles in a server of 24 MB, and an old one that was registered again was the
first to go.
"""


class Store(Protocol):
    """Where chains and blobs are kept."""

    def put_chain(self, chain: Chain) -> str:
        """Store a chain; its key."""

    def get_chain(self, key: str) -> Chain:
        """The chain of a key, verified."""

    def put_blob(self, content: bytes) -> str:
        """Store bytes; their key."""

    def get_blob(self, key: str) -> bytes:
        """The bytes of a key, verified."""

    def save(self, key: str, blobs: Iterable[str] = ()) -> None:
        """Keep a chain, and blobs it names, for good."""

    def trust(self, key: str, engine: str) -> None:
        """Note that a blob was sent by a kernel of an engine."""


class RedisStore:
    """Chains and blobs under ``geoloom:chain:{key}`` and ``geoloom:blob:{key}``.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` or ``unix://``.
    ttl
        Seconds an unsaved, unused value is kept.
    timeout
        Seconds to wait for the server.

    All methods are thread-safe and raise `EngineUnreachable` when the server does not answer.
    """

    def __init__(self, url: str, *, ttl: float = CHAIN_TTL, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._ttl = max(1, int(ttl))
        self._timeout = timeout
        self._connected: redis.Redis | None = None

    def put_chain(self, chain: Chain) -> str:
        """Store a chain under the key of its root; the key."""
        self._put("chain", chain.root, chain.to_json())
        return chain.root

    def get_chain(self, key: str) -> Chain:
        """The chain of a key.

        Raises
        ------
        NotFound
            Nothing is stored under the key.
        CorruptChain
            What is stored does not hash to the key.
        """
        return Chain.from_json(self._get("chain", key), key)

    def put_blob(self, content: bytes) -> str:
        """Store bytes under their key; the key."""
        key = key_of(content)
        self._put("blob", key, content)
        return key

    def get_blob(self, key: str) -> bytes:
        """The bytes of a key; raises as `get_chain` does."""
        content = self._get("blob", key)
        if key_of(content) != key:
            raise CorruptChain(
                f"The data stored under {key} do not hash to their name.",
                hint="Run the cell that made them again; that replaces them.",
            )
        return content

    def save(self, key: str, blobs: Iterable[str] = ()) -> None:
        """Keep a chain, and blobs it names, for good."""
        names = [_name("chain", key), *(_name("blob", blob) for blob in blobs)]

        def persist(client: redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=True)
            for name in names:
                pipe.exists(name)
                pipe.persist(name)
            return list(pipe.execute())

        answers = self._ask(persist)
        for name, exists in zip(names, answers[::2], strict=True):
            if not exists:
                raise _missing(*name.split(":")[1:])

    def trust(self, key: str, engine: str) -> None:
        """Note that a blob was sent by a kernel of an engine."""
        self._ask(lambda client: client.set(f"geoloom:trusted:{engine}:{key}", b"", ex=self._ttl))

    def trusted(self, key: str, engine: str) -> bool:
        """Whether `trust` noted it."""
        return bool(self._ask(lambda client: client.exists(f"geoloom:trusted:{engine}:{key}")))

    def ping(self) -> None:
        """Raise `EngineUnreachable` unless the server answers."""
        self._ask(lambda client: client.ping())

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _put(self, kind: str, key: str, content: bytes) -> None:
        import redis

        name = _name(kind, key)

        def write(client: redis.Redis, **how: Any) -> bool:
            # In one go: as new as a tile, it could be let go of before it is counted.
            pipe = client.pipeline(transaction=True)
            pipe.set(name, content, **how)
            pipe.touch(*(name,) * USES)
            return bool(pipe.execute()[0])

        def put(client: redis.Redis) -> None:
            if write(client, nx=True, ex=self._ttl):
                return
            try:
                known = client.get(name)
            except redis.ResponseError:
                known = None  # of another type
            if known != content:
                # KEEPTTL: what was saved stays saved.
                write(client, keepttl=True)
            client.expire(name, self._ttl, gt=True)

        self._ask(put)

    def _get(self, kind: str, key: str) -> bytes:
        name = _name(kind, key)

        def get(client: redis.Redis) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.get(name)
            # GT never shortens, and counts "for good" as longer than any time: saved ones stay saved.
            pipe.expire(name, self._ttl, gt=True)
            pipe.touch(*(name,) * USES)
            return pipe.execute(raise_on_error=False)[0]

        content = self._ask(get)
        if content is None:
            raise _missing(kind, key)
        if not isinstance(content, bytes):
            raise CorruptChain(
                f"What is stored under {key} cannot be read as a {kind}: {content}.",
                hint="Run the cell that made it again; that replaces it.",
            )
        return content

    def _ask[T](self, question: Callable[[redis.Redis], T]) -> T:
        import redis

        if self._connected is None:
            self._connected = connect(self._url, self._timeout)
        try:
            return question(self._connected)
        except redis.RedisError as error:
            raise EngineUnreachable(
                f"The chain store at {place(self._url)} does not answer: {error}.",
                hint="Start Redis or Valkey there, or set GEOLOOM_REDIS_URL.",
            ) from None


def connect(url: str, timeout: float = TIMEOUT) -> redis.Redis:
    """A client with bounded waiting and one retry on a connection that was closed meanwhile.

    Raises
    ------
    RequestError
        The URL is none of redis://, rediss://, unix://.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        )
    except ValueError as error:
        raise RequestError(
            f"The store's URL {place(url)} is not usable: {error}.",
            hint="Use redis://, rediss:// or unix://.",
        ) from None


def place(url: str) -> str:
    """A store's URL without its password, for messages."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(an unreadable URL)"
    return f"{parts.scheme}://{host}{parts.path}"


def _name(kind: str, key: str) -> str:
    if not is_key(key):
        raise RequestError(f"{key!r} is not a key.", hint="A key has 32 hexadecimal digits.")
    return f"geoloom:{kind}:{key}"


def _missing(kind: str, key: str) -> NotFound:
    return NotFound(
        f"No {kind} is stored under {key}.",
        hint="Run the cell that made it again; what is not saved expires when unused.",
    )
