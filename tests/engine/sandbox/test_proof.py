"""What a locked process cannot do, tried by itself; and that the trial sees it where it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geoloom_engine.sandbox import proof
from geoloom_engine.sandbox.lock import Available, available

needs_seccomp = pytest.mark.skipif(not available().seccomp, reason="this kernel has no seccomp")


@needs_seccomp
def test_all_is_refused_in_a_locked_process() -> None:
    found = proof.prove()
    assert found.gained == ()
    assert found.level.seccomp


def test_without_a_lock_all_succeeds_and_is_told(tmp_path: Path) -> None:
    code = "from geoloom_engine.sandbox import proof; proof.lock = lambda *_: None; proof.main()"
    tried = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert tried.stdout.splitlines() == [*proof.ATTEMPTS, proof.END, proof.PROGRAM]


def test_what_a_kernel_cannot_lock_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "available", lambda: Available(False, 0, "No seccomp: not here."))
    found = proof.prove()
    assert not found.level.seccomp
    assert found.reason == "No seccomp: not here."


@needs_seccomp
def test_a_process_that_ends_before_its_time_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof.sys, "executable", "/bin/false")
    found = proof.prove()
    assert not found.level.seccomp
    assert "ended with 1" in found.reason
