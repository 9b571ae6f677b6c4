"""Recipes: chains prepared for evaluation, before it is known where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from geoloom.chain import Chain
from geoloom.derivation import profiles
from geoloom.errors import BandError, SourceChanged
from geoloom.op import Op, Profile, decode
from geoloom.ops.item import Item
from geoloom.ops.open import Open
from geoloom.selection import Selection
from geoloom_engine.lookup import joined
from geoloom_engine.nodes import NodeName, worth_keeping
from geoloom_engine.painting import Given, Painted, painter_of
from geoloom_engine.readers import SourceInfo
from geoloom_engine.steps import Compute, Lookup, Read, Reduce, Step, Steps, all_steps, last_readers, parts_of
from geoloom_engine.versions import Versions


@dataclass(frozen=True, slots=True)
class Recipe:
    """A prepared chain: its steps without a grid.

    Parameters
    ----------
    steps
        In the order of evaluation; the last is the root.
    done
        By step: the earlier steps whose blocks nothing later reads.
    names
        Under which names results are kept, by step.
    profile
        Of the root.
    sources, painted
        Of the chain's Open nodes by href, and of those that are painted by key.
    selections
        Of its items, by key.
    data
        The data version it was prepared with.
    size
        Roughly what it takes in memory, counted as JSON of the chain.
    """

    steps: tuple[Step, ...]
    done: Mapping[int, list[int]]
    names: Mapping[int, NodeName]
    profile: Profile
    sources: dict[str, SourceInfo]
    painted: dict[str, Painted]
    selections: dict[str, Selection]
    data: str
    size: int


def prepare(chain: Chain, data: str, versions: Versions, given: Given, keeping: bool) -> Recipe:
    """The recipe of a chain.

    Parameters
    ----------
    data
        The data version that was found just now.
    keeping
        Whether results of nodes are kept.

    Raises
    ------
    SourceChanged
        A file is no longer what it was when the data version was found.
    """
    sources: dict[str, SourceInfo] = {}
    painted: dict[str, Painted] = {}
    selections: dict[str, Selection] = {}

    def of_source(op: Op) -> Profile:
        if isinstance(op, Item):
            found = selections[op.selection] = given.selection(op.selection)
            if not found.bands:
                raise BandError(f"The items of {found.collection} have no bands.")
            return Profile.of_source(found.info())
        assert isinstance(op, Open)
        sources[op.href] = given.pool.open(op.href).info
        return Profile.of_source(sources[op.href].to_json())

    ops = {node.key: decode(node) for node in chain.topological()}
    known = profiles(chain, of_source)
    for key, op in ops.items():
        if op.painted:
            painted[key] = painter_of(op).describe(op, given)
    marks = dict(versions.marks(chain)) | {href: info.fingerprint for href, info in sources.items()}
    if versions.hashed(marks.items()) != data:
        # Else new pixels would be kept under the old version.
        raise SourceChanged("A file changed while its chain was being prepared.", hint="Ask again.")
    steps = Steps(chain, ops, known, sources, selections, joined).build()
    below = _below(steps, marks, versions) if keeping else []
    names = worth_keeping(steps, known, below) if keeping else {}
    # What it holds beside its parameters counts as much as a short chain does.
    tables = sum(step.table.nbytes for step in all_steps(steps) if isinstance(step, Lookup))
    size = chain.size + 4096 + tables // 8
    profile = known[chain.root]
    return Recipe(steps, last_readers(steps), names, profile, sources, painted, selections, data, size)


def _below(steps: tuple[Step, ...], marks: Mapping[str, str], versions: Versions) -> list[str]:
    """By step: the data version of the sources it comes from."""
    found: list[frozenset[tuple[str, str]]] = []
    for step in steps:
        own = frozenset(_own(step, marks, versions))
        found.append(own.union(*(found[part.step] for part in parts_of(step))))
    return [versions.hashed(below) for below in found]


def _own(step: Step, marks: Mapping[str, str], versions: Versions) -> list[tuple[str, str]]:
    """The sources that a step itself reads."""
    if isinstance(step, Read):
        return [(step.href, marks[step.href])]
    if isinstance(step, Reduce):
        return [mark for one in step.steps for mark in _own(one, marks, versions)]
    if isinstance(step, Compute) and step.op.sandboxed:
        return [versions.functions]
    if isinstance(step, Compute) and step.op.painted:
        return [(step.key, marks[step.key])]
    return []
