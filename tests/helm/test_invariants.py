"""What holds for each pod, whatever is set: limits, probes, no rights, a read-only root."""

from __future__ import annotations

import re

import yaml

from geoloom_hub.user_server import FOLDER

AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(m|[KMGT]i?)?")
UNITS = {
    "m": 1e-3,
    "": 1,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
SECRET_WORDS = ("TOKEN", "PASSWORD", "SECRET", "SIGNING_KEY", "REDIS_URL", "NONCE")
NO_SECRETS = {"GEOLOOM_TOKEN_FROM"}
OUTSIDE = {"geoloom-data"}
"""Secrets that examples tell the reader to make."""


def amount(text):
    number, unit = AMOUNT.fullmatch(str(text)).groups()
    return float(number) * UNITS[unit or ""]


def of_valkey(text):
    return int(text[:-2]) * {"mb": 2**20, "gb": 2**30}[text[-2:]]


def test_there_are_pods_to_look_at(plain):
    assert {pod.owner for pod in plain.pods()} == {
        f"geoloom-{name}" for name in ("engine", "chains", "tiles", "backup", "apps", "usage")
    }


def test_containers_ask_for_no_more_than_their_limits(rendered):
    for pod in rendered.pods():
        for container in pod.containers:
            asked, limits = container["resources"]["requests"], container["resources"]["limits"]
            for kind in ("cpu", "memory"):
                assert 0 < amount(asked[kind]) <= amount(limits[kind]), (pod.owner, kind)


def test_containers_that_serve_have_probes(rendered):
    for pod in rendered.pods():
        if pod.owner == "geoloom-backup":
            continue
        for container in pod.spec["containers"]:
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                how = container[probe]
                for way in ("httpGet", "tcpSocket"):
                    if way in how:
                        assert how[way]["port"] in ports


def test_images_are_named_exactly(rendered):
    for pod in rendered.pods():
        for container in pod.containers:
            _, _, tag = container["image"].rpartition(":")
            assert "/" in container["image"]
            assert tag not in ("", "latest")
            assert re.fullmatch(r"\d.*", tag), container["image"]


def test_pods_may_nothing_but_run(rendered):
    for pod in rendered.pods():
        assert pod.spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(pod.spec)
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["runAsUser"] > 0
        assert pod.spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod.containers:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["privileged"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
        of_nodes = [volume["name"] for volume in pod.spec.get("volumes", []) if "hostPath" in volume]
        # Only the example for one machine reads a folder of it.
        assert of_nodes in ([], ["samples"])


def test_volumes_are_there_and_mounted_once(rendered):
    for pod in rendered.pods():
        there = {volume["name"] for volume in pod.spec.get("volumes", [])}
        if pod.owner == "geoloom-chains":
            (claim,) = rendered.one("StatefulSet", pod.owner)["spec"]["volumeClaimTemplates"]
            there.add(claim["metadata"]["name"])
        mounted = set()
        for container in pod.containers:
            places = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert len(places) == len(set(places))
            mounted |= {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == there, pod.owner


def test_folders_that_are_written_are_writable_and_limited(rendered):
    for pod in rendered.pods():
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume:
                assert amount(volume["emptyDir"]["sizeLimit"]) > 0
    pod = rendered.pod("geoloom-engine")
    for container in pod.containers:
        writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
        folders = {one["name"]: one.get("value") for one in container["env"]}
        for name in ("NUMBA_CACHE_DIR", "GEOLOOM_INDEXES", "XDG_CACHE_HOME", "HOME"):
            assert any(f"{folders[name]}/".startswith(f"{place}/") for place in writable), name
        assert "/tmp" in writable


def test_data_is_mounted_read_only(render):
    for example, name, place in (
        ("small-team", "archive", "/data/archive"),
        ("kind", "samples", f"/home/jovyan/{FOLDER}/data"),
    ):
        for container in render.example(example).pod("geoloom-engine").containers:
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == name]
            assert mount == {"name": name, "mountPath": place, "readOnly": True}


def test_selectors_find_their_own_pods_and_no_others(rendered):
    pods = list(rendered.pods())
    for one in rendered.of("Deployment", "StatefulSet"):
        wanted = one["spec"]["selector"]["matchLabels"]
        assert [pod.owner for pod in pods if wanted.items() <= pod.labels.items()] == [
            one["metadata"]["name"]
        ]
    for one in rendered.of("Service"):
        wanted = one["spec"]["selector"]
        (pod,) = [pod for pod in pods if wanted.items() <= pod.labels.items()]
        assert pod.owner == one["metadata"]["name"]
        ports = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        for port in one["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for one in rendered.of("PodDisruptionBudget"):
        wanted = one["spec"]["selector"]["matchLabels"]
        assert [pod.owner for pod in pods if wanted.items() <= pod.labels.items()] == ["geoloom-engine"]


def test_labels_that_find_pods_do_not_change_with_the_version(rendered):
    for one in rendered.of("Deployment", "StatefulSet"):
        assert set(one["spec"]["selector"]["matchLabels"]) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }
        assert not any(
            "version" in label or "chart" in label for label in one["spec"]["template"]["metadata"]["labels"]
        )


def test_secrets_are_in_secrets_only(plain):
    secret = plain.one("Secret", "geoloom-secrets")["stringData"]
    words = [value for key, value in secret.items() if not key.endswith((".conf", "-url"))]
    assert len(words) == len(set(words)) == 8
    assert all(len(word) >= 32 and word.isalnum() for word in words)
    elsewhere = yaml.safe_dump([one for one in plain.manifests if one["kind"] != "Secret"]) + plain.notes
    assert [word for word in words if word in elsewhere] == []


def test_secret_variables_come_by_reference(rendered):
    for pod in rendered.pods():
        for container in pod.containers:
            for one in container.get("env", []):
                if any(word in one["name"] for word in SECRET_WORDS) and one["name"] not in NO_SECRETS:
                    assert "value" not in one, one["name"]
                    assert "secretKeyRef" in one["valueFrom"]


def test_what_is_referred_to_is_there(rendered):
    secrets = {one["metadata"]["name"]: set(one["stringData"]) for one in rendered.of("Secret")}
    configurations = {one["metadata"]["name"] for one in rendered.of("ConfigMap")}
    claims = {one["metadata"]["name"] for one in rendered.of("PersistentVolumeClaim")} | {"archive"}
    for pod in rendered.pods():
        for container in pod.containers:
            for one in container.get("env", []):
                if "valueFrom" in one:
                    reference = one["valueFrom"]["secretKeyRef"]
                    assert reference["key"] in secrets[reference["name"]]
            for one in container.get("envFrom", []):
                assert one["secretRef"]["name"] in OUTSIDE
        for volume in pod.spec.get("volumes", []):
            for source in volume.get("projected", {}).get("sources", []):
                if "secret" in source:
                    assert {item["key"] for item in source["secret"]["items"]} <= secrets[
                        source["secret"]["name"]
                    ]
                if "configMap" in source:
                    assert source["configMap"]["name"] in configurations
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
    hub = rendered.values["jupyterhub"]["hub"]["extraEnv"]
    for value in hub.values():
        if isinstance(value, dict):
            reference = value["valueFrom"]["secretKeyRef"]
            assert reference["key"] in secrets[reference["name"]]


def test_secrets_of_hub_and_services_are_the_same(plain):
    hub = plain.values["jupyterhub"]["hub"]["extraEnv"]
    for name in ("apps", "usage"):
        env = {one["name"]: one for one in plain.pod(f"geoloom-{name}").spec["containers"][0]["env"]}
        assert (
            env["JUPYTERHUB_API_TOKEN"]["valueFrom"] == hub[f"GEOLOOM_HUB_{name.upper()}_TOKEN"]["valueFrom"]
        )
        port = plain.one("Service", f"geoloom-{name}")["spec"]["ports"][0]["port"]
        assert hub[f"GEOLOOM_HUB_{name.upper()}_URL"] == f"http://geoloom-{name}:{port}"
        assert env["JUPYTERHUB_SERVICE_URL"]["value"].endswith(f":{port}")
        assert (
            env["GEOLOOM_ENGINE_URL"]["value"]
            == hub["GEOLOOM_HUB_ENGINE_URL"]
            == "http://geoloom-engine:8080"
        )
        assert env["GEOLOOM_TILES_URL"]["value"] == hub["GEOLOOM_HUB_TILES_URL"]


def test_a_stopping_engine_has_the_time_it_was_promised(rendered):
    pod = rendered.pod("geoloom-engine")
    (container,) = pod.spec["containers"]
    (drain,) = [one["value"] for one in container["env"] if one["name"] == "GEOLOOM_DRAIN_TIMEOUT"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The supervisor ends its workers two seconds after the drain, so that it comes before Kubernetes does.
    assert pod.spec["terminationGracePeriodSeconds"] > pause + float(drain.removesuffix("s")) + 2


def test_engines_are_ready_when_warm_and_live_without_their_store(rendered):
    (container,) = rendered.pod("geoloom-engine").spec["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    # A store that is started again is back within seconds; no engine leaves the service for that.
    assert (
        container["readinessProbe"]["failureThreshold"] * container["readinessProbe"]["periodSeconds"] >= 20
    )


def test_engine_proves_itself_before_it_starts(rendered):
    pod = rendered.pod("geoloom-engine")
    (test,), (engine,) = pod.spec["initContainers"], pod.spec["containers"]
    assert test["command"] == ["geoloom-engine", "--self-test"]
    assert engine["command"] == ["geoloom-engine"]
    # What holds for the one holds for the other.
    for key in ("env", "volumeMounts", "securityContext", "image", "resources"):
        assert test[key] == engine[key]


def test_engines_stand_on_different_nodes_if_they_can(rendered):
    pod = rendered.pod("geoloom-engine")
    (rule,) = pod.spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert rule["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert rule["podAffinityTerm"]["labelSelector"]["matchLabels"].items() <= pod.labels.items()


def test_number_of_engines_is_said_by_one_alone(render):
    few, many = render.example("kind"), render.example("production")
    assert few.one("Deployment", "geoloom-engine")["spec"]["replicas"] == 1
    assert few.of("HorizontalPodAutoscaler") == []
    assert "replicas" not in many.one("Deployment", "geoloom-engine")["spec"]
    (scaler,) = many.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "geoloom-engine"
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == "geoloom_waiting"


def test_engines_can_scale_by_processor(render, login):
    (scaler,) = render(login, {"engine": {"autoscaling": {"enabled": True}}}).of("HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 75


def test_stores_fit_into_their_memory(rendered):
    for name, share in (("chains", 0.65), ("tiles", 0.9)):
        configuration = rendered.one("ConfigMap", f"geoloom-{name}")["data"]["valkey.conf"]
        most = re.search(r"^maxmemory (\S+)$", configuration, re.MULTILINE)[1]
        (container,) = rendered.pod(f"geoloom-{name}").spec["containers"]
        # A store that rewrites its file takes what changes meanwhile twice.
        assert of_valkey(most) <= share * amount(container["resources"]["limits"]["memory"]), name


def test_chains_are_on_a_disk_and_tiles_are_not(rendered):
    chains = rendered.one("ConfigMap", "geoloom-chains")["data"]["valkey.conf"]
    tiles = rendered.one("ConfigMap", "geoloom-tiles")["data"]["valkey.conf"]
    assert "\nappendonly yes\n" in chains
    assert "\nmaxmemory-policy volatile-lfu\n" in chains
    assert "\nappendonly no\n" in tiles
    assert '\nsave ""\n' in tiles
    assert "requirepass" not in chains + tiles
    store = rendered.one("StatefulSet", "geoloom-chains")["spec"]
    assert store["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    (data,) = [v for v in rendered.pod("geoloom-tiles").spec["volumes"] if v["name"] == "data"]
    assert "emptyDir" in data


def test_backups_outlive_the_release(plain):
    claim = plain.one("PersistentVolumeClaim", "geoloom-backup")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    job = plain.one("CronJob", "geoloom-backup")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    command = plain.pod("geoloom-backup").spec["containers"][0]["command"]
    assert command == ["python", "-m", "geoloom_engine.backup", "save", "/backups", "--keep", "14"]


def test_monitor_reads_metrics_with_the_token_for_them(render):
    (monitor,) = render.example("production").of("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    service = render.example("production").one("Service", "geoloom-engine")
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["authorization"]["credentials"] == {"name": "geoloom-secrets", "key": "metrics-token"}


def test_tiles_are_routed_straight_to_the_engine(render):
    for name, annotation in (
        ("production", "nginx.ingress.kubernetes.io/upstream-hash-by"),
        ("small-team", "haproxy.org/backend-config-snippet"),
    ):
        example = render.example(name)
        (ingress,) = example.of("Ingress")
        assert "geoloom_ancestor" in ingress["metadata"]["annotations"][annotation]
        (rule,) = ingress["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        assert path["path"] == "/services/tiles"
        assert path["backend"]["service"] == {"name": "geoloom-engine", "port": {"name": "http"}}
        env = {
            one["name"]: one.get("value")
            for one in example.pod("geoloom-engine").spec["containers"][0]["env"]
        }
        assert env["GEOLOOM_PREFIX"] == path["path"]
        assert env["GEOLOOM_ALLOWED_ORIGINS"] == f"https://{rule['host']}"
