"""The placeholder of per-item sub-chains."""

from __future__ import annotations

from geoloom.op import BlobKey, Op, op, param


@op
class Item(Op):
    """The item of a selection that is being evaluated; the source of an op's `each` sub-chain."""

    selection: BlobKey = param(doc="Key of the selection's table.", example="0" * 32)
    source = True
    method = False
