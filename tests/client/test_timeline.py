from __future__ import annotations

import pytest
import shapely

from geoloom import per_item
from geoloom.errors import ParameterError
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom.timeline import Animation, animate

DAY = 86_400.0
SPRING = 1_458_864_000.0
"""25 March 2016."""


def scenes(*days: float | None) -> Selection:
    """Scenes of two bands, some days after 25 March 2016."""
    bands = [SelectedBand(name, "uint16", nodata=0.0) for name in ("B04", "B08")]
    items = [
        Item(
            f"scene{number}",
            None if day is None else SPRING + day * DAY,
            shapely.box(23.9, 43.7, 24.0, 43.8),
            (Asset(f"/data/{number}.tif", ((0, 0), (1, 1))),),
            10.0,
        )
        for number, day in enumerate(days)
    ]
    return Selection.of("fields", bands, items)


@pytest.fixture
def season() -> Animation:
    selection = scenes(40.5, 0.4, 0.41, 20.0, None)
    return animate(per_item.item(selection), selection)


def test_frames_are_the_days_that_have_scenes_oldest_first(season: Animation) -> None:
    assert season.labels == ("25 March 2016", "14 April 2016", "4 May 2016")
    assert [one.count for one in season] == [2, 1, 1]
    assert (season[1].start, season[1].end) == ("2016-04-14T00:00:00Z", "2016-04-15T00:00:00Z")


def test_all_frames_share_one_selection(season: Animation) -> None:
    nodes = [one.image.chain.node for one in season]
    assert {node.op for node in nodes} == {"composite"}
    assert len({node.params["selection"] for node in nodes}) == 1
    assert [node.params["start"] for node in nodes] == [one.start for one in season]
    assert len({one.image.key for one in season}) == 3


def test_months_become_one_image_by_the_method_asked_for() -> None:
    selection = scenes(0, 1, 20, 40)
    months = animate(per_item.item(selection)["B08"], selection, by="month", method="median")
    assert months.labels == ("March 2016", "April 2016", "May 2016")
    assert months[0].image.chain.node.params["how"] == "median"
    assert months.band_names == ("B08",)


def test_map_changes_every_frame_and_nothing_else(season: Animation) -> None:
    index = season.map(lambda img: img.normalized_difference("B08", "B04").scale(0, 1).colormap("viridis"))
    assert index.labels == season.labels
    assert index.profile.look is not None
    assert season.profile.look is None
    with pytest.raises(ParameterError, match="gave NoneType, not an image"):
        season.map(lambda img: None)


def test_it_is_a_sequence_and_equal_ones_have_equal_keys(season: Animation) -> None:
    assert len(season) == 3
    assert season[-1].label == "4 May 2016"
    assert season[1:].labels == ("14 April 2016", "4 May 2016")
    assert season[:].key == season.key != season[1:].key
    assert season.map(lambda img: img["B04"]).key != season.key
    with pytest.raises(ParameterError, match="at least one frame"):
        season[3:]


def test_it_tells_what_it_holds(season: Animation) -> None:
    assert repr(season) == "<Animation [B04, B08] of 3 frames: 25 March 2016 to 4 May 2016>"
    assert "<td style='text-align:left'>25 March 2016</td><td>2</td>" in season._repr_html_()


def test_without_dates_there_is_nothing_to_animate() -> None:
    selection = scenes(None, None)
    with pytest.raises(ParameterError, match=r"none of the 2 items has a date"):
        animate(per_item.item(selection), selection)
