from __future__ import annotations

from pathlib import Path

import pytest

from geoloom.errors import SourceRefused
from geoloom_engine.readers.access import Access
from geoloom_engine.restrictions import Restrictions


def places(restrictions: Restrictions, href: str) -> set[str]:
    return {one.place for one in restrictions.of(href)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An open and a closed folder, and links between them."""
    for name in ("data/open/a.tif", "data/closed/deep/b.tif", "data/closed-not/c.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0")
    (tmp_path / "data/open/link.tif").symlink_to(tmp_path / "data/closed/deep/b.tif")
    (tmp_path / "data/open/folder").symlink_to(tmp_path / "data/closed")
    (tmp_path / "data/closed/out.tif").symlink_to(tmp_path / "data/open/a.tif")
    (tmp_path / "also").symlink_to(tmp_path / "data")
    return tmp_path / "data"


def test_all_ways_to_write_a_restricted_path_are_known(data: Path) -> None:
    own = Restrictions([f"{data}/closed=hydro"])
    for href in (
        f"{data}/closed/deep/b.tif",
        f"{data}//closed/./deep//b.tif",
        f"/{data}/closed/deep/b.tif",
        f"///{data}/closed/x",
        f"file://{data}/closed/deep/b.tif",
        f"file://localhost{data}/cl%6fsed/deep/b.tif",
        f"FILE://{data}/closed/b.nc#variable=sst",
        f"{data}/closed/b.nc#variable=sst&time=/../../../open/a",
        f"{data}/closed/b.nc#variable=/../../open/a",
        f"{data}/closed#variable=sst",
        f"{data}/closed",
    ):
        assert places(own, href) == {f"{data}/closed"}, href
    for href in (f"{data}/closed-not/c.tif", f"{data}/open/a.tif", f"{data}", "http://x/y", "", "closed/b"):
        assert places(own, href) == set(), href


def test_a_restriction_holds_by_the_linked_name_too(data: Path) -> None:
    by_link = Restrictions([f"{data.parent}/also/closed=hydro"])
    assert places(by_link, f"{data}/closed/deep/b.tif")
    assert places(by_link, f"{data.parent}/also/closed/deep/b.tif")


def test_no_link_leads_into_a_restricted_folder(data: Path) -> None:
    access = Access((str(data),), Restrictions([f"{data}/closed=hydro"]))
    assert access.resolve(f"{data}/closed/deep/b.tif")
    assert access.resolve(f"{data}/closed/out.tif")
    for way in ("open/link.tif", "open/folder/deep/b.tif"):
        with pytest.raises(SourceRefused, match="outside the folders"):
            access.resolve(f"{data}/{way}")
    with pytest.raises(SourceRefused):
        access.resolve(f"/proc/self/root{data}/closed/deep/b.tif")
    assert not access.allows_path(f"{data}/open/folder/deep")


def test_a_link_put_there_after_the_look_leads_nowhere(data: Path) -> None:
    access = Access((str(data),), Restrictions([f"{data}/closed=hydro"]))
    with (data / "closed/deep/b.tif").open("rb") as file:
        assert not access.allows_open_file(f"{data}/open/a.tif", file.fileno())
        assert access.allows_open_file(f"{data}/closed/deep/b.tif", file.fileno())


def test_no_redirect_leads_into_a_restricted_address() -> None:
    own = Restrictions(["https://data.example/closed=hydro"])
    access = Access(("https://data.example",), own)
    assert access.allows_url("https://data.example/open/b", "https://data.example/open/a")
    assert access.allows_url("https://data.example/closed/b", "https://data.example/closed/a")
    assert not access.allows_url("https://data.example/closed/b", "https://data.example/open/a")
    assert not access.allows_url("https://data.example/cl%6Fsed/b", "https://data.example/open/a")
    assert places(own, "https://data.example:443/closed/x.zarr#variable=a")


@pytest.mark.parametrize(
    "href",
    ["http://data.example/closed/a", "https://ｄata.example/closed/a", "https://data。example/cl%6Fsed/a"],
)
def test_a_restricted_address_has_no_other_name(href: str) -> None:
    assert places(Restrictions(["https://data.example/closed=hydro"]), href)


def test_another_port_is_another_address() -> None:
    own = Restrictions(["http://data.example:8080/closed=hydro"])
    assert places(own, "http://data.example:8080/closed/a")
    assert not places(own, "http://data.example/closed/a")
    assert not places(own, "https://data.example/closed/a")


def test_a_single_file_may_be_restricted() -> None:
    own = Restrictions(["/data/one.nc=hydro"])
    assert places(own, "/data/one.nc")
    assert places(own, "/data/one.nc#variable=a")
    assert not places(own, "/data/one.nc.bak")


def test_each_users_folder_is_his_own(tmp_path: Path) -> None:
    (tmp_path / "users" / "anna").mkdir(parents=True)
    (tmp_path / "homes").symlink_to(tmp_path / "users")
    own = Restrictions([f"{tmp_path}/homes/{{user}}=user:{{user}}"])
    for way in ("homes", "users"):
        (one,) = own.of(f"{tmp_path}/{way}/anna/deep/a.tif")
        assert one.groups == {"user:anna"}
        assert one.place == f"{tmp_path}/{way}/anna"
        assert own.of(f"{tmp_path}/{way}") == own.of(f"{tmp_path}/{way}/") == frozenset()
    assert own.trespass(f"{tmp_path}/users/ben/link.tif", f"{tmp_path}/users/anna/a.tif")


def test_collections_by_either_name() -> None:
    own = Restrictions(["collection:s2=hydro", "collection:local/dem=alps+user:anna"])
    assert own.of_collection("local/s2")
    assert own.of_collection("other/s2")
    assert [one.groups for one in own.of_collection("local/dem")] == [frozenset({"alps", "user:anna"})]
    assert not own.of_collection("other/dem")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "/data",
        "/data=",
        "=hydro",
        "data=hydro",
        "ftp://x/y=hydro",
        "/data=+",
        "http://a/../b=hydro",
        "/a/{user}=b",
        "/{user}/a=user:{user}",
        "/a=user:{user}",
    ],
)
def test_senseless_ones_are_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is neither|is not"):
        Restrictions([entry])
