"""A run's report, printed for people: tables as a tree, seconds per step, every schema change."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from shlex import quote
from typing import TextIO

from millstream.cli.terminal import align, paint, seconds, size, tree
from millstream.common.text import quantity
from millstream.model import RunReport, SchemaChange, TableLoad

_WIDTH = 80
_NO_BREAK = "\N{NO-BREAK SPACE}"
_SHOWN = 20
"""Tables, changes or warnings that a summary names where there are more than twice as many."""
_MARKS = {"safe": ("+", "green"), "risky": ("!", "yellow"), "breaking": ("!", "red")}


def report_lines(report: RunReport, stream: TextIO) -> list[str]:
    """One stream's run: what was loaded, how long it took, what changed."""
    words = (f"{step} {seconds(taken)}" for step, taken in report.seconds.items())
    steps = ", ".join(word.replace(" ", _NO_BREAK) for word in words)
    part = f" [{report.partition}]" if report.partition else ""
    head = paint(f"{report.pipeline}.{report.stream}{part}", "bold", stream=stream)
    lines = [
        f"{head} → {report.destination}, dataset {report.dataset}: "
        f"{quantity(report.rows, 'row')} in {seconds(report.total_seconds)}",
        *(
            paint(line.replace(_NO_BREAK, " "), "dim", stream=stream)
            for line in textwrap.wrap(
                steps, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
            )
        ),
        "",
        *table_lines(report.tables),
    ]
    if report.load_id is None:
        lines.append("  nothing new to load")
    if len(report.changes) > 2 * _SHOWN:
        lines += ["", *_folded_change_lines(report, stream)]
    else:
        lines += ["", *change_lines(report.changes, stream)]
    lines += [
        f"  {table}: {quantity(rows, 'older version')} of rows in the same load not loaded"
        for table, rows in report.outdated.items()
    ]
    lines += [
        f"  {table}: {quantity(rows, 'of the loaded rows tells', 'of the loaded rows tell')} of a "
        "deletion"
        for table, rows in report.deletions.items()
    ]
    lines += quarantine_lines(report, stream)
    lines += receipt_lines(report, stream)
    lines += [*warned_lines(report, stream), *moved_lines(report, stream)]
    lines += skipped_lines(report, stream)
    lines += [paint(f"  warning: {text}", "yellow", stream=stream) for text in report.warnings]
    return lines


def slow_lines(report: RunReport) -> list[str]:
    """Why rows took dlt's own way, which is right and slower; for `--debug`."""
    if not report.engine_reasons:
        return []
    batches = quantity(sum(report.engine_reasons.values()), "batch", "batches")
    return [
        f"  {batches} left to dlt's own normalizer, which is slower",
        *(f"    {times:,}  {reason}" for reason, times in report.engine_reasons.items()),
    ]


def skipped_lines(report: RunReport, stream: TextIO) -> list[str]:
    """The parts of the source that were not read; nothing where all were."""
    if not report.skipped:
        return []
    head = f"  {quantity(len(report.skipped), 'part')} of the source skipped"
    return [
        paint(head, "yellow", stream=stream),
        *(f"    {each.name}: {each.reason}: {each.detail}" for each in report.skipped),
    ]


def quarantine_lines(report: RunReport, stream: TextIO) -> list[str]:
    """What was quarantined, and what became of rows that were replayed."""
    lines = []
    if report.replayed:
        outcomes = ", ".join(f"{rows:,} {words}" for words, rows in report.replayed.items())
        lines.append(f"  from quarantine: {outcomes}")
    if report.quarantined:
        rows = quantity(sum(each.rows for each in report.quarantined), "row")
        lines.append(paint(f"  {rows} in quarantine", "yellow", stream=stream))
        lines += [
            f"    {each.rows:,}  {each.table}: {each.reason}: {each.example}"
            for each in report.quarantined
        ]
    return lines


def receipt_lines(report: RunReport, stream: TextIO) -> list[str]:
    """What did not arrive as it was read; where all did, or nothing tells, a line that says so."""
    wrong = [f"{each.table}: {problem}" for each in report.receipts for problem in each.problems]
    if wrong:
        head = paint("  not delivered as it was read", "red", stream=stream)
        return [head, *(f"    {line}" for line in wrong)]
    roots = {table.name for table in report.tables if table.parent is None}
    checked = sum(each.checked for each in report.receipts if each.table in roots)
    if checked:
        return [f"  delivered: {quantity(checked, 'row')} checked"]
    reasons = dict.fromkeys(each.unchecked for each in report.receipts if each.unchecked)
    return [f"  all rows arrived; values were not compared: {reason}" for reason in reasons]


def table_lines(tables: Sequence[TableLoad]) -> list[str]:
    """Tables under their parents, with rows loaded, rows now and bytes."""
    if not tables:
        return []
    by_name: Mapping[str, TableLoad] = {table.name: table for table in tables}
    rows = [("table", "loaded", "rows now", "bytes")]
    for branch, name in tree({table.name: table.parent for table in tables}):
        table = by_name[name]
        rows.append((branch + name, *_figures([table])))
    if len(rows) > 2 * _SHOWN:
        names = {row[0].lstrip("│├└─ ") for row in rows[1 : _SHOWN + 1]}
        more = [table for table in tables if table.name not in names]
        rows[_SHOWN + 1 :] = [(f"and {len(more):,} more tables", *_figures(more))]
    return align(rows)


