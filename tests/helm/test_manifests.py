"""Every manifest of every example is what Kubernetes expects, in three of its versions."""

from __future__ import annotations

import functools
import json
import re

import helm_python
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

VERSIONS = ("1.33", "1.35", "1.37")
OTHERS = {"ServiceMonitor"}
"""Kinds that an operator brings along; Kubernetes has no schema of them."""


@pytest.fixture(autouse=True)
def schemas_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "schema_contents", read_schema)


read_schema = functools.cache(utils.schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid_and_have_no_unknown_field(rendered, version):
    known = [one for one in rendered.manifests if one["kind"] not in OTHERS]
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)
    assert len(known) > 20


def test_validation_would_notice(plain):
    one = json.loads(json.dumps(plain.one("Deployment", "geoloom-engine")))
    one["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"] = {"nap": {"seconds": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)


def test_versions_are_ones_that_the_chart_allows(chart_folder):
    allowed = yaml.safe_load((chart_folder / "Chart.yaml").read_text())["kubeVersion"]
    least = re.fullmatch(r">=1\.(\d+)\.0-0", allowed)
    assert least
    assert all(int(version.split(".")[1]) >= int(least[1]) for version in VERSIONS)


def test_names_are_there_once_and_say_whose_they_are(rendered):
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered.manifests]
    assert len(names) == len(set(names))
    for one in rendered.manifests:
        assert one["metadata"]["name"].startswith("geoloom-")
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "geoloom"
        assert "namespace" not in one["metadata"]


def test_helm_finds_no_fault(chart_folder, login):
    report = helm_python.lint(str(chart_folder), login, strict=True)
    # The charts it depends on are fetched before it is installed; they are not in the repository.
    said = [one["error"] for one in report["messages"] if one["severity"] >= 2]
    assert [text for text in said if "charts/" not in text and "dependencies" not in text] == []


def test_dependencies_are_declared_exactly(chart_folder):
    declared = {one["name"]: one for one in helm_python.dependency_list(str(chart_folder))}
    assert set(declared) == {"jupyterhub", "dask-gateway"}
    for one in declared.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", one["version"])
        assert one["repository"].startswith("https://")


def test_notes_tell_the_address_and_what_next(render, login):
    told = render(login).notes
    assert "http://127.0.0.1:8000/" in told
    assert "rollout status deployment/geoloom-engine" in told
    assert "data.sources" in told
    team = render.example("small-team").notes
    assert "https://geoloom.example.org/" in team
    assert "data.sources" not in team
    assert "NO BACKUPS" in render.example("kind").notes
    assert "NO BACKUPS" not in team


def test_everything_optional_can_be_left_out(render, login):
    little = render(
        login,
        {
            "apps": {"enabled": False},
            "usage": {"enabled": False},
            "backup": {"enabled": False},
            "networkPolicy": {"enabled": False},
            "secrets": {"create": False},
            "engine": {"selfTest": False},
            "jupyterhub": {
                "hub": {"extraEnv": {"GEOLOOM_HUB_APPS_URL": "", "GEOLOOM_HUB_USAGE_URL": ""}},
            },
        },
    )
    assert {one["metadata"]["name"] for one in little.manifests} == {
        "geoloom-engine",
        "geoloom-chains",
        "geoloom-tiles",
    }


def test_package_holds_what_templates_read_and_no_more(render):
    files = {one["name"] for one in render.chart.files}
    assert {"files/dashboard.json", "files/nginx-map.conf", "files/haproxy-backend.cfg"} <= files
    assert not any(name.startswith("examples/") for name in files)
