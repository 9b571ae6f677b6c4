"""Counters of all workers in one piece of shared memory, shown in Prometheus' text format.

Each worker writes its own row of an anonymous map made before the fork, and whichever worker is
asked adds the rows: no files, no extra process.
"""

from __future__ import annotations

import bisect
import mmap
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

ROUTES = ("tiles", "chains", "blobs", "legend", "tilejson", "basemap", "values", "events", "health", "other")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
ORIGINS = ("memory", "redis", "computed")
STAGES = ("read", "compute", "encode")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_NAMES = (
    *(f"requests {route} {status}" for route in ROUTES for status in STATUSES),
    *(f"seconds {route} {limit}" for route in ("tiles",) for limit in (*SECONDS, "+Inf", "sum")),
    *(f"tiles {origin}" for origin in ORIGINS),
    *(f"stage {stage}" for stage in STAGES),
    "refused",
    "faults",
    "waiting",
)
_INDEX = {name: i for i, name in enumerate(_NAMES)}


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

    def claim(self, worker: int) -> None:
        """Count in this worker's row from now on; what its predecessor counted stays."""
        self._row = worker * len(_NAMES)
        self._values[self._row + _INDEX["waiting"]] = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        name = route if route in ROUTES else "other"
        self._add(f"requests {name} {status // 100}xx")
        if name == "tiles":
            place = bisect.bisect_left(SECONDS, seconds)
            self._add(f"seconds tiles {SECONDS[place] if place < len(SECONDS) else '+Inf'}")
            self._add("seconds tiles sum", seconds)

    def tile(self, origin: str, stages: dict[str, float]) -> None:
        """Count a served tile by where it came from, and the seconds of each stage."""
        self._add(f"tiles {origin}")
        for stage, seconds in stages.items():
            self._add(f"stage {stage}", seconds)

    def refused(self) -> None:
        """Count a request refused for want of room."""
        self._add("refused")

    def fault(self) -> None:
        """Count a defect."""
        self._add("faults")

    def waiting(self, jobs: int) -> None:
        """Note the length of this worker's queue."""
        self._values[self._row + _INDEX["waiting"]] = jobs

    def total(self, name: str) -> float:
        """The sum over the workers of one counter."""
        place = _INDEX[name]
        return sum(self._values[worker * len(_NAMES) + place] for worker in range(self._workers))

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(_Shown(self))
        return generate_latest(registry)

    def _add(self, name: str, amount: float = 1.0) -> None:
        place = _INDEX.get(name)
        if place is not None:
            self._values[self._row + place] += amount

    def families(self) -> Iterator[Metric]:
        """The counters as Prometheus' metric families."""
        requests = CounterMetricFamily("geoloom_requests", "Answered requests.", labels=["route", "status"])
        for route in ROUTES:
            for status in STATUSES:
                requests.add_metric([route, status], self.total(f"requests {route} {status}"))
        yield requests
        buckets, below = [], 0.0
        for limit in (*SECONDS, "+Inf"):
            below += self.total(f"seconds tiles {limit}")
            buckets.append((str(limit), below))
        latency = HistogramMetricFamily("geoloom_tile_seconds", "Time to answer a tile request.")
        latency.add_metric([], buckets, self.total("seconds tiles sum"))
        yield latency
        tiles = CounterMetricFamily("geoloom_tiles", "Tiles by where they came from.", labels=["origin"])
        for origin in ORIGINS:
            tiles.add_metric([origin], self.total(f"tiles {origin}"))
        yield tiles
        stages = CounterMetricFamily(
            "geoloom_stage_seconds", "Time spent on computed tiles.", labels=["stage"]
        )
        for stage in STAGES:
            stages.add_metric([stage], self.total(f"stage {stage}"))
        yield stages
        yield CounterMetricFamily(
            "geoloom_refused", "Requests refused for want of room.", self.total("refused")
        )
        yield CounterMetricFamily(
            "geoloom_faults", "Defects, each logged with an incident.", self.total("faults")
        )
        yield GaugeMetricFamily(
            "geoloom_waiting", "Requests that wait for computation.", self.total("waiting")
        )
        yield GaugeMetricFamily("geoloom_workers", "Worker processes.", self._workers)
        yield GaugeMetricFamily(
            "geoloom_uptime_seconds", "Time since the engine started.", time.time() - self._started
        )


class _Shown(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()
