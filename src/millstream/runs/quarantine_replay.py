"""What a replay loads of the rows that wait in quarantine, and what it leaves there, and why.

A row whose table has a newer version is out of date. The source is asked for nothing but the
stream's own hints, so that no cursor moves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream import schema_changes
from millstream.common.sql_client import sql_client
from millstream.config import PipelineConfig, TargetConfig
from millstream.errors import ConfigError, SourceDataError
from millstream.quarantine import store
from millstream.quarantine.entry import typed_text
from millstream.quarantine.store import Entry
from millstream.runs import row_lookup
from millstream.runs.context import RunContext
from millstream.runs.replayed_partition import UnplacedRowError, with_partition
from millstream.runs.replayed_rows import decoded, target

if TYPE_CHECKING:
    import dlt
    from dlt.common.schema.typing import TTableSchema

STATE = "_millstream"
"""What a run keeps for itself in the state of a source."""
ReadAgain = Callable[[Mapping[str, Any], str, Mapping[str, Any]], Mapping[str, Any]]
_UNKNOWN_ORDER = (
    "the table has a row with its key, and no load id tells which was read last: load it with --row"
)
_MAY_BE_DELETED = (
    "later loads may have deleted it at its source's word, which leaves no trace: "
    "load it with --row"
)


@dataclass
class Plan:
    """What a replay does with each entry that was asked for.

    Attributes:
        rows: to be loaded, with the JSON text of each.
        superseded: out of date: the tables have newer rows, or were emptied since.
        left: must stay where they are, and why.
    """

    rows: list[tuple[Entry, str]] = field(default_factory=list)
    superseded: list[Entry] = field(default_factory=list)
    left: list[tuple[Entry, str]] = field(default_factory=list)


def entries(context: RunContext, pipeline: dlt.Pipeline) -> list[Entry]:
    """What was quarantined of a stream, with its documents, read from the destination.

    Raises:
        ConfigError: the destination holds no tables to query.
    """
    if sql_client(pipeline) is None:
        kind = context.target.destination.type
        raise ConfigError(f"{kind} can't be queried, so nobody knows what waits there")
    with context.writer():
        return store.entries(
            pipeline.destination,
            pipeline.dataset_name,
            context.target.name,
            context.stream,
            documents=True,
        )


def current_entries(context: RunContext, pipeline: dlt.Pipeline) -> list[Entry]:
    """What was quarantined since all rows were read; none where nobody can tell."""
    if sql_client(pipeline) is None:
        return []
    refreshed = newest_refreshed(pipeline, context.name)
    found = entries(context, pipeline)
    return [entry for entry in found if str(entry.put_aside["load_id"]) > refreshed]


def loaded_partitions(
    target: TargetConfig, stream: str, place: schema_changes.history.Place | None
) -> Mapping[str, str]:
    """The partition that each load of a stream loaded, by load id, as far as its history tells."""
    partitions = target.partitions if isinstance(target, PipelineConfig) else None
    if place is None or partitions is None or not partitions.covers(stream):
        return {}
    return schema_changes.history.partitions(place, target.name, stream)


def remember_refresh(pipeline: dlt.Pipeline, schema_name: str, newest: str | None) -> None:
    """Note in the state, which lands with the package, that all rows are read again.

    Args:
        newest: the newest load so far; what it and earlier ones quarantined is out of date.
    """
    if newest is None:
        return
    with pipeline.managed_state() as state:
        sources: Any = state.setdefault("sources", {})
        sources.setdefault(schema_name, {})[STATE] = {"refreshed": newest}


def plan(
    pipeline: dlt.Pipeline,
    schema_name: str,
    opened: Any,
    entries: Iterable[Entry],
    *,
    ids: Collection[str] = (),
    corrected: str | None = None,
    configured: TargetConfig,
    partitions: Mapping[str, str] | None = None,
    read_again: ReadAgain | None = None,
) -> Plan:
    """Sort what waits.

    Args:
        pipeline: restored from the destination.
        opened: what the stream's source would be extracted from; only its hints are read.
        ids: of the entries asked for; all where left out.
        corrected: the JSON text to load instead of the one entry's own.
        configured: tells whether the stream has partitions.
        partitions: that loads loaded, by load id.
        read_again: gives the values of a row by its text, its origin and the columns of its table.
    """
    known = list(entries)
    asked = [each for each in known if each.status == "waiting" and (not ids or each.id in ids)]
    made = Plan()
    if not asked:
        return made
    schema = pipeline.schemas[schema_name]
    tables: dict[str, tuple[TTableSchema, Plan]] = {}
    refreshed = newest_refreshed(pipeline, schema_name)
    replays = frozenset(load for each in known for load in each.loads)
    loads = _loads(pipeline, schema_name)
    ordinary = [load for load in loads if load not in replays]
    for each in asked:
        load_id = each.load_id
        replaced = each.fields["disposition"] == "replace" and ordinary and load_id < ordinary[-1]
        text = corrected or str(each.fields["document"])
        _, table = target(opened, schema, each, text)
        newest = store.newest_of_partition(load_id, partitions or {}, loads)
        if load_id <= refreshed or replaced or (newest or "") > load_id:
            made.superseded.append(each)
        elif why := _why_left(each, table, corrected):
            made.left.append((each, why))
        else:
            try:
                text = _read_again(read_again, each, schema.tables.get(str(table["name"])), text)
                text = _placed(each, text, configured, partitions or {})
            except SourceDataError as error:
                made.left.append((each, f"{error.message}: correct it with --row"))
                continue
            except UnplacedRowError as error:
                made.left.append((each, str(error)))
                continue
            tables.setdefault(str(table["name"]), (table, Plan()))[1].rows.append((each, text))
    for table, part in tables.values():
        later = max(ordinary, default="") if corrected is None else None
        _drop_outdated(pipeline, schema, table, part, known, newest_load=later)
        made.rows += part.rows
        made.superseded += part.superseded
        made.left += part.left
    return made


def _placed(entry: Entry, text: str, configured: TargetConfig, loaded: Mapping[str, str]) -> str:
    """The text of a row with the key of its partition."""
    kept = decoded(str(entry.fields["document"]))
    return with_partition(text, decoded(text), entry, kept, configured, loaded)


def _read_again(
    read_again: ReadAgain | None, entry: Entry, table: TTableSchema | None, text: str
) -> str:
    """The text of a row with the values that its source has for it now."""
    row = decoded(text)
    if read_again is None or not isinstance(row, dict):
        return text
    columns = table["columns"] if table else {}
    found = read_again(row, str(entry.fields["origin"] or ""), columns)
    return text if found == row else typed_text(found)


def _why_left(entry: Entry, table: Mapping[str, Any], corrected: str | None) -> str | None:
    """Why a row can't be loaded as it is."""
    fields = entry.fields
    disposition = table.get("write_disposition") or "append"
    strategy = table.get("x-merge-strategy")
    columns = table.get("columns", {}).values()
    if disposition == "merge":
        if strategy == "scd2":
            return "`scd2` would retire every row that is not loaded with it"
        if any(each.get("merge_key") for each in columns):
            return "the stream has a `merge_key`: the other rows with its key would be deleted"
    if fields["partial"] and disposition != "merge":
        return "the rest of the row is in the table, and without a primary key it would be doubled"
    if corrected is not None:
        return None
    if fields["redacted_paths"]:
        return f"secrets were taken out: {', '.join(json.loads(fields['redacted_paths']))}"
    if fields["is_cut"]:
        return f"only part of its {fields['document_bytes']:,} bytes was kept"
    if fields["reason"] == "unreadable":
        return "it can't be read: correct it with --row"
    return None


