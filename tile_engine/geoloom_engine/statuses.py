"""The one table that gives each error its HTTP status."""

from __future__ import annotations

from geoloom import errors
from geoloom_engine.callers import Forbidden

STATUSES: dict[type[errors.GeoloomError], int] = {
    errors.ChainTooLarge: 413,
    errors.ChainError: 422,
    errors.BandError: 422,
    errors.ImageUseError: 422,
    errors.RequestError: 400,
    errors.NotFound: 404,
    errors.SourceNotFound: 404,
    errors.SourceRefused: 403,
    errors.SourceChanged: 409,
    errors.SourceError: 422,
    errors.DemandError: 422,
    errors.FunctionRefused: 403,
    errors.FunctionError: 422,
    errors.CapabilityError: 403,
    errors.QuotaExceeded: 429,
    Forbidden: 403,
    errors.AccessError: 401,
    errors.EngineOverloaded: 503,
    errors.EngineUnreachable: 503,
    errors.GeoloomError: 500,
}


def status_of(error: errors.GeoloomError) -> int:
    """The status of an error: that of the nearest class above it in the tree."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
