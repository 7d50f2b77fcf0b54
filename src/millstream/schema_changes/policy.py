"""What to do about each change: the first rule that matches, else the preset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from millstream.config import PolicyConfig, PolicyRule
from millstream.config.governance import MADE_BY_ROWS
from millstream.model import Action, ChangeKind, DecidedBy, Decision, SchemaChange, Severity

PRESETS: dict[str, dict[Severity, Action]] = {
    "evolve": {"safe": "allow", "risky": "warn", "breaking": "hold"},
    "strict": {"safe": "hold", "risky": "hold", "breaking": "hold"},
    "anything": {"safe": "allow", "risky": "allow", "breaking": "allow"},
}

ACCEPTED = "accepted"
FIRST_RUN = "first run"

# nothing to accept: the next load may well look as before
_PASSING: frozenset[ChangeKind] = frozenset({"presence_changed", "null_share_changed"})


def decide(
    changes: Iterable[SchemaChange], policy: PolicyConfig, *, stream: str, first: bool = False
) -> tuple[Decision, ...]:
    """One decision per change, in the order of the changes.

    Args:
        first: nothing was ever accepted or loaded, so that new tables are what was asked for.
    """
    return tuple(_decide(change, policy, stream, first) for change in changes)


def comes_and_goes(decision: Decision) -> bool:
    """Shares move from load to load: in every report, but news only where a rule asks for it."""
    return decision.change.kind in _PASSING and decision.decided_by == "preset"


def accepted(decision: Decision) -> Decision:
    """The decision of people, who accepted a change, in place of the policy's."""
    return replace(decision, action="allow", reason=ACCEPTED, decided_by="people")


def is_kept_out(decision: Decision, policy: PolicyConfig) -> bool:
    """Whether a rule decided that rows which need the change are quarantined."""
    return any(
        rule.action == "quarantine" and decision.reason == f"rule {number}"
        for number, rule in enumerate(policy.rules, start=1)
    )


def decided_by(reason: str) -> DecidedBy:
    """Who decided, of a reason that was stored: in the history, or beside a held package."""
    if reason in (ACCEPTED, FIRST_RUN):
        return "people" if reason == ACCEPTED else "first run"
    return "preset" if reason.startswith("preset") else "rule"


def _decide(change: SchemaChange, policy: PolicyConfig, stream: str, first: bool) -> Decision:
    for number, rule in enumerate(policy.rules, start=1):
        if rule.action == "quarantine" and not _can_be_kept_out(change, first):
            continue
        if _matches(rule, change, stream):
            return Decision(change, rule.action, f"rule {number}", "rule")
    if first and change.kind == "table_added":
        return Decision(change, "allow", FIRST_RUN, "first run")
    action = _preset(change, policy.preset, first)
    return Decision(change, action, f"preset {policy.preset}: {change.severity}", "preset")


def _preset(change: SchemaChange, preset: str, first: bool) -> Action:
    action = PRESETS[preset][change.severity]
    if action == "hold" and (change.kind in _PASSING or (first and change.severity == "risky")):
        return "warn"
    return action


def _can_be_kept_out(change: SchemaChange, first: bool) -> bool:
    """Whether rows make the change, and there is something without it."""
    return change.kind in MADE_BY_ROWS and not (first and change.kind == "table_added")


def _matches(rule: PolicyRule, change: SchemaChange, stream: str) -> bool:
    if rule.change and change.kind not in rule.change and change.severity not in rule.change:
        return False
    if not fnmatchcase(stream, rule.stream) or not fnmatchcase(change.table, rule.table):
        return False
    if rule.column == "*":
        return True
    return change.column is not None and any(
        fnmatchcase(name, rule.column) for name in (change.column, _variant_of(change)) if name
    )


def _variant_of(change: SchemaChange) -> str | None:
    """For a variant's change the column it belongs to, which is what people name in a rule."""
    return getattr(change.after, "variant_of", None)
