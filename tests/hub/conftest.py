"""A whole hub, started once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloom_hub.settings import BadSetting, Settings
from geoloom_hub.stack import Stack


@pytest.fixture(scope="session")
def proxy_program() -> Path:
    """The hub's proxy; tests that need it are skipped where there is no node."""
    try:
        return Settings.read({}).proxy
    except BadSetting as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def hub(proxy_program: Path) -> Iterator[Stack]:
    """A hub with all its parts, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="gl-hub-", dir="/tmp"))
    stack = Stack(folder, environment={"GEOLOOM_HUB_IDLE": "0"})
    try:
        with stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)
