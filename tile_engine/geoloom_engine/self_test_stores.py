"""What the self-test asks of the two stores: that they answer, and what they let go of when they are full."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import redis

from geoloom.errors import GeoloomError
from geoloom.store import connect, place
from geoloom_engine.embedded.store import EVICTION
from geoloom_engine.settings import Settings

TIMEOUT = 5.0
"""Seconds to wait for an answer."""

NEARLY = 0.9
"""Share of its memory from which a store counts as nearly full."""


def chain_store(settings: Settings) -> Iterator[tuple[Any, str]]:
    """Whether chains can be kept, survive a restart, and are not let go for tiles."""
    url = settings.redis_url
    where = place(url)
    try:
        client = connect(url, TIMEOUT)
        about = _about(client)
        _try_out(client)
    except (redis.RedisError, GeoloomError, OSError) as error:
        yield "WRONG", f"{where} does not work: {_said(error)}. Start it, or see GEOLOOM_REDIS_URL"
        return
    yield "ok", f"{where} answers, {about['server']}, {_filled(about)}"
    policy = about["maxmemory_policy"]
    shared = settings.tile_store == url
    if policy.startswith("allkeys-"):
        yield (
            "WRONG",
            f"its maxmemory-policy {policy} lets go of chains that were saved for good. Set volatile-lfu",
        )
    elif shared and policy != "volatile-lfu":
        yield "mind", f"it keeps tiles too, and its maxmemory-policy is {policy}. Set volatile-lfu"
    if shared and not about["maxmemory"]:
        yield "mind", "it keeps tiles too and has no maxmemory: it grows until the machine is full"
    if policy == "volatile-lfu":
        yield from _counting(client)
    yield from _persistence(client, about)
    if about["maxmemory"] and about["used_memory"] > NEARLY * about["maxmemory"] and not shared:
        yield "mind", "it is nearly full: raise its maxmemory"


def tile_store(settings: Settings) -> Iterator[tuple[Any, str]]:
    """Whether tiles can be kept, and make room for others; an engine without it computes more."""
    url = settings.tile_store
    if url is None:
        yield "ok", "there is none: GEOLOOM_TILE_REDIS_URL is empty"
        return
    if url == settings.redis_url:
        yield "ok", "tiles are kept with the chains"
        return
    where = place(url)
    try:
        client = connect(url, TIMEOUT)
        about = _about(client)
        _try_out(client)
    except (redis.RedisError, GeoloomError, OSError) as error:
        yield (
            "mind",
            f"{where} does not work: {_said(error)}. Until it does all tiles are computed; see "
            "GEOLOOM_TILE_REDIS_URL",
        )
        return
    yield "ok", f"{where} answers, {about['server']}, {_filled(about)}"
    if about["run_id"] and about["run_id"] == _run_id(settings.redis_url):
        yield "mind", "it is the server of the chains under another name: unset GEOLOOM_TILE_REDIS_URL"
    policy = about["maxmemory_policy"]
    if policy == "noeviction":
        yield (
            "mind",
            "its maxmemory-policy is noeviction: when it is full it takes no new tiles. Set allkeys-lru",
        )
    if not about["maxmemory"]:
        yield "mind", "it has no maxmemory: it grows until the machine is full"
    if about["aof"]:
        yield "mind", "it writes tiles to a disk (appendonly), which is of no use"


def _about(client: redis.Redis) -> dict[str, Any]:
    """What a server says of itself."""
    told: dict[str, Any] = dict(client.info())
    name = "Valkey" if "valkey_version" in told else "Redis"
    return {
        "server": f"{name} {told.get('valkey_version') or told.get('redis_version')}",
        "run_id": told.get("run_id", ""),
        "maxmemory": int(told.get("maxmemory", 0)),
        "maxmemory_policy": str(told.get("maxmemory_policy", "")),
        "used_memory": int(told.get("used_memory", 0)),
        "aof": bool(told.get("aof_enabled", 0)),
        "written": told.get("aof_last_write_status", "ok"),
        "saved": told.get("rdb_last_bgsave_status", "ok"),
    }


def _try_out(client: redis.Redis) -> None:
    """Keep something, read it and forget it; raises RedisError."""
    name = f"geoloom:self-test:{secrets.token_hex(8)}"
    client.set(name, b"kept", ex=60)
    if client.getdel(name) != b"kept":
        raise redis.RedisError("what was written is not what is read")


def _counting(client: redis.Redis) -> Iterator[tuple[Any, str]]:
    """How a server counts uses, by which it lets go."""
    for name in ("lfu-decay-time", "maxmemory-samples"):
        least = int(EVICTION[name])
        # A server of a provider may keep its configuration to itself.
        with contextlib.suppress(redis.ResponseError):
            found: Any = client.config_get(name)
            if int(found.get(name, least)) < least:
                yield (
                    "mind",
                    f"its {name} is {found[name]}, so that it lets go of chains too soon. Set {least}",
                )


def _persistence(client: redis.Redis, about: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Whether chains are on a disk."""
    if about["written"] != "ok" or about["saved"] != "ok":
        yield "WRONG", "it cannot write to its disk. See its log; often the disk is full"
    if about["aof"]:
        return
    with contextlib.suppress(redis.ResponseError):
        found: Any = client.config_get("save")
        if not found.get("save"):
            yield "mind", "it keeps chains in memory only: a restart loses them. Set appendonly yes"


def _filled(about: dict[str, Any]) -> str:
    most = f" of {about['maxmemory'] >> 20} MB" if about["maxmemory"] else ""
    return f"{about['used_memory'] >> 20} MB used{most}, {about['maxmemory_policy']}"


def _run_id(url: str) -> str:
    try:
        return str(_about(connect(url, TIMEOUT))["run_id"])
    except (redis.RedisError, GeoloomError, OSError):
        return ""


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
