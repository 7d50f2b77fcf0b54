"""What the source gave, compared with what one load left in the destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.common.text import quantity
from millstream.model import Receipt
from millstream.receipts.canonical import UncountableError, UnknownValueError, number_of
from millstream.receipts.capture import Captured
from millstream.receipts.deletions import DeletionMark
from millstream.receipts.delivered import Chosen, Delivered
from millstream.receipts.figures import LINKS, Figures, Node, Tree, pairs, tree_of
from millstream.receipts.layout import Column, Layout
from millstream.receipts.source_rows import AsStored, SourceRows

MOVED = "rows hang on another parent, at another place of their list, or hold one another's values"


@dataclass(frozen=True, slots=True)
class Expected:
    """What else is known of a load.

    Attributes:
        quarantined: rows that wait in quarantine, or parts of which do; `whole` of them landed not
            at all.
        outdated: rows that a later row of the same load replaced.
        unchecked: why the destination may hold something else than what was read; else empty.
        key: the columns of the primary key.
        loaded: rows by table that the package had; None where they may replace one another.
        gone: the column whose values mark rows that tell of a deletion, and are in no table.
        deletions: such rows that were read, where only a sample of the load is read again.
        held_keys: the keys that a table has, where rows of these are left out; else None. Of rows
            that are chosen, if any.
        is_set: whether rows that are alike are one.
        skipped: columns that are left out.
        as_stored: what a column has of a value; None where it has the value itself.
    """

    quarantined: int = 0
    whole: int = 0
    outdated: int = 0
    unchecked: str = ""
    key: tuple[str, ...] = ()
    loaded: Mapping[str, int] | None = None
    gone: DeletionMark | None = None
    deletions: int = 0
    held_keys: Callable[[Sequence[str], Chosen | None], set[int]] | None = None
    is_set: bool = False
    skipped: frozenset[Column] = frozenset()
    as_stored: AsStored | None = None

    def missing(self, deletions: int, read: int) -> tuple[int, int]:
        """How many of the rows that were read the table must lack at least, and may at most."""
        least = max(self.whole + self.outdated, deletions)
        most = self.quarantined + self.outdated + deletions
        return (0, read) if self.held_keys else (least, most)


@dataclass(slots=True)
class _Source:
    """Rows that were kept, as the tables' rows that they make, and these in numbers."""

    captured: Captured
    layout: Layout
    expected: Expected
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    """The root rows."""
    nodes: list[list[Node]] = field(default_factory=list)
    skipped: frozenset[Column] = frozenset()
    """Columns with a value of a type that has no documented place; they are left out."""
    unreadable: int = 0
    deletions: int = 0

    def read(self) -> None:
        """Read all that was kept.

        Raises:
            UnknownValueError: what a row makes is not known.
        """
        expected = self.expected
        source = SourceRows(self.captured, self.layout, expected.skipped, expected.as_stored)
        for values, nodes in source.each():
            if expected.gone and expected.gone.is_in(values, expected.as_stored):
                self.deletions += 1
                continue
            self.rows.append(values)
            self.nodes.append(nodes)
        self.skipped, self.unreadable = source.skipped, source.unreadable
        for table, column in self.skipped:  # of rows before the first that has such a value
            for nodes in self.nodes:
                for node in nodes:
                    if node.table == table:
                        node.values.pop(column, None)


def receipts(
    captured: Captured,
    layout: Layout,
    delivered_of: Callable[[frozenset[Column]], Delivered],
    expected: Expected,
) -> tuple[list[Receipt], Basis | None]:
    """A receipt for each table of a root table, and what a later audit goes by.

    Args:
        delivered_of: makes a `Delivered` that leaves these columns out.
    """
    counted, root = captured.counted, layout.root
    whole = delivered_of(frozenset())
    reason = expected.unchecked or counted.unchecked
    made = Receipt(
        table=root,
        read=counted.rows,
        delivered=whole.count(root),
        quarantined=expected.quarantined,
        outdated=expected.outdated,
    )
    if not expected.unchecked:
        made = replace(made, problems=_count_problems(made, expected, expected.deletions))
    if reason or not counted.rows:
        return [*_uncompared(made, layout, whole, reason)], None
    source = _Source(captured, layout, expected)
    try:
        found = _compare(source, delivered_of, expected)
    except UnknownValueError as error:
        if isinstance(error, UncountableError) or expected.gone:
            made = replace(made, problems=())
        return [*_uncompared(made, layout, whole, str(error))], None
    if counted.is_whole:
        made = replace(made, problems=_count_problems(made, expected, source.deletions))
    loaded = None if counted.is_whole else expected.loaded
    return [*_compared(made, layout, whole, found, loaded)], found.basis


