"""The exception tree: every error a person can meet, and how it travels.

::

    GeoloomError
    ├── ChainError (ValueError)         the chain itself is wrong
    │   ├── ParameterError              a parameter cannot be made canonical or is out of range
    │   ├── ChainTooLarge               beyond the bounds of nodes, depth or bytes
    │   ├── CorruptChain                stored text does not hash to its key, or is not canonical
    │   └── UnknownOp                   an op, or a version of it, that this Geoloom does not have
    ├── BandError (LookupError)         no such band
    ├── ImageUseError (TypeError)       a lazy image used as if it were numbers
    ├── RequestError (ValueError)       a request that makes no sense: tile, zoom, body
    ├── NotFound (LookupError)          no chain or blob under this key
    ├── SourceError                     the file behind an image
    │   ├── SourceNotFound              it is not there
    │   ├── SourceRefused               outside the allowed sources, or not an allowed format
    │   ├── SourceUnreadable            damaged, truncated, or not an image
    │   ├── SourceNotGeoreferenced      it does not say where on Earth it lies
    │   ├── SourceChanged               a pinned source is no longer what it was
    │   └── ItemUnreadable              an item of a collection that a picture is shown without
    ├── DemandError                     the view would read or compute too much
    ├── FunctionError                   a user's own function
    │   ├── FunctionNotSent (ValueError)  it cannot travel to the engine; said in the notebook
    │   ├── FunctionFailed              it raised an exception, or gave what cannot be used
    │   ├── FunctionStopped             it took too long, too much memory, or crashed
    │   └── FunctionRefused             the engine does not run it: not allowed, or stopped too often
    ├── AccessError                     not allowed
    │   ├── CapabilityError             the layer's URL is forged, expired or revoked
    │   └── QuotaExceeded               too many or too large chains of one user
    └── EngineError                     the engine itself
        ├── EngineUnreachable           no answer
        ├── EngineOverloaded            busy: refused after a bounded wait
        └── EngineFault                 a defect in the engine; carries an incident id
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

__all__ = [
    "AccessError",
    "BandError",
    "CapabilityError",
    "ChainError",
    "ChainTooLarge",
    "CorruptChain",
    "DemandError",
    "EngineError",
    "EngineFault",
    "EngineOverloaded",
    "EngineUnreachable",
    "FunctionError",
    "FunctionFailed",
    "FunctionNotSent",
    "FunctionRefused",
    "FunctionStopped",
    "GeoloomError",
    "ImageUseError",
    "ItemUnreadable",
    "NotFound",
    "ParameterError",
    "QuotaExceeded",
    "RequestError",
    "SourceChanged",
    "SourceError",
    "SourceNotFound",
    "SourceNotGeoreferenced",
    "SourceRefused",
    "SourceUnreadable",
    "UnknownOp",
    "from_json",
]


class GeoloomError(Exception):
    """Base of all errors.

    Parameters
    ----------
    message
        What is wrong and where, in one sentence.
    hint
        What to do next, in one sentence.
    node, op
        Key and op of the chain's node the error belongs to, if any.
    incident
        Identifier under which the engine logged the details, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        node: str | None = None,
        op: str | None = None,
        incident: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node
        self.op = op
        self.incident = incident

    def __str__(self) -> str:
        parts = [self.message]
        if self.hint:
            parts.append(self.hint)
        if self.incident:
            parts.append(f"(incident {self.incident})")
        return " ".join(parts)

    def _render_traceback_(self) -> list[str]:
        """The traceback in a notebook: the caller's own lines and the message, without Geoloom's inside.

        IPython asks for it. ``%tb Verbose`` shows everything.
        """
        formatter = sys.modules["IPython"].get_ipython().InteractiveTB
        shown = self.__traceback__ if formatter.mode == "Verbose" else callers(self.__traceback__)
        return list(formatter.structured_traceback(type(self), self, shown, tb_offset=1))

    def to_json(self) -> dict[str, Any]:
        """The error as the engine's HTTP answers carry it."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "node": self.node,
            "op": self.op,
            "hint": self.hint,
            "incident": self.incident,
        }


def callers(frames: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package."""
    if frames is None:
        return None
    rest = callers(frames.tb_next)
    if str(frames.tb_frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]:
        return rest
    return TracebackType(rest, frames.tb_frame, frames.tb_lasti, frames.tb_lineno)


