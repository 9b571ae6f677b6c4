"""``geoloom-engine --self-test``: whether an engine with these settings would work here.

It tells a line for each thing. A line begins with ``ok``, ``mind`` (the engine works, but not as it could
or should) or ``WRONG`` (it would not start, or not do what it is trusted to do). The exit status is 1 if
anything is wrong.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from geoloom._version import __version__
from geoloom.errors import GeoloomError
from geoloom_engine.machine import Machine
from geoloom_engine.self_test_stores import chain_store, tile_store
from geoloom_engine.settings import Settings, load, unknown_variables

if TYPE_CHECKING:
    from geoloom_engine.sandbox.lock import LockLevel

WRONG_SETTINGS = 2
"""Exit status where nothing could be tried; as that of the engine."""

LEAST_SECRET = 16
"""Characters of a secret that nobody guesses."""
TIMEOUT = 5.0
"""Seconds to wait for a server."""
WARM_SECONDS = 600.0
"""Seconds for compiling, on a machine that is busy."""
LOOK = 0.05
FUNCTION_SECONDS = 60.0
"""Seconds for the function that is tried: it waits for its modules to be loaded."""
ZYGOTE = 160 << 20
"""Bytes of the process that functions' processes are forked from."""

FUNCTION = b"def twice(img):\n    return img[0] * 2\n"

Level = Literal["ok", "mind", "WRONG"]
Finding = tuple[Level, str]
"""How it is, and in words: what, and what to do about it."""


def secrets(settings: Settings) -> Iterator[Finding]:
    """The signing key and the tokens."""
    keys = [key.strip() for key in settings.signing_key.split(",") if key.strip()]
    named = {
        "GEOLOOM_TOKEN": [settings.token],
        "GEOLOOM_METRICS_TOKEN": [settings.metrics_token],
    }
    named = {name: [one for one in values if one] for name, values in named.items()}
    named["GEOLOOM_SIGNING_KEY"] = keys
    others = not settings.loopback or bool(settings.hub_api_url)
    if not keys and others:
        yield (
            "WRONG",
            "there is no GEOLOOM_SIGNING_KEY: each engine makes up its own, so layer URLs of one are refused "
            "by another and after a restart. Set the same random one for all (openssl rand -hex 32)",
        )
    if not settings.token and others:
        yield "mind", "there is no GEOLOOM_TOKEN: the operator cannot look into this engine without the hub"
    seen: dict[str, str] = {}
    for name, values in named.items():
        for value in values:
            if value in seen and seen[value] != name:
                yield "WRONG", f"{name} and {seen[value]} are the same; each needs a secret of its own"
            seen[value] = name
            if len(value) < LEAST_SECRET:
                yield (
                    "WRONG" if others else "mind",
                    f"{name} has less than {LEAST_SECRET} characters and can be guessed. Take a random one "
                    "(openssl rand -hex 32)",
                )
    if not others and not settings.token:
        yield "mind", "there is no GEOLOOM_TOKEN: whoever is on this machine may ask for anything"
    if keys:
        yield "ok", f"{len(keys)} signing key{'s' * (len(keys) > 1)}; the first signs, all verify"


def memory(settings: Settings) -> Iterator[Finding]:
    """Whether the processes' memory fits into what there is."""
    here = Machine.here()
    workers = settings.workers or here.workers
    each = settings.memory or here.per_worker(workers)
    wanted = workers * each + (ZYGOTE if settings.functions != "off" else 0)
    words = f"{workers} processes of {each >> 20} MB, of {here.memory >> 20} MB that are there"
    if wanted > here.memory:
        yield "WRONG", f"{words}: Linux would end them. Lower GEOLOOM_WORKERS or GEOLOOM_MEMORY, or give more"
    else:
        yield "ok", words


