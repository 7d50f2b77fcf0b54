"""Rows on trial: what they did to the schema stays, or is undone to the last detail."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from engine.dlt_rules import ROOT, normalizer_of
from millstream.engine.dlt.schema_rollback import rollback_on_error

COLUMNS = {"id": {"data_type": "bigint", "nullable": False}}
ROWS = [{"id": 1, "lines": [{"price": 2}]}, {"id": 2, "new": "x"}]


class RefusedError(Exception):
    pass


def nothing(*_: Any) -> None:
    pass


def content(owner: Any) -> Any:
    return deepcopy((owner.schema._schema_tables, owner.schema._normalizers_config))


def test_an_error_leaves_the_schema_as_it_was() -> None:
    owner: Any = normalizer_of(COLUMNS)
    before, storage = content(owner), owner.item_storage
    tables = owner.schema._schema_tables
    with (  # noqa: PT012
        pytest.raises(RefusedError),
        rollback_on_error(owner, discarded=nothing, changed=nothing) as buffer,
    ):
        owner._normalize_chunk(ROOT, ROWS, False, False)
        assert content(owner) != before
        assert buffer.rows[ROOT]
        raise RefusedError
    assert content(owner) == before
    assert owner.schema._schema_tables is tables  # dlt's own schema may share it
    assert owner.item_storage is storage
    assert "update_table" not in vars(owner.schema)


def test_rows_after_an_undone_trial_are_seen_as_the_first() -> None:
    owner: Any = normalizer_of(COLUMNS)
    with pytest.raises(RefusedError), rollback_on_error(owner, discarded=nothing, changed=nothing):  # noqa: PT012
        owner._normalize_chunk(ROOT, ROWS, False, False)
        raise RefusedError
    with rollback_on_error(owner, discarded=nothing, changed=nothing) as buffer:
        owner._normalize_chunk(ROOT, [{"id": 3, "new": 5}], False, False)
    assert owner.schema.tables[ROOT]["columns"]["new"]["data_type"] == "bigint"
    assert "items__lines" not in owner.schema.tables
    assert [row["new"] for row in buffer.rows[ROOT]] == [5]


def test_success_keeps_what_rows_added() -> None:
    owner: Any = normalizer_of(COLUMNS)
    changes: list[tuple[str, set[str]]] = []

    def changed(partial: Any, row: Any) -> None:
        changes.append((partial["name"], {*partial["columns"]} & {*row}))

    with rollback_on_error(owner, discarded=nothing, changed=changed) as buffer:
        owner._normalize_chunk(ROOT, ROWS, False, False)
    assert [row["id"] for row in buffer.rows[ROOT]] == [1, 2]
    assert [row["price"] for row in buffer.rows["items__lines"]] == [2]
    assert buffer.columns["items__lines"]["price"]["data_type"] == "bigint"
    assert {"items", "items__lines"} <= owner.schema.tables.keys()
    assert ("items", {"new"}) in [
        (name, names - {"_dlt_id", "_dlt_load_id"}) for name, names in changes
    ]


def test_tables_that_a_contract_discards_are_named() -> None:
    owner: Any = normalizer_of(COLUMNS)
    owner.schema.set_schema_contract({"tables": "discard_row"})
    discarded: list[str] = []
    with rollback_on_error(
        owner, discarded=lambda name, _: discarded.append(name), changed=nothing
    ) as buffer:
        owner._normalize_chunk("others", [{"id": 1}], False, False)
    assert discarded == ["others"]
    assert buffer.rows == {}
    assert "others" not in owner.schema.tables
