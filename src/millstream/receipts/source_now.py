"""What a source has, read from its beginning, compared with the rows of the destination.

Each side is read a row at a time. Kept are two numbers of 64 bits for each row of the source: its
key's, or its own where the table has no key, and that of all it holds with the rows below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.receipts.canonical import UnknownValueError
from millstream.receipts.deletions import DeletionMark
from millstream.receipts.delivered import Delivered
from millstream.receipts.figures import LINKS, Figures, Node, Tree, tree_of
from millstream.receipts.layout import Column, Layout
from millstream.receipts.source_rows import SourceRows

SHOWN = 20
"""Rows of each kind that are named."""
_COMPARED = 1000
"""Rows that differ whose columns are compared."""

RowsOf = Callable[[frozenset[Column]], SourceRows]
"""The rows that a source gave, but for some columns."""
HeldOf = Callable[[frozenset[Column]], Container[int]]


@dataclass(slots=True)
class Difference:
    """Root rows that are not alike on both sides.

    Attributes:
        due: of these, those that the next run brings.
        names: the first of them, each by its key.
    """

    rows: int = 0
    due: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, is_due: bool, rows: int = 1) -> None:
        self.rows += rows
        self.due += rows if is_due else 0


@dataclass(slots=True)
class SourceComparison:
    """One root table, with the tables below it, and the source.

    Attributes:
        read: rows of the source.
        held: rows of the table.
        changed: rows of one key that hold other values, or other rows below them.
        doubled: rows that the table has more than once.
        columns: in how many of the first 1,000 changed rows a column differs, by table and column.
        unchecked: why values were not compared; empty where they were.
    """

    table: str
    read: int = 0
    held: int = 0
    missing: Difference = field(default_factory=Difference)
    extra: Difference = field(default_factory=Difference)
    changed: Difference = field(default_factory=Difference)
    doubled: Difference = field(default_factory=Difference)
    columns: Mapping[Column, int] = field(default_factory=dict)
    unchecked: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs but what the next run brings; of rows, or else of their count."""
        if self.unchecked:
            return self.read == self.held
        kinds = (self.missing, self.extra, self.changed, self.doubled)
        return not any(each.rows - each.due for each in kinds)


@dataclass(frozen=True, slots=True)
class Keys:
    """How rows of a root table are told apart.

    Attributes:
        key: the columns of its primary key; none where rows are told apart by all that they hold.
        gone: the column that marks rows as deleted.
        keeps_versions: whether the table may have several rows of one key.
        keeps_values: whether rows that are there stay as they are, whatever the source has.
        rank: of a row's values, what its versions are ordered by, the highest of which counts; None
            is below all. The last version counts where there is none, or of equals.
    """

    key: tuple[str, ...] = ()
    gone: DeletionMark | None = None
    keeps_versions: bool = False
    keeps_values: bool = False
    rank: Callable[[Mapping[str, Any]], Any] | None = None

    def of(self, tree: Tree) -> int:
        return tree.key if self.key else tree.total


def due_keys(rows: SourceRows, keys: Keys) -> set[int]:
    """The keys of what a run would read."""
    return {keys.of(tree_of(nodes, keys.key)) for _, nodes in rows.each()}


