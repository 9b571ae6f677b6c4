"""What is written into ``docs/reliability.md``."""

from __future__ import annotations

from soak.storm import Result


def markdown(result: Result, limit: float) -> str:
    """The page."""
    ledger = result.ledger
    lines = [
        f"{result.seconds:.0f} s, {len(ledger.waits)} tiles, client {result.processor:.2f} cores; waits p50 "
        f"{ledger.wait(0.5):.3f} p95 {ledger.wait(0.95):.3f} p99 {ledger.wait(0.99):.3f}",
        str(dict(ledger.answers)),
        str(dict(ledger.errors)),
        str(result.used),
        f"{len(ledger.chains)} chains, {len(ledger.saved)} saved",
    ]
    return "\n".join(lines)
