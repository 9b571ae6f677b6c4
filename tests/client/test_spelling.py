from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geoloom.spelling import folded, slips


def test_folding() -> None:
    assert folded("  Mer-de-GLACE, Été! ") == "mer de glace ete"
    assert folded("Straße Łódź sea_ice") == "strasse lodz sea ice"
    assert folded("MÜNCHEN") == folded("München") == folded("munchen") == "munchen"
    assert folded("Αθήνα") == "αθηνα"
    assert folded("東京") == "東京"
    assert folded("L'Aquila") == "l aquila"
    assert folded("...") == ""


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_slips() -> None:
    made = slips("ispra")
    for one in ("ispa", "isrpa", "isbra", "isppra", "is pra"):
        assert one in made
    assert "ispra" not in made
    assert "ispra " not in made
    assert slips("") == list("abcdefghijklmnopqrstuvwxyz")
