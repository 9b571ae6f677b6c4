"""The chart, rendered by Helm's own library without a cluster, and each of its examples."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "geoloom"
EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))
RELEASE, NAMESPACE = "geoloom", "geoloom"
LOGIN = {"jupyterhub": {"hub": {"config": {"DummyAuthenticator": {"password": "for a test"}}}}}

Manifest = dict[str, Any]


class Strict(yaml.CSafeLoader):
    """YAML in which a key that stands twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {keys} {node.start_mark}"
        return super().construct_mapping(node, deep)


def merged(one: Manifest, other: Manifest) -> Manifest:
    """Values as Helm lays one file over another."""
    both = dict(one)
    for key, value in other.items():
        deeper = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if deeper else value
    return both


@dataclass(frozen=True)
class Pod:
    """A pod as a manifest describes it."""

    owner: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@dataclass(frozen=True)
class Rendered:
    """What the chart makes of some values."""

    manifests: list[Manifest]
    notes: str
    values: Manifest = field(repr=False)

    def of(self, *kinds: str) -> list[Manifest]:
        return [one for one in self.manifests if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        return found

    def pods(self) -> Iterator[Pod]:
        for one in self.of("Deployment", "StatefulSet", "CronJob"):
            outer = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
            template = outer["template"]
            yield Pod(one["metadata"]["name"], template["metadata"]["labels"], template["spec"])

    def pod(self, owner: str) -> Pod:
        (found,) = [pod for pod in self.pods() if pod.owner == owner]
        return found


class Renderer:
    """Renders the chart's own templates; those of the charts it depends on are not there."""

    def __init__(self, folder: Path) -> None:
        # Whoever has fetched the charts it depends on renders the same.
        shutil.copytree(CHART, folder, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
        self.chart = helm_python.Chart.load(folder)
        self.examples: dict[str, Rendered] = {}

    def __call__(self, *layers: Manifest) -> Rendered:
        values: Manifest = {}
        for layer in layers:
            values = merged(values, layer)
        files = self.chart.render(values, name=RELEASE, namespace=NAMESPACE)
        manifests, notes = [], ""
        for path, text in files.items():
            if path.endswith("NOTES.txt"):
                notes = text
            else:
                manifests += [one for one in yaml.load_all(text, Strict) if one is not None]
        return Rendered(manifests, notes, self.chart.merge_values(values))

    def example(self, name: str) -> Rendered:
        if name not in self.examples:
            self.examples[name] = self._example(name)
        return self.examples[name]

    def _example(self, name: str) -> Rendered:
        if name == "nothing set":
            return self(LOGIN)
        return self(yaml.load((CHART / "examples" / f"{name}.yaml").read_text(), Strict))


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("chart") / "geoloom")


@pytest.fixture(scope="session", params=["nothing set", *EXAMPLES])
def rendered(render: Renderer, request: pytest.FixtureRequest) -> Rendered:
    return render.example(request.param)


@pytest.fixture(scope="session")
def plain(render: Renderer) -> Rendered:
    """The chart with no value set but a way to log in."""
    return render.example("nothing set")


@pytest.fixture(scope="session")
def login() -> Manifest:
    """The least that has to be set."""
    return LOGIN


@pytest.fixture(scope="session")
def chart_folder() -> Path:
    return CHART
