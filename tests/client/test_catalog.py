from __future__ import annotations

import threading
from typing import Any

import pytest

import geoloom as gl
from geoloom import catalog
from geoloom.errors import EngineUnreachable, NotFound, ParameterError


@pytest.fixture(autouse=True)
def known(paper_catalogue: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two catalogues: ``local`` with s2, and ``ocean`` with three more."""
    monkeypatch.setattr(catalog, "_listing", None)
    paper_catalogue.collections += [
        {
            "id": "sst-monthly",
            "catalog": "ocean",
            "title": "Sea surface temperature",
            "description": "Monthly means from satellites, of the whole ocean.",
            "bands": [{"name": "sst", "unit": "K", "description": "temperature of the sea"}],
        },
        {"id": "3d.élévation", "catalog": "ocean", "keywords": ["bathymetry", "depth"]},
        {"id": "class", "catalog": "ocean", "title": "Classes of land"},
    ]
    return paper_catalogue


def test_a_collection_by_its_id(known: Any) -> None:
    assert gl.collection("s2").query.collection == "local/s2"
    assert gl.collection("local/s2").id == "local/s2"
    assert known.asked("/collections") == 1
    assert known.asked("/search") == 0


def test_an_unknown_id_is_told_with_near_ones(known: Any) -> None:
    with pytest.raises(NotFound, match=r"Did you mean 'sst-monthly'"):
        gl.collection("sst-montly")
    with pytest.raises(NotFound, match=r"'ocean/sst-monthly'"):
        gl.collection("temperature")
    with pytest.raises(NotFound, match="There are local/s2, ocean/sst-monthly"):
        gl.collection("xyzzy")
    with pytest.raises(ParameterError, match="named by its id"):
        gl.collection(3)  # type: ignore[arg-type]


def test_what_was_just_made_is_found(known: Any) -> None:
    gl.collection("s2")
    known.collections.append({"id": "new", "catalog": "local"})
    assert gl.collection("new").id == "local/new"


def test_an_id_in_two_catalogues(known: Any) -> None:
    known.collections.append({"id": "s2", "catalog": "ocean"})
    with pytest.raises(ParameterError, match="'local/s2' or 'ocean/s2'"):
        gl.collection("s2")
    assert gl.collection("ocean/s2").id == "ocean/s2"


def test_no_collection_at_all(known: Any) -> None:
    known.collections.clear()
    known.problems.append("Catalogue eo: https://eo.example answers 503.")
    with pytest.raises(NotFound, match=r"geoloom ingest .* answers 503"):
        gl.collection("s2")


def test_the_tree(known: Any) -> None:
    assert {"local", "ocean", "search"} <= set(dir(gl.collections))
    assert "s2" in dir(gl.collections.local)
    assert [name for name in dir(gl.collections.ocean) if not name.startswith("_")] == [
        "c_3d_élévation",
        "class_",
        "sst_monthly",
    ]
    assert gl.collections.ocean.sst_monthly.id == "ocean/sst-monthly"
    assert gl.collections.ocean.c_3d_élévation.id == "ocean/3d.élévation"
    assert gl.collections["ocean"]["sst-monthly"].id == "ocean/sst-monthly"
    assert gl.collections["ocean/class"].id == "ocean/class"
    assert "local/s2" in gl.collections._ipython_key_completions_()
    assert list(gl.collections.ocean) == ["sst-monthly", "3d.élévation", "class"]
    assert known.asked("/collections") == 1
    with pytest.raises(AttributeError, match="Did you mean sst_monthly"):
        _ = gl.collections.ocean.sst_montly
    with pytest.raises(NotFound, match="sst-monthly"):
        _ = gl.collections.ocean["sst"]


def test_names_that_are_alike_after_the_dot(known: Any) -> None:
    known.collections += [{"id": "a-b", "catalog": "x"}, {"id": "a.b", "catalog": "x"}]
    assert gl.collections.x.a_b.id == "x/a-b"
    assert gl.collections.x.a_b_2.id == "x/a.b"


def test_a_catalogue_may_be_called_search(known: Any) -> None:
    known.collections.append({"id": "a", "catalog": "search"})
    assert gl.collections.search_.a.id == "search/a"


def test_tab_neither_fails_nor_waits(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known.failure = EngineUnreachable("No engine.")
    assert "search" in dir(gl.collections)
    assert gl.collections._ipython_key_completions_() == []
    assert "gl.engine()" in gl.collections._repr_html_()
    with pytest.raises(EngineUnreachable):
        _ = gl.collections.local
    assert not hasattr(gl.collections, "_ipython_display_")
    known.failure = None
    known.gate = threading.Event()
    monkeypatch.setattr(catalog, "TAB_SECONDS", 0.01)
    assert "local" not in dir(gl.collections)
    known.gate.set()
    monkeypatch.setattr(catalog, "TAB_SECONDS", 10.0)
    assert "local" in dir(gl.collections)


def test_tab_shows_what_is_known_when_the_engine_is_gone(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "local" in dir(gl.collections)
    monkeypatch.setattr(catalog, "FRESH_SECONDS", 0.0)
    known.failure = EngineUnreachable("No engine.")
    assert "local" in dir(gl.collections)


@pytest.mark.parametrize("typed", ["gl.collections.", "gl.collections.ocean."])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_ipython_completes_both_levels(known: Any, typed: str) -> None:
    completer = pytest.importorskip("IPython.core.completer").IPCompleter(namespace={"gl": gl})
    catalog._complete_in_ipython()
    completer.use_jedi = False
    _, matches = completer.complete(line_buffer=typed, cursor_pos=len(typed))
    wanted = ".sst_monthly" if "ocean" in typed else ".ocean"
    assert [one for one in matches if one.endswith(wanted)]


def test_search_by_words(known: Any) -> None:
    found = gl.collections.search("Ocean TEMPERATURE")
    assert found[0].id == "ocean/sst-monthly"
    assert repr(found).startswith("ocean/sst-monthly: Sea surface temperature")
    assert "Sea surface" in found._repr_html_()
    assert gl.collections.search("temprature")[0].id == "ocean/sst-monthly"
    assert [one.id for one in gl.collections.search("elevation")] == ["ocean/3d.élévation"]
    assert [one.id for one in gl.collections("elevation")] == ["ocean/3d.élévation"]
    assert len(gl.collections.search("zebra")) == 0
    assert "nothing found" in repr(gl.collections.search("zebra"))
    assert len(found[:1]) == 1
    with pytest.raises(ParameterError, match="search takes words"):
        gl.collections.search(" ")


def test_it_shows_itself(known: Any) -> None:
    known.problems.append("Catalogue <eo>: no answer.")
    html = gl.collections._repr_html_()
    assert "local/s2" in html
    assert "Catalogue &lt;eo&gt;: no answer." in html
    assert "sst-monthly" in gl.collections.ocean._repr_html_()
    assert "TAB" in repr(gl.collections)
    assert "ocean" in repr(gl.collections.ocean)


def test_a_collection_prints_as_code(known: Any) -> None:
    s2 = gl.collections.local.s2
    assert str(s2) == s2.snippet()
    assert repr(s2).startswith("<Collection local/s2")
    assert str(s2.limit(3)).startswith("<Collection local/s2")
    assert "Sentinel-2, level 2A" in s2._repr_html_()
    assert "not asked for" in s2.limit(3)._repr_html_()
