"""What is said of a tile that a function did not compute, and whether it counts against the function."""

from __future__ import annotations

import logging
import signal

from geoloom.errors import EngineFault, EngineOverloaded, FunctionFailed, FunctionStopped
from geoloom_engine.sandbox.limits import Limits, megabytes
from geoloom_engine.sandbox.messages import Notice
from geoloom_engine.sandbox.remote import End, NoReply
from geoloom_engine.sandbox.strikes import MOST, Strikes
from geoloom_engine.sandbox.task import Call
from geoloom_engine.unwanted import Unwanted

log = logging.getLogger("geoloom_engine")

OWN_DOING = 0.5
"""Share of the time limit that must have been the function's own doing, else the machine was too busy."""

_ENDS: dict[int, str] = {
    signal.SIGSEGV: "it crashed (segmentation fault)",
    signal.SIGBUS: "it crashed (bus error)",
    signal.SIGFPE: "it crashed (arithmetic error)",
    signal.SIGILL: "it crashed (illegal instruction)",
    signal.SIGABRT: "it crashed (abort)",
    signal.SIGSYS: "it asked the system for what a function may not have",
    signal.SIGKILL: "it was killed, perhaps because the machine ran out of memory",
}

_OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError")


class Verdicts:
    """Judges what a pool's workers did.

    Parameters
    ----------
    limits
        What functions may take.
    strikes
        Counts what functions did.
    """

    def __init__(self, limits: Limits, strikes: Strikes) -> None:
        self._limits = limits
        self._strikes = strikes
        self._late: dict[str, float] = {}
        """Seconds of their own for tiles not ended, since the last that was."""

    def done(self, key: str) -> None:
        """Note that a function has computed a tile."""
        self._late.pop(key, None)

    def explained(self, error: FunctionFailed) -> FunctionFailed:
        """A function's own failure, with the limit it met if it did."""
        if (error.exception or "").partition(":")[0] in _OUT_OF_MEMORY:
            error.hint = (
                f"A function may take {megabytes(self._limits.memory)} here (the engine's "
                "GEOLOOM_FUNCTION_MEMORY). Use fewer or smaller arrays."
            )
        return error

    def stopped(self, call: Call, key: str, lost: NoReply, notice: Notice | None) -> Exception:
        """The error for a tile without a reply; strikes the function if that was its doing."""
        hint = "gl.test_execute runs it locally, on the same pixels."
        weight = 1.0
        if lost.end is End.UNWANTED:
            return Unwanted()
        if lost.end is End.UNLOCKED:
            log.error("a process for functions could not be locked down: %s", lost.reason)
            return EngineFault(
                "The process for this function could not be locked down.", hint="The engine's log says why."
            )
        if lost.end is End.LATE:
            limit = self._limits.seconds
            # One that never ends is told as such on a busy machine too, after some tiles.
            own = self._late.pop(key, 0.0) + lost.own
            if own < OWN_DOING * limit:
                self._late[key] = own
                if len(self._late) > MOST:
                    del self._late[next(iter(self._late))]
                return EngineOverloaded(
                    f"The engine was too busy to run {call.function} in time.",
                    hint="It is asked again when the engine has room.",
                )
            weight = min(1.0, own / limit)
            reason = f"it took longer than {limit:g} s for a tile"
            hint = f"The limit is the engine's GEOLOOM_FUNCTION_TIMEOUT. {hint}"
        elif lost.end is End.WRONG:
            reason = "its process answered what makes no sense"
        else:
            status = 0 if notice is None else notice.status
            reason = _ENDS.get(-status) or f"it ended its process ({_ended(status)})"
        self._strikes.add(key, weight, f"{reason}.")
        return FunctionStopped(f"{call.function} was stopped: {reason}.", hint=hint)


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