def _figures(tables: Sequence[TableLoad]) -> tuple[str, str, str]:
    """Rows loaded, rows now and bytes of all of them."""
    totals = [table.rows_total for table in tables]
    total = "unknown" if None in totals else f"{sum(filter(None, totals)):,}"
    loaded = sum(table.rows for table in tables)
    return f"{loaded:,}", total, size(sum(table.bytes for table in tables))


def change_lines(
    changes: Iterable[SchemaChange], stream: TextIO, *, compact: bool = False
) -> list[str]:
    """Every schema change as a sentence below its table, marked by how much it can break.

    Args:
        compact: name the safe new columns of a table in one paragraph.
    """
    changes = tuple(changes)
    if not changes:
        return ["  no schema changes"]
    lines = [f"  {quantity(len(changes), 'schema change')}"]
    for table, group in groupby(changes, key=lambda change: change.table):
        of_table = list(group)
        if [change.kind for change in of_table] != ["table_added"]:  # that one names its table
            lines.append(f"  {table}")
        if compact:
            columns = [change for change in of_table if _is_new_column(change)]
            if len(columns) > 1:
                of_table = [change for change in of_table if change not in columns]
                names = [str(change.column) for change in columns]
                lines += _paragraph("new column", names, stream)
        for change in of_table:
            mark, colour = _MARKS[change.severity]
            lines.append(f"  {paint(mark, colour, 'bold', stream=stream)} {change.message}")
    return lines


def _folded_change_lines(report: RunReport, stream: TextIO) -> list[str]:
    """Many changes: safe ones by their names, the others as sentences, of both the first ones."""
    changes = report.changes
    lines = [f"  {quantity(len(changes), 'schema change')}"]
    new_tables = [each.table for each in changes if each.kind == "table_added"]
    columns = [f"{each.table}.{each.column}" for each in changes if _is_new_column(each)]
    for names, noun in ((new_tables, "new table"), (columns, "new column")):
        if names:
            lines += _paragraph(noun, names, stream, most=_SHOWN)
    others = [each for each in changes if each.kind != "table_added" and not _is_new_column(each)]
    others.sort(key=lambda each: each.severity != "breaking")
    marked = [(f"{each.table}: {each.message}", each.severity) for each in others]
    lines += _first_lines(marked, stream, without_end=_SHOWN)
    if report.history:
        lines.append(f"  `millstream schema log --stream {quote(report.stream)} --limit 0` has all")
    return lines


def warned_lines(report: RunReport, stream: TextIO) -> list[str]:
    """What the policy warns of, with the rule that does and the id to accept or look it up by."""
    from millstream.schema_changes import comes_and_goes, fingerprint

    # rows that the policy quarantined are told above, and shares that come and go below; and each
    # change once, where the run also loaded what an earlier one had left
    warned = {
        fingerprint(decision.change): decision
        for decision in report.decisions
        if decision.action not in ("allow", "quarantine") and not comes_and_goes(decision)
    }
    if not warned:
        return []
    lines = ["", f"  {quantity(len(warned), 'warning')} by the schema policy"]
    found = sorted(warned.items(), key=lambda each: each[1].change.severity != "breaking")
    marked = [
        (f"{it.change.table}: {it.change.message} ({it.reason}, id {name})", it.change.severity)
        for name, it in found
    ]
    return [*lines, *_first_lines(marked, stream, without_end=2 * _SHOWN)]


def moved_lines(report: RunReport, stream: TextIO) -> list[str]:
    """The shares that are unlike those of recent loads, but for what a rule warns of."""
    from millstream.schema_changes import comes_and_goes

    moved = dict.fromkeys(
        f"{decision.change.table}: {decision.change.message}"
        for decision in report.decisions
        if comes_and_goes(decision)
    )
    if not moved:
        return []
    lines = ["", f"  {quantity(len(moved), 'share')} unlike recent loads"]
    return [*lines, *_first_lines([(t, "risky") for t in moved], stream, without_end=2 * _SHOWN)]


def _first_lines(
    marked: Sequence[tuple[str, str]], stream: TextIO, *, without_end: int
) -> list[str]:
    """Sentences with their severity: the first ones where there are more than `without_end`."""
    shown = marked if len(marked) <= without_end else marked[:_SHOWN]
    lines = [line for text, mark in shown for line in _marked(text, _MARKS[mark], stream)]
    more = len(marked) - len(shown)
    return [*lines, f"    and {more:,} more"] if more else lines


def _marked(text: str, mark: tuple[str, str], stream: TextIO) -> list[str]:
    sign, colour = mark
    first, *more = textwrap.wrap(text, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    painted = paint(sign, colour, "bold", stream=stream)
    return [f"  {painted} {first}", *(f"    {line}" for line in more)]


def _is_new_column(change: SchemaChange) -> bool:
    return change.kind == "column_added" and change.severity == "safe"


def _paragraph(
    noun: str, names: Sequence[str], stream: TextIO, *, most: int | None = None
) -> list[str]:
    told = ", ".join(names[:most])
    rest = f" and {len(names) - most:,} more" if most and len(names) > most else ""
    text = f"{quantity(len(names), noun)}: {told}{rest}"
    first, *more = textwrap.wrap(text, _WIDTH - 4, break_long_words=False)
    mark = paint("+", "green", "bold", stream=stream)
    return [f"  {mark} {first}", *(f"    {line}" for line in more)]
