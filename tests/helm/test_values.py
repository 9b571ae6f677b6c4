"""What may be set: a misspelt key is refused, all is explained, mistakes are answered in a sentence."""

from __future__ import annotations

import copy
import re

import pytest
import yaml
from helm_python import HelmError, HelmValuesError

OF_OTHERS = {"jupyterhub", "dask-gateway"}
FREE = {
    ("data", "catalogs"), ("data", "restricted"), ("data", "environment"), ("engine", "settings"),
    ("engine", "podAnnotations"), ("engine", "nodeSelector"), ("ingress", "annotations"),
    ("monitoring", "serviceMonitor", "labels"), ("monitoring", "dashboard", "labels"),
}  # fmt: skip
"""Whose keys are the operator's to choose."""


def tables(values, path=()):
    """Paths of all tables of values that are this chart's."""
    yield path
    for key, value in values.items():
        if isinstance(value, dict) and (*path, key)[0] not in OF_OTHERS:
            yield from tables(value, (*path, key))


def at(values, path):
    for key in path:
        values = values[key]
    return values


def test_a_misspelt_key_is_refused_wherever_it_stands(render):
    values = render.chart.values
    places = [
        path
        for path in tables(values)
        if path not in FREE and path[-1:] not in (("nodeSelector",), ("matchLabels",))
    ]
    assert len(places) > 40
    for path in places:
        wrong = copy.deepcopy(values)
        at(wrong, path)["replcas"] = 1
        with pytest.raises(HelmValuesError, match="replcas"):
            render.chart.validate_schema(wrong)


def test_every_value_is_of_a_kind_that_is_checked(render):
    values = render.chart.values
    for path in tables(values):
        for key, value in at(values, path).items():
            if (*path, key)[0] in OF_OTHERS or path in FREE:
                continue
            wrong = copy.deepcopy(values)
            at(wrong, path)[key] = {"so": "not"} if not isinstance(value, dict) else "not so"
            if key in ("nodeSelector", "matchLabels"):
                wrong = copy.deepcopy(values)
                at(wrong, path)[key] = 3
            with pytest.raises(HelmValuesError):
                render.chart.validate_schema(wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"engine": {"image": {"name": "geoloom/engine", "tag": "latest", "pullPolicy": "Always"}}}, "tag"),
        ({"engine": {"settings": {"GEOLOOM_TILE_TIMOUT": "30s"}}}, "TIMOUT"),
        ({"engine": {"settings": {"GEOLOOM_TOKEN": "in the clear"}}}, "GEOLOOM_TOKEN"),
        ({"engine": {"settings": {"GEOLOOM_FUNCTIONS": "unprotected"}}}, "GEOLOOM_FUNCTIONS"),
        ({"engine": {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}, "replicas": 0}}, "replicas"),
        ({"engine": {"resources": {"limits": {"cpu": "much", "memory": "1Gi"}}}}, "cpu"),
        ({"data": {"sources": ["/data,/etc"]}}, "sources"),
        ({"data": {"sources": ["ftp://example.org"]}}, "sources"),
        ({"data": {"restricted": {"/data": []}}}, "restricted"),
        ({"ingress": {"enabled": True, "hashing": "round"}}, "hashing"),
        ({"chains": {"maxMemory": "1G"}}, "maxMemory"),
        ({"backup": {"enabled": True, "schedule": "daily"}}, "schedule"),
    ],
)
def test_a_wrong_value_is_refused_by_name(render, login, wrong, named):
    with pytest.raises(HelmValuesError, match=named):
        render(login, wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"jupyterhub": {"hub": {"config": {"DummyAuthenticator": {"password": ""}}}}},
            "Anybody could log in",
        ),
        ({"ingress": {"enabled": True}}, "name the hosts"),
        (
            {"ingress": {"enabled": True, "hosts": ["a.example"]}},
            "a.example is not in jupyterhub.ingress.hosts",
        ),
        ({"seccomp": {"type": "Localhost"}}, "seccomp.localhostProfile"),
        ({"engine": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "minReplicas is more"),
        ({"apps": {"enabled": False}}, "GEOLOOM_HUB_APPS_URL"),
        ({"usage": {"enabled": False}}, "GEOLOOM_HUB_USAGE_URL"),
    ],
)
def test_values_that_do_not_go_together_are_told_in_a_sentence(render, login, wrong, told):
    with pytest.raises(HelmError, match=told):
        render(login, wrong)


def test_every_key_is_explained(chart_folder):
    lines = (chart_folder / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-z]", line) and not before.startswith("#")
    ]
    assert bare == []


def test_values_stand_in_the_order_and_number_of_the_schema(render):
    assert set(render.chart.schema["properties"]) - {"global"} == set(render.chart.values)


def test_examples_set_only_what_there_is(chart_folder, render):
    for path in (chart_folder / "examples").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())
        render.chart.validate_schema(render.chart.merge_values(values))


def test_base_path_of_the_hub_goes_before_all(render, login):
    below = render(
        login,
        {
            "jupyterhub": {
                "hub": {"baseUrl": "/lab/", "extraEnv": {"GEOLOOM_HUB_TILES_URL": "/lab/services/tiles"}}
            }
        },
    )
    env = {one["name"]: one.get("value") for one in below.pod("geoloom-engine").spec["containers"][0]["env"]}
    assert env["GEOLOOM_PREFIX"] == "/lab/services/tiles"
    assert env["GEOLOOM_HUB_API_URL"] == "http://hub:8081/lab/hub/api"


def test_own_images_and_logins_to_registries_are_used(render):
    pods = list(render.example("production").pods())
    assert all(pod.spec["imagePullSecrets"] == [{"name": "registry"}] for pod in pods)
    own = [c["image"] for pod in pods for c in pod.containers if "valkey" not in c["image"]]
    assert all(image.startswith("registry.example.org/geoloom/") for image in own)