def _uncompared(
    root: Receipt, layout: Layout, delivered: Delivered, reason: str
) -> Iterator[Receipt]:
    for table in layout.parents:
        each = root if table == root.table else Receipt(table, delivered=delivered.count(table))
        yield replace(each, unchecked=reason)


def _compared(
    root: Receipt,
    layout: Layout,
    delivered: Delivered,
    found: _Comparison,
    loaded: Mapping[str, int] | None,
) -> Iterator[Receipt]:
    """The receipts with what was found.

    Args:
        loaded: rows by table that the package had; None where child rows need no count.
    """
    for table in layout.parents:
        is_root = table == root.table
        # of child rows those of the rows that were checked
        each = root if is_root else Receipt(table, found.ours.rows[table], found.theirs.rows[table])
        problems = [*each.problems, *found.problems(table)]
        if not is_root and loaded is not None:
            change = loaded.get(table, 0) - delivered.count(table)
            if change:
                problems.append(f"{quantity(abs(change), 'row')} {_which(change)}")
        if table in found.lost | delivered.lost:
            problems.insert(0, "the table is not in the destination")
        yield replace(
            each,
            checked=found.checked,
            problems=tuple(dict.fromkeys(problems)),
            differing=dict(found.columns(table)),
        )


def _which(change: int) -> str:
    return "missing" if change > 0 else "too many"


def _count_problems(root: Receipt, expected: Expected, deletions: int) -> tuple[str, ...]:
    """What the count of root rows says.

    Args:
        deletions: rows that tell of a deletion.
    """
    assert root.read is not None
    least, most = expected.missing(deletions, root.read)
    missing = root.read - root.delivered
    if missing > most:
        return (f"{quantity(missing - most, 'row')} missing",)
    if missing < least:
        return (f"{quantity(least - missing, 'row')} too many",)
    return ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What a later audit of the load goes by.

    Attributes:
        figures: of the rows that were checked.
        key: the columns that tell root rows from others.
        chosen: the column by which a sample is found; empty where all rows were checked.
        sample: 64 bits for each value of that column.
    """

    figures: Figures
    key: tuple[str, ...]
    chosen: str
    sample: tuple[int, ...]
    skipped: frozenset[Column]


@dataclass(slots=True)
class _Comparison:
    """What two sides have of the rows that were checked.

    Attributes:
        wrong: source rows by the column in which their rows differ.
        moved: source rows by the table of which rows hang elsewhere.
        strange: root rows of the destination that the source did not give, or duplicates of others.
        absent: root rows that should be there, where their count does not tell.
    """

    layout: Layout
    ours: Figures
    theirs: Figures
    checked: int
    lost: set[str]
    wrong: Counter[Column] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    strange: int = 0
    absent: int = 0
    basis: Basis | None = None

    def problems(self, table: str) -> Iterator[str]:
        change = self.ours.rows[table] - self.theirs.rows[table]
        if change and table != self.layout.root:  # root rows are counted all
            yield f"{quantity(abs(change), 'row')} {_which(change)}"
        for column, rows in self.columns(table):
            yield f"column `{column}` differs, in {quantity(rows, 'source row')}"
        if self.strange and table == self.layout.root:
            words = quantity(self.strange, "row is", "rows are")
            yield f"{words} not what the source gave, or duplicate"
        if self.absent and table == self.layout.root:
            yield f"{quantity(self.absent, 'row')} missing"
        if self.moved[table]:
            yield f"{MOVED}, in {quantity(self.moved[table], 'source row')}"

    def columns(self, table: str) -> Iterator[tuple[str, int]]:
        return ((column, rows) for (of, column), rows in self.wrong.items() if of == table)

    def differ(self, missing: Sequence[Tree], extra: Sequence[Tree], rows: int) -> None:
        """Name what differs between rows of both sides."""
        ours, theirs = Figures(), Figures()
        for tree in missing:
            ours.add(tree)
        for tree in extra:
            theirs.add(tree)
        for table in {table for table, _ in ours.differing(theirs)}:
            self._differ(table, ours, theirs, rows)

    def _differ(self, table: str, ours: Figures, theirs: Figures, rows: int) -> None:
        columns = [column for of, column in ours.differing(theirs) if of == table]
        if table == self.layout.root:
            self.wrong.update({(table, name): rows for name in columns if name != LINKS})
            return
        # what two source rows have exchanged is alike in all of the table
        every = {
            column
            for of, column in self.ours.differing(self.theirs)
            if of == table and column != LINKS
        }
        if self.ours.rows[table] != self.theirs.rows[table]:
            return
        if every:
            self.wrong.update({(table, column): rows for column in columns if column in every})
        elif not self._changed_above(table, ours, theirs):
            self.moved[table] += rows

    def _changed_above(self, table: str, ours: Figures, theirs: Figures) -> bool:
        """Whether the rows that a table's rows hang on differ themselves."""
        above = self.layout.above(table)
        return any(of in above and name != LINKS for of, name in ours.differing(theirs))


