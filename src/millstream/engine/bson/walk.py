"""All documents of a block in lockstep: where the values are, column by column.

One step looks at the same key of all documents that have it next. A key that some lack, that is
null here and a text there, or that comes earlier in some, costs another step and no more. Nothing
is decoded yet. Documents that can't be walked are marked; the caller leaves them out and walks the
others again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from millstream.engine.bson import documents as bson
from millstream.engine.bson.documents import Documents, Key
from millstream.engine.bson.plan import Array, ColumnValues, Field, Null, Object, Plan, Stamp, Table

_TURNS = 12
"""How often an object's keys are gone through, for documents that have them in another order."""

_LEARN = 8
"""Documents with unknown keys that a turn learns from."""

_FEW = 24
"""With fewer lists left, Python's own steps are quicker than steps for all."""


@dataclass(slots=True)
class Found:
    """Values of one BSON type for one column: rows, documents, and where the values are."""

    leaf: ColumnValues
    kind: int
    rows: np.ndarray
    documents: np.ndarray
    at: np.ndarray


@dataclass(slots=True)
class Rows:
    """The rows of one table that have their parents in one table.

    Attributes:
        at, position: for each row below a list, its parent's row and its position.
        found: by column.
        nulls: by column, how many explicit nulls there are.
    """

    table: Table
    size: int
    at: list[np.ndarray] = field(default_factory=list)
    position: list[np.ndarray] = field(default_factory=list)
    found: dict[str, list[Found]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)


