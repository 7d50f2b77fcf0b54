"""How a stream stands, without loading it: `schema diff`, `accept --from-source`, and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millstream import destinations, ledger, runner
from millstream.config import PipelineConfig
from millstream.model import Decision, Jump, SchemaVersion
from millstream.preview import PAGES, preview


@dataclass(frozen=True, slots=True)
class Standing:
    """What the next run of a stream would find changed.

    Attributes:
        decisions: what the policy, and people, say of each change.
        schema: what would be loaded.
        rows: rows that wait on this machine, by table; empty where the source was read instead.
        row_count: those of tables without a parent.
    """

    decisions: tuple[Decision, ...]
    schema: SchemaVersion
    rows: Mapping[str, int]
    row_count: int = 0


def schema(
    config: PipelineConfig, stream: str, *, pages: int | None = PAGES, offline: bool = False
) -> Standing:
    """What the next run would find: in what is held on this machine, else in the source.

    Args:
        pages, offline: as `preview`.

    Raises:
        DestinationError: it can't be reached.
        SourceError: nothing is held on this machine, and the source can't be read.
    """
    waiting = runner.waiting(config, stream)
    if not waiting:
        found = preview(config, stream, pages=pages, offline=offline)
        return Standing(found.decisions, found.schema, {})
    keeper = destinations.keeper(config)
    accepted = keeper.load().get(stream) if keeper else None
    decisions: dict[str, Decision] = {}
    rows: dict[str, int] = {}
    for held in waiting:
        for decision in ledger.held.standing(held, accepted, config.schema_policy):
            decisions.setdefault(ledger.fingerprint(decision.change), decision)
        for table, count in held.rows.items():
            rows[table] = rows.get(table, 0) + count
    count = sum(held.row_count for held in waiting)
    return Standing(tuple(decisions.values()), waiting[-1].schema, rows, count)


def profile(config: PipelineConfig, stream: str) -> tuple[tuple[Jump, ...], int]:
    """The newest load that was counted against those before it, and how many these are.

    Raises:
        DestinationError: the history can't be asked.
    """
    with destinations.reader(config) as destination:
        place = ledger.store.Place(destination, config.dataset)
        loads = ledger.store.seen(place, config.name, stream, loads=11)
        versions = ledger.store.versions(place, config.name, stream)
        changes = ledger.store.changes(place, config.name, stream)
    if not loads or not versions:
        return (), 0
    load_id, newest = loads[-1]
    before = [seen for _, seen in loads[:-1]]
    agreed = [
        (row["table_name"], str(row["column_name"]))
        for row in changes
        if row["load_id"] == load_id
        and row["kind"] in ledger.DATA_ALONE
        and ledger.is_agreed(row["action"], row["reason"])
    ]
    check = config.profile_check
    found = ledger.jumps(
        ledger.attach(ledger.store.version_from(versions[-1]), newest.profile),
        ledger.comparable(before),
        threshold=check.threshold,
        min_rows=check.min_rows,
        explained=ledger.columns_of(agreed, newest.profile),
    )
    return found, len(before)
