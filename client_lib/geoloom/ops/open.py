"""Where a chain starts: one file or URL."""

from __future__ import annotations

from collections.abc import Callable

from geoloom.chain import Chain
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


def pinned(chain: Chain, fingerprint: Callable[[str], str]) -> Chain:
    """The same chain of files as they are now, whose fingerprints `fingerprint` knows by href."""
    replaced: dict[str, Chain] = {}
    for node in chain.topological():
        params = dict(node.params)
        if node.op == Open.name:
            params["fingerprint"] = fingerprint(params["href"])
        each = None if node.each is None else replaced[node.each]
        inputs = tuple(replaced[key] for key in node.inputs)
        replaced[node.key] = Chain.extend(node.op, node.v, params, inputs, each)
    return replaced[chain.root]
