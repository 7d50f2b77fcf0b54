"""Checksums that do not depend on the order of rows: of a column, of a row, of rows' parents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.receipts.canonical import MASK, mix, seed
from millstream.receipts.layout import Column

LINKS = ""
"""In place of a column's name: what a row holds together, on which parent it hangs, and where in
its list."""


@dataclass(frozen=True, slots=True)
class Node:
    """One row of a table, in numbers.

    Attributes:
        parent: the number of its parent among the rows that hang on one root row.
        values: by column, 64 bits for each value.
    """

    table: str
    parent: int
    position: int
    values: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tree:
    """A root row with all rows below it.

    Attributes:
        owns: 64 bits for the values of each of these rows.
        key: 64 bits for the values that tell the root row from others; 0 where nothing does.
        total: 64 bits for all of it.
    """

    nodes: Sequence[Node]
    owns: Sequence[int]
    key: int
    total: int


class Sketch:
    """A few cells from which the root rows can be named that one side has, and the other has not.

    An invertible Bloom lookup table (Goodrich and Mitzenmacher, 2011): each row is added to three
    cells, as its number, its key and a check. Subtracted, all that both sides have is gone, and
    where a cell holds one row, that is read and taken out of its other cells.
    """

    ROWS, WIDTH = 3, 64

    def __init__(self, cells: Mapping[int, Sequence[int]] | None = None) -> None:
        self.cells = {at: [*cell] for at, cell in (cells or {}).items()}

    def add(self, key: int, total: int, sign: int = 1) -> None:
        check = mix(total, key)
        for row in range(self.ROWS):
            at = row * self.WIDTH + mix(check, row) % self.WIDTH
            cell = self.cells.setdefault(at, [0, 0, 0, 0])
            cell[0] += sign
            cell[1] ^= key
            cell[2] ^= total
            cell[3] ^= check

    def without(self, other: Sketch) -> tuple[list[tuple[int, int]], list[tuple[int, int]], bool]:
        """Key and number of each row that this side alone has, and of those of the other alone.

        Returns:
            Both, and whether these are all.
        """
        left = Sketch(self.cells)
        for at, cell in other.cells.items():
            mine = left.cells.setdefault(at, [0, 0, 0, 0])
            mine[0] -= cell[0]
            for part in (1, 2, 3):
                mine[part] ^= cell[part]
        ours: list[tuple[int, int]] = []
        theirs: list[tuple[int, int]] = []
        waiting = [*left.cells]
        while waiting:
            sign, key, total, check = left.cells[waiting.pop()]
            if abs(sign) != 1 or check != mix(total, key):
                continue
            (ours if sign > 0 else theirs).append((key, total))
            left.add(key, total, -sign)
            waiting += [row * self.WIDTH + mix(check, row) % self.WIDTH for row in range(self.ROWS)]
        return ours, theirs, not any(any(cell) for cell in left.cells.values())


@dataclass(slots=True)
class Figures:
    """Rows by table; values that are not null, and their checksum, by column; and a sketch."""

    rows: Counter[str] = field(default_factory=Counter)
    values: Counter[Column] = field(default_factory=Counter)
    sums: Counter[Column] = field(default_factory=Counter)
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, tree: Tree, sign: int = 1) -> None:
        self.sketch.add(tree.key, tree.total, sign)
        for node, own in zip(tree.nodes, tree.owns):
            table = node.table
            self.rows[table] += sign
            for column, number in node.values.items():
                place = table, column
                self.values[place] += sign
                self.sums[place] += sign * number
            above = tree.owns[node.parent] if node.parent >= 0 else 0
            self.values[table, LINKS] += sign
            self.sums[table, LINKS] += sign * mix(own, mix(above, node.position))

    def differing(self, other: Figures) -> list[Column]:
        """The columns of which two sides do not agree."""
        places = {**self.values, **other.values}
        return [
            place
            for place in places
            if self.values[place] != other.values[place]
            or (self.sums[place] - other.sums[place]) & MASK
        ]


def tree_of(nodes: Sequence[Node], key: Sequence[str]) -> Tree:
    """A root row and the rows below it.

    Args:
        key: the columns that tell the root row from others.
    """
    total = 0
    chains: list[int] = []
    owns: list[int] = []
    for node in nodes:
        chain = 1
        if node.parent >= 0:
            chain = mix(mix(chains[node.parent], seed(node.table)), node.position)
        own = sum([mix(seed(column), number) for column, number in node.values.items()]) & MASK
        chains.append(chain)
        owns.append(own)
        total += mix(chain, own)
    known = 0
    for name in key:
        known = mix(known, nodes[0].values.get(name, 0)) or 1
    return Tree(nodes, owns, known, total & MASK)


def pairs(
    missing: Iterable[Tree], extra: Iterable[Tree]
) -> tuple[list[tuple[Tree, Tree]], list[Tree], list[Tree]]:
    """Rows of both sides that have one key; and those that have no other half."""
    waiting: dict[int, list[Tree]] = {}
    for tree in extra:
        waiting.setdefault(tree.key, []).append(tree)
    found, alone = [], []
    for tree in missing:
        if tree.key and waiting.get(tree.key):
            found.append((tree, waiting[tree.key].pop()))
        else:
            alone.append(tree)
    return found, alone, [tree for each in waiting.values() for tree in each]


def to_json(figures: Figures, table: str) -> dict[str, Any]:
    """The figures of one table: rows, and values and checksum by column."""
    return {
        "rows": figures.rows[table],
        "columns": {
            column: [count, f"{figures.sums[of, column] & MASK:016x}"]
            for (of, column), count in sorted(figures.values.items())
            if of == table
        },
    }


def from_json(figures: Figures, table: str, plain: Mapping[str, Any]) -> None:
    """Add what `to_json` gave."""
    figures.rows[table] += plain["rows"]
    for column, (count, total) in plain["columns"].items():
        figures.values[table, column] += count
        figures.sums[table, column] += int(total, 16)
