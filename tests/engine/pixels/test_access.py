"""The allow-list: what may be read, and every trick to read something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.readers.access import Access, short_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "allowed" / "deep").mkdir(parents=True)
    (tmp_path / "allowed-not").mkdir()
    for name in ("allowed/a.tif", "allowed/deep/b.tif", "allowed-not/c.tif", "secret.tif", "allowed/ä ö.tif"):
        (tmp_path / name).write_bytes(b"II*\0")
    return tmp_path


@pytest.fixture
def access(folder: Path) -> Access:
    return Access((str(folder / "allowed"), "http://data.example/b", "https://cogs.example:8443"))


@pytest.mark.parametrize("name", ["a.tif", "deep/b.tif", "ä ö.tif", "deep//b.tif", "./a.tif"])
def test_files_below_a_root(access: Access, folder: Path, name: str) -> None:
    place = access.resolve(f"{folder}/allowed/{name}")
    assert not place.remote
    assert Path(place.path).is_file()


def test_file_url(access: Access, folder: Path) -> None:
    assert access.resolve(f"file://{folder}/allowed/%C3%A4%20%C3%B6.tif").path.endswith("ä ö.tif")
    assert access.resolve(f"file://localhost{folder}/allowed/a.tif").path.endswith("a.tif")


def test_a_single_file_may_be_allowed(folder: Path) -> None:
    access = Access((str(folder / "secret.tif"),))
    assert access.resolve(str(folder / "secret.tif")).name == "secret.tif"
    with pytest.raises(SourceRefused):
        access.resolve(str(folder / "allowed/a.tif"))


@pytest.mark.parametrize(
    "name",
    [
        "secret.tif",
        "allowed-not/c.tif",
        "allowed/../secret.tif",
        "allowed/deep/../../secret.tif",
        "allowed/%2e%2e/../secret.tif",
        "nothing-here.tif",
    ],
)
def test_outside_is_refused_and_says_nothing_of_what_is_there(
    access: Access, folder: Path, name: str
) -> None:
    with pytest.raises(SourceRefused) as caught:
        access.resolve(f"{folder}/{name}")
    assert str(folder) not in str(caught.value)
    assert caught.value.hint


def test_missing_and_existing_outside_read_the_same(access: Access, folder: Path) -> None:
    messages = []
    for name in ("secret.tif", "absent.tif"):
        with pytest.raises(SourceRefused) as caught:
            access.resolve(str(folder / name))
        messages.append(str(caught.value).replace(name, "X"))
    assert messages[0] == messages[1]


def test_links_that_lead_out_are_refused_and_links_inside_are_not(access: Access, folder: Path) -> None:
    (folder / "allowed" / "out.tif").symlink_to(folder / "secret.tif")
    (folder / "allowed" / "up").symlink_to(folder)
    (folder / "allowed" / "in.tif").symlink_to(folder / "allowed" / "a.tif")
    for name in ("out.tif", "up/secret.tif"):
        with pytest.raises(SourceRefused):
            access.resolve(f"{folder}/allowed/{name}")
    assert access.resolve(f"{folder}/allowed/in.tif").path == str(folder / "allowed" / "a.tif")


def test_not_there_or_a_folder(access: Access, folder: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"gone\.tif is not there"):
        access.resolve(f"{folder}/allowed/gone.tif")
    with pytest.raises(SourceNotFound, match="is a folder"):
        access.resolve(f"{folder}/allowed/deep")


@pytest.mark.parametrize(
    "href",
    [
        "",
        "   ",
        "scene.tif",
        "a" * 5000,
        "/vsicurl/http://data.example/b/a.tif",
        "/VSIZIP/x.zip/a.tif",
        "//vsimem/a.tif",
        "/vsistdin/",
        "GTIFF_DIR:1:/allowed/a.tif",
        "GTIFF_RAW:/allowed/a.tif",
        "NETCDF:/allowed/a.nc:x",
        "vrt:///allowed/a.tif?bands=1",
        "MEM:::DATAPOINTER=0",
        "<VRTDataset/>",
        "  <VRTDataset/>",
        "ftp://data.example/b/a.tif",
        "s3://bucket/a.tif",
        "file://other.example/a.tif",
        "/allowed/a.tif\0.png",
        "/allowed/a\n.tif",
        "C:\\data\\a.tif",
        "http:/data.example/b/a.tif",
    ],
)
def test_odd_names_are_refused(access: Access, href: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        access.resolve(href)
    assert caught.value.hint
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "href",
    [
        "http://data.example/b/a.tif",
        "HTTP://DATA.EXAMPLE/b/a.tif",
        "http://data.example:80/b/deep/a.tif?sig=x%2Fy",
        "http://data.example/b",
        "https://cogs.example:8443/anything.tif",
    ],
)
def test_addresses_below_a_prefix(access: Access, href: str) -> None:
    place = access.resolve(href)
    assert place.remote
    assert place.path == href.replace("HTTP", "http")


@pytest.mark.parametrize(
    "href",
    [
        "http://data.example/bad/a.tif",
        "http://data.example/bad.tif",
        "http://data.example/",
        "http://data.example/B/a.tif",
        "https://data.example/b/a.tif",
        "http://data.example:8080/b/a.tif",
        "http://data.example.evil/b/a.tif",
        "http://data.example@evil/b/a.tif",
        "http://evil@data.example/b/a.tif",
        "http://evil/http://data.example/b/a.tif",
        "http://data.example/b/../secret.tif",
        "http://data.example/b/%2e%2e/secret.tif",
        "http://data.example/b/..%2fsecret.tif",
        "http://data.example\\@evil/b/a.tif",
        "http://data.example/b/a.tif#frag",
        "http://data.example:x/b/a.tif",
        "http:///b/a.tif",
        "https://cogs.example/a.tif",
        "http://[::1/b/a.tif",
    ],
)
def test_other_addresses_are_refused(access: Access, href: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        access.resolve(href)
    assert caught.value.hint


def test_nothing_is_allowed_unless_given(folder: Path) -> None:
    for href in (str(folder / "secret.tif"), "http://data.example/b/a.tif"):
        with pytest.raises(SourceRefused):
            Access(()).resolve(href)


@pytest.mark.parametrize("entry", ["relative/folder", "ftp://x/", "/vsicurl/http://x", "http:///a"])
def test_senseless_entries_are_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"neither|no http"):
        Access((entry,))


def test_short_names_hold_no_secrets_and_no_control_characters() -> None:
    assert short_name("https://x/y/a.tif?sig=secret") == "a.tif"
    assert short_name("/a/b\x1b[31m.tif") == "b?[31m.tif"
    assert len(short_name("x" * 500)) <= 80


def test_a_bare_scheme_allows_every_host_of_it() -> None:
    access = Access(("https://",))
    assert access.resolve("https://anywhere.example/a.tif").remote
    for href in ("http://anywhere.example/a.tif", "https://user@anywhere.example/a.tif"):
        with pytest.raises(SourceRefused):
            access.resolve(href)
