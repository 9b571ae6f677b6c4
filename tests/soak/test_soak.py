"""The soak in short: an engine and its stores under a few users; each kind of process is killed once."""

from __future__ import annotations

import asyncio
import struct
import zlib
from pathlib import Path

import pytest

from soak.browser import Answer
from soak.deployment import Bare
from soak.ledger import Ledger
from soak.pictures import PICTURES, PNG, Land, digest, write_scenes
from soak.report import markdown
from soak.storm import Effort, Result, storm

PATIENT = 60.0
"""Seconds that everything may take to come back here: a busy machine is no defect."""


# Who leaves a view cuts connections that are just being opened.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("soak")
    (folder / "scenes").mkdir()
    write_scenes(folder / "scenes", 1024)
    land = Land(folder / "scenes", (10, 10))
    effort = Effort(users=8, rounds=1, gap=0.2, pause=1.0, settled=0.5)
    return asyncio.run(storm(Bare, folder, land, effort, lambda text: None))


@pytest.mark.slow
def test_no_tile_is_wrong_and_nothing_is_lost_whatever_is_killed(result: Result) -> None:
    ledger = result.ledger
    assert list(ledger.claims(PATIENT)) == []
    assert [window.kind for window in ledger.windows[1:]] == list(Bare.kinds)
    assert len(ledger.waits) > 100
    assert ledger.saved


def test_figures_become_a_page(result: Result) -> None:
    page = markdown(result, PATIENT, "make soak")
    assert "All promises were kept." in page
    for kind in Bare.kinds:
        assert f"**{kind}**" in page


def test_pictures_are_compared_by_their_pixels() -> None:
    def picture(pixel: int, level: int) -> bytes:
        def chunk(name: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + name + content + bytes(4)

        pixels = zlib.compress(bytes([0, pixel, 1, 2] * 100), level)
        return PNG + chunk(b"IHDR", b"3x100") + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

    assert picture(7, 1) != picture(7, 9)
    assert digest(picture(7, 1)) == digest(picture(7, 9)) != digest(picture(8, 1))
    assert digest(b"no picture") != digest(b"another")


def test_what_is_wrong_is_told() -> None:
    ledger = Ledger()
    assert list(ledger.claims(5.0)) == ["no tile was shown at all"]
    ledger.shown(0.1)
    assert list(ledger.claims(5.0)) == []
    ledger.kill("hub").backs = {"the hub": 7.0, "a tile": None}
    assert list(ledger.claims(5.0)) == ["hub: not everything was served again"]
    ledger.window.backs["a tile"], ledger.window.own = 0.0, 6.0
    assert list(ledger.claims(5.0)) == ["hub: everything was served again only after 6.0 s; 5 s are promised"]
    ledger.window.own, ledger.window.lost = 2.0, 3
    ledger.wrong.append("slope 3/1/2")
    ledger.fail("a tile did not come")
    assert len(list(ledger.claims(5.0))) == 3


def test_errors_of_busy_engines_are_none_of_a_fault() -> None:
    ledger = Ledger()
    window = ledger.kill("engine")
    ledger.error("refused: busy")
    assert window.felt == 0
    ledger.error("tile: connection refused")
    assert window.felt > 0
    assert ledger.errors == {"refused: busy": 1, "tile: connection refused": 1}


def test_another_variant_is_another_chain_and_pictures_are_many(tmp_path: Path) -> None:
    land = Land(tmp_path)
    keys = {land.chain(picture, variant).root for picture in PICTURES for variant in (None, 1, 2)}
    assert len(keys) == 3 * len(PICTURES)
    assert land.slow(1).root not in keys
    assert Answer(200, {}, b'{"a": 1}').json == {"a": 1}
