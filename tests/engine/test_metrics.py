from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from geoloom_engine.metrics import STAGE_SECONDS, STAGES, Metrics


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
    assert found["geoloom_stage_seconds_sum[stage=read]"] == 0.5
    assert found["geoloom_stage_seconds_count[stage=read]"] == 1
    assert found["geoloom_stage_seconds_bucket[le=0.25,stage=read]"] == 0
    assert found["geoloom_stage_seconds_bucket[le=0.5,stage=read]"] == 1
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


def test_a_worker_that_died_is_told_by_the_starts_of_all() -> None:
    metrics, another = Metrics(2), Metrics(2)
    for worker in (0, 1):
        metrics.claim(worker)
    before = metrics.lives
    assert before["starts"] == 2
    metrics.claim(1)
    assert metrics.lives == before | {"starts": 3}
    assert another.lives["engine"] != before["engine"]


def test_unknown_routes_and_stages_do_not_matter() -> None:
    metrics = Metrics(1)
    metrics.request("nonsense", 200, 0.1)
    metrics.tile("memory", {"cache": 0.1})
    assert samples(metrics)["geoloom_requests_total[route=other,status=2xx]"] == 1


def test_every_stage_has_its_classes() -> None:
    metrics = Metrics(1)
    for i, stage in enumerate(STAGES):
        metrics.tile("computed", {stage: 10.0**-i})
    metrics.tile("computed", {"read": 1000.0, "nonsense": 1.0})
    found = samples(metrics)
    for i, stage in enumerate(STAGES):
        more = 1000.0 if stage == "read" else 0.0
        assert found[f"geoloom_stage_seconds_sum[stage={stage}]"] == 10.0**-i + more
        for limit in (*STAGE_SECONDS, float("inf")):
            name = f"geoloom_stage_seconds_bucket[le={'+Inf' if limit > 1e9 else limit},stage={stage}]"
            assert found[name] == (10.0**-i <= limit) + (more > 0 and limit > 1e9)


def test_states_are_those_of_the_living_workers() -> None:
    metrics = Metrics(2)
    child = os.fork()
    if child == 0:
        metrics.claim(1)
        metrics.note({"resident_bytes": 5.0, "hits nodes": 7.0, "bytes blocks": 3.0})
        os._exit(0)
    os.waitpid(child, 0)
    metrics.claim(0)
    metrics.note({"resident_bytes": 10.0, "hits nodes": 2.0, "nonsense": 1.0})
    found = samples(metrics)
    assert found["geoloom_resident_bytes[]"] == 15
    assert found["geoloom_cache_hits_total[cache=nodes]"] == 9
    assert found["geoloom_cache_bytes[cache=blocks]"] == 3
    metrics.claim(1)
    assert samples(metrics)["geoloom_resident_bytes[]"] == 10


def test_requests_and_texts_are_told() -> None:
    metrics, told = Metrics(1), []
    metrics.notify(lambda: told.append("request"), lambda: told.append("text"))
    metrics.request("tiles", 200, 0.1)
    metrics.text()
    assert told == ["request", "text"]


def test_each_name_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(Metrics(1).text().decode()):
        assert f"`{family.name}`" in page, family.name
