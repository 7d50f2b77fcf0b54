"""Root and child tables as a drawing: each root to the left, its child tables to its right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millstream.common.text import quantity
from millstream.html_report.markup import Markup, cut, element
from millstream.model import SchemaVersion, Table

WIDTH, HEIGHT = 216, 46
GAP_X, GAP_Y = 40, 12
LETTERS = 27
"""Characters of a name that fit into a box."""


@dataclass(frozen=True, slots=True)
class Box:
    """A table and its place: pixels from the left and from the top."""

    table: Table
    x: int
    y: int


def diagrams(schema: SchemaVersion, rows: Mapping[str, int]) -> list[Markup]:
    """One drawing for each root table of a stream.

    Args:
        rows: rows of the newest load, by table.
    """
    known = schema.table
    found = [t for t in schema.tables if t.parent is None or t.parent not in known]
    return [_drawing(layout(root, schema.tables), rows) for root in found]


def layout(root: Table, tables: Sequence[Table]) -> list[Box]:
    """A column for each depth; a parent beside its first child, so that lines never cross."""
    children: dict[str, list[Table]] = {}
    for table in tables:
        if table.parent is not None:
            children.setdefault(table.parent, []).append(table)
    boxes: list[Box] = []
    row = 0

    def place(table: Table, depth: int) -> None:
        nonlocal row
        x, y = depth * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y)
        boxes.append(Box(table, x, y))
        for number, child in enumerate(children.get(table.name, ())):
            row += number > 0
            place(child, depth + 1)

    place(root, 0)
    return boxes


def _drawing(boxes: Sequence[Box], rows: Mapping[str, int]) -> Markup:
    by_name = {box.table.name: box for box in boxes}
    width = max(box.x for box in boxes) + WIDTH + 2
    height = max(box.y for box in boxes) + HEIGHT + 2
    lines = [_line(by_name[box.table.parent], box) for box in boxes if box.table.parent in by_name]
    drawn = [_box(box, rows) for box in boxes]
    name = boxes[0].table.name
    return element(
        "svg",
        element("title", f"{name} and the tables below it"),
        element("g", *lines, *drawn, transform="translate(1 1)"),
        class_="tables",
        role="img",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def _line(parent: Box, child: Box) -> Markup:
    start, end = parent.x + WIDTH, child.x
    middle = start + GAP_X // 2
    y, below = parent.y + HEIGHT // 2, child.y + HEIGHT // 2
    return element("path", class_="link", d=f"M{start} {y}H{middle}V{below}H{end}")


def _box(box: Box, rows: Mapping[str, int]) -> Markup:
    table = box.table
    # the parent's name is written to the left already
    short = table.name.removeprefix(table.parent or "") if table.parent else table.name
    words = quantity(len(table.columns), "column")
    if table.name in rows:
        words += f", {quantity(rows[table.name], 'row')}"
    return element(
        "a",
        element("title", table.name),
        element("rect", width=WIDTH, height=HEIGHT, rx=6, class_="box"),
        element("text", cut(short or table.name, LETTERS), x=12, y=19, class_="name"),
        element("text", words, x=12, y=36, class_="small"),
        href=f"#{anchor(table.name)}",
        transform=f"translate({box.x} {box.y})",
    )


def anchor(table: str) -> str:
    """Where on the page the columns of a table are; the same for no two tables."""
    return "t-" + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}-" for c in table)