def compare(
    rows_of: RowsOf,
    layout: Layout,
    delivered_of: Callable[[frozenset[Column]], Delivered],
    keys: Keys,
    due: Container[int] | None,
    *,
    replaces: bool,
    skipped: frozenset[Column] = frozenset(),
    held_of: HeldOf = lambda _: (),
) -> SourceComparison:
    """Compare all rows of a root table.

    Args:
        skipped: columns that are left out.
        due: the keys that the next run reads; None where it reads all.
        replaces: whether a run takes out what it does not read.
        held_of: the numbers of rows that a run puts into quarantine, without these columns.
    """
    found = SourceComparison(layout.root)
    rows, read, keyless = _read(rows_of, keys, skipped)
    delivered = delivered_of(rows.skipped)
    held = held_of(rows.skipped)
    found.read = len(keyless) + (len(read) if keys.key else sum(read.values()))
    for lacking in keyless:  # no table takes them
        found.missing.add(is_due=False)
        _name(found.missing, keys, lacking)

    def is_due(key: int) -> bool:
        is_held = (read[key] if keys.key else key) in held
        return not is_held and (due is None or key in due)

    def goes(key: int) -> bool:
        merges = bool(keys.key) and not keys.keeps_versions
        return replaces or (merges and due is not None and key in due)

    left = dict(read)
    alike: set[int] = set()
    differing: dict[int, list[Node]] = {}
    for nodes, values in delivered.portions(keys.key):
        found.held += 1
        tree = tree_of(nodes, keys.key)
        key = keys.of(tree)
        if key not in read:
            found.extra.add(goes(key))
            _name(found.extra, keys, values)
        elif not keys.key:
            left[key] -= 1
            if left[key] < 0:
                found.extra.add(goes(key))
        elif key not in left and not keys.keeps_versions:
            found.doubled.add(goes(key))
            _name(found.doubled, keys, values)
        else:
            left.pop(key, None)
            if tree.total == read[key] or keys.keeps_values:
                alike.add(key)
            elif len(differing) < _COMPARED or key in differing:
                differing[key] = nodes
            else:
                differing[key] = []
    for key in alike:
        differing.pop(key, None)
    for key in differing:
        found.changed.add(is_due(key))
    for key, count in left.items():
        missing = 1 if keys.key else max(count, 0)
        if missing:
            found.missing.add(is_due(key), missing)
    if differing or (keys.key and left):
        _look_closer(rows, keys, read, found, left, differing)
    return found


def _read(
    rows_of: RowsOf, keys: Keys, skipped: frozenset[Column]
) -> tuple[SourceRows, dict[int, int], list[list[Any]]]:
    """What the source has: by key the number of its last row, or of each row how often it came.

    Last come the keys that lack a value: of each row, since none is a version of another.

    Read again without the columns that have a value of a type that has no documented place.

    Raises:
        UnknownValueError: what a row makes is not known.
    """
    while True:
        rows = rows_of(skipped)
        read: dict[int, int] = {} if keys.key else Counter()
        ranks: dict[int, Any] = {}
        keyless: list[list[Any]] = []
        for values, nodes in rows.each():
            tree = tree_of(nodes, keys.key)
            key = keys.of(tree)
            if not keys.key:
                read[key] += 1
            elif None in (its := [values.get(name) for name in keys.key]):
                keyless.append(its)
            elif keys.rank and not _counts(key, keys.rank(values), ranks):
                pass
            elif keys.gone and keys.gone.is_in(values):
                read.pop(key, None)
            else:
                read[key] = tree.total
        if rows.skipped == skipped:
            return rows, read, keyless
        if any(column in keys.key for _, column in rows.skipped):
            raise UnknownValueError("a key has a type whose form in the table is not known")
        skipped = rows.skipped


def _counts(key: int, rank: Any, ranks: dict[int, Any]) -> bool:
    """Whether a version of a row is none below the versions before; then its rank is kept."""
    best = ranks.get(key)
    if best is not None and (rank is None or rank < best):
        return False
    ranks[key] = rank
    return True


def _look_closer(
    rows: SourceRows,
    keys: Keys,
    read: Mapping[int, int],
    found: SourceComparison,
    missing: Mapping[int, int],
    differing: Mapping[int, Sequence[Node]],
) -> None:
    """Name rows that the source has, and the columns in which they differ."""
    named: dict[int, Mapping[str, Any]] = {}
    compared: dict[int, Tree] = {}
    for values, nodes in rows.each():
        tree = tree_of(nodes, keys.key)
        key = keys.of(tree)
        if key in missing or key in differing:
            named[key] = {column: values.get(column) for column in keys.key}
        if differing.get(key) and tree.total == read[key]:
            compared[key] = tree
    for key, values in named.items():
        kind = found.changed if key in differing else found.missing
        _name(kind, keys, [*values.values()])
    columns: Counter[Column] = Counter()
    for key, tree in compared.items():
        ours, theirs = Figures(), Figures()
        ours.add(tree)
        theirs.add(tree_of(differing[key], keys.key))
        places = ours.differing(theirs)
        # a value that differs makes its row differ
        plain = [place for place in places if place[1] != LINKS]
        columns.update(plain or places)
    found.columns = dict(sorted(columns.items(), key=lambda each: (-each[1], each[0])))


def _name(kind: Difference, keys: Keys, values: Sequence[Any]) -> None:
    if keys.key and len(kind.names) < SHOWN:
        kind.names.append(", ".join(f"{name} = {v!r}" for name, v in zip(keys.key, values)))
