"""Runs a program of Jupyter's that starts in half the time: ``python -m geoloom_hub.lean MODULE ARGUMENTS…``.

When jsonschema is imported it compiles the grammar of internationalised addresses, if a package for that is
there: 1.3 s of processor time of the 2.5 that JupyterHub took until it could begin. No schema of Jupyter's
has such an address; without the package jsonschema leaves that one format unchecked.
"""

from __future__ import annotations

import runpy
import sys

UNUSED = "rfc3987_syntax"


def main() -> None:
    """Become the module that the arguments name."""
    sys.modules[UNUSED] = None  # type: ignore[assignment]
    module, *arguments = sys.argv[1:]
    sys.argv[:] = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
