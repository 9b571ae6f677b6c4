"""Slips for which Python refuses a whole cell, explained below its own message."""

from __future__ import annotations

from typing import Any

from geoloom.capture.history import running_shell
from geoloom.capture.refusal import slip


def explain_slips() -> None:
    """From now on, a cell of this notebook that Python cannot read because of a known slip is explained.

    Such a cell runs nothing, so nothing else of Geoloom's could say it. Outside IPython nothing happens.
    """
    shell = running_shell()
    if shell is not None and _explain not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _explain)


def _explain(result: Any) -> None:
    # A cell with a magic such as %%time fails only when the magic compiles it.
    error = result.error_before_exec or result.error_in_exec
    if isinstance(error, SyntaxError) and error.text:
        reason, hint = slip(error.text, error)
        if hint is not None:
            print(f"Line {error.lineno}: {reason}. {hint}")  # noqa: T201 - where a cell's output is
