"""Where a chain starts: one file or URL."""

from __future__ import annotations

from geoloom.op import Op, op, param


@op
class Open(Op):
    """The pixels of one file or URL. Live: the engine notices when the file changes."""

    href: str = param(doc="Absolute path or URL.", example="/data/scene.tif")
    fingerprint: str | None = param(
        None, doc="Set by `pin()`: the file must still have this fingerprint when it is read."
    )
    source = True
    method = False
