"""Chains: Merkle DAGs of nodes, their canonical JSON, their keys and their verification.

A node's key is the hash of its canonical JSON, in which its inputs stand by key; so equal chains
have equal keys in every process, and a chain that was changed no longer hashes to its name.

::

    {"geoloom":1,"nodes":{KEY:{"inputs":[KEY…],"op":"slope","params":{…},"v":1}},"root":KEY}

A node that evaluates a sub-chain once per item names the sub-chain's root in ``"each"``; the
field is absent elsewhere. The sub-chain's nodes stand among the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from geoloom.errors import ChainTooLarge, CorruptChain, ParameterError

FORMAT = 1
KEY_LENGTH = 32
MAX_NODES = 2000
MAX_DEPTH = 500
MAX_BYTES = 1 << 20
MAX_NESTING = 32
"""Lists within lists in one parameter."""

_KEY = re.compile(r"[0-9a-f]{32}")
_OP_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NODE_FIELDS = frozenset({"op", "v", "params", "inputs"})


def canonical(value: Any) -> bytes:
    """Canonical JSON: UTF-8, sorted keys, no spaces, shortest round-trip floats.

    Raises
    ------
    ParameterError
        For NaN, infinity, lone surrogates and anything JSON does not know.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise ParameterError(f"This value cannot be written as canonical JSON: {error}.") from None


def key_of(content: bytes) -> str:
    """The key of canonical bytes, a node's or a blob's: 32 hex digits of their SHA-256."""
    return hashlib.sha256(content).hexdigest()[:KEY_LENGTH]


def is_key(text: object) -> bool:
    """Whether a value has the form of a key."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Node:
    """One use of an op.

    Parameters
    ----------
    op, v
        Name and version of the op.
    params
        Normalised parameters, defaults written out: plain JSON values. Lists are kept as tuples,
        so that a node stays what its key says.
    inputs
        Keys of the nodes it reads.
    each
        Key of the sub-chain that is evaluated once per item, if any.

    Raises
    ------
    ParameterError
        If the parameters are not plain and canonical.
    """

    op: str
    v: int
    params: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    each: str | None = None
    key: str = field(init=False, compare=False)
    size: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        params = {
            name: _plain(value, f"{self.op}({_short(name)[1:-1]}=…)") for name, value in self.params.items()
        }
        if not all(type(name) is str for name in params):
            raise ParameterError(f"A parameter of {self.op} has a name that is not text.")
        object.__setattr__(self, "params", MappingProxyType(params))
        content = canonical(self.to_dict())
        object.__setattr__(self, "key", key_of(content))
        object.__setattr__(self, "size", len(content))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.key == other.key

    def __str__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.params.items() if value is not None)
        return f"{self.op}({', '.join(shown)})"

    @property
    def children(self) -> tuple[str, ...]:
        """Keys of all nodes this one names: its inputs and the root of its sub-chain."""
        return self.inputs if self.each is None else (*self.inputs, self.each)

    def to_dict(self) -> dict[str, Any]:
        """The node as it stands in a chain's JSON."""
        payload: dict[str, Any] = {
            "op": self.op,
            "v": self.v,
            "params": dict(self.params),
            "inputs": list(self.inputs),
        }
        if self.each is not None:
            payload["each"] = self.each
        return payload


