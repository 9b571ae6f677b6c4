"""Who reaches whom, by the policies of both charts: users never a store, nobody more than is needed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

SELECTED = {"app": "jupyterhub", "release": "geoloom"}


@dataclass(frozen=True)
class End:
    """Where a connection begins or ends."""

    labels: dict[str, str]
    space: str = "geoloom"


def ours(name: str) -> End:
    labels = {"name": "geoloom", "instance": "geoloom", "component": name}
    end = End({f"app.kubernetes.io/{key}": value for key, value in labels.items()})
    if name in ("engine", "apps", "usage"):
        end.labels["hub.jupyter.org/network-access-hub"] = "true"
    return end


def hubs(component: str) -> End:
    return End(SELECTED | {"component": component})


ENDS = {
    "engine": ours("engine"),
    "chains": ours("chains"),
    "tiles": ours("tiles"),
    "backup": ours("backup"),
    "apps": ours("apps"),
    "usage": ours("usage"),
    "kernel": hubs("singleuser-server"),
    "proxy": hubs("proxy"),
    "hub": hubs("hub"),
    "stranger": End({"app": "something"}),
    "another namespace's engine": End(ours("engine").labels, "elsewhere"),
    "ingress controller": End({}, "ingress-nginx"),
    "prometheus": End({}, "monitoring"),
}
PORTS = {"engine": 8080, "chains": 6379, "tiles": 6379, "apps": 8866, "usage": 8877}
CALLERS = {
    "engine": {"kernel", "proxy", "hub", "apps", "usage"},
    "chains": {"engine", "backup"},
    "tiles": {"engine"},
    "apps": {"proxy", "hub"},
    "usage": {"proxy", "hub"},
}


def selects(selector, labels):
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer, end):
    """Whether a policy's peer, in the namespace geoloom, is this end."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end.space}):
            return False
    elif end.space != "geoloom":
        return False
    return selects(peer.get("podSelector", {}), end.labels)


def allowed(policies, direction, whose, other, port):
    """Whether policies let `whose` be called from, or call, another at a port; no policy lets everything."""
    deciding = [
        one["spec"]
        for one in policies
        if direction in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], whose.labels)
    ]
    if whose.space != "geoloom" or not deciding:
        return True
    side = {"Ingress": "from", "Egress": "to"}[direction]
    return any(
        any(is_peer(peer, other) for peer in rule[side]) and port in [one["port"] for one in rule["ports"]]
        for spec in deciding
        for rule in spec.get(direction.lower(), [])
    )


def reaches(policies, caller, called, port):
    return allowed(policies, "Egress", caller, called, port) and allowed(
        policies, "Ingress", called, caller, port
    )


@pytest.fixture(scope="module")
def policies(plain):
    return plain.of("NetworkPolicy")


def test_every_pod_has_a_policy_for_both_directions(rendered):
    policies = rendered.of("NetworkPolicy")
    for pod in rendered.pods():
        mine = [one["spec"] for one in policies if one["spec"]["podSelector"].get("matchLabels")]
        mine = [spec for spec in mine if selects(spec["podSelector"], pod.labels)]
        assert [spec["policyTypes"] for spec in mine] == [["Ingress", "Egress"]], pod.owner


def test_ports_here_are_those_of_the_services(plain):
    for name, port in PORTS.items():
        assert [one["port"] for one in plain.one("Service", f"geoloom-{name}")["spec"]["ports"]] == [port]


def test_labels_here_are_those_of_the_pods(plain):
    for pod in plain.pods():
        assert pod.labels == ENDS[pod.owner.removeprefix("geoloom-")].labels


@pytest.mark.parametrize("called", sorted(CALLERS))
def test_each_is_called_by_those_who_need_it_alone(policies, called):
    callers = {name for name, end in ENDS.items() if reaches(policies, end, ENDS[called], PORTS[called])}
    assert callers == CALLERS[called]


def test_who_has_no_policy_is_called_by_nobody(policies):
    assert not allowed(policies, "Ingress", ENDS["stranger"], ENDS["kernel"], 8888)


def test_services_reach_the_hub(policies):
    for name in ("engine", "apps", "usage"):
        assert allowed(policies, "Egress", ENDS[name], ENDS["hub"], 8081)
        # The hub's own policy asks for this label.
        assert ENDS[name].labels["hub.jupyter.org/network-access-hub"] == "true"
    for name in ("chains", "tiles", "backup"):
        assert not allowed(policies, "Egress", ENDS[name], ENDS["hub"], 8081)


def test_kernels_may_leave_for_the_engine_only(plain):
    rules = plain.values["jupyterhub"]["singleuser"]["networkPolicy"]["egress"]
    seen = {
        name
        for name in ("engine", "chains", "tiles", "backup", "apps", "usage")
        if any(is_peer(peer, ENDS[name]) for rule in rules for peer in rule["to"])
    }
    assert seen == {"engine"}
    # The JupyterHub chart closes private addresses to kernels unless it is told otherwise.
    allow = plain.values["jupyterhub"]["singleuser"]["networkPolicy"].get("egressAllowRules", {})
    assert not allow.get("privateIPs", False)
    assert not allow.get("cloudMetadataServer", False)


def test_kernels_reach_the_engine_in_every_example(rendered):
    rules = rendered.values["jupyterhub"]["singleuser"]["networkPolicy"]["egress"]
    assert any(is_peer(peer, ENDS["engine"]) for rule in rules for peer in rule["to"])
    assert not any(is_peer(peer, ENDS["chains"]) for rule in rules for peer in rule["to"])


def test_ingress_controller_and_prometheus_come_in_where_they_are_used(render):
    policies = render.example("production").of("NetworkPolicy")
    for name in ("ingress controller", "prometheus"):
        assert reaches(policies, ENDS[name], ENDS["engine"], PORTS["engine"])
        assert not reaches(policies, ENDS[name], ENDS["chains"], PORTS["chains"])


def test_data_is_read_from_the_internet_without_the_metadata_server(plain, render, login):
    (rule,) = [
        rule
        for rule in plain.one("NetworkPolicy", "geoloom-engine")["spec"]["egress"]
        if any("ipBlock" in peer for peer in rule["to"])
    ]
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in rule["to"]}
    assert "169.254.0.0/16" in blocks["0.0.0.0/0"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(blocks["0.0.0.0/0"])
    assert {one["port"] for one in rule["ports"]} == {80, 443}
    closed = render(login, {"networkPolicy": {"publicData": False}})
    assert "0.0.0.0/0" not in str(closed.one("NetworkPolicy", "geoloom-engine"))


def test_data_in_private_networks_is_opened_by_a_rule(render, login):
    rule = {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 9000}]}
    opened = render(login, {"networkPolicy": {"data": [rule]}})
    assert rule in opened.one("NetworkPolicy", "geoloom-engine")["spec"]["egress"]
