"""Asked while rows are normalized: does the policy keep the row out that needs this change?

It judges as `evaluate` does afterwards, by the same versions and the same rules, change by change.
So a change that it lets in is one that `evaluate` does not quarantine either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.config import PolicyConfig
from millstream.model import Column, Decision, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.evaluate import fingerprint, govern
from millstream.schema_changes.snapshot import column_from


@dataclass
class PolicyGate:
    """The gate of one stream's run; see `millstream.quarantine.rules.RowPolicy`.

    Attributes:
        before: what the destination has; accepted: what people agreed to.
        approved: fingerprints of changes that people accepted for this very package.
    """

    before: SchemaVersion
    accepted: SchemaVersion | None
    policy: PolicyConfig
    stream: str
    approved: Collection[str] = ()
    _answers: dict[Any, Decision | None] = field(default_factory=dict)

    def refuses(
        self, table: str, parent: str | None, columns: Mapping[str, Mapping[str, Any]]
    ) -> Decision | None:
        found = tuple(column_from(each) for each in columns.values() if each.get("data_type"))
        key = (table, parent, found)
        if key not in self._answers:
            self._answers[key] = self._judge(table, parent, found)
        return self._answers[key]

    def name_of(self, change: SchemaChange) -> str:
        return fingerprint(change)

    def _judge(self, name: str, parent: str | None, columns: tuple[Column, ...]) -> Decision | None:
        known = self.before.table
        table = known.get(name) or Table(name, parent)
        added = tuple(column for column in columns if column.name not in table.column)
        changed = replace(table, columns=(*table.columns, *added))
        tables = {**known, name: changed}
        # a new table below a new table: what is above it was let in
        if parent is not None and parent not in tables:
            tables = {parent: Table(parent), **tables}
        decisions = govern(
            self.before,
            self.accepted,
            SchemaVersion(tuple(tables.values())),
            self.policy,
            stream=self.stream,
            approved=self.approved,
        )
        found = next((each for each in decisions if each.action == "quarantine"), None)
        if found is None or found.change.kind != "table_added":
            return found
        # how many columns it would have, one row does not tell
        message = found.change.message.rpartition(", ")[0]
        return replace(found, change=replace(found.change, message=message))


def gate(
    before: SchemaVersion,
    accepted: SchemaVersion | None,
    policy: PolicyConfig,
    *,
    stream: str,
    approved: Collection[str] = (),
) -> PolicyGate | None:
    """The gate for a run; None where no rule quarantines, or nothing is known to compare with."""
    if not any(rule.action == "quarantine" for rule in policy.rules):
        return None
    if not before.tables and accepted is None:
        return None
    return PolicyGate(before, accepted, policy, stream, frozenset(approved))