def _compare(
    source: _Source,
    delivered_of: Callable[[frozenset[Column]], Delivered],
    expected: Expected,
) -> _Comparison:
    source.read()
    layout, is_whole = source.layout, source.captured.counted.is_whole
    telling = _telling(source, expected.key)
    if not is_whole and telling is None:
        raise UnknownValueError("no column tells the rows of the sample from others")
    if not is_whole and expected.outdated:
        raise UnknownValueError("rows of the load have several versions")
    key = expected.key or ((telling.column,) if telling else ())
    chosen = None if is_whole else telling
    ours, theirs, every = Figures(), Figures(), Figures()
    totals: Counter[int] = Counter()
    for nodes in source.nodes:
        tree = tree_of(nodes, key)
        totals[tree.total] += 1
        ours.add(tree)
    if expected.is_set and max(totals.values(), default=0) > 1:
        raise UnknownValueError("rows of the load are alike")
    delivered = delivered_of(source.skipped)
    extra: list[Tree] = []
    for tree in delivered.trees(key, chosen):
        every.add(tree)
        if totals[tree.total] > 0:
            totals[tree.total] -= 1
            theirs.add(tree)
        else:
            extra.append(tree)
    left, missing = +totals, []
    for nodes in source.nodes if left else ():
        tree = tree_of(nodes, key)
        if left[tree.total] > 0:
            left[tree.total] -= 1
            missing.append(tree)
    found, alone, others = pairs(missing, extra)
    alone, excused = _excused(alone, source, expected, key, telling)
    for tree in excused:
        ours.add(tree, -1)
    compared = _Comparison(layout, ours, theirs, len(source.rows), delivered.lost)
    for _, there in found:
        theirs.add(there)
    if is_whole:
        for there in others:
            theirs.add(there)
    for here, there in found:
        compared.differ([here], [there], 1)
    if is_whole and others and len(alone) == len(others):
        compared.differ(alone, others, len(alone))
    elif is_whole:
        compared.strange = len(others)
        compared.absent = len(alone) if expected.held_keys else 0
    elif alone:
        compared.wrong[layout.root, chosen.column if chosen else ""] += len(alone)
    sample = tuple(number_of(value) for value in chosen.values) if chosen else ()
    column = chosen.column if chosen else ""
    # among the rows that are found by a sample may be others, which the source side has not kept
    figures = compared.ours if is_whole or found or alone else every
    compared.basis = Basis(figures, key, column, sample, source.skipped)
    return compared


def _excused(
    alone: Sequence[Tree],
    source: _Source,
    expected: Expected,
    key: Sequence[str],
    telling: Chosen | None,
) -> tuple[list[Tree], list[Tree]]:
    """Rows of the source that are in no table: those that should be, and those that need not."""
    held = expected.held_keys(key, telling) if expected.held_keys and alone else set()
    excused = [tree for tree in alone if tree.key in held]
    missing = [tree for tree in alone if tree.key not in held]
    # rows that wait in quarantine, or that a later one of the load replaced
    if len(missing) <= expected.quarantined - source.unreadable + expected.outdated:
        return [], [*excused, *missing]
    return missing, excused


def _telling(source: _Source, key: Sequence[str]) -> Chosen | None:
    """A column by which the kept rows are found in the destination, and their values of it."""
    layout = source.layout
    values: dict[str, dict[Any, None]] = {
        column: {}
        for column, kind in layout.types[layout.root].items()
        if kind in ("text", "bigint")
        and layout.bases[layout.root][column] == column
        and layout.is_data(column)
    }
    rows = len(source.rows)
    for root in source.rows:
        for column in [*values]:
            value = root.get(column)
            if isinstance(value, str):
                is_plain = layout.types[layout.root][column] == "text" and "\0" not in value
            else:
                is_plain = type(value) is int and -(1 << 63) <= value < 1 << 63
                is_plain = is_plain and layout.types[layout.root][column] == "bigint"
            if is_plain:
                values[column][value] = None
            else:
                del values[column]
    best = max(values, key=lambda name: (name in key, len(values[name])), default=None)
    if best is None or len(values[best]) * 2 < rows:
        best = max(values, key=lambda name: len(values[name]), default=None)
    if best is None or len(values[best]) * 2 < rows:
        return None
    return Chosen(best, list(values[best]))
