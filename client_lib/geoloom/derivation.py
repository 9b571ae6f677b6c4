"""What each node of a chain gives, derived from what its sources hold."""

from __future__ import annotations

from collections.abc import Callable

from geoloom.chain import Chain
from geoloom.errors import BandError, ParameterError
from geoloom.op import Op, decode
from geoloom.profile import Profile


def profiles(chain: Chain, of_source: Callable[[Op], Profile]) -> dict[str, Profile]:
    """The profile of every node of a chain, by key; `of_source` knows those of its sources.

    An op with a sub-chain is told the profile of that after those of its inputs.
    """
    found: dict[str, Profile] = {}
    for node in chain.topological():
        decoded = decode(node)
        try:
            if decoded.source:
                found[node.key] = of_source(decoded)
            else:
                found[node.key] = decoded.described(*(found[key] for key in node.children))
        except (BandError, ParameterError) as error:
            error.node, error.op = error.node or node.key, error.op or node.op
            raise
    return found
