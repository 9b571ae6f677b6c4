from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from geoloom_engine.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}[{labels}]"] = sample.value
    return found


def test_workers_are_added_up_across_processes() -> None:
    metrics = Metrics(2)
    metrics.claim(0)
    metrics.request("tiles", 200, 0.003)
    child = os.fork()
    if child == 0:
        metrics.claim(1)
        metrics.request("tiles", 200, 99.0)
        metrics.request("tiles", 404, 0.1)
        metrics.tile("computed", {"read": 0.5})
        metrics.waiting(7)
        os._exit(0)
    os.waitpid(child, 0)
    found = samples(metrics)
    assert found["geoloom_requests_total[route=tiles,status=2xx]"] == 2
    assert found["geoloom_requests_total[route=tiles,status=4xx]"] == 1
    assert found["geoloom_tile_seconds_bucket[le=0.005]"] == 1
    assert found["geoloom_tile_seconds_bucket[le=+Inf]"] == 3
    assert found["geoloom_tile_seconds_count[]"] == 3
    assert found["geoloom_tiles_total[origin=computed]"] == 1
    assert found["geoloom_stage_seconds_total[stage=read]"] == 0.5
    assert found["geoloom_waiting[]"] == 7


def test_a_restarted_worker_goes_on_counting() -> None:
    metrics = Metrics(1)
    metrics.claim(0)
    metrics.fault()
    metrics.waiting(3)
    metrics.claim(0)
    metrics.fault()
    assert samples(metrics)["geoloom_faults_total[]"] == 2
    assert samples(metrics)["geoloom_waiting[]"] == 0


def test_unknown_routes_and_stages_do_not_matter() -> None:
    metrics = Metrics(1)
    metrics.request("nonsense", 200, 0.1)
    metrics.tile("memory", {"cache": 0.1})
    assert samples(metrics)["geoloom_requests_total[route=other,status=2xx]"] == 1
