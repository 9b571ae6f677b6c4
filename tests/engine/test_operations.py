"""What docs/operations.md says is so: metrics, settings, the self-test, the room that a store takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from geoloom.chain import Chain
from geoloom.store import RedisStore, connect
from geoloom_engine import self_test
from geoloom_engine.metrics import Metrics
from geoloom_engine.settings import CLIENT_VARIABLES, Settings, variable

if TYPE_CHECKING:
    from conftest import RunningValkey

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")


def rows(first: str) -> Iterator[list[str]]:
    """The rows of the table whose heading begins so."""
    lines = iter(PAGE.splitlines())
    while not next(lines).startswith(f"| {first} |"):
        pass
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_metric_is_explained_as_the_engine_tells_it() -> None:
    told = []
    for family in Metrics(1).families():
        labels = sorted({name for sample in family.samples for name in sample.labels if name != "le"})
        cells = (
            f"`{family.name}`",
            family.type,
            ", ".join(f"`{name}`" for name in labels),
            family.documentation,
        )
        told.append(list(cells))
    assert sorted(row[:4] for row in rows("metric")) == sorted(told)


def test_metrics_named_elsewhere_on_the_page_exist() -> None:
    known = {family.name for family in Metrics(1).families()}
    named = set(re.findall(r"`(geoloom_[a-z_]+)`", PAGE))
    assert {name.removesuffix("_total") for name in named} <= known | {"geoloom_hub", "geoloom_engine"}


def test_settings_named_on_the_page_exist() -> None:
    known = {variable(item) for item in fields(Settings)} | CLIENT_VARIABLES
    assert set(re.findall(r"\bGEOLOOM_[A-Z_]+", PAGE)) <= known


def test_lines_of_the_self_test_are_explained() -> None:
    named = {name for row in rows("line") for name in re.findall(r"`([^`]+)`", row[0])}
    assert named == set(self_test.CHECKS)


def test_every_symptom_says_where_to_look_and_what_to_do() -> None:
    found = list(rows("symptom"))
    assert len(found) >= 15
    assert all(len(row) == 3 and all(row) for row in found)


def test_what_a_key_takes_in_the_store(own_valkey: RunningValkey) -> None:
    """A key costs its value and 120 to 250 bytes, says the page."""
    client = connect(own_valkey.url)
    store = RedisStore(own_valkey.url)
    for number in range(200):
        chain = Chain.extend("constant", 1, {"value": number})
        name = f"geoloom:chain:{store.put_chain(chain)}"
        assert client.memory_usage(name) - chain.size <= 300  # type: ignore[operator]
    tile = os.urandom(30_000)
    client.flushall()
    before = int(client.info("memory")["used_memory"])  # type: ignore[index]
    for number in range(300):
        client.set(f"geoloom:tile:{number:032x}:0123456789abcdef:13:4500:2900:1", tile, ex=600)
    took = (int(client.info("memory")["used_memory"]) - before) / 300  # type: ignore[index]
    assert 30_000 < took < 30_000 + 600
