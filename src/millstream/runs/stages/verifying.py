"""A load compared with what the source gave: its receipts, one for each table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.common.redact import redact_foreign
from millstream.common.sql_client import sql_client
from millstream.formats.deletions import deletion_column
from millstream.model import Receipt
from millstream.receipts import store
from millstream.receipts.capture import captured
from millstream.receipts.delivered import Delivered, Which
from millstream.receipts.layout import Layout
from millstream.receipts.verdict import Basis, Expected, receipts
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder
from millstream.runs.stages.normalizing import Normalized

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)


def verify(
    context: RunContext,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    run: Path,
    package: Normalized,
) -> Sequence[Receipt]:
    """The receipts of a package that was just loaded, also written to the destination.

    None where nobody asked for them. A load never fails for want of them.
    """
    if context.target.receipts == "none":
        return ()
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
            its, basis = receipts(
                rows,
                layout,
                partial(Delivered, client, layout, Which({layout.load_id: load_id})),
                _expected(context, schema, root, package),
            )
            made += [(each, basis, root) for each in its]
    if made:
        store.append(
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


def _expected(context: RunContext, schema: dlt.Schema, root: str, package: Normalized) -> Expected:
    from dlt.common.schema.utils import get_root_table

    table: Any = schema.tables[root]
    seen = package.seen
    roots = {each: get_root_table(schema.tables, each)["name"] for each in schema.tables}
    quarantined = [each for each in seen.quarantined if roots.get(each.table, root) == root]
    return Expected(
        quarantined=sum(each.rows for each in quarantined),
        whole=sum(each.rows for each in quarantined if each.reason != "contract"),
        outdated=package.outdated.get(root, 0),
        unchecked=_unchecked(context, schema, table, package),
        loaded=None if table.get("write_disposition") == "merge" else package.rows,
        key=tuple(name for name, column in table["columns"].items() if column.get("primary_key")),
    )


def _unchecked(context: RunContext, schema: dlt.Schema, table: Any, package: Normalized) -> str:
    """Why what a load leaves may be something else than what was read; empty where it is not."""
    strategy = table.get("x-merge-strategy")
    if package.seen.is_replay:
        return "rows are replayed from quarantine"
    if table.get("write_disposition") == "merge" and strategy in ("scd2", "insert-only"):
        return f"the merge strategy {strategy} keeps rows that are there"
    if deletion_column(table["columns"]) is not None:
        return "rows may tell of deletions"
    if package.seen.collisions:
        return "keys of one row share a column"
    return altered_by_settings(context, schema, table)


def altered_by_settings(context: RunContext, schema: dlt.Schema, table: Any) -> str:
    """Why rows may be stored otherwise than the source has them; empty where they are not."""
    contracts = [schema.settings.get("schema_contract"), table.get("schema_contract")]
    if context.target.coercion == "dlt":
        return "`coercion: dlt` changes values"
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
