from __future__ import annotations

import pytest

from geoloom import errors
from geoloom_engine.statuses import status_of

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "from_json"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_that_says_whose_fault_it_is(kind: type[errors.GeoloomError]) -> None:
    status = status_of(kind("message"))
    if issubclass(kind, errors.EngineError) or kind is errors.GeoloomError:
        assert status >= 500
    else:
        assert 400 <= status < 500


def test_some_statuses_are_promised() -> None:
    for kind, status in (
        (errors.RequestError, 400),
        (errors.AccessError, 401),
        (errors.CapabilityError, 403),
        (errors.NotFound, 404),
        (errors.CorruptChain, 422),
        (errors.EngineOverloaded, 503),
        (errors.EngineFault, 500),
    ):
        assert status_of(kind("message")) == status
