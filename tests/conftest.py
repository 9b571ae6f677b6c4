"""What holds for every test: settings, no network beyond this machine, no process left behind."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# Before any test imports GDAL: a small cache, no look-ups of grids in the network.
os.environ.setdefault("GDAL_CACHEMAX", "64")
os.environ["PROJ_NETWORK"] = "OFF"

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=50,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "local")

FIRST = (
    "browser/test_first_map.py",
    "engine/test_embedded.py",
    "notebooks",
    "client/test_local.py",
    "browser/test_hub.py",
    "soak",
    "engine/test_load.py",
    "browser",
    "hub",
    "engine/test_sandboxing.py",
    "engine/sandbox/test_attacks.py",
    "engine/ingest/test_ingest.py",
    "bench",
    "engine/test_main.py",
    "engine/sandbox/test_pool.py",
)
"""Folders and modules that take longest, those that compute beside those that wait: begun last, one would
keep a worker busy when all else is done."""

# Every process a test starts inherits this mark, however far it detaches itself.
MARK = "GEOLOOM_TEST_RUN"
SECONDS_TO_END = 20.0

foreign: list[str] = []


def is_local(address: object) -> bool:
    """Whether a socket address stays on this machine."""
    if not isinstance(address, tuple):
        return True  # a path: a Unix socket
    host = address[0].decode() if isinstance(address[0], bytes) else str(address[0])
    if host in ("", "None", "localhost", "0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def watch_sockets(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse connections that leave this machine (an audit hook sees those of every thread and library)."""
    if event == "socket.getaddrinfo":
        address: object = (arguments[0], arguments[1])
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    else:
        return
    if not is_local(address):
        foreign.append(f"{event} {address}")
        raise ConnectionRefusedError(f"tests do not use the network: {event} {address}")


sys.addaudithook(watch_sockets)


@pytest.fixture(autouse=True)
def no_foreign_network() -> Iterator[None]:
    """Fail the test that tried to reach another machine, even if the code under test hid the error."""
    foreign.clear()
    yield
    assert not foreign, f"the network was used: {foreign}"


def started_by_tests() -> list[psutil.Process]:
    """Processes that carry this run's mark and are not the test runner."""
    own = {os.getpid(), *(child.pid for child in runner_children())}
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == os.environ[MARK]
            if marked and process.pid not in own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def runner_children() -> list[psutil.Process]:
    """The test runner's own workers and resource trackers."""
    return [child for child in psutil.Process().children() if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    """Whether this process is one of pytest-xdist's or multiprocessing's own."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return True
    return "execnet" in command or "resource_tracker" in command


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-picture",
        action="store_true",
        help="write the browser tests' screenshots to docs/images",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first, each as it stands."""
    folder = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        path = item.path.relative_to(folder)
        names = path.as_posix(), *(one.as_posix() for one in path.parents)
        return next((place for place, name in enumerate(FIRST) if name in names), len(FIRST))

    items.sort(key=turn)


def pytest_configure(config: pytest.Config) -> None:
    """Mark this run, and give it folders of its own: the user's engine and saved chains stay untouched."""
    if not hasattr(config, "workerinput"):
        os.environ[MARK] = uuid.uuid4().hex
    # Below /tmp, since paths of sockets must be short.
    own = Path(tempfile.mkdtemp(prefix="geoloom-test-", dir="/tmp"))
    config.stash[FOLDER] = own
    for variable in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        folder = own / variable.lower()
        folder.mkdir(mode=0o700)
        os.environ[variable] = str(folder)
    # By default all embedded engines of a user begin at one port: one that is restarted could find it taken
    # by that of another test, and open maps would look for it in vain.
    from geoloom.runtime_folder import data_path

    data_path().mkdir(mode=0o700, parents=True)
    (data_path() / "port").write_text(f"{12_000 + os.getpid() % 7_000}\n")


FOLDER = pytest.StashKey[Path]()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[FOLDER], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    deadline = time.monotonic() + SECONDS_TO_END
    while (left := started_by_tests()) and time.monotonic() < deadline:
        time.sleep(0.2)
    session.config.stash[LEFT] = [describe(process) for process in left]
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


LEFT = pytest.StashKey[list[str]]()


def describe(process: psutil.Process) -> str:
    """One line about a process."""
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left = config.stash.get(LEFT, [])
    if left:
        terminalreporter.section("processes left behind", red=True)
        for line in left:
            terminalreporter.line(line, red=True)
