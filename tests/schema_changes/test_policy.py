from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from pydantic import ValidationError

from millstream.config import PolicyConfig
from millstream.model import (
    ChangeKind,
    Column,
    ColumnProfile,
    SchemaChange,
    SchemaVersion,
    Severity,
    Table,
)
from millstream.schema_changes import canonical, diff
from millstream.schema_changes.accepted_file import merged
from millstream.schema_changes.evaluate import fingerprint, govern, known
from millstream.schema_changes.policy import decide

from .strategies import versions


def change(kind: ChangeKind = "column_added", severity: Severity = "safe", **at: Any) -> Any:
    at = {"table": "issues", "column": "body", "old": None, "new": "text", **at}
    return SchemaChange(kind=kind, severity=severity, message="", **at)


def action(policy: dict[str, Any], what: SchemaChange, *, stream: str = "issues") -> str:
    (decision,) = decide([what], PolicyConfig.model_validate(policy), stream=stream)
    return decision.action


@pytest.mark.parametrize(
    ("preset", "actions"),
    [
        ("evolve", ["allow", "warn", "hold"]),
        ("strict", ["hold", "hold", "hold"]),
        ("anything", ["allow", "allow", "allow"]),
    ],
)
def test_presets(preset: str, actions: list[str]) -> None:
    assert [
        action({"preset": preset}, change(severity=severity)) for severity in get_args(Severity)
    ] == actions


def test_a_share_that_moved_holds_nothing_unless_a_rule_says_so() -> None:
    moved = change("presence_changed", "risky")
    assert action({"preset": "strict"}, moved) == "warn"
    rule = {"action": "hold", "change": "presence_changed"}
    assert action({"preset": "evolve", "rules": [rule]}, moved) == "hold"


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        {"action": "allow", "table": "issues__*"},
        {"action": "hold", "change": ["variant_added", "breaking"]},
        {"action": "hold", "column": "user__*", "stream": "iss?es"},
        {"action": "warn"},
    ]
    policy = {"preset": "strict", "rules": rules}
    assert action(policy, change("variant_added", table="issues__labels")) == "allow"
    assert action(policy, change("variant_added")) == "hold"
    assert action(policy, change("key_changed", "breaking")) == "hold"
    assert action(policy, change(column="user__login")) == "hold"
    assert action(policy, change(column="user__login"), stream="events") == "warn"
    assert action(policy, change("table_added", column=None)) == "warn"


def test_a_variant_is_meant_by_the_name_of_its_column() -> None:
    variant = change(
        "variant_added",
        "risky",
        column="n__v_text",
        after=Column("n__v_text", "text", variant_of="n"),
    )
    assert action({"rules": [{"action": "hold", "column": "n"}]}, variant) == "hold"


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "evolv"},
        {"rules": [{"change": "safe"}]},
        {"rules": [{"action": "hold", "change": "variant_aded"}]},
        {"rules": [{"action": "stop"}]},
        {"rules": [{"action": "quarantined"}]},
        {"rules": [{"action": "hold", "tables": "x"}]},
    ],
)
def test_a_policy_that_says_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PolicyConfig.model_validate(wrong)


OLD = SchemaVersion((Table("t", None, (Column("id", "bigint"), Column("user", "text"))),))
NEW = SchemaVersion(
    (
        Table(
            "t",
            None,
            (Column("id", "bigint"), Column("user", "text"), Column("user__login", "text")),
        ),
    )
)
EVOLVE = PolicyConfig()


def test_the_first_run_is_what_was_asked_for_under_every_preset() -> None:
    for preset in ("evolve", "strict", "anything"):
        policy = PolicyConfig.model_validate({"preset": preset})
        decisions = govern(SchemaVersion(), None, NEW, policy, stream="t")
        assert {decision.action for decision in decisions} == {"allow"}


def test_a_breaking_change_is_held_until_the_file_accepts_it() -> None:
    decisions = govern(OLD, OLD, NEW, EVOLVE, stream="t")
    assert [(d.change.kind, d.action) for d in decisions] == [
        ("column_added", "allow"),
        ("became_object", "hold"),
    ]
    assert govern(OLD, merged(OLD, NEW), NEW, EVOLVE, stream="t") == ()


def test_a_file_that_lags_makes_no_news() -> None:
    assert govern(NEW, OLD, NEW, EVOLVE, stream="t") == ()


def test_what_was_accepted_ahead_is_not_missing() -> None:
    ahead = SchemaVersion(
        (
            Table("t", None, (*OLD.tables[0].columns, Column("later", "text"))),
            Table("t__more", "t", (Column("x", "text"),)),
        )
    )
    assert govern(OLD, ahead, OLD, EVOLVE, stream="t") == ()
    assert govern(SchemaVersion(), ahead, OLD, EVOLVE, stream="t") == ()
    assert merged(ahead, OLD) == ahead


def test_a_change_that_is_in_no_file_is_waived_by_name() -> None:
    def seen(present: int) -> SchemaVersion:
        profile = ColumnProfile(100, present, 100 - present)
        column = Column("id", "bigint", primary_key=True, profile=profile)
        return SchemaVersion((Table("t", None, (column,)),))

    (held,) = govern(seen(100), seen(100), seen(0), EVOLVE, stream="t")
    assert (held.change.kind, held.action) == ("column_gone", "hold")
    name = fingerprint(held.change)
    (accepted,) = govern(seen(100), seen(100), seen(0), EVOLVE, stream="t", approved={name})
    assert (accepted.action, accepted.reason) == ("allow", "accepted")


@given(versions(), versions(), versions())
def test_nothing_is_news_once_accepted(
    before: SchemaVersion, accepted: SchemaVersion, new: SchemaVersion
) -> None:
    agreed = merged(accepted, new)
    told = [d.change.kind for d in govern(before, agreed, new, EVOLVE, stream="t")]
    # the file forgets nothing by itself; that the destination lost something is told
    assert set(told) <= {"column_dropped", "table_dropped"}
    assert govern(new, accepted, new, EVOLVE, stream="t") == ()


@given(versions(), versions())
def test_without_a_file_the_destination_is_what_was_accepted(
    before: SchemaVersion, new: SchemaVersion
) -> None:
    assert known(before, None, new) == before
    told = [d.change for d in govern(before, None, new, EVOLVE, stream="t")]
    assert told == list(diff(before, new))
    assert canonical(merged(None, new)) == canonical(new)


@given(versions(), versions())
def test_fingerprints_tell_the_changes_of_a_run_apart(
    old: SchemaVersion, new: SchemaVersion
) -> None:
    names = [fingerprint(change) for change in diff(old, new)]
    assert len(names) == len(set(names))
