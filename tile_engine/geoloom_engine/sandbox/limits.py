"""What a function of a user may take."""

from __future__ import annotations

from dataclasses import dataclass

from geoloom.errors import DemandError
from geoloom_engine.sandbox.arena import Layout


@dataclass(frozen=True, slots=True)
class Limits:
    """What a function may take.

    Parameters
    ----------
    seconds
        For one tile.
    memory
        Bytes of one worker, beyond modules, input and output.
    workers
        Workers of this process.
    output, input
        Bytes of a tile's result, and of its pixels, at most.
    idle
        Seconds after which a worker without a tile is ended.
    spare
        Whether one more worker is kept ready for the next function, while there are any.
    """

    seconds: float
    memory: int
    workers: int
    output: int = 256 << 20
    input: int = 256 << 20
    idle: float = 60.0
    spare: bool = True

    def check(self, layout: Layout) -> None:
        """Refuse a tile that takes more room than allowed; raises DemandError."""
        for what, size, most in (
            ("pixels", layout.inside, self.input),
            ("result", layout.outside, self.output),
        ):
            if size > most:
                raise DemandError(
                    f"The {what} of this tile would take {megabytes(size)} in the function's memory; "
                    f"{megabytes(most)} are allowed.",
                    hint="Give it fewer bands, a smaller margin, or a smaller result.",
                )


def megabytes(size: int) -> str:
    """Bytes in words."""
    return f"{size / (1 << 20):,.0f} MB"
