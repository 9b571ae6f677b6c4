from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from geoloom_engine.settings import (
    Settings,
    load,
    markdown,
    option,
    seconds,
    size,
    unknown_variables,
    variable,
)

ROOT = Path(__file__).parents[2]


def test_options_win_over_environment_and_environment_over_defaults() -> None:
    environment = {"GEOLOOM_PORT": "1234", "GEOLOOM_WORKERS": "3"}
    settings = load(["--port", "4321"], environment)
    assert (settings.port, settings.workers, settings.host) == (4321, 3, "127.0.0.1")


def test_every_setting_is_documented_and_has_an_option_and_a_variable() -> None:
    for item in dataclasses.fields(Settings):
        assert item.metadata["doc"].endswith("."), item.name
        if item.metadata["written"] is not None:
            value = item.metadata["parse"](item.metadata["written"])
            assert getattr(load([], {variable(item): item.metadata["written"]}), item.name) == value
            assert getattr(load([f"{option(item)}={item.metadata['written']}"], {}), item.name) == value


def test_help_lists_every_setting() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "geoloom_engine", "--help"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0
    for item in dataclasses.fields(Settings):
        assert option(item) in answer.stdout
        assert variable(item) in answer.stdout.replace("\n", "")


def test_the_reference_is_fresh() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m geoloom_engine.settings > docs/settings.md"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "http"], "--port: 'http' is not a whole number."),
        (["--port", "70000"], "not between 0 and 65535"),
        (["--tile-cache", "much"], "not a size such as 512MB"),
        (["--drain-timeout", "soon"], "not a time such as"),
        (["--log-level", "loud"], "none of debug, info"),
        (["--prefix", "services/tiles"], "not the beginning of a path"),
        (["--prefix", "/a/../b"], "not the beginning of a path"),
        (["--restricted", "/data"], "'/data' is not PLACE=GROUP"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(ValueError, match="--") as caught:
        load(arguments, {})
    assert words in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ValueError, match=r"^GEOLOOM_WORKERS: "):
        load([], {"GEOLOOM_WORKERS": "-1"})


def test_an_engine_for_other_machines_needs_a_token() -> None:
    with pytest.raises(ValueError, match="GEOLOOM_TOKEN"):
        load(["--host", "0.0.0.0"], {})
    assert not load(["--host", "0.0.0.0", "--token", "secret"], {}).loopback
    assert load(["--host", "0.0.0.0", "--hub-api-url", "http://hub:8081/hub/api"], {}).hub_service == "tiles"


def test_what_only_a_hub_can_tell_needs_one() -> None:
    with pytest.raises(ValueError, match="set GEOLOOM_HUB_API_URL too"):
        load(["--restricted", "/data=hydro"], {})
    with pytest.raises(ValueError, match="not an http:// or https:// address"):
        load(["--hub-api-url", "hub:8081"], {})


def test_below_a_hub_functions_are_locked_in_or_off() -> None:
    hub = {"GEOLOOM_HUB_API_URL": "http://127.0.0.1:8081/hub/api"}
    with pytest.raises(ValueError, match="an engine of one person"):
        load(["--functions", "trusted"], hub)
    assert load([], hub).functions == "sandbox"


def test_a_prefix_has_no_final_slash() -> None:
    assert load(["--prefix", "/services/tiles/"], {}).prefix == "/services/tiles"
    assert load(["--prefix", "/"], {}).prefix == ""


def test_unknown_variables_are_told_with_the_nearest_name() -> None:
    (warning,) = unknown_variables({"GEOLOOM_SOURCE": "/data", "GEOLOOM_PORT": "1", "PATH": ""})
    assert "GEOLOOM_SOURCE " in warning
    assert "Did you mean GEOLOOM_SOURCES?" in warning


def test_times_and_sizes() -> None:
    assert [seconds(text) for text in ("30", "1.5s", "5m", "12h", "30d")] == [30, 1.5, 300, 43200, 2592000]
    assert [size(text) for text in ("10", "1kB", "1.5MB", "2GiB")] == [10, 1024, 1572864, 2147483648]


def test_the_tile_cache_follows_the_chain_store_unless_told() -> None:
    assert load(["--redis-url", "redis://a"], {}).tile_store == "redis://a"
    assert load(["--tile-redis-url", "redis://b"], {}).tile_store == "redis://b"
    assert load(["--tile-redis-url", ""], {}).tile_store is None
