"""A stream that has loads, and whose cursor the destination no longer has.

Whoever empties `_dlt_loads` or `_dlt_pipeline_state` takes the cursors of the streams along: dlt
takes the state of no load that it does not list. All would be read again, and appended once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream import destinations, schema_changes
from millstream.errors import ConfigError
from millstream.runs.context import RunContext

if TYPE_CHECKING:
    import dlt


def check(
    context: RunContext, pipeline: dlt.Pipeline, stored: dlt.Schema, resources: Sequence[Any]
) -> tuple[str, ...]:
    """What to warn of, where the stream is read from its start for want of its state.

    Args:
        stored: the stream's schema in the destination, with which no state came.

    Raises:
        ConfigError: the rows that are there would be doubled.
    """
    place = schema_changes.history.place_of(pipeline)
    if place is None or not schema_changes.history.has_loads(
        place, context.target.name, context.stream
    ):
        return ()  # its first load died, or there were partitions alone
    lost = (
        f"the destination no longer has what {context.stream} keeps between its runs, such as a "
        "cursor: it was in `_dlt_pipeline_state`, with a row in `_dlt_loads`"
    )
    names = {each.name for each in resources if _reads_on(context, each)}
    tables = [
        str(table["name"])
        for table in stored.data_tables(seen_data_only=True)
        if table.get("resource") in names and not table.get("parent")
    ]
    full = [
        table
        for table, rows in destinations.row_counts(pipeline, stored, tables).items()
        if rows != 0  # None where they can't be counted
    ]
    if full and not context.target.accept_existing:
        raise ConfigError(
            f"{context.what}: {lost}. It would be read from its start, and the rows of "
            f"{', '.join(f'`{table}`' for table in full)} doubled",
            hint=f"{_way_back(pipeline, stored)}`--full-refresh` replaces the rows; "
            "`accept_existing: true` keeps them, and adds what the source has from its start",
        )
    if all(_disposition(each) == "replace" for each in resources):
        return ()
    return (f"{lost}. It was read from its start",)


def _reads_on(context: RunContext, resource: Any) -> bool:
    """Whether a resource appends what is new since a cursor; others append all each time."""
    if _disposition(resource) != "append":
        return False
    return context.has_unique_keys or resource.incremental is not None


def _disposition(resource: Any) -> str:
    found = resource.write_disposition
    return str(found["disposition"] if isinstance(found, dict) else found)


def _way_back(pipeline: dlt.Pipeline, stored: dlt.Schema) -> str:
    """The statement with which dlt finds the state again, where it is there still."""
    statement = destinations.statement_that_lists(pipeline, stored)
    return f"{statement} lets it go on where it was; " if statement else ""
