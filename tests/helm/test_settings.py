"""The engine takes what the chart tells it: every variable is a setting, and all go together."""

from __future__ import annotations

import json
import re

import pytest

from geoloom_engine.embedded.store import EVICTION
from geoloom_engine.settings import load, unknown_variables
from geoloom_hub.apps.settings import Settings as AppSettings


def environment(rendered, owner):
    """A container's variables, with secrets as they are in the release's Secret."""
    secret = rendered.one("Secret", "geoloom-secrets")["stringData"]
    (container,) = rendered.pod(owner).spec["containers"]
    return {
        one["name"]: one["value"] if "value" in one else secret[one["valueFrom"]["secretKeyRef"]["key"]]
        for one in container["env"]
    }


def test_engine_takes_its_settings(rendered):
    given = environment(rendered, "geoloom-engine")
    settings = load([], given)
    assert unknown_variables(given) == []
    assert settings.host == "0.0.0.0"
    assert settings.functions == "sandbox"
    assert settings.prefix == "/services/tiles"
    assert settings.hub_api_url == "http://hub:8081/hub/api"
    assert settings.redis_url.endswith("@geoloom-chains:6379/0")
    assert settings.tile_store.endswith("@geoloom-tiles:6379/0")
    assert settings.metrics_token != settings.token
    assert len({settings.token, settings.signing_key, settings.nonce, settings.metrics_token}) == 4


def test_what_is_to_be_read_reaches_the_engine(render):
    settings = load([], environment(render.example("production"), "geoloom-engine"))
    assert "s3://example-archive/" in settings.sources
    assert "archive=s3://example-archive/catalog.json" in settings.catalogs
    assert settings.restricted == (("s3://example-survey/", frozenset({"survey"})),) or "survey" in str(
        settings.restricted
    )
    assert settings.queue_length == 512
    assert settings.capability_ttl == 7200
    assert settings.drain_timeout == 40


def test_no_other_variable_is_set_by_mistake(rendered):
    known = {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "AWS_REGION"}
    names = environment(rendered, "geoloom-engine")
    assert {name for name in names if not name.startswith("GEOLOOM_")} <= known


def test_secrets_go_into_addresses_as_they_are(rendered):
    for name in ("chains", "tiles"):
        secret = rendered.one("Secret", "geoloom-secrets")["stringData"]
        password = re.fullmatch(rf"redis://:([A-Za-z0-9]+)@geoloom-{name}:6379/0", secret[f"{name}-url"])[1]
        assert secret[f"{name}-password"] == password
        assert secret[f"{name}.conf"] == f"requirepass {password}\n"


def test_apps_take_their_settings(rendered, tmp_path):
    given = environment(rendered, "geoloom-apps") | {"GEOLOOM_APPS_FOLDER": str(tmp_path)}
    settings = AppSettings.read(given)
    assert (settings.host, settings.port, settings.prefix) == ("0.0.0.0", 8866, "/services/apps/")
    assert settings.guests is False
    assert settings.kernels == rendered.values["apps"]["kernels"]
    assert settings.idle == rendered.values["apps"]["idleSeconds"]


@pytest.mark.parametrize(
    ("variable", "url", "options", "prefixed"),
    [
        ("GEOLOOM_HUB_PUBLIC_URL", "", {"samesite": "Lax"}, "0"),
        ("GEOLOOM_HUB_PUBLIC_URL", "http://hub.example.org/", {"samesite": "Lax"}, "0"),
        ("GEOLOOM_HUB_PUBLIC_URL", "https://hub.example.org/", {"samesite": "Lax", "secure": True}, "0"),
        ("GEOLOOM_HUB_SUBDOMAINS", "https://hub.example.org", {"samesite": "Lax", "secure": True}, "1"),
    ],
)
def test_cookies_of_services_are_as_those_of_the_hub(render, login, variable, url, options, prefixed):
    rendered = render(login, {"jupyterhub": {"hub": {"extraEnv": {variable: url}}}})
    for owner in ("geoloom-apps", "geoloom-usage"):
        given = environment(rendered, owner)
        assert json.loads(given["JUPYTERHUB_COOKIE_OPTIONS"]) == options
        assert given["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"] == prefixed


def test_full_stores_let_go_of_what_the_engine_wants_them_to(rendered):
    lines = {
        name: rendered.one("ConfigMap", f"geoloom-{name}")["data"]["valkey.conf"].splitlines()
        for name in ("chains", "tiles")
    }
    assert {f"{name} {value}" for name, value in EVICTION.items()} <= set(lines["chains"])
    assert "maxmemory-policy allkeys-lru" in lines["tiles"]


@pytest.mark.parametrize(
    ("told", "origin"), [("", ""), ("https://hub.example.org", "https://hub--services.hub.example.org")]
)
def test_logins_come_back_to_where_the_services_are(render, login, told, origin):
    rendered = render(login, {"jupyterhub": {"hub": {"extraEnv": {"GEOLOOM_HUB_SUBDOMAINS": told}}}})
    for name in ("apps", "usage"):
        given = environment(rendered, f"geoloom-{name}")
        assert given["JUPYTERHUB_OAUTH_CALLBACK_URL"] == f"{origin}/services/{name}/oauth_callback"


def test_large_numbers_are_told_as_they_are(render, login):
    rendered = render(login, {"engine": {"settings": {"GEOLOOM_USER_CHAINS": 5_000_000}}})
    assert load([], environment(rendered, "geoloom-engine")).user_chains == 5_000_000


def test_guests_and_own_notebooks_are_told_to_the_apps(render, login):
    given = environment(render(login, {"apps": {"guests": True, "notebooks": "my-apps"}}), "geoloom-apps")
    assert given["GEOLOOM_APPS_GUESTS"] == "1"
    assert given["GEOLOOM_APPS_FOLDER"] == "/apps"
