"""Tables as boxes: each once, none on another, children to the right of their parent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.html_report.diagram import HEIGHT, WIDTH, anchor, diagrams, layout
from millstream.model import Column, SchemaVersion, Table

from .svg import parse

# each table's parent is one of those before it
trees = st.lists(st.integers(0, 10), max_size=14).map(
    lambda parents: [
        Table("t", None),
        *(Table(f"t__{n}", names(n, parent)) for n, parent in enumerate(parents)),
    ]
)


def names(number: int, parent: int) -> str:
    return "t" if number == 0 or parent % (number + 1) == 0 else f"t__{parent % (number + 1) - 1}"


@given(trees)
def test_boxes_lie_apart_and_beside_their_parents(tables: list[Table]) -> None:
    boxes = layout(tables[0], tables)
    assert sorted(box.table.name for box in boxes) == sorted(table.name for table in tables)
    by_name = {box.table.name: box for box in boxes}
    for box in boxes:
        for other in boxes:
            apart = abs(box.x - other.x) >= WIDTH or abs(box.y - other.y) >= HEIGHT
            assert box is other or apart
        if box.table.parent:
            parent = by_name[box.table.parent]
            assert box.x > parent.x + WIDTH
            assert box.y >= parent.y
    for table in tables:
        children = [each.name for each in tables if each.parent == table.name]
        if children:
            assert by_name[children[0]].y == by_name[table.name].y


@given(trees)
def test_a_drawing_has_a_box_and_a_link_for_each_table(tables: list[Table]) -> None:
    (drawing,) = diagrams(SchemaVersion(tuple(tables)), {})
    svg = parse(drawing)
    assert len(list(svg.iter("rect"))) == len(tables)
    assert len(list(svg.iter("path"))) == len(tables) - 1
    _, _, width, height = map(int, svg.attrib["viewBox"].split())
    boxes = layout(tables[0], tables)
    assert width >= max(box.x for box in boxes) + WIDTH
    assert height >= max(box.y for box in boxes) + HEIGHT
    links = [a.attrib["href"] for a in svg.iter("a")]
    assert links == [f"#{anchor(box.table.name)}" for box in boxes]


def test_boxes_say_what_a_table_holds() -> None:
    columns = (Column("a", "text"), Column("b", "text"))
    tables = (
        Table("orders", None, columns),
        Table("orders__lines", "orders", columns[:1]),
        Table("others", "a table that is not there"),
    )
    first, second = diagrams(SchemaVersion(tables), {"orders": 1_200, "orders__lines": 1})
    words = [text.text for text in parse(first).iter("text")]
    assert words == ["orders", "2 columns, 1,200 rows", "__lines", "1 column, 1 row"]
    assert [text.text for text in parse(second).iter("text")] == ["others", "0 columns"]


@given(st.text("aA-é2d", max_size=6), st.text("aA-é2d", max_size=6))
def test_no_two_tables_have_one_anchor(one: str, another: str) -> None:
    assert (anchor(one) == anchor(another)) == (one == another)
    assert anchor(one).isascii()
