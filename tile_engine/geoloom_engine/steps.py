"""Steps: what a chain reads and computes, before it is known where.

At most one step a node and resampling: it gives the union of the bands that its readers need.
Bands that are only rearranged cost no step where that can be helped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from geoloom.block import Array, Mask
from geoloom.chain import Chain
from geoloom.errors import ChainTooLarge, ParameterError
from geoloom.op import Op, Profile
from geoloom.ops.composite import Reduction
from geoloom.ops.item import Item
from geoloom.ops.open import Open
from geoloom.selection import Selection
from geoloom_engine.readers import SourceInfo

MAX_NESTED = 20_000
"""Nodes of all sub-chains, counted again for each composite within which they stand."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some bands of an earlier step, by their positions in what it gives."""

    step: int
    bands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Pixels of one source: the bands (by position in the file) and the resampling."""

    key: str
    href: str
    bands: tuple[int, ...]
    resampling: str
    dtype: str

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return len(self.bands)


@dataclass(frozen=True, slots=True)
class ItemRead:
    """Pixels of the item that is being evaluated: bands by position in its selection, and the resampling."""

    key: str
    selection: str
    bands: tuple[int, ...]
    resampling: str
    dtype: str

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return len(self.bands)


@dataclass(frozen=True, slots=True)
class Gather:
    """Bands put together from other steps, without a kernel."""

    key: str
    parts: tuple[Part, ...]
    dtype: str

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return sum(len(part.bands) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Compute:
    """An op's kernel over its inputs, whose profiles settle the dtype it computes in."""

    key: str
    op: Op
    parts: tuple[Part, ...]
    profiles: tuple[Profile, ...]
    dtype: str
    bands: tuple[int, ...]
    """Which bands of the node it gives."""
    asked: str | None
    """The resampling that was asked of the node; None if each source is read with its own."""

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return len(self.bands)


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """What a run of pixel by pixel ops makes of 8- or 16-bit integers, as a table of all their values.

    Parameters
    ----------
    key
        Of the last node of the run.
    parts
        One band each: where the values of each band come from.
    ops
        Names of the ops of the run.
    table
        (bands, 256 or 65536): results by the bits of the value, read as an unsigned number.
    valid
        bool, like `table`: False where the ops make a value invalid; None if nowhere.
    dtype
        Of the results.
    """

    key: str
    parts: tuple[Part, ...]
    ops: tuple[str, ...]
    table: Array
    valid: Mask | None
    dtype: str

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return len(self.parts)


@dataclass(frozen=True, slots=True)
class Reduce:
    """Many items made into one image.

    Parameters
    ----------
    key
        Of the node.
    op
        Says how, and which items.
    selection
        Key of the items' table.
    dtype
        Of the result.
    bands
        Which bands of the node it gives.
    asked
        The resampling that was asked of the node.
    steps
        What is computed of each item; the last gives what is reduced.
    done
        By such a step: the earlier ones that nothing later reads.
    settled, lasting
        The steps that are the same for all items, and those of them that others read.
    exact
        Whether users' functions compute some of it, whose pixels may depend on the window.
    """

    key: str
    op: Reduction
    selection: str
    dtype: str
    bands: tuple[int, ...]
    asked: str | None
    steps: tuple[Step, ...]
    done: Mapping[int, list[int]]
    settled: frozenset[int]
    lasting: frozenset[int]
    exact: bool

    @property
    def count(self) -> int:
        """How many bands it gives."""
        return len(self.bands)


Step = Read | ItemRead | Gather | Compute | Lookup | Reduce


def parts_of(step: Step) -> tuple[Part, ...]:
    """What a step needs of earlier ones."""
    return () if isinstance(step, Read | ItemRead | Reduce) else step.parts


def all_steps(steps: tuple[Step, ...]) -> Iterator[Step]:
    """The steps, and those that they compute of each item."""
    for step in steps:
        yield step
        if isinstance(step, Reduce):
            yield from all_steps(step.steps)


