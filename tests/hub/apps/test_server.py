"""The apps service as a process: it leaves nothing behind, and says in a sentence what it cannot do."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_no_kernel_outlives_the_service(start_service: Callable[..., Any]) -> None:
    with start_service(GEOLOOM_APPS_GUESTS="1") as service:
        service.visitor().open()
        kernels = psutil.Process(service.process.pid).children(recursive=True)
        assert kernels
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert gone(kernels)


def test_an_app_that_is_never_ready_is_given_up_and_a_killed_service_leaves_no_kernel(
    start_service: Callable[..., Any],
) -> None:
    with start_service(GEOLOOM_APPS_GUESTS="1", GEOLOOM_APPS_START="4") as service:
        late = service.visitor().ask("GET", "voila/render/endless.ipynb")
        assert "not ready in time" in late.text
        assert service.open_apps() == 0
        kernels: list[psutil.Process] = []

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                while service.process.poll() is None:
                    service.visitor().ask("GET", "voila/render/endless.ipynb")

        asking = threading.Thread(target=ask)
        asking.start()
        deadline = time.monotonic() + 60
        while not kernels:
            assert time.monotonic() < deadline
            kernels = psutil.Process(service.process.pid).children(recursive=True)
        service.process.kill()
        service.process.wait()
        asking.join()
        while not gone(kernels):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_it_cannot_do_is_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "geoloom_hub.apps"],
        env={**os.environ, "GEOLOOM_APPS_FOLDER": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"geoloom apps: There is no folder {tmp_path / 'nowhere'}.")
    assert ended.stderr.count("\n") == 1
