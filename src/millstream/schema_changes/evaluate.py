"""Decide between normalize and load: what nobody has accepted yet, and what the policy says of it.

Three versions meet here. `before` is what the destination has; `accepted` is what people agreed to,
in `schema.yaml`; `new` is what this run would load. A difference is news when neither `before` nor
`accepted` has it: a column accepted ahead of its arrival is expected, and one that the destination
already has came through an earlier decision, even where the file was not committed since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

from millstream.config import PolicyConfig, ProfileCheckConfig
from millstream.model import Decision, SchemaChange, SchemaVersion, Table
from millstream.schema_changes import drift
from millstream.schema_changes.diff import DATA_ALONE, diff
from millstream.schema_changes.map_detection import TABLE_OF_KEYS, describe_maps
from millstream.schema_changes.policy import accepted as accepted_by_people
from millstream.schema_changes.policy import decide
from millstream.schema_changes.profile import LoadProfile, attach, comparable, pool

_SHARES = ProfileCheckConfig()


def govern(
    before: SchemaVersion,
    accepted: SchemaVersion | None,
    new: SchemaVersion,
    policy: PolicyConfig,
    *,
    stream: str,
    approved: Collection[str] = (),
    recent: Sequence[LoadProfile] = (),
    maps: Collection[str] = (),
    shares: ProfileCheckConfig = _SHARES,
    knows_columns: bool = False,
) -> tuple[Decision, ...]:
    """What the policy says of each change that nobody has accepted yet.

    Runs, `millstream schema diff`, `accept --from-source` and Dagster's check all ask this.

    Args:
        before: what the destination has.
        accepted: what `schema.yaml` has of this stream; None where it has nothing.
        new: what would be loaded, with the profile of its rows.
        approved: fingerprints of changes that people accepted for this very package.
        recent: what the last loads saw, oldest first.
        maps: the paths of objects that the configuration makes tables of: who named one wants that.
        shares: from when on one has left the range of the last loads.
        knows_columns: as `observe`.

    The run must not load while any action is `hold`.
    """
    loads = comparable(recent)
    loaded = attach(before, pool(loads)) if loads else before
    seen = [each.profile for each in recent]
    changes = diff(
        known(loaded, accepted, new),
        new,
        loaded=loaded,
        loads=loads or None,
        seen=seen,
        knows_columns=knows_columns,
    )
    changes += drift.changes(new, loads, changes, shares.threshold, shares.min_rows)
    position = {table.name: index for index, table in enumerate(new.tables)}
    changes = tuple(sorted(changes, key=lambda each: position.get(each.table, len(position))))
    first = not before.tables and accepted is None
    changes = describe_maps(changes, new, maps)
    asked = {fingerprint(each) for each in changes if each.new == TABLE_OF_KEYS}
    agreed = {*approved, *asked}
    return judge(changes, before, accepted, policy, stream=stream, approved=agreed, first=first)


def accepted_ahead(
    before: SchemaVersion,
    new: SchemaVersion,
    decisions: Iterable[Decision],
    maps: Collection[str] = (),
) -> tuple[Decision, ...]:
    """The changes that a load makes and the policy was not asked of: people accepted them.

    Args:
        before: what the destination has; new: what would be loaded.
        decisions: what the policy said of the rest.
        maps: as `govern`.
    """
    decided = {fingerprint(decision.change) for decision in decisions}
    return tuple(
        accepted_by_people(Decision(change, "allow", "", "people"))
        for change in describe_maps(diff(before, new), new, maps)
        if fingerprint(change) not in decided
    )


def judge(
    changes: Iterable[SchemaChange],
    before: SchemaVersion,
    accepted: SchemaVersion | None,
    policy: PolicyConfig,
    *,
    stream: str,
    approved: Collection[str] = (),
    first: bool = False,
) -> tuple[Decision, ...]:
    """What the policy says of changes, and people, who may have accepted some of them."""
    return tuple(
        accepted_by_people(decision)
        if decision.action != "allow"
        and (
            fingerprint(decision.change) in approved
            or is_accepted_rename(decision.change, before, accepted)
        )
        else decision
        for decision in decide(changes, policy, stream=stream, first=first)
    )


def is_accepted_rename(
    change: SchemaChange, before: SchemaVersion, accepted: SchemaVersion | None
) -> bool:
    """Whether people accepted the new name of a rename, which was not loaded before.

    A rename is in no schema but by its new name: on another machine that is all there is.
    """
    if change.kind != "column_renamed" or accepted is None:
        return False
    return has_field(accepted, change.table, str(change.new)) and not has_field(
        before, change.table, str(change.new)
    )


def is_in_schema(change: SchemaChange, before: SchemaVersion) -> bool:
    """Whether an accepted schema can say that people accepted a change.

    Of a rename it has the new name alone, which says nothing where `before`, what the destination
    has, knows that name from an earlier time.
    """
    if change.kind == "column_renamed":
        return not has_field(before, change.table, str(change.new))
    return change.kind not in DATA_ALONE


def has_field(version: SchemaVersion, table: str, name: str) -> bool:
    """Whether a table has a column, an object or a list of that name."""
    if f"{table}__{name}" in version.table:
        return True
    found = version.table.get(table)
    return found is not None and any(
        column.name == name or column.name.startswith(f"{name}__") for column in found.columns
    )


def known(
    before: SchemaVersion, accepted: SchemaVersion | None, new: SchemaVersion
) -> SchemaVersion:
    """What `new` is compared with: all of `before`, and of `accepted` what `new` has too.

    What was accepted ahead of its arrival, and did not arrive now either, is not missing.
    """
    if accepted is None:
        return before
    old, agreed, coming = before.table, accepted.table, new.table
    tables = []
    for name in dict.fromkeys((*coming, *old)):
        was, plan, now = old.get(name), agreed.get(name), coming.get(name)
        if was is None and plan is None:
            continue
        if now is None:
            assert was is not None
            tables.append(was)
            continue
        tables.append(_known_table(was, plan, now))
    return SchemaVersion(tuple(tables))


def _known_table(was: Table | None, plan: Table | None, now: Table) -> Table:
    old = was.column if was else {}
    agreed = plan.column if plan else {}
    columns = []
    for column in now.columns:
        candidates = [c for c in (old.get(column.name), agreed.get(column.name)) if c is not None]
        if candidates:
            best = next((c for c in candidates if c == column), candidates[0])
            columns.append(replace(best, profile=candidates[0].profile))
    present = now.column
    columns += [column for column in old.values() if column.name not in present]
    parents = [table.parent for table in (was, plan) if table is not None]
    parent = now.parent if now.parent in parents else parents[0]
    return Table(now.name, parent, tuple(columns))


def fingerprint(change: SchemaChange) -> str:
    """A short name of a change, the same in every run that would make it; to accept it by.

    Shares and counts vary from load to load and are left out.
    """
    what = [change.kind, change.table, change.column or ""]
    if change.kind not in (
        "presence_changed",
        "null_share_changed",
        "column_gone",
        "map_explosion",
    ):
        what += [change.old or "", change.new or ""]
    return sha256("\0".join(what).encode("utf-8", "surrogatepass")).hexdigest()[:8]
