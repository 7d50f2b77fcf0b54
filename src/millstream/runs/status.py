"""How a stream stands, without loading it: `schema diff`, `accept --from-source`, and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millstream import destinations, schema_changes
from millstream.config import PipelineConfig
from millstream.model import Decision, Drift, SchemaVersion
from millstream.runs import pending_decisions
from millstream.runs.preview import PAGES, preview


@dataclass(frozen=True, slots=True)
class Standing:
    """What the next run of a stream would find changed.

    Attributes:
        decisions: what the policy, and people, say of each change.
        schema: what would be loaded.
        rows: rows that wait on this machine, by table; empty where the source was read instead.
        row_count: those of tables without a parent.
        accepted: the changes that were accepted ahead, and that the next run makes.
        before: what the destination has.
    """

    decisions: tuple[Decision, ...]
    schema: SchemaVersion
    rows: Mapping[str, int]
    row_count: int = 0
    accepted: tuple[Decision, ...] = ()
    before: SchemaVersion = field(default_factory=SchemaVersion)


def schema(
    config: PipelineConfig,
    stream: str,
    *,
    pages: int | None = PAGES,
    offline: bool = False,
    keeps_out: bool = True,
) -> Standing:
    """What the next run would find: in what is held on this machine, else in the source.

    Args:
        pages, offline, keeps_out: as `preview`.

    Raises:
        DestinationError: it can't be reached.
        SourceError: nothing is held on this machine, and the source can't be read.
    """
    waiting = pending_decisions.waiting(config, stream)
    if not waiting:
        found = preview(config, stream, pages=pages, offline=offline, keeps_out=keeps_out)
        return Standing(
            found.decisions, found.schema, {}, accepted=found.accepted, before=found.before
        )
    accepted_store = destinations.accepted_store(config)
    accepted = accepted_store.load().get(stream) if accepted_store else None
    decisions: dict[str, Decision] = {}
    rows: dict[str, int] = {}
    maps = config.maps_of(stream)
    for held in waiting:
        for decision in schema_changes.held_packages.standing(
            held, accepted, config.schema_policy, maps
        ):
            decisions.setdefault(schema_changes.fingerprint(decision.change), decision)
        for table, count in held.rows.items():
            rows[table] = rows.get(table, 0) + count
    count = sum(held.row_count for held in waiting)
    made = tuple(decisions.values())
    schema = waiting[-1].schema
    before = schema_changes.held_packages.read_baseline(waiting[0].folder, stream)
    ahead = schema_changes.accepted_ahead(before, schema, made, maps)
    return Standing(made, schema, rows, count, ahead, before)


def profile(config: PipelineConfig, stream: str) -> tuple[tuple[Drift, ...], int, int]:
    """The newest load that was counted against those before it, how many these are, and its rows.

    Raises:
        DestinationError: the history can't be asked.
    """
    with destinations.reader(config) as destination:
        place = schema_changes.history.Place(destination, config.dataset)
        history = schema_changes.history
        unsettled = history.unsettled_loads(place, config.name)
        among = _of_newest_partition(config, stream, place)
        loads = history.seen(place, config.name, stream, loads=11, unsettled=unsettled, among=among)
        versions = history.versions(place, config.name, stream, unsettled=unsettled)
        changes = history.changes(place, config.name, stream, unsettled=unsettled)
    if not loads or not versions:
        return (), 0, 0
    load_id, newest = loads[-1]
    before = [seen for _, seen in loads[:-1]]
    agreed = [
        (row["table_name"], str(name))
        for row in changes
        if row["load_id"] == load_id
        and row["kind"] in schema_changes.DATA_ALONE
        and schema_changes.is_agreed(row["action"], schema_changes.decided_by(row["reason"]))
        for name in (row["column_name"], *([row["is_now"]] * (row["kind"] == "column_renamed")))
    ]
    check = config.profile_check
    found = schema_changes.jumps(
        schema_changes.attach(schema_changes.history.version_from(versions[-1]), newest.profile),
        schema_changes.comparable(before),
        threshold=check.threshold,
        min_rows=check.min_rows,
        explained=schema_changes.columns_of(agreed, newest.profile),
    )
    return found, len(before), schema_changes.most_rows(newest.profile)


def _of_newest_partition(
    config: PipelineConfig, stream: str, place: schema_changes.history.Place
) -> list[str] | None:
    """The last load, and before it those that its partition is compared with; None without."""
    parts = config.partitions
    if parts is None or not parts.covers(stream):
        return None
    known = schema_changes.history.partitions(place, config.name, stream)
    if not known:
        return []
    newest, key = next(iter(known.items()))
    del known[newest]
    return [*schema_changes.history.beside(known, key, in_time=parts.type == "time"), newest]
