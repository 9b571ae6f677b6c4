"""The dashboard asks for metrics that there are, with labels and values that they have."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from geoloom_engine.metrics import Metrics

NAME = re.compile(r"\bgeoloom_[a-z_]+\b")
ADDED = {"namespace", "pod"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def samples():
    """What an engine tells: each sample's name with the values of its labels."""
    found = {}
    for family in text_string_to_metric_families(Metrics(1).text().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


@pytest.fixture(scope="module")
def dashboard(render):
    (configuration,) = [
        one
        for one in render.example("production").of("ConfigMap")
        if one["metadata"]["name"] == "geoloom-dashboard"
    ]
    assert configuration["metadata"]["labels"]["grafana_dashboard"] == "1"
    return json.loads(configuration["data"]["geoloom.json"])


@pytest.fixture(scope="module")
def questions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_every_metric_asked_for_is_told_by_the_engine(questions, samples):
    asked = {name for question in questions for name in NAME.findall(question)}
    assert len(asked) > 20
    assert asked - set(samples) == set()


def test_every_metric_is_documented(questions, chart_folder):
    documented = set(NAME.findall((chart_folder.parents[1] / "docs" / "http.md").read_text()))
    asked = {name for question in questions for name in NAME.findall(question)}
    plain = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}
    assert plain - documented == set()


def test_labels_are_those_of_the_metrics(questions, samples):
    for question in questions:
        for name, inside in re.findall(r"\b(geoloom_[a-z_]+)\{([^}]*)\}", question):
            for label, how, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', inside):
                if label in ADDED:
                    continue
                wanted = re.compile(value if how == "=~" else re.escape(value))
                assert any(wanted.fullmatch(one) for one in samples[name][label]), (name, label, value)
        for labels in re.findall(r"\bby \(([^)]*)\)", question):
            (first, *_) = NAME.findall(question)
            assert {label.strip() for label in labels.split(",")} <= set(samples[first]), question


def test_counters_are_asked_for_their_growth(questions):
    for question in questions:
        for name in NAME.findall(question):
            if name.endswith(("_total", "_bucket", "_sum", "_count")):
                assert re.search(rf"(rate|increase)\({name}\{{[^}}]*\}}\[", question), question


def test_every_metric_of_the_engine_is_shown(questions, samples):
    ending = re.compile(r"_(bucket|sum|count)$")
    shown = {ending.sub("", name) for question in questions for name in NAME.findall(question)}
    assert {ending.sub("", name) for name in samples} - shown == set()


def test_panels_do_not_cover_each_other(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_scaler_looks_at_a_metric_there_is(render, samples):
    (scaler,) = render.example("production").of("HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] in samples
