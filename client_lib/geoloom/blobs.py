"""Content that chains name by its key, such as the texts of users' functions.

What a notebook makes is kept here as long as its process, and sent when an engine is to know a chain of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from geoloom.chain import Chain, canonical, key_of
from geoloom.errors import CorruptChain, UnknownOp
from geoloom.op import class_of

_kept: dict[str, bytes] = {}
_brought: dict[str, bytes] = {}
"""What came along with chains from elsewhere: an engine may need it, but nobody here wrote it."""


def keep(content: bytes) -> str:
    """Remember content of this process; its key."""
    key = key_of(content)
    _kept[key] = content
    return key


def kept(key: str) -> bytes | None:
    """The content of a key, if this process made it."""
    return _kept.get(key)


def known(key: str) -> bytes | None:
    """The content of a key, if this process made it or read it with a chain."""
    return _kept.get(key) or _brought.get(key)


def to_json(chain: Chain, load: Callable[[str], bytes]) -> str:
    """Canonical JSON of a chain, together with the texts that it names.

    Parameters
    ----------
    load
        Gets those that are not known here.
    """
    texts = {key: (known(key) or load(key)).decode("utf-8") for key in needed(chain)}
    content = chain.to_json()
    return (canonical({**json.loads(content), "blobs": texts}) if texts else content).decode("utf-8")


def from_json(text: str | bytes) -> Chain:
    """The chain of what `to_json` gave; its texts are remembered.

    Raises
    ------
    CorruptChain
        A name is not that of its content.
    """
    told: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(text)
    if not isinstance(told, dict) or "blobs" not in told:
        return Chain.from_json(text)
    texts = told.pop("blobs")
    chain = Chain.from_json(canonical(told))
    for key in needed(chain):
        content = texts.get(key) if isinstance(texts, dict) else None
        if isinstance(content, str):
            brought = content.encode("utf-8", "surrogatepass")
            if key_of(brought) != key:
                raise CorruptChain(f"The text {key} of the chain is not the one it was made with.")
            _brought[key] = brought
    return chain


def needed(chain: Chain) -> tuple[str, ...]:
    """Keys of the blobs that a chain names, each once."""
    found = []
    for node in chain.nodes.values():
        with contextlib.suppress(UnknownOp):
            for declared in class_of(node).parameters:
                value = node.params.get(declared.name)
                if declared.names_blob and value is not None:
                    found.append(str(value))
    return tuple(dict.fromkeys(found))
