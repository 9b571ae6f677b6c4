"""What an operator can set: environment variables and options become one frozen `Settings`.

``python -m geoloom_engine.settings`` prints the reference table of ``docs/settings.md``.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

from geoloom._version import __version__
from geoloom.calling import DEFAULT_MODULES
from geoloom_engine.setting_parsers import (
    Parser,
    named_places,
    names,
    one_of,
    or_auto,
    prefix,
    restrictions,
    seconds,
    size,
    size_or_auto,
    text,
    whole,
)

PREFIX = "GEOLOOM_"

SELF_TEST = "--self-test"
"""The option that is no setting."""

CLIENT_VARIABLES = frozenset(
    {"GEOLOOM_ENGINE_URL", "GEOLOOM_TILES_URL", "GEOLOOM_TOKEN_FROM", "GEOLOOM_HOME", "GEOLOOM_LINGER"}
)
"""Variables of the client library, which often stand in the same environment."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def setting(default: str | None, parse: Parser, doc: str) -> Any:
    """A field of `Settings`: the default as an operator would write it, its parser, its meaning."""
    value = None if default is None else parse(default)
    return field(default=value, metadata={"written": default, "parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an engine can be told; see the fields' documentation for units."""

    host: str = setting("127.0.0.1", text, "Address to listen on.")
    port: int = setting("8080", whole(0, 65535), "Port to listen on; 0 takes a free one and prints it.")
    workers: int = setting(
        "0", whole(0, 256), "Processes; 0 starts as many as there are cores and memory for."
    )
    redis_url: str = setting(
        "redis://127.0.0.1:6379/0",
        text,
        "Redis or Valkey with chains, blobs and events: redis://, rediss:// or unix://.",
    )
    tile_redis_url: str | None = setting(
        None,
        text,
        "Server of the tile cache, by default that of the chains; empty for no such cache. With chains it "
        "wants `maxmemory-policy volatile-lfu`, `lfu-decay-time 1440` and `maxmemory-samples 64`, "
        "alone `allkeys-lru`.",
    )
    token: str = setting("", text, "Session secret; clients send it as 'Authorization: Bearer …'.")
    signing_key: str = setting(
        "",
        text,
        "Secrets that sign layer URLs, separated by commas: the first signs, all verify (rotation). "
        "By default a new random one at each start.",
    )
    prefix: str = setting(
        "",
        prefix,
        "Path before all others, under which a proxy leads here, such as /services/tiles; requests are "
        "answered with it and without.",
    )
    hub_api_url: str = setting(
        "",
        text,
        "JupyterHub's REST API, such as http://127.0.0.1:8081/hub/api: then the hub's tokens are taken "
        "beside the session secret. Empty: no hub.",
    )
    hub_service: str = setting(
        "tiles",
        text,
        "What the hub calls this engine: tokens need the scope access:services!service=NAME.",
    )
    hub_recheck: float = setting("60s", seconds, "How long the hub's word about a token is taken.")
    nonce: str = setting("", text, "Name by which this engine is recognised in /healthz; by default random.")
    sources: tuple[str, ...] = setting(
        "",
        names,
        "Folders, and prefixes of http://, https:// and s3:// addresses, that it may read, separated by "
        "commas; empty allows none.",
    )
    restricted: tuple[str, ...] = setting(
        "",
        restrictions,
        "Sources and collections for some people only, separated by commas: PLACE=GROUP+GROUP, where PLACE "
        "is a folder, an address, collection:ID or collection:CATALOGUE/ID, and a group is one of the hub, "
        "user:NAME or service:NAME; FOLDER/{user}=user:{user} makes each user's folder his own.",
    )
    catalogs: tuple[str, ...] = setting(
        "",
        named_places,
        "STAC catalogues that collections are found in, separated by commas: NAME=FOLDER, NAME=URL of a "
        "static catalogue or of a STAC API.",
    )
    indexes: str = setting(
        "",
        text,
        "Folder for indexes of catalogues, shared by all workers; by default one in the user's cache folder.",
    )
    max_reads: int = setting(
        "500",
        whole(1, 100_000),
        "Files of a collection's items that one tile may read; beyond, the tile says why.",
    )
    read_timeout: float = setting(
        "10s", seconds, "How long one read from a remote source may take, with all it is tried again."
    )
    read_retries: int = setting(
        "2", whole(0, 10), "How often a failed read from a remote source is tried again."
    )
    allowed_hosts: tuple[str, ...] = setting(
        "",
        names,
        "Further values of the Host header to answer to, separated by commas; '.example.org' stands "
        "for all below it, '*' for any. Loopback names are always answered.",
    )
    allowed_origins: tuple[str, ...] = setting(
        "", names, "Origins of web pages that may call, separated by commas; loopback ones always may."
    )
    memory: int | None = setting(
        "auto",
        size_or_auto,
        "Memory one process may take in all, of which programs take 240 MB. auto: 60 % of a container's "
        "memory, or 25 % of the machine's, divided by the processes, and 384MB at least. What is left keeps "
        "blocks, nodes and tiles; what was not used for longest goes first.",
    )
    block_cache: int | None = setting(
        "auto", size_or_auto, "Most of that for decoded source blocks; auto: as much as there is, 0: none."
    )
    node_cache: int | None = setting(
        "auto",
        size_or_auto,
        "Most of that for results of a chain's nodes; auto: as much as there is, 0: none.",
    )
    tile_cache: int | None = setting(
        "auto", size_or_auto, "Most of that for encoded tiles; auto: as much as there is, 0: none."
    )
    gdal_cache: int = setting("32MB", size, "GDAL's own block cache, per process.")
    open_sources: int = setting("1024", whole(1, 65536), "Source files kept open, per process.")
    source_recheck: float = setting("10s", seconds, "How long a source's fingerprint counts as fresh.")
    cache_epoch: str = setting("0", text, "Part of every data version: change it to forget all cached tiles.")
    tile_ttl: float = setting("7d", seconds, "How long the tile cache keeps an unused tile.")
    chain_ttl: float = setting("30d", seconds, "How long an unsaved, unused chain or blob is kept.")
    capability_ttl: float = setting(
        "1h", seconds, "How long a layer's URL is valid; open maps renew theirs in time."
    )
    event_ttl: float = setting("1d", seconds, "How long the events of an idle session are kept.")
    max_source_pixels: int = setting(
        "64000000", whole(1, 10**12), "Source pixels a request may read; beyond, it is refused with a reason."
    )
    max_blob: int = setting("32MB", size, "Largest blob.")
    queue_length: int = setting(
        "256", whole(1, 100_000), "Requests that may wait for computation, per process."
    )
    queue_timeout: float = setting("10s", seconds, "How long a request may wait for computation.")
    tile_owners: str = setting(
        "remote",
        one_of("on", "remote", "off"),
        "Which images' neighbouring tiles are computed by one worker that the others ask, so that it alone "
        "reads and decodes their sources: on (of all images), remote (of images that are read over the "
        "network), off (of none).",
    )
    tile_timeout: float = setting("30s", seconds, "How long the computation of one answer may take.")
    drain_timeout: float = setting("3s", seconds, "How long a stopping engine finishes what it has begun.")
    io_threads: int = setting(
        "8", whole(1, 256), "Threads that wait for stores and remote sources, per process."
    )
    functions: str = setting(
        "sandbox",
        one_of("sandbox", "trusted", "unprotected", "off"),
        "Where users' functions run. sandbox: in locked-down processes; refused where the system has no "
        "seccomp. trusted: in ordinary processes, and only those that this engine's own kernels sent. "
        "unprotected: in ordinary processes, anybody's: who may send a chain can then do what the engine "
        "can. off: nowhere.",
    )
    function_modules: tuple[str, ...] = setting(
        ",".join(DEFAULT_MODULES), names, "Modules that users' functions may import, separated by commas."
    )
    function_timeout: float = setting(
        "5s",
        seconds,
        "How long a user's function may take for one tile. What it waits for a processor does not count, "
        "until four times as much has passed.",
    )
    function_memory: int = setting("512MB", size, "Memory one process of a user's function may take.")
    function_workers: int = setting(
        "8",
        whole(1, 256),
        "Processes of users' functions, per process of the engine, and one kept ready; idle ones end.",
    )
    user_chains: int | None = setting(
        "auto",
        or_auto(whole(0, 10**9)),
        "Chains that one user may have in the store; 0: no limit, auto: 5000 behind a hub. What "
        "is not saved makes room once it is not used for an hour.",
    )
    user_blobs: int | None = setting(
        "auto",
        or_auto(whole(0, 10**9)),
        "The same of blobs, which are functions' texts, selections and features; auto: 2000 behind a hub.",
    )
    user_bytes: int | None = setting(
        "auto", or_auto(size), "The same of bytes of both together; auto: 512MB behind a hub."
    )
    user_requests: int | None = setting(
        "auto",
        or_auto(whole(0, 10**6)),
        "Requests of one user that a process answers at once, but tiles that it has in memory; 0: no limit, "
        "auto: 200 behind a hub. Services of the hub have no limit.",
    )
    user_function_time: float | None = setting(
        "auto",
        or_auto(seconds),
        "How long functions of one user may compute in a minute, in all engines of a store together; 0: no "
        "limit, auto: 2m behind a hub. Services of the hub have no limit.",
    )
    metrics_token: str = setting(
        "",
        text,
        "Secret that opens /metrics and nothing else; without one, /metrics is open, or behind a hub for "
        "admins.",
    )
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "Least level to log.")
    log_format: str = setting("text", one_of("text", "json"), "One line of text, or of JSON, per entry.")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK

    @property
    def tile_store(self) -> str | None:
        """URL of the tile cache's server, or None for none."""
        return self.redis_url if self.tile_redis_url is None else self.tile_redis_url or None


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from options, else environment variables, else defaults.

    Raises
    ------
    ValueError
        A value that does not parse, or settings that do not go together; one sentence.
    """
    options = vars(_parser().parse_args(list(arguments)))
    values: dict[str, Any] = {}
    for item in fields(Settings):
        for place, found in (
            (option(item), options[item.name]),
            (variable(item), environment.get(variable(item))),
        ):
            if found is not None:
                try:
                    values[item.name] = item.metadata["parse"](found)
                except ValueError as error:
                    raise ValueError(f"{place}: {error}.") from None
                break
    settings = Settings(**values)
    if not settings.loopback and not settings.token and not settings.hub_api_url:
        raise ValueError(
            f"Listening on {settings.host} reaches beyond this machine and needs a secret: "
            "set GEOLOOM_TOKEN or GEOLOOM_HUB_API_URL, or listen on 127.0.0.1."
        )
    if settings.hub_api_url and not settings.hub_api_url.startswith(("http://", "https://")):
        raise ValueError(
            f"GEOLOOM_HUB_API_URL: {settings.hub_api_url!r} is not an http:// or https:// address."
        )
    if settings.hub_api_url and settings.functions == "trusted":
        raise ValueError(
            "GEOLOOM_FUNCTIONS=trusted is for an engine of one person: below a hub functions run in the "
            "sandbox, or are off."
        )
    if settings.restricted and not settings.hub_api_url:
        raise ValueError(
            "GEOLOOM_RESTRICTED: only JupyterHub knows who is in which group: set GEOLOOM_HUB_API_URL too."
        )
    return settings


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A warning for each GEOLOOM_… variable that means nothing, with the nearest known name."""
    known = {variable(item) for item in fields(Settings)} | CLIENT_VARIABLES
    warnings = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            meant = f" Did you mean {near[0]}?" if near else ""
            warnings.append(f"The environment variable {name} is not a setting.{meant}")
    return warnings


def variable(item: Field[Any]) -> str:
    """The environment variable of a field."""
    return PREFIX + item.name.upper()


def option(item: Field[Any]) -> str:
    """The command line option of a field."""
    return "--" + item.name.replace("_", "-")


def markdown() -> str:
    """The reference page of all settings."""
    lines = [
        "# Settings of the engine",
        "",
        "Each is an option of `geoloom-engine` and an environment variable; the option wins. Secrets belong",
        "into the environment: other users of a machine can read options. This page is generated by",
        "`python -m geoloom_engine.settings`.",
        "",
        "| variable | option | default | meaning |",
        "|---|---|---|---|",
    ]
    for item in fields(Settings):
        default = f"`{item.metadata['written']}`" if item.metadata["written"] else ""
        lines.append(f"| `{variable(item)}` | `{option(item)}` | {default} | {item.metadata['doc']} |")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geoloom-engine",
        description="Serves tiles of Geoloom chains.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        SELF_TEST,
        action="store_true",
        help="Try whether an engine with these settings would work here, tell what is wrong, and start none.",
    )
    for item in fields(Settings):
        written = item.metadata["written"]
        default = f" Default: {written}." if written else ""
        meaning = f"{item.metadata['doc']}{default} [{variable(item)}]"
        parser.add_argument(option(item), dest=item.name, metavar="VALUE", help=meaning.replace("%", "%%"))
    return parser


if __name__ == "__main__":
    sys.stdout.write(markdown())
