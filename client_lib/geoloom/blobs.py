"""Content that chains name by its key, such as the texts of users' functions.

What a notebook makes is kept here as long as its process, and sent when an engine is to know a chain of it.
"""

from __future__ import annotations

import contextlib

from geoloom.chain import Chain, key_of
from geoloom.errors import UnknownOp
from geoloom.op import class_of
from geoloom.param import BlobKey

_kept: dict[str, bytes] = {}


def keep(content: bytes) -> str:
    """Remember content of this process; its key."""
    key = key_of(content)
    _kept[key] = content
    return key


def kept(key: str) -> bytes | None:
    """The content of a key, if this process made it."""
    return _kept.get(key)


def needed(chain: Chain) -> tuple[str, ...]:
    """Keys of the blobs that a chain names, each once."""
    found = []
    for node in chain.nodes.values():
        with contextlib.suppress(UnknownOp):
            for declared in class_of(node).parameters:
                value = node.params.get(declared.name)
                if declared.hint is BlobKey and value is not None:
                    found.append(str(value))
    return tuple(dict.fromkeys(found))
