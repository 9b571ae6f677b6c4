"""The memory there is, read from made-up trees of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from geoloom_engine import machine as module
from geoloom_engine.machine import LEAST_PER_WORKER, Machine, resident

GB = 1 << 30
NO_LIMIT_V1 = "9223372036854771712"


class Tree:
    """`/proc` and `/sys/fs/cgroup` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.root = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.root.mkdir()

    def member(self, *lines: str) -> None:
        (self.proc / "self/cgroup").write_text("".join(f"{line}\n" for line in lines))

    def group(self, path: str, controller: str = "memory", **files: object) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / f"{controller}.{name}").write_text(f"{value}\n")

    def machine(self, physical: int = 64 * GB) -> Machine:
        return Machine.here(self.proc, self.root, physical)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_without_groups_it_is_the_machine(tree: Tree) -> None:
    assert (tree.machine().memory, tree.machine().groups) == (64 * GB, ())
    tree.member("0::/user.slice/session.scope")
    tree.group("user.slice/session.scope", max="max", high="max", current=5 * GB)
    tree.group("user.slice", max="max")
    assert (tree.machine().memory, tree.machine().groups) == (64 * GB, ())
    assert tree.machine().free() is None


def test_a_container_sees_its_own_limit_as_the_root(tree: Tree) -> None:
    tree.member("0::/")
    tree.group("", max=2 * GB, high="max", current=GB)
    assert tree.machine().memory == 2 * GB
    assert tree.machine(GB).memory == GB


def test_the_least_of_all_groups_around_it_counts(tree: Tree) -> None:
    tree.member("0::/pods/pod1/engine")
    tree.group("pods", max=32 * GB, high=20 * GB)
    tree.group("pods/pod1", max=3 * GB, high="max")
    tree.group("pods/pod1/engine", max="max", high="max")
    machine = tree.machine()
    assert machine.memory == 3 * GB
    assert [group.limit for group in machine.groups] == [3 * GB, 20 * GB]


def test_a_soft_limit_counts_too(tree: Tree) -> None:
    tree.member("0::/a")
    tree.group("a", max=8 * GB, high=6 * GB)
    assert tree.machine().memory == 6 * GB


def test_version_1(tree: Tree) -> None:
    tree.member("9:name=systemd:/a", "4:hugetlb,memory:/docker/abc", "1:cpu:/docker/abc", "0::/")
    tree.group("memory", limit_in_bytes=NO_LIMIT_V1)
    tree.group("memory/docker", limit_in_bytes=NO_LIMIT_V1)
    tree.group("memory/docker/abc", limit_in_bytes=GB)
    assert tree.machine().memory == GB


@pytest.mark.parametrize("path", ["/docker/abc", "/../../elsewhere"])
def test_a_path_that_is_that_on_the_host(tree: Tree, path: str) -> None:
    tree.member(f"4:memory:{path}")
    tree.group("memory", limit_in_bytes=GB)
    assert tree.machine().memory == GB


def test_version_1_without_a_limit_is_the_machine(tree: Tree) -> None:
    tree.member("4:memory:/")
    tree.group("memory", limit_in_bytes=NO_LIMIT_V1)
    assert (tree.machine().memory, tree.machine().groups) == (64 * GB, ())


def test_pages_of_unused_files_are_free(tree: Tree) -> None:
    tree.member("0::/a")
    tree.group("a", max=10 * GB, current=9 * GB, stat=f"anon 1\nactive_file 7\ninactive_file {4 * GB}\nx 1")
    tree.group("", max=20 * GB, current=19 * GB)
    assert tree.machine().free() == GB
    tree.group("", current=12 * GB)
    assert tree.machine().free() == 5 * GB
    tree.group("a", stat="")
    assert tree.machine().free() == GB


def test_free_in_version_1(tree: Tree) -> None:
    tree.member("4:memory:/a")
    tree.group("memory/a", limit_in_bytes=GB, usage_in_bytes=GB // 2, stat="total_inactive_file 100")
    assert tree.machine().free() == GB // 2 + 100


def test_groups_that_tell_nothing_do_no_harm(tree: Tree) -> None:
    tree.member("0::/a")
    tree.group("a", max=GB)
    assert tree.machine().free() is None
    tree.group("a", max="")
    assert (tree.machine().memory, tree.machine().groups) == (64 * GB, ())


def test_the_share_of_a_worker(tree: Tree) -> None:
    assert Machine(64 * GB, ()).per_worker(4) == 4 * GB
    assert Machine(2 * GB, ()).per_worker(8) == LEAST_PER_WORKER
    tree.member("0::/")
    tree.group("", max=10 * GB)
    assert tree.machine().per_worker(2) == 3 * GB
    assert tree.machine().per_worker(2, alone=False) == int(1.25 * GB)


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine of 32."""
    monkeypatch.setattr(module, "_processors", lambda: 32)
    return 32


def test_processors_of_a_container(tree: Tree, processors: int) -> None:
    assert tree.machine().cores == processors
    tree.member("0::/pod/engine")
    tree.group("pod", "cpu", max="300000 100000")
    tree.group("pod/engine", "cpu", max="max 100000")
    assert tree.machine().cores == 3.0
    tree.group("pod/engine", "cpu", max="50000 100000")
    assert tree.machine().cores == 0.5


def test_processors_in_version_1(tree: Tree, processors: int) -> None:
    tree.member("3:cpu,cpuacct:/a", "4:memory:/a")
    tree.group("cpu/a", "cpu", cfs_quota_us=-1, cfs_period_us=100000)
    assert tree.machine().cores == processors
    tree.group("cpu/a", "cpu", cfs_quota_us=250000)
    assert tree.machine().cores == 2.5


def test_workers_find_processors_and_memory(tree: Tree, processors: int) -> None:
    assert tree.machine().workers == processors
    tree.member("0::/")
    tree.group("", "cpu", max="250000 100000")
    assert tree.machine().workers == 3
    tree.group("", max=GB)
    assert tree.machine().workers == 1
    assert tree.machine(GB // 4).workers == 1
    assert Machine(4 * GB, (), 8.0).workers == 2


def test_this_machine() -> None:
    machine = Machine.here()
    assert 0 < machine.cores <= (os.cpu_count() or 1)
    assert 0 < machine.memory <= psutil.virtual_memory().total + (1 << 20)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux only")
def test_what_this_process_takes() -> None:
    found = resident()
    assert found is not None
    assert found == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.05)
