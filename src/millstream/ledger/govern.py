"""Decide between normalize and load: what nobody has accepted yet, and what the policy says of it.

Three versions meet here. `before` is what the destination has; `accepted` is what people agreed to,
in `schema.yaml`; `new` is what this run would load. A difference is news when neither `before` nor
`accepted` has it: a column accepted ahead of its arrival is expected, and one that the destination
already has came through an earlier decision, even where the file was not committed since.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hashlib import sha256

from millstream.config import PolicyConfig
from millstream.ledger.diff import diff
from millstream.ledger.policy import decide
from millstream.model import Decision, SchemaChange, SchemaVersion, Table


def govern(
    before: SchemaVersion,
    accepted: SchemaVersion | None,
    new: SchemaVersion,
    policy: PolicyConfig,
    *,
    stream: str,
    waived: Collection[str] = (),
) -> tuple[Decision, ...]:
    """What the policy says of each change that nobody has accepted yet.

    Args:
        before: what the destination has, with the profile of earlier loads where there is one.
        accepted: what `schema.yaml` has of this stream; None where it has nothing.
        waived: fingerprints of changes that people accepted for this very package.

    The run must not load while any action is `hold`.
    """
    changes = diff(known(before, accepted, new), new)
    first = not before.tables and accepted is None
    return tuple(
        replace(decision, action="allow", reason="accepted")
        if decision.action != "allow" and fingerprint(decision.change) in waived
        else decision
        for decision in decide(changes, policy, stream=stream, first=first)
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
