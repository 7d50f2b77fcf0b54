"""A load compared with what the source gave: its receipts, one for each table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import destinations
from millstream.common.redact import redact_foreign
from millstream.common.sql_client import sql_client
from millstream.model import Receipt
from millstream.receipts import store
from millstream.receipts.capture import captured
from millstream.receipts.conversions import as_dlt_stores
from millstream.receipts.deletions import DeletionMark
from millstream.receipts.delivered import Chosen, Delivered, Which
from millstream.receipts.layout import Column, Layout
from millstream.receipts.verdict import Basis, Expected, receipts
from millstream.runs.audited_tables import (
    delivered_rows,
    objects_kept,
    primary_key,
    times_held,
    which_of_load,
)
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder
from millstream.runs.stages.normalizing import Normalized

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)
_FEW_VALUES = 1_000


def verify(
    context: RunContext,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    run: Path,
    package: Normalized,
) -> Sequence[Receipt]:
    """The receipts of a package that was just loaded, also written to the destination.

    A load never fails for want of them.
    """
    try:
        with recorder.step("verify"), context.writer():
            return _verify(context, pipeline, run, package)
    except Exception as error:
        text = redact_foreign(str(error))
        logger.warning("%s: the load was not verified: %s", context.stream, text)
        recorder.warnings.append(f"the load was not verified: {text}")
        return ()


def _verify(
    context: RunContext, pipeline: dlt.Pipeline, run: Path, package: Normalized
) -> Sequence[Receipt]:
    schema = pipeline.schemas[context.schema]
    found = captured(run / "receipts", schema.naming.normalize_tables_path)
    load_ids = {count.load_id for count in package.counted}
    opened = sql_client(pipeline, context.schema)
    if opened is None or len(load_ids) != 1 or not found:
        return ()
    (load_id,) = load_ids
    dialect = pipeline.destination.capabilities().sqlglot_dialect
    made: list[tuple[Receipt, Basis | None, str]] = []
    with opened as client:
        for root, rows in found.items():
            if not rows.counted.rows or not _has_load_id(schema, root):
                continue  # Arrow tables of dlt sources do not say which load brought a row
            layout = Layout(schema, root, names_keys=context.target.names_keys, dialect=dialect)
            expected = _expected(context, pipeline, root, package)
            if schema.tables[root].get("x-merge-strategy") == "insert-only":
                held = Delivered(client, layout, Which({}))
                expected = replace(expected, held_keys=partial(_held_keys, held))
            which = which_of_load(schema.tables[root], layout, load_id)
            its, basis = receipts(
                rows, layout, delivered_rows(pipeline, client, layout, which), expected
            )
            made += [(each, basis, root) for each in its]
        if made:
            store.write(
                pipeline.destination,
                pipeline.dataset_name,
                context.target.name,
                context.stream,
                load_id,
                made,
            )
    return [receipt for receipt, *_ in made]


def _has_load_id(schema: dlt.Schema, root: str) -> bool:
    name = schema.naming.normalize_identifier("_dlt_load_id")
    columns: Any = schema.tables.get(root, {}).get("columns", {})
    return bool(columns.get(name, {}).get("data_type"))


def _held_keys(rows: Delivered, key: Sequence[str], chosen: Chosen | None) -> set[int]:
    is_few = chosen is not None and len(chosen.values) <= _FEW_VALUES
    return rows.keys(key, chosen if is_few else None)


def _expected(
    context: RunContext, pipeline: dlt.Pipeline, root: str, package: Normalized
) -> Expected:
    from dlt.common.schema.utils import get_root_table

    schema = pipeline.schemas[context.schema]
    table: Any = schema.tables[root]
    seen = package.seen
    roots = {each: str(get_root_table(schema.tables, each)["name"]) for each in schema.tables}
    quarantined = [each for each in seen.quarantined if roots.get(each.table, root) == root]
    skipped = times_held(root, table) | objects_kept(pipeline, root, table)
    if converts := context.target.coercion == "dlt":
        skipped |= _cut_columns(schema, roots, root)
    return Expected(
        quarantined=sum(each.rows for each in quarantined),
        whole=sum(each.rows for each in quarantined if each.reason != "contract"),
        outdated=package.outdated.get(root, 0),
        unchecked=_unchecked(context, pipeline, table, package),
        loaded=None if table.get("write_disposition") == "merge" else package.rows,
        key=primary_key(table),
        gone=DeletionMark.of(table["columns"]),
        deletions=seen.deletions.get(root, 0),
        is_set=table.get("x-merge-strategy") == "scd2",
        skipped=skipped,
        as_stored=as_dlt_stores if converts else None,
    )


def _cut_columns(schema: dlt.Schema, roots: Mapping[str, str], root: str) -> frozenset[Column]:
    """Columns that may hold fewer digits than what dlt converted a value to."""
    hints = ("precision", "scale", "timezone")
    return frozenset(
        (name, column)
        for name, its in roots.items()
        if its == root
        for column, settings in schema.tables[name]["columns"].items()
        if any(settings.get(hint) is not None for hint in hints)
    )


def _unchecked(context: RunContext, pipeline: dlt.Pipeline, table: Any, package: Normalized) -> str:
    """Why what a load leaves may be something else than what was read; empty where it is not."""
    strategy = table.get("x-merge-strategy")
    columns, key = table["columns"], primary_key(table)
    schema = pipeline.schemas[context.schema]
    row_id = schema.naming.normalize_identifier("_dlt_id")
    merges = table.get("write_disposition") == "merge" and destinations.can_merge(pipeline, table)
    if strategy == "scd2" and (reason := _why_not_scd2(table, row_id)):
        return reason
    if strategy in ("scd2", "insert-only") and not merges:
        return f"the destination has no merge strategy {strategy}"
    if strategy == "insert-only" and not key:
        return "without a primary key, insert-only keeps rows that are there"
    if any(column.get("hard_delete") for column in columns.values()) and (
        not (merges and key) or strategy in ("scd2", "insert-only")
    ):
        return "rows may tell of deletions"
    if package.seen.collisions:
        return "keys of one row share a column"
    return altered_by_settings(context, schema, table)


def _why_not_scd2(table: Any, row_id: str) -> str:
    """Why a load's rows may not be those that hold then; empty where they are."""
    columns = table["columns"]
    if any(column.get("merge_key") for column in columns.values()):
        return "with a merge key, `scd2` keeps rows that are there"
    if table.get("x-active-record-timestamp") is not None:
        return "an `active_record_timestamp` marks the rows that hold"
    if any(column.get("x-row-version") for name, column in columns.items() if name != row_id):
        return "a row version of the source's tells which rows changed"
    return ""


def altered_by_settings(context: RunContext, schema: dlt.Schema, table: Any) -> str:
    """Why rows may be stored otherwise than the source has them; empty where they are not."""
    contracts = [schema.settings.get("schema_contract"), table.get("schema_contract")]
    if any("discard" in str(each) or "freeze" in str(each) for each in contracts):
        return "a contract may keep parts of rows out"
    if any(each.get("filters") for each in schema.tables.values()):
        return "the schema leaves columns out"
    if _propagated(schema):
        return "columns of parents are repeated in child tables"
    return ""


def _propagated(schema: dlt.Schema) -> list[str]:
    """Columns of parents that child tables repeat, but for dlt's own."""
    json: Any = schema.to_dict()["normalizers"]["json"]
    config = json.get("config", {}).get("propagation") or {}
    mappings = [config.get("root") or {}, *(config.get("tables") or {}).values()]
    own = schema.naming.normalize_identifier("_dlt_root_id")
    return [name for each in mappings for name in each.values() if name != own]
