"""One version of everything, wherever it is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from geoloom._version import __version__

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "geoloom"


def versions() -> dict[str, str]:
    lines = (ROOT / "hub" / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def images(values: Any, place: str = "") -> dict[str, str]:
    """Every image that values name, by its place: name and tag."""
    found = {}
    if isinstance(values, dict):
        if "name" in values and "tag" in values:
            found[place] = f"{values['name']}:{values['tag'] or ''}"
        for name, value in values.items():
            found |= images(value, f"{place}.{name}" if place else name)
    return found


def test_versions_are_exact() -> None:
    for name, value in versions().items():
        assert re.fullmatch(r"(?:[\w./-]+:)?\d+\.\d+\.\d+[\w.-]*", value), f"{name}={value}"


def test_the_chart_is_of_this_version(chart: dict[str, Any]) -> None:
    assert chart["appVersion"] == __version__
    # Helm wants 0.1.0-dev0 for what Python calls 0.1.0.dev0.
    semver = re.sub(r"^(\d+\.\d+\.\d+)\.?((?:dev|a|b|rc)\d+)$", r"\1-\2", __version__)
    assert chart["version"] == semver


def test_the_charts_images_are_ours_and_of_this_version(values: dict[str, Any]) -> None:
    found = images(values)
    ours = {image.split(":")[0].split("/")[1] for image in found.values() if image.startswith("geoloom/")}
    assert ours == {path.parent.name for path in (ROOT / "hub" / "images").glob("*/Dockerfile")}
    for place, image in found.items():
        if image.startswith("geoloom/"):
            # An empty tag stands for the chart's appVersion.
            assert image.split(":")[1] in ("", __version__), place
        elif "valkey" in image:
            assert image == versions()["VALKEY_IMAGE"], place


def test_examples_name_no_other_version() -> None:
    for path in (CHART / "examples").glob("*.yaml"):
        for place, image in images(yaml.safe_load(path.read_text())).items():
            if image.startswith("geoloom/"):
                assert image.split(":")[1] in ("", __version__), f"{path.name}: {place}"


def test_recipes_start_from_the_same_python() -> None:
    for path in (ROOT / "hub" / "images").glob("*/Dockerfile"):
        assert re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", path.read_text(), re.M) == [
            versions()["PYTHON_IMAGE"]
        ], path


def test_servers_and_apps_have_the_hubs_jupyterhub(chart: dict[str, Any]) -> None:
    for name in ("user", "apps"):
        pins = (ROOT / "hub" / "images" / name / "requirements.txt").read_text().splitlines()
        assert f"jupyterhub=={versions()['JUPYTERHUB_VERSION']}" in pins, name
    depends = {one["name"]: one["version"] for one in chart["dependencies"]}
    assert depends["jupyterhub"] == versions()["ZERO_TO_JUPYTERHUB_VERSION"]


def test_the_proxy_is_installed_in_this_version() -> None:
    setup = (ROOT / "tools" / "setup").read_text()
    named = re.findall(r"configurable-http-proxy@(\d+\.\d+\.\d+)", setup)
    # Either it reads the file or it says the same.
    assert set(named) <= {versions()["CONFIGURABLE_HTTP_PROXY_VERSION"]}
    assert named or "versions.env" in setup
