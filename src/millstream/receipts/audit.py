"""A stored receipt compared with what the destination holds now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from millstream.common.text import quantity
from millstream.model import Receipt
from millstream.receipts.canonical import number_of
from millstream.receipts.delivered import Chosen, Delivered
from millstream.receipts.figures import LINKS, Figures, tree_of
from millstream.receipts.layout import Column, Layout
from millstream.receipts.store import Stored
from millstream.receipts.verdict import MOVED, Basis


def audit(
    stored: Stored, layout: Layout, delivered_of: Callable[[frozenset[Column]], Delivered]
) -> tuple[Receipt, ...]:
    """The receipts of a load, with what its tables hold now.

    Only for the newest load of a stream: a later one may have replaced rows.
    """
    basis = stored.basis
    delivered = delivered_of(basis.skipped if basis else frozenset())
    counts = {table: delivered.count(table) for table in layout.parents}
    receipts = [
        _counted(each, stored, counts, is_checked=basis is not None) for each in stored.receipts
    ]
    if basis is None:
        return tuple(receipts)
    now = _figures(basis, delivered)
    wrong: dict[str, list[str]] = {}
    for table, column in basis.figures.differing(now):
        wrong.setdefault(table, []).append(column)
    result = []
    for each in receipts:
        problems = [*each.problems]
        is_root = each.table == stored.root
        change = basis.figures.rows[each.table] - now.rows[each.table]
        if each.table in delivered.lost:
            problems.insert(0, "the table is not in the destination")
        elif change and not (is_root and each.problems):
            problems.append(_change(change))
        # a row that is missing, or too many, alters each of its columns
        columns = [] if change else wrong.get(each.table, [])
        problems += [f"column `{column}` differs" for column in columns if column != LINKS]
        # where the rows that it hangs on differ, that is what is to be told
        if columns == [LINKS] and not any(above in wrong for above in layout.above(each.table)):
            problems.append("rows hold one another's values" if is_root else MOVED)
        kept = {column: 0 for column in columns if column != LINKS}
        result.append(
            replace(
                each,
                delivered=each.delivered if is_root else now.rows[each.table],
                problems=tuple(dict.fromkeys(problems)),
                differing={**kept, **each.differing},
            )
        )
    return tuple(result)


def find(stored: Stored, delivered_of: Callable[[frozenset[Column]], Delivered]) -> list[str]:
    """The root rows that differ, each by its key, which is a text for whoever asks.

    A row that is gone can't be named: the receipt has no values.
    """
    basis = stored.basis
    if basis is None:
        return ["no values were compared: no row can be named"]
    delivered = delivered_of(basis.skipped)
    then, now, complete = basis.figures.sketch.without(_figures(basis, delivered).sketch)
    there = {total for _, total in now}
    keys = {key for key, _ in then}
    lines = []
    for nodes, values in delivered.nodes(_chosen(basis, delivered), basis.key):
        tree = tree_of(nodes, basis.key)
        if tree.total in there:
            is_changed = tree.key in keys and tree.key
            name = ", ".join(f"{column} = {value!r}" for column, value in zip(basis.key, values))
            what = "differs" if is_changed else "is not what the source gave"
            lines.append(f"{name or 'a row without a key'}: {what}")
            keys.discard(tree.key)
    gone = [key for key, _ in then if key in keys]
    if gone:
        lines.append(f"{quantity(len(gone), 'row')} of the source no longer there")
    if not complete:
        lines.append("more rows differ than a receipt can name")
    return lines


def _counted(
    receipt: Receipt, stored: Stored, counts: dict[str, int], *, is_checked: bool
) -> Receipt:
    """What a table holds of the load now."""
    now = counts.get(receipt.table, 0)
    if receipt.table != stored.root and is_checked:
        return receipt
    problems = receipt.problems
    if receipt.delivered != now:
        problems = (*problems, f"{_change(receipt.delivered - now)} since it was loaded")
    return replace(receipt, delivered=now, problems=problems)


def _change(change: int) -> str:
    return f"{quantity(abs(change), 'row')} {'missing' if change > 0 else 'too many'}"


def _figures(basis: Basis, delivered: Delivered) -> Figures:
    figures = Figures()
    for tree in delivered.trees(basis.key, _chosen(basis, delivered)):
        figures.add(tree)
    return figures


def _chosen(basis: Basis, delivered: Delivered) -> Chosen | None:
    if not basis.chosen:
        return None
    wanted = {*basis.sample}
    values: Sequence[Any] = [
        value
        for value in {*delivered.values(basis.chosen)}
        if value is not None and number_of(value) in wanted
    ]
    return Chosen(basis.chosen, values)
