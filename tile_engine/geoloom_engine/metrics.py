"""What all workers counted and how they are, in one piece of shared memory, in Prometheus' text format.

Each worker writes its own row of an anonymous map made before the fork, and whichever worker is
asked adds the rows: no files, no extra process.
"""

from __future__ import annotations

import bisect
import mmap
import secrets
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

ROUTES = (
    "tiles",
    "chains",
    "blobs",
    "legend",
    "tilejson",
    "basemap",
    "values",
    "events",
    "usage",
    "health",
    "other",
)
STATUSES = ("2xx", "3xx", "4xx", "5xx")
ORIGINS = ("memory", "redis", "computed", "partial")
STAGES = ("queue", "plan", "read", "compute", "encode", "cache", "hop")
CACHES = ("blocks", "nodes", "tiles")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the classes of a request's time."""
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, *SECONDS)
"""Of a stage's time: most are short."""

CACHE_COUNTS = {
    "hits": "Things asked for that were there.",
    "misses": "Things asked for that were not.",
    "evictions": "Things let go for want of room.",
}
CACHE_STATES = {"entries": "Things kept.", "bytes": "Bytes they take."}
STATES = {
    "waiting": "Requests that wait for computation.",
    "open_sources": "Source files open.",
    "memory_limit_bytes": "Memory the workers may take.",
    "memory_kept_bytes": "Of it taken by all caches.",
    "resident_bytes": "Memory the workers take; pages they share count for each.",
    "function_workers": "Processes of users' functions.",
}
"""What a worker is like now."""
FUNCTION_COUNTS = {
    "function_calls": "Tiles that users' functions computed, or failed to.",
    "function_seconds": "Time they took.",
    "function_workers_spawned": "Processes of users' functions that were made.",
    "function_workers_killed": "Of them ended because of what the function did.",
    "functions_quarantined": "Functions that are not run any more.",
}
"""What a worker counts of users' functions since it started."""
SUMS = {
    "worker_starts": "Starts of worker processes; all beyond their number replaced one that had died.",
    "refused": "Requests refused for want of room.",
    "faults": "Defects, each logged with an incident.",
    "gc_collections": "Runs of Python's garbage collector.",
    "gc_seconds": "Time they took.",
}

LIMITS = ("requests", "function_time", "quota")
"""What users may have of an engine; see `allowances` and `quotas`."""

_GAUGES = (
    *STATES,
    "users",
    *FUNCTION_COUNTS,
    *(f"{what} {cache}" for what in (*CACHE_STATES, *CACHE_COUNTS) for cache in CACHES),
)
_NAMES = (
    *(f"requests {route} {status}" for route in ROUTES for status in STATUSES),
    *(f"seconds tiles {limit}" for limit in (*SECONDS, "+Inf", "sum")),
    *(f"tiles {origin}" for origin in ORIGINS),
    *(f"stage {stage} {limit}" for stage in STAGES for limit in (*STAGE_SECONDS, "+Inf", "sum")),
    *SUMS,
    *(f"limited {limit}" for limit in LIMITS),
    *_GAUGES,
)
_INDEX = {name: i for i, name in enumerate(_NAMES)}
_REQUESTS = {
    (route, i): _INDEX[f"requests {route} {status}"]
    for route in ROUTES
    for i, status in enumerate(STATUSES, start=2)
}


