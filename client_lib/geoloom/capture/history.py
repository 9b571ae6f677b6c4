"""The cells of a notebook, as IPython remembers them: what was typed, magics put aside."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any


def cells() -> Iterator[tuple[str, str]]:
    """Cells that were run in this process, the newest first: what to call each, and its Python text.

    Where a cell begins with a magic such as ``%%time``, its text is what follows. Nothing is run.
    Empty outside IPython.
    """
    shell = running_shell()
    if shell is None:
        return
    transform = shell.input_transformer_manager.transform_cell
    raw = list(getattr(shell.history_manager, "input_hist_raw", ()))
    parsed = list(shell.user_ns.get("In", ()))
    for number in range(max(len(raw), len(parsed)) - 1, 0, -1):
        seen = set()
        for known in (raw, parsed):
            text = known[number] if number < len(known) else ""
            if not isinstance(text, str) or not text.strip() or text in seen:
                continue
            seen.add(text)
            yield f"cell [{number}]", _python(text, transform)


def _python(cell: str, transform: Any) -> str:
    """A cell without its cell magics, and with line magics as the calls that they are."""
    lines = cell.lstrip("\n").split("\n")
    while lines and (lines[0].lstrip().startswith("%%") or not lines[0].strip()):
        del lines[0]
    body = "\n".join(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(transform(body))
    except SyntaxError:
        return body


def running_shell() -> Any:
    """The running IPython, if there is one; it is not imported for this."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