def _drop_outdated(
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    table: Mapping[str, Any],
    made: Plan,
    entries: Sequence[Entry],
    *,
    newest_load: str | None,
) -> None:
    """Supersede rows of which the table, or the plan, has a newer version by the primary key.

    Args:
        entries: all of the stream: a row that was replayed is as old as its entry.
        newest_load: of the stream; None where the row was corrected by hand, and is to be loaded.
    """
    if table.get("write_disposition") != "merge":
        return
    name = schema.naming.normalize_tables_path(str(table["name"]))
    known: Mapping[str, Any] = schema.tables.get(name, {}).get("columns", {})
    key = [column for column, hint in known.items() if hint.get("primary_key")]
    if not key:
        return
    newest: dict[tuple[Any, ...], tuple[Entry, str]] = {}
    for entry, text in made.rows:
        values = row_lookup.key_of(schema, name, key, known, text)
        if isinstance(values, str):
            made.left.append((entry, f"{values}: correct it with --row"))
            continue
        if (other := newest.get(values)) is not None:
            made.superseded.append(other[0])
        newest[values] = (entry, text)
    made.rows[:] = newest.values()
    try:
        loaded = row_lookup.newest_loads(pipeline, schema, name, key, list(newest))
    except LookupError:  # nothing was ever loaded
        return
    for entry in entries:
        document = entry.put_aside.get("document")
        if entry.status == "replayed" and document and entry.loads & {*loaded.values()}:
            values = row_lookup.key_of(schema, name, key, known, str(document))
            if not isinstance(values, str) and loaded.get(values) in entry.loads:
                loaded[values] = entry.load_id
    outdated = [
        newest[values] for values, load_id in loaded.items() if load_id > newest[values][0].load_id
    ]
    made.superseded += [entry for entry, _ in outdated]
    left: list[tuple[Entry, str]] = []
    if newest_load is not None:
        left += [(newest[each][0], _UNKNOWN_ORDER) for each, load in loaded.items() if not load]
        if any(hint.get("hard_delete") for hint in known.values()):
            gone = (entry for each, (entry, _) in newest.items() if each not in loaded)
            left += [(entry, _MAY_BE_DELETED) for entry in gone if entry.load_id < newest_load]
    made.left += left
    taken = {entry.id for entry, _ in (*outdated, *left)}
    made.rows[:] = [row for row in made.rows if row[0].id not in taken]


def _loads(pipeline: dlt.Pipeline, schema_name: str) -> list[str]:
    """Completed loads of a schema, oldest first."""
    with pipeline.sql_client() as client:
        column = client.escape_column_name
        rows = client.execute_sql(
            f"SELECT {column('load_id')} "  # noqa: S608 (escaped by dlt)
            f"FROM {client.make_qualified_table_name('_dlt_loads')} "
            f"WHERE {column('schema_name')} = %s",
            schema_name,
        )
    return sorted(str(row[0]) for row in rows or ())


def newest_refreshed(pipeline: dlt.Pipeline, schema_name: str) -> str:
    """The newest load before the last full refresh; empty where there was none."""
    sources: Any = pipeline.state.get("sources", {})
    return str(sources.get(schema_name, {}).get(STATE, {}).get("refreshed", ""))