class Metrics:
    """The counters; one object is made before the fork, and each worker claims its row.

    Parameters
    ----------
    workers
        How many rows there are.
    """

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, 8 * len(_NAMES) * workers)
        self._values = memoryview(self._memory).cast("d")
        self._workers = workers
        self._row = 0
        self._started = time.time()
        self._engine = secrets.token_hex(8)
        self._on_request: Callable[[], None] = _nothing
        self._on_text: Callable[[], None] = _nothing

    def claim(self, worker: int) -> None:
        """Count in this worker's row from now on; what its predecessor counted stays."""
        self._row = worker * len(_NAMES)
        for name in _GAUGES:
            self._values[self._row + _INDEX[name]] = 0
        self.add("worker_starts")

    @property
    def lives(self) -> dict[str, str | int]:
        """A name of this start of the engine, and how often a worker was started: more where one died."""
        return {"engine": self._engine, "starts": int(self.total("worker_starts"))}

    def notify(self, on_request: Callable[[], None], on_text: Callable[[], None]) -> None:
        """Have functions called after each request, and before this worker shows the counters."""
        self._on_request, self._on_text = on_request, on_text

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        name = route if route in ROUTES else "other"
        place = _REQUESTS.get((name, status // 100))
        if place is not None:
            self._values[self._row + place] += 1
        if route == "tiles":
            self._observe("seconds tiles 0.001", SECONDS, seconds)
        self._on_request()

    def tile(self, origin: str, stages: Mapping[str, float]) -> None:
        """Count a served tile by where it came from, and the seconds of each stage."""
        self.add(f"tiles {origin}")
        for stage, seconds in stages.items():
            self._observe(f"stage {stage} 0.0001", STAGE_SECONDS, seconds)

    def refused(self) -> None:
        """Count a request refused for want of room."""
        self.add("refused")

    def limited(self, limit: str) -> None:
        """Count a request refused because its user had reached a limit: one of `LIMITS`."""
        self.add(f"limited {limit}")

    def fault(self) -> None:
        """Count a defect."""
        self.add("faults")

    def waiting(self, jobs: int) -> None:
        """Note the length of this worker's queue."""
        self._values[self._row + _INDEX["waiting"]] = jobs

    def note(self, states: Mapping[str, float]) -> None:
        """Note what this worker is like now: names of `STATES`, or such as ``hits blocks``."""
        for name, value in states.items():
            place = _INDEX.get(name)
            if place is not None:
                self._values[self._row + place] = value

    def add(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter; there need not be one of that name."""
        place = _INDEX.get(name)
        if place is not None:
            self._values[self._row + place] += amount

    def total(self, name: str) -> float:
        """The sum over the workers of one counter."""
        place = _INDEX[name]
        return sum(self._values[worker * len(_NAMES) + place] for worker in range(self._workers))

    def most(self, name: str) -> float:
        """The largest of the workers' values."""
        place = _INDEX[name]
        return max(self._values[worker * len(_NAMES) + place] for worker in range(self._workers))

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        self._on_text()
        registry = CollectorRegistry()
        registry.register(_Shown(self))
        return generate_latest(registry)

    def _observe(self, first: str, limits: tuple[float, ...], seconds: float) -> None:
        """Count a time in its class; the classes lie after each other, and their sum last."""
        start = _INDEX.get(first)
        if start is not None:
            row = self._row + start
            self._values[row + bisect.bisect_left(limits, seconds)] += 1
            self._values[row + len(limits) + 1] += seconds

    def families(self) -> Iterator[Metric]:
        """The counters as Prometheus' metric families."""
        requests = CounterMetricFamily("geoloom_requests", "Answered requests.", labels=["route", "status"])
        for route in ROUTES:
            for status in STATUSES:
                requests.add_metric([route, status], self.total(f"requests {route} {status}"))
        yield requests
        latency = HistogramMetricFamily("geoloom_tile_seconds", "Time to answer a tile request.")
        latency.add_metric([], *self._classes("seconds tiles", SECONDS))
        yield latency
        tiles = CounterMetricFamily("geoloom_tiles", "Tiles by where they came from.", labels=["origin"])
        for origin in ORIGINS:
            tiles.add_metric([origin], self.total(f"tiles {origin}"))
        yield tiles
        stages = HistogramMetricFamily(
            "geoloom_stage_seconds", "Time of the stages of tiles not in memory.", labels=["stage"]
        )
        for stage in STAGES:
            stages.add_metric([stage], *self._classes(f"stage {stage}", STAGE_SECONDS))
        yield stages
        for what, meaning in CACHE_COUNTS.items():
            counter = CounterMetricFamily(f"geoloom_cache_{what}", meaning, labels=["cache"])
            for cache in CACHES:
                counter.add_metric([cache], self.total(f"{what} {cache}"))
            yield counter
        for what, meaning in CACHE_STATES.items():
            gauge = GaugeMetricFamily(f"geoloom_cache_{what}", meaning, labels=["cache"])
            for cache in CACHES:
                gauge.add_metric([cache], self.total(f"{what} {cache}"))
            yield gauge
        for name, meaning in (SUMS | FUNCTION_COUNTS).items():
            yield CounterMetricFamily(f"geoloom_{name}", meaning, self.total(name))
        limited = CounterMetricFamily(
            "geoloom_limited", "Requests refused because a user had reached a limit.", labels=["limit"]
        )
        for limit in LIMITS:
            limited.add_metric([limit], self.total(f"limited {limit}"))
        yield limited
        # Each worker is told of all users, now and then: who knows of most was told last, or nearly so.
        yield GaugeMetricFamily(
            "geoloom_users", "Users who asked any engine for anything lately.", self.most("users")
        )
        for name, meaning in STATES.items():
            yield GaugeMetricFamily(f"geoloom_{name}", meaning, self.total(name))
        yield GaugeMetricFamily("geoloom_workers", "Worker processes.", self._workers)
        yield GaugeMetricFamily(
            "geoloom_uptime_seconds", "Time since the engine started.", time.time() - self._started
        )

    def _classes(self, name: str, limits: tuple[float, ...]) -> tuple[list[tuple[str, float]], float]:
        """The cumulated classes of a histogram, and its sum."""
        buckets, below = [], 0.0
        for limit in (*limits, "+Inf"):
            below += self.total(f"{name} {limit}")
            buckets.append((str(limit), below))
        return buckets, self.total(f"{name} sum")


class _Shown(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()


def _nothing() -> None:
    pass
