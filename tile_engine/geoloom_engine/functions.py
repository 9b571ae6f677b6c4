"""Users' functions as the evaluator meets them: which may run here, their texts, the way to the sandbox."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, Protocol

import numpy as np

from geoloom.block import Block
from geoloom.errors import EngineFault, FunctionRefused
from geoloom.grid import Grid
from geoloom.ops.execute import Execute
from geoloom_engine.memo import Memo
from geoloom_engine.sandbox.pool import Answer, Call, Pool
from geoloom_engine.sandboxing import NONE_RUN
from geoloom_engine.steps import Compute

TEXT_BYTES = 32 << 20
"""Texts of functions that one process keeps in memory."""

DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "cv2": "opencv-python"}
"""Modules that are not called as what is installed."""

FunctionCall = Callable[[Compute, Block, Grid], Block]
"""What the evaluator calls for a step that a user's function computes, with the input's block."""


class Sandbox(Protocol):
    """What runs functions: `geoloom_engine.sandbox.pool.Pool`."""

    def call(self, call: Call, block: Block, grid: Grid, wanted: Callable[[], bool]) -> Answer:
        """What a function makes of a block on ``grid.expand(call.margin)``."""

    def state(self) -> dict[str, float]:
        """For the metrics: see `gauges.FUNCTION_STATES`."""

    def close(self) -> None:
        """End all processes."""


class Account(Protocol):
    """What functions are charged to: `geoloom_engine.usage.Usage`."""

    def check(self, session: str) -> None:
        """Raise EngineOverloaded if functions of the session's user may compute no more for now."""

    def function(self, session: str, seconds: float) -> None:
        """Charge one call."""


class Functions:
    """Runs users' functions. Thread-safe.

    Parameters
    ----------
    sandbox
        Where they run; None if they do not run here.
    modules
        What they may import.
    load
        The text of a function by its key.
    problem
        Why they do not run, if they do not.
    trusted
        Whether the function of a text may run; None if all may.
    """

    def __init__(
        self,
        sandbox: Sandbox | None,
        modules: Iterable[str],
        load: Callable[[str], bytes],
        problem: str = "",
        trusted: Callable[[str], bool] | None = None,
    ) -> None:
        self.sandbox = sandbox
        self.modules = tuple(modules)
        self.problem = problem or ("" if sandbox is not None else NONE_RUN)
        self._load = load
        self._trusted = trusted
        self._account: Account | None = None
        self._texts: Memo[bytes] = Memo(TEXT_BYTES, len)
        self.version = environment(self.modules)

    def charge_to(self, account: Account) -> None:
        """Charge what functions compute from now on, and run none of whoever has used up his time."""
        self._account = account
        if isinstance(self.sandbox, Pool):
            self.sandbox.charge = account.function

    def keep(self, key: str, text: bytes) -> None:
        """Remember a text, so that it need not be loaded."""
        self._texts.get(key, lambda: text)

    def check(self, op: Execute) -> None:
        """Refuse a function that does not run here; raises FunctionRefused."""
        if self.problem:
            raise FunctionRefused(
                self.problem, hint="Ask its operator, who sets GEOLOOM_FUNCTIONS.", op=op.name
            )
        missing = sorted(set(op.modules) - set(self.modules))
        if missing:
            raise FunctionRefused(
                f"{op.main} imports {', '.join(missing)}, which functions may not use in this engine.",
                hint=f"These they may: {', '.join(self.modules)}; the operator sets them in "
                "GEOLOOM_FUNCTION_MODULES.",
                op=op.name,
            )
        if self._trusted is not None and not self._trusted(op.text):
            raise FunctionRefused(
                f"The function {op.main} was not written in a notebook of this session, "
                "and this engine cannot lock functions in.",
                hint="Read it with geoloom.functions(image); if it may do whatever you may, call "
                "geoloom.trust(image).",
                op=op.name,
            )

    def bound(self, session: str, wanted: Callable[[], bool], printed: list[str]) -> FunctionCall:
        """What an evaluation calls.

        Parameters
        ----------
        session
            For whom it runs: no two share a process.
        wanted
            Whether to go on. Where it has a method ``aside``, the wait for the sandbox is handed to that.
        printed
            Takes what functions print.
        """
        aside: Callable[[Callable[[], Answer]], Answer] = getattr(wanted, "aside", _at_once)

        def call(step: Compute, block: Block, grid: Grid) -> Block:
            op, sandbox = step.op, self.sandbox
            if not isinstance(op, Execute) or sandbox is None:
                raise EngineFault(f"{step.op.name} cannot be computed in the sandbox.")
            if not block.valid.any():
                return Block.empty(len(op.bands), *grid.shape, op.dtype)
            if self._account is not None:
                self._account.check(session)
            asked = Call(
                session=session,
                source=self._texts.get(op.text, lambda: self._load(op.text)),
                function=op.main,
                arguments=op.arguments,
                names=step.profiles[0].names,
                modules=op.modules,
                dtype=op.dtype,
                bands=len(op.bands),
                margin=op.around,
            )
            answer = aside(lambda: sandbox.call(asked, block, grid, wanted))
            if answer.printed and answer.printed not in printed:
                printed.append(answer.printed)
            return answer.block

        return call

    def state(self) -> dict[str, float]:
        """What can be watched of the sandbox."""
        return {} if self.sandbox is None else self.sandbox.state()

    def close(self) -> None:
        """End the sandbox's processes."""
        if self.sandbox is not None:
            self.sandbox.close()


def environment(modules: Iterable[str]) -> str:
    """A short hash of the versions of Python and of some modules: what results of functions depend on."""
    found = [f"python {sys.version_info[:3]}", f"numpy {np.__version__}"]
    for module in sorted(set(modules)):
        try:
            found.append(f"{module} {metadata.version(DISTRIBUTIONS.get(module, module))}")
        except metadata.PackageNotFoundError:
            continue  # of the standard library, as math
    return hashlib.sha256("; ".join(found).encode()).hexdigest()[:16]


def _at_once(wait: Callable[[], Any]) -> Any:
    return wait()