class Walk:
    """One walk over some documents of a block.

    Attributes:
        tables: parents first. Two of them may share a name: where a key holds an object in some
            documents and a list of objects in others, lists inside have parents in two tables.
        bad: for each document of the block, whether it could not be walked.
    """

    def __init__(self, documents: Documents, plan: Plan, chosen: np.ndarray) -> None:
        self.tables: dict[Table, Rows] = {plan.table: Rows(plan.table, len(chosen))}
        self.bad = np.zeros(len(documents), np.bool_)
        self._documents = documents
        self._plan = plan
        starts, ends = documents.starts[chosen], documents.ends[chosen]
        self._object(plan.root, starts + 4, ends, np.arange(len(chosen)), chosen)

    def _object(
        self, node: Object, at: np.ndarray, ends: np.ndarray, rows: np.ndarray, owners: np.ndarray
    ) -> None:
        """n objects of n documents, `owners`, at their first elements; `ends` are their zeros."""
        at = at.copy()
        open_ended = np.flatnonzero(self._documents.bytes[ends])
        if open_ended.size:
            self._give_up(open_ended, at, ends, owners)
        left: np.ndarray | None = None
        met: dict[bytes, list[np.ndarray | None]] = {}
        for turn in range(_TURNS):
            for each in tuple(node.fields):
                hit = each.key.at(self._documents, at if left is None else at[left])
                if not hit.any():
                    continue
                hits: np.ndarray | None = None
                if left is not None:
                    hits = left[hit]
                elif not hit.all():
                    hits = np.flatnonzero(hit)
                if turn and each.key.name in met:
                    hits = self._once(hits, met[each.key.name], at, ends, owners)
                met.setdefault(each.key.name, []).append(hits)
                self._values(each, hits, at, ends, rows, owners)
            left = np.flatnonzero(at != ends)
            if not left.size:
                return
            self._learn(node, left, at, ends)
        self._give_up(left, at, ends, owners)

    def _once(
        self,
        hits: np.ndarray | None,
        met: list[np.ndarray | None],
        at: np.ndarray,
        ends: np.ndarray,
        owners: np.ndarray,
    ) -> np.ndarray:
        """Those that did not have this key before: of a key that comes twice, the last one counts,
        which only the careful way knows."""
        assert hits is not None
        seen = np.zeros(len(at), np.bool_)
        for each in met:
            seen[slice(None) if each is None else each] = True
        again = seen[hits]
        if again.any():
            self._give_up(hits[again], at, ends, owners)
            hits = hits[~again]
        return hits

    def _values(
        self,
        each: Field,
        hits: np.ndarray | None,
        at: np.ndarray,
        ends: np.ndarray,
        rows: np.ndarray,
        owners: np.ndarray,
    ) -> None:
        """The values of one key, of the objects that are at it; moves those on."""
        kinds = self._documents.bytes[at if hits is None else at[hits]]
        if not len(kinds):
            return
        if (kinds == kinds[0]).all():
            groups = [(int(kinds[0]), hits)]
        else:
            every = np.arange(len(at)) if hits is None else hits
            groups = [(int(kind), every[kinds == kind]) for kind in np.unique(kinds)]
        for kind, some in groups:
            way = each.ways[kind] if kind in each.ways else self._plan.way(each, kind)
            if some is None:
                some = slice(None)  # type: ignore[assignment]
            if way is None:
                self._give_up(some, at, ends, owners)
                continue
            values = at[some] + each.key.width
            after, wrong = self._after(kind, values, ends[some])
            if wrong is not None:
                every = np.arange(len(at))[some]
                self._give_up(every[wrong], at, ends, owners)
                some = every[~wrong]
                values, after = values[~wrong], after[~wrong]
            at[some] = after
            self._take(way, kind, values, after, rows[some], owners[some])

    def _after(
        self, kind: int, values: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the elements after these values begin, and which values reach too far."""
        if not bson.SIZED[kind]:
            after = values + bson.FIXED[kind]
            wrong = after > ends
        else:
            sizes = self._documents.ints[values]
            after = values + sizes + bson.BEYOND[kind]
            wrong = (sizes < bson.LEAST[kind]) | (after > ends)
        return after, wrong if wrong.any() else None

    def _take(
        self,
        way: Any,
        kind: int,
        values: np.ndarray,
        after: np.ndarray,
        rows: np.ndarray,
        owners: np.ndarray,
    ) -> None:
        if type(way) is ColumnValues:
            self._found(way, kind, values, rows, owners)
        elif type(way) is Object:
            self._object(way, values + 4, after - 1, rows, owners)
        elif type(way) is Array:
            self._array(way, values, after - 1, rows, owners)
        elif type(way) is Null:
            nulls = self.tables[way.table].nulls
            nulls[way.name] = nulls.get(way.name, 0) + len(values)
        elif type(way) is Stamp:
            self._found(way.seconds, bson.UNSIGNED, values + 4, rows, owners)
            self._found(way.counter, bson.UNSIGNED, values, rows, owners)

    def _found(
        self,
        leaf: ColumnValues,
        kind: int,
        values: np.ndarray,
        rows: np.ndarray,
        owners: np.ndarray,
    ) -> None:
        found = self.tables[leaf.table].found.setdefault(leaf.name, [])
        found.append(Found(leaf, kind, rows, owners, values))

    def _array(
        self,
        node: Array,
        at: np.ndarray,
        ends: np.ndarray,
        rows: np.ndarray,
        owners: np.ndarray,
    ) -> None:
        """n lists -> m >= 0 elements, all of them at once."""
        open_ended = np.flatnonzero(self._documents.bytes[ends])
        if open_ended.size:
            self.bad[owners[open_ended]] = True
            return  # all is walked again without these
        values, kinds, lists, position = self._elements(at + 4, ends, owners)
        if not len(values):
            return
        if not node.ready:
            self.bad[owners[lists]] = True
            return
        table = self.tables.get(node.table)
        if table is None:
            table = self.tables[node.table] = Rows(node.table, 0)
        mine = np.arange(table.size, table.size + len(values))
        table.size += len(values)
        table.at.append(rows[lists])
        table.position.append(position)
        owners = owners[lists]
        for kind in np.unique(kinds).tolist():
            some = np.flatnonzero(kinds == kind) if (kinds != kind).any() else slice(None)
            each = node.inner if kind == bson.ARRAY else node.value
            way: Any = node.rows
            if kind != bson.OBJECT:
                way = each.ways[kind] if kind in each.ways else self._plan.way(each, kind)
            if way is None:
                self.bad[owners[some]] = True
                continue
            after, _ = self._after(kind, values[some], ends[lists][some])
            self._take(way, kind, values[some], after, mine[some], owners[some])

    def _elements(
        self, at: np.ndarray, ends: np.ndarray, owners: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The elements of n lists, list by list: values, BSON types, lists and positions."""
        view = self._documents
        lengths = np.zeros(len(at), np.int64)
        steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        left = np.flatnonzero(at < ends)
        at = at[left]
        number = 0
        while left.size > _FEW or (left.size and number < _FEW):
            kinds = view.bytes[at]
            key = _number(number)
            values = at + key.width
            sizes = view.ints[values]
            after = (
                values
                + bson.FIXED[kinds]
                + np.where(bson.SIZED[kinds], sizes + bson.BEYOND[kinds], 0)
            )
            right = key.at(view, at) & bson.KNOWN[kinds] & (after <= ends[left])
            right &= (sizes >= bson.LEAST[kinds]) | ~bson.SIZED[kinds]
            if not right.all():
                self.bad[owners[left[~right]]] = True
                left, values, kinds, after = left[right], values[right], kinds[right], after[right]
            steps.append((left, values, kinds))
            lengths[left] += 1
            number += 1
            on = after < ends[left]
            if on.all():
                at = after
            else:
                left, at = left[on], after[on]
        tails = self._tails(left, at, ends, number, owners)
        for one, rest, _ in tails:
            lengths[one] += len(rest)
        starts = np.cumsum(lengths) - lengths
        size = int(lengths.sum())
        every, types = np.empty(size, np.int64), np.empty(size, np.uint8)
        for number, (some, values, kinds) in enumerate(steps):
            to = starts[some] + number
            every[to], types[to] = values, kinds
        for one, rest, rest_kinds in tails:
            first = starts[one] + len(steps)
            every[first : first + len(rest)] = rest
            types[first : first + len(rest)] = rest_kinds
        lists = np.repeat(np.arange(len(lengths)), lengths)
        return every, types, lists, np.arange(size) - starts[lists]

    def _tails(
        self,
        left: np.ndarray,
        at: np.ndarray,
        ends: np.ndarray,
        number: int,
        owners: np.ndarray,
    ) -> list[tuple[int, list[int], list[int]]]:
        """The rest of the few lists that are much longer than the others, one by one."""
        data = self._documents.data
        found = []
        for one, place in zip(left.tolist(), at.tolist()):
            end = int(ends[one])
            values, kinds = [], []
            index = number
            try:
                while place < end:
                    key, after = bson.step(data, place)
                    if key != b"%d" % index or after > end:
                        raise ValueError(key)
                    kinds.append(data[place])
                    values.append(place + 2 + len(key))
                    place = after
                    index += 1
            except (ValueError, IndexError, struct.error):
                self.bad[owners[one]] = True
            found.append((one, values, kinds))
        return found

    def _learn(self, node: Object, left: np.ndarray, at: np.ndarray, ends: np.ndarray) -> None:
        """The keys that some of the documents which are left have next."""
        data = self._documents.data
        for one in left[:_LEARN].tolist():
            place, end = int(at[one]), int(ends[one])
            after = None
            try:
                while place < end:
                    key, place = bson.step(data, place)
                    each = node.known.get(key)
                    if each is None:
                        # where the others of the same kind have it: behind the key before it
                        where = len(node.fields) if after is None else node.fields.index(after) + 1
                        each = self._plan.field(node, key, where)
                        if each is None:
                            break
                    after = each
            except (ValueError, IndexError, struct.error):
                continue

    def _give_up(self, some: Any, at: np.ndarray, ends: np.ndarray, owners: np.ndarray) -> None:
        """Leave documents to the careful way; what is walked of them now is of no consequence."""
        self.bad[owners[some]] = True
        at[some] = ends[some]


@lru_cache(maxsize=4096)
def _number(index: int) -> Key:
    return Key(b"%d" % index)