class ChainError(GeoloomError, ValueError):
    """The chain itself is wrong."""


class ParameterError(ChainError):
    """A parameter cannot be made canonical or is out of its range."""


class ChainTooLarge(ChainError):
    """The chain has too many nodes, is too deep, or its JSON is too long."""


class CorruptChain(ChainError):
    """A stored chain does not hash to its key, or is not canonical."""


class UnknownOp(ChainError):
    """An op, or a version of an op, that this Geoloom does not have."""


class BandError(GeoloomError, LookupError):
    """No band of that name or number."""


class ImageUseError(GeoloomError, TypeError):
    """A lazy image used as if it were numbers."""


class RequestError(GeoloomError, ValueError):
    """A request that makes no sense."""


class NotFound(GeoloomError, LookupError):
    """No chain or blob is stored under this key."""


class SourceError(GeoloomError):
    """Something about the file behind an image."""


class SourceNotFound(SourceError):
    """The source is not there."""


class SourceRefused(SourceError):
    """The source lies outside the allowed places or is of no allowed format."""


class SourceUnreadable(SourceError):
    """The source is damaged, truncated or not an image."""


class SourceNotGeoreferenced(SourceError):
    """The source does not say where on Earth it lies."""


class SourceChanged(SourceError):
    """A pinned source is no longer what it was."""


class ItemUnreadable(SourceError):
    """An item of a collection that cannot be read; the others are shown without it."""


class DemandError(GeoloomError):
    """The view would read or compute more than the engine's limits allow."""


class FunctionError(GeoloomError):
    """Something about a user's own function."""


class FunctionNotSent(FunctionError, ValueError):
    """The function cannot travel to the engine: it says why, and in which line."""


class FunctionFailed(FunctionError):
    """The function raised an exception, or gave what cannot be used.

    Parameters
    ----------
    function
        Name of the function the line belongs to: the user's own, or one that it calls.
    line
        Where it failed, counted in that function: 1 is its ``def``. None if not known.
    text
        That line, as it was written.
    exception
        Type and text of what was raised, as ``IndexError: …``.
    printed
        What it had printed by then; told apart, so not part of `to_json`.
    """

    def __init__(
        self,
        message: str,
        *,
        function: str | None = None,
        line: int | None = None,
        text: str | None = None,
        exception: str | None = None,
        printed: str = "",
        **rest: Any,
    ) -> None:
        super().__init__(message, **rest)
        self.function = function
        self.line = line
        self.text = text
        self.exception = exception
        self.printed = printed

    def to_json(self) -> dict[str, Any]:
        """The error as the engine's HTTP answers carry it."""
        own = {"function": self.function, "line": self.line, "text": self.text, "exception": self.exception}
        return {**super().to_json(), **own}


class FunctionStopped(FunctionError):
    """The function took too long or too much memory, or its process crashed."""


class FunctionRefused(FunctionError):
    """The engine does not run the function: it is not allowed here, or was stopped too often."""


class AccessError(GeoloomError):
    """The caller may not do this."""


class CapabilityError(AccessError):
    """The layer's URL is forged, expired or revoked."""


class QuotaExceeded(AccessError):
    """One user's chains or blobs are too many or too large."""


class EngineError(GeoloomError):
    """Something about the engine itself."""


class EngineUnreachable(EngineError):
    """No engine answers."""


class EngineOverloaded(EngineError):
    """The engine is busy and refused the request after a bounded wait."""


class EngineFault(EngineError):
    """A defect in the engine; the incident id finds the details in its log."""


def from_json(payload: dict[str, Any]) -> GeoloomError:
    """The error that `GeoloomError.to_json` described; unknown names become `EngineFault`."""
    name = str(payload.get("error"))
    kind = globals().get(name) if name in __all__ else None
    if not (isinstance(kind, type) and issubclass(kind, GeoloomError)):
        kind = EngineFault

    def text(field: str) -> str | None:
        value = payload.get(field)
        return None if value is None else str(value)

    more: dict[str, Any] = {}
    if issubclass(kind, FunctionFailed):
        line = payload.get("line")
        more = {name: text(name) for name in ("function", "text", "exception")}
        more["line"] = line if isinstance(line, int) else None
    return kind(
        text("message") or "The engine answered without a message.",
        **more,
        hint=text("hint"),
        node=text("node"),
        op=text("op"),
        incident=text("incident"),
    )
