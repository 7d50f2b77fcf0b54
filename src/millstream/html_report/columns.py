"""The profile: what the newest load saw in each column, and its presence in the loads before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from millstream.common.text import quantity
from millstream.html_report.diagram import anchor
from millstream.html_report.markup import Markup, element, join
from millstream.html_report.plots import share_bar, spark
from millstream.model import Column, Table
from millstream.schema_changes.messages import key_words, origin_words, percent, type_words
from millstream.schema_changes.renames import is_own

_HEADS = ("column", "type", "present", "null", "distinct", "range", "longest", "loads")


def table(
    described: Table, presence: Sequence[Mapping[tuple[str, str], float]], *, unfolded: bool
) -> Markup:
    """One table of the destination: a line per column."""
    rows = max((c.profile.rows for c in described.columns if c.profile), default=None)
    words = quantity(len(described.columns), "column")
    if rows is not None:
        words += f", {quantity(rows, 'row')} in the newest load"
    return element(
        "details",
        element(
            "summary", element("code", described.name), element("span", f" {words}", class_="dim")
        ),
        element(
            "table",
            element("thead", element("tr", *(element("th", head, scope="col") for head in _HEADS))),
            element(
                "tbody",
                *(
                    _row(column, [load.get((described.name, column.name)) for load in presence])
                    for column in described.columns
                ),
            ),
        ),
        id=anchor(described.name),
        open="" if unfolded else None,
    )


def _row(column: Column, presence: Sequence[float | None]) -> Markup:
    if is_own(column):  # of a list's index, other things are counted
        column, presence = replace(column, profile=None), ()
    seen = column.profile
    words = f"{key_words(column)}{origin_words(column)}".removeprefix(", ")
    keys = element("span", f" {words}", class_="dim")
    cells: list[object] = [
        join(element("code", column.name), keys),
        type_words(column) + ("" if column.nullable else ", not null"),
    ]
    if seen is None:
        cells += [None] * 5
    else:
        least, most = (_short(value, column) for value in (seen.minimum, seen.maximum))
        cells += [
            join(share_bar(seen.presence), " ", percent(seen.presence)),
            percent(seen.null_share),
            None if seen.distinct is None else f"{'about ' * seen.is_estimated}{seen.distinct:,}",
            None if least is None else least if least == most else f"{least} to {most}",
            f"{seen.longest:,} characters" if seen.longest is not None else None,
        ]
    cells.append(spark(presence))
    return element(
        "tr",
        *(
            # one element, so that on a narrow screen its parts stay beside the label
            element("td", element("span", cell), data_label=head)
            if cell is not None
            else element("td", class_="none")
            for head, cell in zip(_HEADS, cells)
        ),
    )


def _short(value: object, column: Column) -> str | None:
    if value is None:
        return None
    words = str(value)
    if column.data_type == "bool":  # the history has it as Python writes it
        words = words.lower()
    return words if len(words) <= 32 else f"{words[:31]}\u2026"
