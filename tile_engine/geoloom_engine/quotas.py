"""How many chains and blobs one user may have in the store, and how many bytes of them.

Content is shared, since it is stored by its hash; who registers or saves it is charged for it as long as it
is there, in the hash ``geoloom:account:{owner}``. A full account makes room by itself: what has expired
counts no more, and what is not saved and was not used for a while is let go, the longest unused first.
Sliders make a chain for each place they stop at, and nobody should have to tidy up behind them. Only then is
a user refused. All that is one script in Redis, so that workers and engines cannot overrun a quota together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from geoloom.errors import EngineUnreachable, QuotaExceeded
from geoloom_engine.redis_connection import AWAY, connect, reason

TIMEOUT = 2.0
"""Seconds to wait for Redis."""

UNLIMITED = 0
"""A limit that is none."""

AT_LEAST = 3600.0
"""Seconds for which nothing is let go of that was used."""

BETWEEN = 10
"""Seconds between two looks through a full account."""

ON_ITS_WAY = 60
"""Seconds for which what was charged, and is not stored, may still come."""

Kind = Literal["chain", "blob"]

_CHARGE = """
local account, kind, key, size, saved = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local most = {chains = tonumber(ARGV[5]), blobs = tonumber(ARGV[6]), bytes = tonumber(ARGV[7])}
local ttl, grace, coming = tonumber(ARGV[8]) * 1000, tonumber(ARGV[9]) * 1000, tonumber(ARGV[10])
local field, counter = kind .. ':' .. key, kind .. 's'
local second = tonumber(redis.call('TIME')[1])
local charge = {chains = 0, blobs = 0, bytes = size}
charge[counter] = 1

-- An entry: bytes, when it was charged, and 's' if this user saved it.
local known = redis.call('HGET', account, field)
if known then
  if saved and string.sub(known, -1) ~= 's' then redis.call('HSET', account, field, known .. 's') end
  return {0}
end

local kept = {}
for what in pairs(most) do kept[what] = tonumber(redis.call('HGET', account, what) or '0') end
local function over(share)
  for what, limit in pairs(most) do
    if limit > 0 and charge[what] > 0 and kept[what] + charge[what] > limit * share then return what end
  end
end
local function drop(name, entry)
  local what = string.match(name, '^%a+') .. 's'
  redis.call('HDEL', account, name)
  kept[what] = redis.call('HINCRBY', account, what, -1)
  kept.bytes = redis.call('HINCRBY', account, 'bytes', -tonumber(string.match(entry, '^%d+')))
end
local function gone(name, entry)
  return redis.call('EXISTS', 'geoloom:' .. name) == 0
    and second - tonumber(string.match(entry, ' (%d+)')) >= coming
end

-- A few at random each time: accounts that are never full tell what is there, too.
for _, name in ipairs(redis.call('HRANDFIELD', account, 3)) do
  if string.find(name, ':') then
    local entry = redis.call('HGET', account, name)
    if gone(name, entry) then drop(name, entry) end
  end
end

