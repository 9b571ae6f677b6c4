"""Chains and blobs: register, read, save."""

from __future__ import annotations

import tornado.web
from tornado.http1connection import HTTP1Connection

from geoloom import blobs
from geoloom.chain import Chain, key_of
from geoloom.errors import RequestError
from geoloom_engine.routes.base import Handler
from geoloom_engine.sandboxing import UNLOCKED

_SELECTION = b'{"bands":'
"""How the canonical text of a selection begins."""


class Chains(Handler):
    """``POST /chains``: verifies and stores a chain, and answers with its layer's URL."""

    route = "chains"

    async def post(self) -> None:
        """Register the chain in the body."""
        await self.need_caller()
        session, owner, quotas = self.session, self.caller.owner, self.services.quotas

        async def admit(chain: Chain) -> None:
            await self.check_rights(chain)
            await quotas.charge(owner, "chain", chain.root, chain.size)

        chain = await self.services.chains.register(self.request.body, admit)
        data = await self.services.chains.version(chain)
        token, expires = self.services.signer.sign(chain.root, session, self.services.settings.capability_ttl)
        template = f"/tiles/{chain.root}/{{z}}/{{x}}/{{y}}.png?c={token}&d={data}"
        self.answer({"key": chain.root, "data": data, "tiles": template, "expires": expires})


class StoredChain(Handler):
    """``GET /chains/{key}``: the chain's canonical JSON."""

    route = "chains"

    async def get(self, key: str) -> None:
        """The chain."""
        await self.need_caller()
        chain = await self.chain(key)
        text = await self.services.wait_for(chain.to_json, remote=False)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "private, max-age=86400, immutable")
        self.finish(text)


class SavedChain(Handler):
    """``PUT /chains/{key}/saved``: keeps a chain for good; ``DELETE`` no longer."""

    route = "chains"

    async def put(self, key: str) -> None:
        """Save the chain and its blobs."""
        await self.need_caller()
        chain, owner, quotas = await self.chain(key), self.caller.owner, self.services.quotas
        needed = blobs.needed(chain)
        for blob in needed if owner else ():
            content = await self.services.chains.get_blob(blob)
            await quotas.charge(owner, "blob", blob, len(content), saved=True)
        # Last: where there is no room for a blob, the chain is not noted as saved.
        await quotas.charge(owner, "chain", chain.root, chain.size, saved=True)
        await self.services.chains.save(chain.root, needed)
        self.answer({"key": chain.root, "saved": True})

    async def delete(self, key: str) -> None:
        """Let the chain, and blobs that only it names, expire when they are not used."""
        await self.need_caller()
        chain = await self.chain(key)
        await self.services.quotas.release(self.caller.owner, chain.root, blobs.needed(chain))
        self.answer({"key": chain.root, "saved": False})


@tornado.web.stream_request_body
class Blobs(Handler):
    """``POST /blobs``: stores bytes under the key of their content.

    The body is taken only once token and length are known to be right.
    """

    route = "blobs"

    async def prepare(self) -> None:
        """Refuse what is too long or may not be stored, before it is read."""
        super().prepare()
        await self.need_caller()
        self._parts: list[bytes] = []
        limit = self.services.settings.max_blob
        length = self.request.headers.get("Content-Length", "0")
        # Tornado itself refuses what is no number; Python reads none of more than some thousand digits.
        if length.isascii() and length.isdigit() and int(length[:20]) > limit:
            raise RequestError(f"The data have {int(length[:20]):,} bytes; at most {limit:,} are stored.")
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        connection.set_max_body_size(limit)

    def data_received(self, chunk: bytes) -> None:
        """Tornado's hook: a part of the body."""
        self._parts.append(chunk)

    async def post(self) -> None:
        """Store the body."""
        content = b"".join(self._parts)
        if not content:
            raise RequestError("The request has no body.")
        settings = self.services.settings
        own = settings.functions == "trusted" and not self.get_query_argument("foreign", "")
        engine = settings.nonce if own else None
        if self.caller.owner:
            # Hashing 32 MB takes 0.1 s, in which the event loop would answer nobody.
            name = await self.services.wait_for(lambda: key_of(content), remote=False)
            await self.services.quotas.charge(self.caller.owner, "blob", name, len(content))
        key = await self.services.chains.put_blob(content, engine)
        locked = settings.functions in ("sandbox", "off")
        self.answer({"key": key} if locked else {"key": key, "notice": UNLOCKED})

    def on_connection_close(self) -> None:
        """Tornado's hook: also when the body never came to its end."""
        super().on_connection_close()
        self.uncount()


class Blob(Handler):
    """``GET /blobs/{key}``: the bytes."""

    route = "blobs"

    async def get(self, key: str) -> None:
        """The bytes of a key."""
        await self.need_caller()
        content = await self.services.chains.get_blob(key)
        rights = self.services.rights
        if rights.any and content.startswith(_SELECTION):
            limits = await self.services.wait_for(lambda: rights.of_selection(key), remote=False)
            rights.require(self.caller, limits)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Cache-Control", "private, max-age=86400, immutable")
        self.finish(content)