def settled(steps: tuple[Step, ...]) -> tuple[frozenset[int], frozenset[int]]:
    """The steps that are the same for all items, and those of them that others read or that come last."""
    varying, found = set[int](), set[int]()
    for index, step in enumerate(steps):
        if isinstance(step, ItemRead) or any(part.step in varying for part in parts_of(step)):
            varying.add(index)
            found |= {part.step for part in parts_of(step)} - varying
    if len(steps) - 1 not in varying:
        found.add(len(steps) - 1)
    return frozenset(range(len(steps))) - varying, frozenset(found)


def last_readers(steps: tuple[Step, ...]) -> dict[int, list[int]]:
    """By step: the earlier steps that no later one reads, so that their memory can go."""
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        for part in parts_of(step):
            last[part.step] = index
    found: dict[int, list[int]] = {}
    for done, reader in last.items():
        found.setdefault(reader, []).append(done)
    return found


class Steps:
    """Turns a chain into steps: which bands are wanted of each node flows down, then steps up.

    Parameters
    ----------
    chain
        What to compute.
    ops, known
        Op and profile of every node, by key.
    sources
        Of the chain's Open nodes, by href.
    selections
        Of its Item nodes, by key.
    join
        Makes steps fewer, where it can.
    item
        Key of the selection for whose items this chain is computed, if it is.
    """

    def __init__(
        self,
        chain: Chain,
        ops: Mapping[str, Op],
        known: Mapping[str, Profile],
        sources: Mapping[str, SourceInfo],
        selections: Mapping[str, Selection] | None = None,
        join: Callable[[tuple[Step, ...]], tuple[Step, ...]] = lambda steps: steps,
        item: str | None = None,
    ) -> None:
        self.chain, self.ops, self.known, self.sources = chain, ops, known, sources
        self.selections, self.join, self.item = selections or {}, join, item
        self.wanted: dict[str, dict[str | None, set[int]]] = {key: {} for key in ops}
        self.given: dict[tuple[str, str | None], tuple[int, tuple[int, ...]]] = {}
        self.steps: list[Step] = []
        self.size = [0]  # of all that stand one within the other

    def build(self, bands: tuple[int, ...] | None = None, asked: str | None = None) -> tuple[Step, ...]:
        """All steps; the root's is last and gives the bands asked for, or all."""
        order = self.chain.topological()
        root = self.chain.root
        everything = self._all(root) if bands is None else bands
        self._want(root, asked, everything)
        for node in reversed(order):
            for how, wanted in self.wanted[node.key].items():
                for key, below, needed in self._needs(node.key, how, tuple(sorted(wanted))):
                    self._want(key, below, needed)
        for node in order:
            for how, wanted in self.wanted[node.key].items():
                self.given[node.key, how] = self._step(node.key, how, tuple(sorted(wanted)))
        part = self._part(root, asked, everything)
        as_it_is = part.bands == tuple(range(self.steps[-1].count))
        if part.step != len(self.steps) - 1 or not as_it_is:
            self.steps.append(Gather(root, (part,), self.known[root].dtype))
        return self.join(tuple(self.steps))

    def _want(self, key: str, asked: str | None, bands: tuple[int, ...]) -> None:
        self.wanted[key].setdefault(asked, set()).update(bands)

    def _inputs(self, key: str) -> tuple[Profile, ...]:
        return tuple(self.known[one] for one in self.chain.nodes[key].inputs)

    def _needs(
        self, key: str, asked: str | None, bands: tuple[int, ...]
    ) -> list[tuple[str, str | None, tuple[int, ...]]]:
        """(input, resampling, bands) that `bands` of a node need."""
        op, inputs = self.ops[key], self.chain.nodes[key].inputs
        below = op.sampling(asked)
        if op.source or isinstance(op, Reduction):
            return []
        routes = op.routes(bands, self._inputs(key))
        if routes is not None:
            return [(inputs[which], below, (band,)) for which, band in routes]
        reads = op.reads(bands if op.bandwise else self._all(key), self._inputs(key))
        return [(one, below, needed) for one, needed in zip(inputs, reads, strict=True)]

    def _all(self, key: str) -> tuple[int, ...]:
        return tuple(range(self.known[key].bands))

    def _part(self, key: str, asked: str | None, bands: tuple[int, ...]) -> Part:
        step, given = self.given[key, asked]
        return Part(step, tuple(given.index(band) for band in bands))

    def _step(self, key: str, asked: str | None, bands: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The step that gives `bands` of a node, and which bands it gives."""
        op, dtype = self.ops[key], self.known[key].dtype
        if isinstance(op, Open):
            own = [band.resampling for band in self.sources[op.href].bands]
            return self._read(key, asked, bands, own, lambda *how: Read(key, op.href, *how))
        if isinstance(op, Item):
            return self._item(key, op, asked, bands)
        if isinstance(op, Reduction):
            return self._add(self._reduce(key, op, asked, bands)), bands
        inputs = self._inputs(key)
        below = op.sampling(asked)
        routes = op.routes(bands, inputs)
        if routes is not None:
            return self._gather(key, below, routes, bands)
        parts = tuple(self._part(*needed) for needed in self._needs(key, asked, bands))
        if op.bandwise:
            narrowed = op if bands == self._all(key) else op.restrict(bands)
            return self._add(Compute(key, narrowed, parts, inputs, dtype, bands, asked)), bands
        everything = self._all(key)
        return self._add(Compute(key, op, parts, inputs, dtype, everything, asked)), everything

    def _item(
        self, key: str, op: Item, asked: str | None, bands: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        if op.selection != self.item:
            raise ParameterError(
                "An item of a collection has no pixels of its own here.",
                hint="Use it inside the map(…) of its own collection.",
                node=key,
                op=op.name,
            )
        own = [band.resampling for band in self.selections[op.selection].bands]
        return self._read(key, asked, bands, own, lambda *how: ItemRead(key, op.selection, *how))

    def _reduce(self, key: str, op: Reduction, asked: str | None, bands: tuple[int, ...]) -> Reduce:
        """The step that reduces items: of each, only what these bands need is computed."""
        each = self.chain.nodes[key].each
        assert each is not None
        needed = op.needs(bands, self.known[each])
        below, about = self.chain.at(each), (self.ops, self.known, self.sources, self.selections)
        inner = Steps(below, *about, self.join, op.selection)
        inner.size = self.size
        self.size[0] += len(below.nodes)
        if self.size[0] > MAX_NESTED:
            raise ChainTooLarge(
                f"Composites stand one within the other: over {MAX_NESTED:,} steps in all.",
                hint="Use fewer composites inside map(…).",
            )
        steps = inner.build(needed, op.sampling(asked))
        exact = any(isinstance(one, Compute) and one.op.sandboxed for one in all_steps(steps))
        found = (steps, last_readers(steps), *settled(steps), exact)
        return Reduce(key, op, op.selection, self.known[key].dtype, bands, asked, *found)

    def _read(
        self,
        key: str,
        asked: str | None,
        bands: tuple[int, ...],
        own: Sequence[str],
        read: Callable[[tuple[int, ...], str, str], Step],
    ) -> tuple[int, tuple[int, ...]]:
        """One read for each resampling that the bands have of their own, if none was asked for."""
        dtype = self.known[key].dtype
        groups: dict[str, list[int]] = {}
        for band in bands:
            groups.setdefault(asked or own[band], []).append(band)
        reads = [
            (self._add(read(tuple(group), resampling, dtype)), tuple(group))
            for resampling, group in groups.items()
        ]
        if len(reads) == 1:
            return reads[0]
        parts = tuple(Part(step, tuple(range(len(group)))) for step, group in reads)
        order = tuple(band for _, group in reads for band in group)
        return self._add(Gather(key, parts, dtype)), order

    def _gather(
        self, key: str, below: str | None, routes: list[tuple[int, int]], bands: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        inputs, dtype = self.chain.nodes[key].inputs, self.known[key].dtype
        parts: list[Part] = []
        for which, band in routes:
            part = self._part(inputs[which], below, (band,))
            if parts and parts[-1].step == part.step:
                parts[-1] = Part(part.step, parts[-1].bands + part.bands)
            else:
                parts.append(part)
        first = parts[0]
        same = len(parts) == 1 and self.known[inputs[routes[0][0]]].dtype == dtype
        if same and len(set(first.bands)) == len(first.bands):
            positions = dict(zip(first.bands, bands, strict=True))
            count = max(positions) + 1
            # The step below may give more bands than are wanted here: those get no name.
            return first.step, tuple(positions.get(i, -1 - i) for i in range(count))
        return self._add(Gather(key, tuple(parts), dtype)), bands

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1
