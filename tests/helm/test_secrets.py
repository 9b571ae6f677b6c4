"""Secrets are made once: what is in the cluster is kept at each upgrade.

Helm's `lookup` asks the API server, so there is one here: as much of it as Helm asks for.
"""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python
import pytest
import yaml

NAME = "geoloom-secrets"
OWNER = {
    "name": NAME,
    "namespace": "geoloom",
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "geoloom", "meta.helm.sh/release-namespace": "geoloom"},
}
KIND = {"group": "", "version": "v1", "kind": "Secret"}
ABILITIES = {
    "name": "secrets",
    "singularName": "secret",
    "namespaced": True,
    "kind": "Secret",
    "verbs": ["get"],
}
PATCH = {"parameters": [{"name": "fieldValidation", "in": "query"}], "x-kubernetes-group-version-kind": KIND}
SCHEMA = {"type": "object", "x-kubernetes-group-version-kind": [KIND]}
ANSWERS = {
    "/version": {"major": "1", "minor": "35", "gitVersion": "v1.35.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [ABILITIES]},
    "/openapi/v3": {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}},
    "/openapi/v3/api/v1": {
        "openapi": "3.0.0",
        "paths": {"/api/v1/namespaces/{namespace}/secrets": {"patch": PATCH}},
        "components": {"schemas": {"Secret": SCHEMA}},
    },
}
NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class Cluster:
    """An API server that holds one Secret or none."""

    def __init__(self, chart: str) -> None:
        self.secret: dict[str, str] | None = None
        cluster = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = cluster.answer(self.path.partition("?")[0])
                body = json.dumps(found or NOT_FOUND).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.chart = chart
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> dict[str, object] | None:
        if path != f"/api/v1/namespaces/geoloom/secrets/{NAME}":
            return ANSWERS.get(path)
        if self.secret is None:
            return None
        data = {key: base64.b64encode(value.encode()).decode() for key, value in self.secret.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": OWNER, "data": data}

    def installed(self) -> dict[str, str]:
        """What the Secret would hold after an installation."""
        place = {"server": f"http://127.0.0.1:{self.server.server_port}"}
        access = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": place}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "users": [{"name": "me", "user": {}}],
            "current-context": "here",
        }
        with helm_python.Config(
            kubeconfig_content=yaml.safe_dump(access), namespace="geoloom", storage_driver="memory"
        ) as helm:
            release = helm.install(self.chart, "geoloom", namespace="geoloom", dry_run="server")
        (secret,) = [one for one in yaml.safe_load_all(release["manifest"]) if one]
        return secret["stringData"]


@pytest.fixture(scope="module")
def cluster(chart_folder, tmp_path_factory) -> Iterator[Cluster]:
    # Helm wants the charts that ours depends on; the Secret needs none of them.
    folder = tmp_path_factory.mktemp("chart") / "geoloom"
    shutil.copytree(chart_folder, folder, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    for file in (folder / "templates").rglob("*"):
        if file.is_file() and file.name not in ("secret.yaml", "_names.tpl"):
            file.unlink()
    about = yaml.safe_load((folder / "Chart.yaml").read_text())
    del about["dependencies"]
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    cluster = Cluster(str(folder))
    yield cluster
    cluster.server.shutdown()
    cluster.server.server_close()


def test_secrets_are_made_once_and_kept(cluster):
    cluster.secret = None
    first = cluster.installed()
    assert cluster.installed() != first, "nothing was stored, so others are made"
    cluster.secret = first
    assert cluster.installed() == first


def test_what_an_operator_changed_stays_and_what_is_new_is_added(cluster):
    cluster.secret = None
    first = cluster.installed()
    changed = first | {"signing-key": f"anewone,{first['signing-key']}"}
    del changed["usage-token"]
    cluster.secret = changed
    after = cluster.installed()
    assert after["signing-key"] == changed["signing-key"]
    assert len(after["usage-token"]) == 64
    assert {key for key in after if after[key] != first[key]} == {"signing-key", "usage-token"}


def test_secrets_outlive_the_release(plain):
    assert plain.one("Secret", NAME)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