-- Looking through a full account takes some 10 ms, so not for each of many requests in a row.
local looked = tonumber(redis.call('HGET', account, 'looked') or '0')
if over(1) and (second < looked or second - looked >= tonumber(ARGV[11])) then
  redis.call('HSET', account, 'looked', second)
  local idle, all = {}, redis.call('HGETALL', account)
  for i = 1, #all, 2 do
    local name, entry = all[i], all[i + 1]
    if string.find(name, ':') then
      local left = redis.call('PTTL', 'geoloom:' .. name)
      if left == -2 then
        if gone(name, entry) then drop(name, entry) end
      elseif string.sub(entry, -1) ~= 's' and (left == -1 or ttl - left > grace) then
        idle[#idle + 1] = {left, name, entry}
      end
    end
  end
  table.sort(idle, function(a, b) return a[1] < b[1] end)
  for _, one in ipairs(idle) do
    if not over(0.9) then break end
    drop(one[2], one[3])
    -- Others may have it too: who uses it again renews it. What somebody else saved (-1) stays.
    if one[1] >= 0 then redis.call('PEXPIRE', 'geoloom:' .. one[2], grace, 'LT') end
  end
end

local what = over(1)
if what then return {1, what, kept[what]} end
redis.call('HSET', account, field, size .. ' ' .. second .. (saved and 's' or ''))
redis.call('HINCRBY', account, counter, 1)
redis.call('HINCRBY', account, 'bytes', size)
return {0}
"""


_RELEASE = """
local account, ttl, chain = KEYS[1], ARGV[1], 'chain:' .. ARGV[2]
local function saved(whose, name)
  local entry = redis.call('HGET', whose, name)
  return entry and string.sub(entry, -1) == 's' and entry
end
if not saved(account, chain) then return end

-- Its blobs too, but those that another chain names which this user saved. One text at a time: all of them
-- may be as large as the account.
local free = {}
for i = 3, #ARGV do
  if saved(account, 'blob:' .. ARGV[i]) then free[#free + 1] = ARGV[i] end
end
local all = #free > 0 and redis.call('HGETALL', account) or {}
for i = 1, #all, 2 do
  if #free == 0 then break end
  if all[i] ~= chain and string.sub(all[i], 1, 6) == 'chain:' and string.sub(all[i + 1], -1) == 's' then
    local text = redis.call('GET', 'geoloom:' .. all[i]) or ''
    for j = #free, 1, -1 do
      if string.find(text, free[j], 1, true) then table.remove(free, j) end
    end
  end
end
local names = {chain}
for _, key in ipairs(free) do names[#names + 1] = 'blob:' .. key end

local owners = redis.call('HKEYS', 'geoloom:users')
for _, name in ipairs(names) do
  redis.call('HSET', account, name, string.sub(saved(account, name), 1, -2))
  local others = false
  for _, owner in ipairs(owners) do others = others or saved('geoloom:account:' .. owner, name) end
  if not others then redis.call('EXPIRE', 'geoloom:' .. name, ttl) end
end
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one user may keep; 0: no limit."""

    chains: int = UNLIMITED
    blobs: int = UNLIMITED
    bytes: int = UNLIMITED

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.chains or self.blobs or self.bytes)


class Quotas:
    """Charges users for what they store; used from one event loop.

    Parameters
    ----------
    url
        The Redis server with chains and blobs.
    limits
        Of each user.
    ttl
        Seconds that what is not saved is kept unused.
    grace
        Seconds for which layers' URLs are valid: what was used in that time may be on a map.
    """

    def __init__(self, url: str, limits: Limits, ttl: float, grace: float) -> None:
        self.limits = limits
        self._redis = connect(url, TIMEOUT)
        self._charge = self._redis.register_script(_CHARGE)
        self._release = self._redis.register_script(_RELEASE)
        self._times = int(ttl), int(max(grace, AT_LEAST))

    async def charge(self, owner: str, kind: Kind, key: str, size: int, *, saved: bool = False) -> None:
        """Charge a user for something that is about to be stored or saved; once, however often it is.

        Parameters
        ----------
        owner
            The user; empty for who has no account.
        kind, key, size
            What it is, its key, and its bytes.
        saved
            Whether it is to be kept for good.

        Raises
        ------
        QuotaExceeded
            There is no room for it.
        EngineUnreachable
            The store is away.
        """
        if not owner:
            return
        limits = self.limits
        asked = (kind, key, size, int(saved), limits.chains, limits.blobs, limits.bytes, *self._times)
        try:
            answer = await self._charge(keys=[_account(owner)], args=[*asked, ON_ITS_WAY, BETWEEN])
        except AWAY as error:
            raise EngineUnreachable(f"The chain store does not answer: {reason(error)}.") from None
        if answer[0]:
            raise self._refusal(answer[1].decode(), int(answer[2]), size)

    async def release(self, owner: str, chain: str, blobs: Iterable[str]) -> None:
        """Keep a chain for good no more, as far as a user is concerned; what others saved stays saved.

        Parameters
        ----------
        owner
            The user; empty for who has no account, whose word counts for all.
        chain, blobs
            Its key, and those of the blobs that it names.

        Raises
        ------
        EngineUnreachable
            The store is away.
        """
        try:
            if owner:
                await self._release(keys=[_account(owner)], args=[self._times[0], chain, *blobs])
            else:
                await self._redis.expire(f"geoloom:chain:{chain}", self._times[0])
        except AWAY as error:
            raise EngineUnreachable(f"The chain store does not answer: {reason(error)}.") from None

    async def kept(self, owners: list[str]) -> dict[str, dict[str, int]]:
        """What users are charged for: ``chains``, ``blobs`` and ``bytes`` of each."""
        pipe = self._redis.pipeline(transaction=False)
        for owner in owners:
            pipe.hmget(_account(owner), ["chains", "blobs", "bytes"])
        try:
            answers: list[Any] = await pipe.execute() if owners else []
        except AWAY as error:
            raise EngineUnreachable(f"The chain store does not answer: {reason(error)}.") from None
        return {
            owner: {
                name: int(count or 0) for name, count in zip(("chains", "blobs", "bytes"), found, strict=True)
            }
            for owner, found in zip(owners, answers, strict=True)
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _refusal(self, what: str, kept: int, size: int) -> QuotaExceeded:
        if what == "bytes":
            most = self.limits.bytes
            message = (
                f"You keep {_megabytes(kept)} in the engine's store; with these {_megabytes(size)} it would "
                f"be more than the {_megabytes(most)} that each user may keep."
            )
        else:
            most = getattr(self.limits, what)
            message = f"You keep {kept:,} {what} in the engine's store, and each user may keep {most:,}."
        hours = self._times[1] / 3600
        return QuotaExceeded(
            message,
            hint=f"What is not saved makes room once it was not used for {hours:g} h; image.unsave() gives "
            f"up what is. For more, ask who runs the engine to raise GEOLOOM_USER_{what.upper()}.",
        )


def _account(owner: str) -> str:
    return f"geoloom:account:{owner}"


def _megabytes(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MB"