def sandbox(settings: Settings) -> Iterator[Finding]:
    """Whether users' functions are locked in, and can compute."""
    from geoloom_engine.sandbox.lock import LockLevel
    from geoloom_engine.sandbox.proof import prove

    if settings.functions == "off":
        yield "ok", "functions of users are off"
        return
    level = LockLevel(seccomp=False, landlock=False, drop_uid=False)
    if settings.functions == "sandbox":
        proof = prove()
        level = proof.level
        if not level.seccomp:
            yield (
                "WRONG",
                f"functions cannot be locked in: {proof.reason} Allow the system calls prctl and seccomp "
                "(the profile RuntimeDefault does), or set GEOLOOM_FUNCTIONS=off",
            )
            return
        if proof.gained:
            yield (
                "WRONG",
                f"a locked process could {', '.join(proof.gained)}. Do not run functions here: set "
                "GEOLOOM_FUNCTIONS=off, and report it",
            )
            return
        layers = "seccomp and Landlock" if level.landlock else "seccomp"
        yield "ok", f"a process locked by {layers} was refused files, network, processes and programs"
        if proof.reason:
            yield "mind", f"{proof.reason} One layer less; nothing has to be done"
    else:
        yield (
            "mind",
            f"GEOLOOM_FUNCTIONS={settings.functions}: users' functions may do whatever the engine may",
        )
    try:
        took = _called(settings, level)
    except (GeoloomError, OSError, ImportError) as error:
        yield (
            "WRONG",
            f"a function could not be run: {str(error).rstrip('.')}. See GEOLOOM_FUNCTION_MODULES and "
            "GEOLOOM_FUNCTION_MEMORY",
        )
    else:
        yield "ok", f"a function was run, after {took:.1f} s in which its modules were loaded"


def _called(settings: Settings, level: LockLevel) -> float:
    """Have a function compute a tile as the engine does; the seconds."""
    import numpy as np

    from geoloom.block import Block
    from geoloom.grid import Tile
    from geoloom_engine.sandbox.launch import Launcher
    from geoloom_engine.sandbox.pool import Call, Limits, Pool

    grid = Tile(2, 1, 1).grid()
    pixels = np.ones((1, grid.rows, grid.cols), np.uint8)
    call = Call("self-test", FUNCTION, "twice", "[[],{}]", ("b1",), settings.function_modules, "int32", 1, 0)
    launcher = Launcher(1, level, settings.function_modules)
    start = time.monotonic()
    launcher.start()
    try:
        limits = Limits(
            max(FUNCTION_SECONDS, settings.function_timeout), settings.function_memory, 1, spare=False
        )
        pool = Pool(launcher.channel(0), limits)
        try:
            answer = pool.call(call, Block(pixels, pixels.astype(bool)), grid, lambda: True)
        finally:
            pool.close()
    finally:
        launcher.stop()
    if not (answer.block.data == 2).all():
        raise OSError("its result is wrong")
    return time.monotonic() - start


def compiled_code(settings: Settings) -> Iterator[Finding]:
    """Whether compiled code is kept, and all of it is there; compiles what is not."""
    import numba

    from geoloom_engine.compiled import unpack
    from geoloom_engine.rehearsal import first_steps
    from geoloom_engine.warming import UNDER_WAY, Warming

    try:
        kept = str(numba.njit(cache=True)(compiled_code).stats.cache_path)
    except (RuntimeError, OSError):
        kept = ""
    start = time.monotonic()
    unpack(os.environ)
    warming = Warming(first_steps, lambda: ())
    try:
        while warming.problem == UNDER_WAY and time.monotonic() - start < WARM_SECONDS:
            time.sleep(LOOK)
    finally:
        warming.close()
    took = f"{time.monotonic() - start:.1f} s"
    if warming.problem:
        yield "WRONG", f"{warming.problem} After {took}"
    elif kept:
        yield "ok", f"ready after {took}, kept in {kept}"
    else:
        yield (
            "mind",
            f"ready after {took}, but kept nowhere: every process compiles at every start. Name a folder "
            "that can be written in NUMBA_CACHE_DIR",
        )