@dataclass(frozen=True, slots=True)
class Chain:
    """A node, the root, and all it needs. Made by `extend` or `from_json`, never by hand."""

    root: str
    nodes: Mapping[str, Node]
    depth: int

    def __hash__(self) -> int:
        return hash(self.root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.root == other.root

    @property
    def node(self) -> Node:
        """The root's node."""
        return self.nodes[self.root]

    @staticmethod
    def extend(
        op: str, v: int, params: Mapping[str, Any], inputs: tuple[Chain, ...] = (), each: Chain | None = None
    ) -> Chain:
        """The chain of a new node over other chains; shared nodes are kept once.

        Raises
        ------
        ChainTooLarge
            Beyond `MAX_NODES`, `MAX_DEPTH` or `MAX_BYTES`.
        """
        node = Node(op, v, params, tuple(chain.root for chain in inputs), None if each is None else each.root)
        below = inputs if each is None else (*inputs, each)
        nodes: dict[str, Node] = {}
        for chain in below:
            nodes.update(chain.nodes)
        nodes[node.key] = node
        depth = 1 + max((chain.depth for chain in below), default=0)
        size = _envelope_size() + sum(_entry_size(one) for one in nodes.values())
        _check_bounds(len(nodes), depth, size)
        return Chain(node.key, MappingProxyType(nodes), depth)

    @property
    def size(self) -> int:
        """Bytes of all nodes' JSON; what a chain occupies in memory is some ten times as much."""
        return sum(node.size for node in self.nodes.values())

    def at(self, key: str) -> Chain:
        """The chain below one of the nodes."""
        order = list(_below(key, self.nodes))
        depths = _depths(order, self.nodes)
        return Chain(key, MappingProxyType({one: self.nodes[one] for one in order}), depths[key])

    def topological(self) -> tuple[Node, ...]:
        """All nodes, each after those it names."""
        return tuple(self.nodes[key] for key in _below(self.root, self.nodes))

    def to_json(self) -> bytes:
        """Canonical JSON of the chain."""
        nodes = {key: node.to_dict() for key, node in self.nodes.items()}
        return canonical({"geoloom": FORMAT, "nodes": nodes, "root": self.root})

    @staticmethod
    def from_json(text: bytes | str, key: str | None = None) -> Chain:
        """Read and verify a chain; nothing in it is trusted before its hashes are checked.

        Parameters
        ----------
        text
            Canonical JSON.
        key
            The name it was stored under, if any; must be its root.

        Raises
        ------
        CorruptChain
            Not canonical, not hashing to its names, dangling or unreachable nodes.
        ChainTooLarge
            Beyond the bounds.
        """
        try:
            raw = text.encode("utf-8") if isinstance(text, str) else bytes(text)
        except UnicodeEncodeError:
            raise CorruptChain("The chain's text is not valid UTF-8.") from None
        if len(raw) > MAX_BYTES:
            _check_bounds(0, 0, len(raw))
        payload = _parse(raw)
        root, entries = _envelope(payload)
        if key is not None and root != key:
            raise CorruptChain(f"The chain stored under {key!r} has the root {root}.")
        nodes = {name: _verified(name, entry) for name, entry in entries.items()}
        for node in nodes.values():
            for child in node.children:
                if child not in nodes:
                    raise CorruptChain(f"Node {node.key} names {child}, which the chain lacks.")
        if root not in nodes:
            raise CorruptChain(f"The chain lacks its root {root}.")
        order = list(_below(root, nodes))
        if len(order) != len(nodes):
            raise CorruptChain("The chain holds nodes that its root does not need.")
        depth = _depths(order, nodes)[root]
        _check_bounds(len(nodes), depth, len(raw))
        chain = Chain(root, MappingProxyType({name: nodes[name] for name in order}), depth)
        if chain.to_json() != raw:
            raise CorruptChain("The chain's JSON is not canonical.")
        return chain


def _parse(raw: bytes) -> Any:
    def refuse(constant: str) -> Any:
        raise CorruptChain(f"{constant} is no JSON number.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise CorruptChain("A name stands twice in one JSON object.")
        return found

    try:
        return json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    except UnicodeDecodeError:
        raise CorruptChain("The chain's text is not valid UTF-8.") from None
    except RecursionError:
        raise CorruptChain("The chain's JSON is nested too deeply.") from None
    except ValueError as error:
        if isinstance(error, CorruptChain):
            raise
        raise CorruptChain(f"The chain is not JSON: {error}.") from None


def _envelope(payload: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(payload, dict) or set(payload) != {"geoloom", "nodes", "root"}:
        raise CorruptChain('A chain is an object of "geoloom", "nodes" and "root".')
    version = payload["geoloom"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise CorruptChain("The chain's format is not a whole number.")
    if version != FORMAT:
        raise CorruptChain(
            f"The chain's format {_short(version)} is not known here.",
            hint=f"This Geoloom reads format {FORMAT}; a newer one may be needed.",
        )
    root, entries = payload["root"], payload["nodes"]
    if not is_key(root) or not isinstance(entries, dict) or not entries:
        raise CorruptChain("The chain has no nodes or its root is not a key.")
    _check_bounds(len(entries), 0, 0)
    return root, entries


def _verified(name: str, entry: Any) -> Node:
    """The node of one entry, if it is well formed and hashes to its name."""
    if not is_key(name):
        raise CorruptChain(f"A node is named {_short(name)}, which is not a key.")
    fields = set(entry) if isinstance(entry, dict) else set()
    if fields - {"each"} != _NODE_FIELDS:
        raise CorruptChain(f'Node {name} is not an object of "op", "v", "params", "inputs".')
    op, v, params, inputs, each = (entry.get(name_) for name_ in ("op", "v", "params", "inputs", "each"))
    if not isinstance(op, str) or _OP_NAME.fullmatch(op) is None:
        raise CorruptChain(f"Node {name} has no valid op name.")
    if not isinstance(v, int) or isinstance(v, bool) or v < 1:
        raise CorruptChain(f"Node {name} has no valid version.")
    if not isinstance(params, dict):
        raise CorruptChain(f"Node {name} has no valid parameters.")
    if not isinstance(inputs, list) or not all(is_key(one) for one in inputs):
        raise CorruptChain(f"Node {name} has inputs that are not keys.")
    if "each" in entry and not is_key(each):
        raise CorruptChain(f"Node {name} has a sub-chain that is not a key.")
    try:
        node = Node(op, v, params, tuple(inputs), each)
    except ParameterError as error:
        raise CorruptChain(f"Node {name}: {error.message}") from None
    if node.key != name:
        raise CorruptChain(f"Node {name} does not hash to its name.")
    return node


def _plain(value: Any, path: str, level: int = 0) -> Any:
    """The value with tuples for lists; refuses what canonical parameters never hold."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
            raise ParameterError(f"{path} holds the number {value!r}, which is not canonical.")
        return value
    if level == MAX_NESTING:
        raise ParameterError(f"{path} is nested too deeply.")
    if type(value) in (list, tuple):
        return tuple([_plain(item, path, level + 1) for item in value])
    raise ParameterError(f"{path} holds a {type(value).__name__}, which no parameter can be.")


def _short(value: object) -> str:
    """A value for a message: ASCII, and never long."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _below(root: str, nodes: Mapping[str, Node]) -> Iterator[str]:
    """Keys of the root and all below it, children first; iterative, so depth does not matter."""
    done: set[str] = set()
    stack: list[tuple[str, bool]] = [(root, False)]
    while stack:
        key, ready = stack.pop()
        if key in done:
            continue
        if ready:
            done.add(key)
            yield key
            continue
        stack.append((key, True))
        stack.extend((child, False) for child in reversed(nodes[key].children) if child not in done)


def _depths(order: list[str], nodes: Mapping[str, Node]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for key in order:
        depths[key] = 1 + max((depths[child] for child in nodes[key].children), default=0)
    return depths


def _entry_size(node: Node) -> int:
    """Bytes of one entry of "nodes": quoted key, colon, node, comma."""
    return KEY_LENGTH + 4 + node.size


def _envelope_size() -> int:
    """Bytes around the entries of "nodes" (the last entry has no comma)."""
    return len(canonical({"geoloom": FORMAT, "nodes": {}, "root": "0" * KEY_LENGTH})) - 1


def _check_bounds(nodes: int, depth: int, size: int) -> None:
    hint = "Save a part as its own image, or compute many similar steps in one (stack, remap, execute)."
    for what, value, limit in (
        ("steps", nodes, MAX_NODES),
        ("levels", depth, MAX_DEPTH),
        ("bytes", size, MAX_BYTES),
    ):
        if value > limit:
            raise ChainTooLarge(f"The chain has {value:,} {what}; at most {limit:,} are allowed.", hint=hint)
