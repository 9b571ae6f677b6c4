from __future__ import annotations

from typing import Any

import pytest

from geoloom.errors import ParameterError
from geoloom.profile import Look
from geoloom.stretch import in_common, styled


def test_a_look_is_left_alone(styled_image: Any, paper_engine: Any) -> None:
    assert styled(styled_image, paper_engine) == (styled_image, "")


def test_a_look_cannot_be_given_twice(styled_image: Any, paper_engine: Any) -> None:
    with pytest.raises(ParameterError, match="already has a look, so vmin and colormap"):
        styled(styled_image, paper_engine, vmin=0, colormap="greys")


def test_one_band_becomes_a_ramp_between_its_percentiles(paper: Any, paper_engine: Any) -> None:
    paper_engine.percentiles = {"B1": (23, 145)}
    image, note = styled(paper(names=("B1",), dtype="uint8"), paper_engine)
    assert note == "stretched 23–145 (2–98 %)"
    assert [node.op for node in image.chain.topological()] == ["open", "scale", "colormap"]
    assert list(image.chain.topological()[1].params["limits"]) == [23.0, 145.0]


def test_given_limits_are_kept(paper: Any, paper_engine: Any) -> None:
    _, note = styled(paper(), paper_engine, vmin=-0.2, vmax=1)
    assert note == "stretched −0.2 to 1"
    assert paper_engine.registered == []


def test_a_missing_limit_is_measured(paper: Any, paper_engine: Any) -> None:
    paper_engine.percentiles = {"ndvi": (-0.1, 0.8)}
    _, note = styled(paper(), paper_engine, vmin=0)
    assert note == "stretched 0–0.8 (2–98 %)"


def test_first_three_bands_become_a_picture(paper: Any, paper_engine: Any) -> None:
    paper_engine.percentiles = {"B1": (10, 20), "B2": (11, 21), "B3": (12, 22)}
    image, note = styled(paper(names=("B1", "B2", "B3", "B4"), dtype="uint16"), paper_engine)
    assert note == "B1, B2, B3 as red, green, blue, stretched 10–20, 11–21, 12–22 (2–98 %)"
    assert list(image.chain.node.params["limits"]) == [10, 20, 11, 21, 12, 22]


def test_the_files_own_colours_are_used_as_they_are(paper: Any, paper_engine: Any) -> None:
    photo = paper(names=("a", "b", "c", "d"), dtype="uint8", colours=("Blue", "Green", "Red", "Alpha"))
    image, note = styled(photo, paper_engine)
    assert note == "c, b, a as red, green, blue, as in the file"
    assert list(image.chain.node.params["limits"]) == [0, 255]


def test_bool_becomes_two_classes(paper: Any, paper_engine: Any) -> None:
    image, note = styled(paper(dtype="bool"), paper_engine)
    assert image.chain.node.op == "palette"
    assert note == "false and true"


@pytest.mark.parametrize(
    ("measured", "limits"),
    [
        ((0.051912, 17.6021), "0.1–17.6"),
        ((452.3, 1648.7), "450–1650"),
        ((-0.436241, 0.528842), "−0.436 to 0.529"),
        ((-0.001, 999.0), "0–999"),
        ((-1.7e308, 1.7e308), "−1.7e+308 to 1.7e+308"),
    ],
)
def test_measured_limits_have_few_digits(paper: Any, paper_engine: Any, measured: Any, limits: str) -> None:
    paper_engine.percentiles = {"ndvi": measured}
    _, note = styled(paper(), paper_engine)
    assert note == f"stretched {limits} (2–98 %)"


def test_an_image_without_a_valid_pixel_says_so(paper: Any, paper_engine: Any) -> None:
    _, note = styled(paper(), paper_engine)
    assert note == "stretched 0–1 (no valid pixels found)"


@pytest.mark.parametrize("percentiles", [{}, {"ndvi": (3.0, 3.0)}])
def test_nothing_to_measure_still_gives_a_ramp(paper: Any, paper_engine: Any, percentiles: Any) -> None:
    paper_engine.percentiles = percentiles
    image, _ = styled(paper(), paper_engine)
    low, high = image.chain.topological()[1].params["limits"]
    assert low < high


def test_one_limit_a_band_must_fit_the_bands(paper: Any, paper_engine: Any) -> None:
    with pytest.raises(ParameterError, match="vmin has 2 values for 3 bands"):
        styled(paper(names=("r", "g", "b")), paper_engine, vmin=[0, 1], vmax=1)


def test_a_ramp_shows_one_band(paper: Any, paper_engine: Any) -> None:
    with pytest.raises(ParameterError, match=r'image has 3: r, g, b. Choose one, for example image."r"'):
        styled(paper(names=("r", "g", "b")), paper_engine, colormap="viridis")


def test_images_in_common_get_the_same_limits(paper: Any) -> None:
    limits = {"a": (3.0, 8.0), "c": (1.0, 4.0), "e": None}
    images = [paper(href=f"/{name}.tif") for name in "abcde"]
    names = dict(zip((one.chain.root for one in images), "abcde", strict=True))
    asked: list[str] = []

    class Measured:
        def register(self, chain: Any) -> Any:
            self.key = chain.root
            return self

        def statistics(self, key: str) -> Any:
            asked.append(names[key])
            found = limits[names[key]]
            if found is None:
                return {"bands": {"ndvi": {"percentiles": None}}}
            low, high = found
            band = {"percentiles": {"2": low, "50": 3.0, "98": high}, "min": low - 1, "max": high + 1}
            return {"bands": {"ndvi": band}}

    together = in_common(images, Measured())
    assert asked == ["a", "c", "e"]
    for image in images:
        look, note = styled(image, together)
        assert note == "stretched 1–8 (2–98 %)"
        assert look.profile.look is not None
    assert len(asked) == 3
    one = paper(look=Look("grey"))
    assert in_common([one], together) is together
