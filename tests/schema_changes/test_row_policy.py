"""The policy, asked row by row: what one new column or table would be answered after the load."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.config import PolicyConfig
from millstream.model import Column, SchemaVersion, Table
from millstream.schema_changes.row_policy import PolicyGate, gate

BEFORE = SchemaVersion(
    (
        Table("orders", None, (Column("id", "bigint"), Column("buyer", "text"))),
        Table("orders__lines", "orders", (Column("price", "double"),)),
    )
)


def gate_of(*rules: dict[str, Any], preset: str = "evolve", **arguments: Any) -> PolicyGate:
    policy = PolicyConfig.model_validate({"preset": preset, "rules": list(rules)})
    arguments = {"before": BEFORE, "accepted": None, "stream": "orders", **arguments}
    found = gate(policy=policy, **arguments)
    assert found is not None
    return found


def refused(found: PolicyGate, table: str, *names: str, parent: str | None = None) -> Any:
    columns = {
        name: {"name": name, "data_type": "text", "variant": "__v_" in name} for name in names
    }
    decision = found.refuses(table, parent, columns)
    return decision and (decision.change.kind, decision.change.column)


QUARANTINE_COLUMNS = {"action": "quarantine", "change": "column_added"}


def test_a_rule_keeps_new_columns_out_and_lets_others_in() -> None:
    found = gate_of({"action": "allow", "column": "note*"}, QUARANTINE_COLUMNS)
    assert refused(found, "orders", "vip") == ("column_added", "vip")
    assert refused(found, "orders__lines", "tax", parent="orders") == ("column_added", "tax")
    assert refused(found, "orders", "notes") is None
    assert refused(found, "orders", "buyer") is None


def test_the_first_refused_column_of_several_is_named() -> None:
    found = gate_of({"action": "allow", "column": "a"}, QUARANTINE_COLUMNS)
    assert refused(found, "orders", "a", "b") == ("column_added", "b")


def test_new_tables_and_the_tables_above_them() -> None:
    rule = {"action": "quarantine", "change": "table_added"}
    found = gate_of(rule)
    assert refused(found, "orders__notes", "value", parent="orders") == ("table_added", None)
    deep = gate_of({**rule, "table": "orders__a__b"})
    assert refused(deep, "orders__a", "value", parent="orders") is None
    assert refused(deep, "orders__a__b", "value", parent="orders__a") == ("table_added", None)


def test_variants_and_fields_of_what_was_a_scalar() -> None:
    found = gate_of({"action": "quarantine", "change": ["variant_added", "became_object"]})
    assert refused(found, "orders", "id__v_text") == ("variant_added", "id__v_text")
    assert refused(found, "orders", "buyer__name") == ("became_object", "buyer")
    assert refused(found, "orders", "seller__name") is None


def test_columns_without_a_type_yet_make_no_change() -> None:
    found = gate_of(QUARANTINE_COLUMNS)
    assert found.refuses("orders", None, {"vip": {"name": "vip"}}) is None


def test_what_people_accepted_is_let_in() -> None:
    found = gate_of(QUARANTINE_COLUMNS)
    decision = found.refuses("orders", None, {"vip": {"name": "vip", "data_type": "text"}})
    assert decision is not None
    name = found.name_of(decision.change)
    assert refused(gate_of(QUARANTINE_COLUMNS, approved=[name]), "orders", "vip") is None
    accepted = SchemaVersion((Table("orders", None, (Column("vip", "text"),)),))
    assert refused(gate_of(QUARANTINE_COLUMNS, accepted=accepted), "orders", "vip") is None
    # the answer to another column is its own
    assert refused(gate_of(QUARANTINE_COLUMNS, approved=[name]), "orders", "vop") is not None


@pytest.mark.parametrize(
    ("rules", "before"),
    [
        ([], BEFORE),
        ([{"action": "hold"}], BEFORE),
        ([QUARANTINE_COLUMNS], SchemaVersion()),
    ],
)
def test_no_gate_where_nothing_could_be_refused(rules: list[Any], before: Any) -> None:
    policy = PolicyConfig.model_validate({"rules": rules})
    assert gate(before, None, policy, stream="orders") is None