def sources(settings: Settings) -> Iterator[Finding]:
    """Whether what may be read can be, and indexes be kept."""
    places = [*settings.sources, *(one.partition("=")[2].strip() for one in settings.catalogs)]
    if not settings.sources:
        yield "mind", "GEOLOOM_SOURCES is empty: no file can be opened"
    for place in dict.fromkeys(places):
        if "://" in place:
            yield _reached(place)
        elif not Path(place).exists():
            yield (
                "WRONG",
                f"{place} is not there. Mount it, or take it from GEOLOOM_SOURCES and GEOLOOM_CATALOGS",
            )
        elif not os.access(place, os.R_OK | os.X_OK if Path(place).is_dir() else os.R_OK):
            yield "WRONG", f"{place} may not be read by uid {os.getuid()}. Give it the right to"
        else:
            yield "ok", f"{place} can be read"
    if settings.catalogs:
        from geoloom_engine.catalog.catalogues import own_folder

        try:
            folder = Path(settings.indexes) if settings.indexes else own_folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(None, "it cannot be written", str(folder))
            yield "ok", f"indexes are kept in {folder}"
        except (OSError, GeoloomError) as error:
            yield "WRONG", f"indexes can be kept nowhere: {error}. Name a folder in GEOLOOM_INDEXES"


def _reached(place: str) -> Finding:
    """Whether a server of files answers; who is away now may be back in a moment."""
    from geoloom_engine.readers.signing import Store

    address = place
    if place.startswith("s3://"):
        try:
            address = Store.of(os.environ).request(f"{place.rstrip('/')}/")[0]
        except ValueError as error:
            return "WRONG", f"{place}: {error}"
    parts = urlsplit(address)
    if not parts.hostname:
        return "ok", f"{place}: any server"
    try:
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
        socket.create_connection((parts.hostname, port), TIMEOUT).close()
    except OSError as error:
        return (
            "mind",
            f"{place}: {parts.hostname} does not answer ({error.strerror or error}). Look at the network, "
            "and at what this machine may reach",
        )
    return "ok", f"{place}: {parts.hostname} answers"


def hub(settings: Settings) -> Iterator[Finding]:
    """Whether JupyterHub answers."""
    import urllib3

    if not settings.hub_api_url:
        yield "ok", "there is none"
        return
    url = settings.hub_api_url.rstrip("/")
    away = (
        f"GEOLOOM_HUB_API_URL {url} does not answer as a hub ({{}}). Without it nobody can register a chain; "
        "maps that are open go on"
    )
    try:
        answer = urllib3.request("GET", f"{url}/", timeout=TIMEOUT, retries=False, redirect=False)
        version = answer.json()["version"]
    except (urllib3.exceptions.HTTPError, OSError) as error:
        yield "mind", away.format(type(error).__name__)
    except (ValueError, KeyError, TypeError):
        yield "mind", away.format(f"it says {answer.status}")
    else:
        yield "ok", f"JupyterHub {version} answers"


CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "secrets": secrets,
    "memory": memory,
    "chain store": chain_store,
    "tile store": tile_store,
    "hub": hub,
    "sources": sources,
    "sandbox": sandbox,
    "compiled code": compiled_code,
}


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Try everything, tell, and answer with an exit status."""
    try:
        settings = load(arguments, environment)
    except ValueError as error:
        sys.stdout.write(f"WRONG  settings       {error}\n")
        return WRONG_SETTINGS
    found = [("ok", "settings", f"Geoloom engine {__version__}")]
    found += [("mind", "settings", warning) for warning in unknown_variables(environment)]
    for line in found:
        _tell(*line)
    levels = set()
    for name, check in CHECKS.items():
        try:
            for level, words in check(settings):
                levels.add(level)
                _tell(level, name, words)
        except Exception as error:  # noqa: BLE001 - told, and the others are tried
            levels.add("WRONG")
            _tell("WRONG", name, f"could not be tried: {type(error).__name__}: {error}")
    return int("WRONG" in levels)


def _tell(level: str, name: str, words: str) -> None:
    sys.stdout.write(f"{level:<5}  {name:<13}  {words.rstrip('.')}.\n")
    # One that hangs is to be seen.
    sys.stdout.flush()
