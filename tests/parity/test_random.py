"""Parity as a property: nasty nested rows over several loads land exactly as dlt lands them."""

from __future__ import annotations

import os
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.parity.harness import Case, compare

NIGHTLY = os.environ.get("MILLSTREAM_NIGHTLY") == "1"
EXAMPLES = int(os.environ.get("MILLSTREAM_EXAMPLES") or (10_000 if NIGHTLY else 150))

KEYS = st.sampled_from(
    ["id", "a", "b", "c", "n", "d", "e", "f", "list", "value", "created_at", "aB", "x y"]
)
ODD_KEYS = st.sampled_from(
    [
        "A",
        "a_b",
        "a__b",
        "n__v_text",
        "",
        " ",
        "$",
        "Foo",
        "foo",
        "_dlt_id",
        "é",
        "9",
        "_",
        "k" * 70,
    ]
)
TEXTS = st.one_of(
    st.sampled_from(
        [
            "", "x", "12", "1.5", "0x1F", "true", "2020-01-02T03:04:05Z",
            "2020-01-02T03:04:05.123456Z",
            "2020-01-02 03:04:05", "2020-01-02T03:04:05+02:00", "2020-01-02", "03:04:05", "1e5",
            "2020-01-02T03:04:05.1234567Z", "2020-01-02T24:00:00Z", "2020-02-30T00:00:00Z", "NaN",
            "20200102", "2020", "1700000000", "[1]", "null", "{}", "aGk=", "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z", "\uf026", "\uf0261.5", "\uf027x", "\x00", "\u20ac\U0001f600",
            " 7 ", "12:00", "2020-01-02T03:04Z", "2020-W01-1", "infinity", "P1D",
        ]
    ),
    st.text(max_size=6).filter(lambda s: not any(0xD800 <= ord(c) < 0xE000 for c in s)),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1700000000]),
    st.sampled_from([0.0, 1.0, 2.5, -0.0, 1e16, 1e-7, 1700000000.5, 1.7e308]),
)
TYPED = st.one_of(
    st.sampled_from(
        [Decimal("1.5"), Decimal("7"), Decimal("-0.000000001"), Decimal("12345678901234567890.5")]
    ),
    st.sampled_from(
        [
            datetime(2020, 1, 2, 3, 4, 5, 6), datetime(2020, 1, 2, tzinfo=timezone.utc),
            datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), date(2020, 1, 2),
            time(3, 4, 5), time(3, 4, 5, 6), b"", b"\x00\xff", UUID(int=5),
        ]
    ),
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)


def values(scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=5,
    )


@st.composite
def rows(draw: st.DrawFn) -> st.SearchStrategy[Any]:
    scalars = draw(st.sampled_from([SCALARS, SCALARS, st.one_of(SCALARS, TYPED)]))
    keys = draw(st.sampled_from([KEYS, KEYS, st.one_of(KEYS, ODD_KEYS)]))
    row = st.dictionaries(keys, values(scalars, keys), max_size=6)
    # rows of one shape, in which only some values are odd: what columns are made for
    if draw(st.booleans()):
        names = draw(st.lists(keys, max_size=5, unique=True))
        kinds = [
            draw(st.sampled_from([TEXTS, NUMBERS, row, st.lists(row, max_size=2)])) for _ in names
        ]
        shaped = st.fixed_dictionaries(
            {
                name: st.one_of(kind, kind, kind, kind, st.none(), scalars)
                for name, kind in zip(names, kinds)
            }
        )
        row = st.one_of(shaped, shaped, shaped, row)
    if draw(st.integers(0, 9)) == 0:
        return st.one_of(row, values(scalars, keys))
    return row


HINTS: list[dict[str, Any]] = [
    {"a": {"data_type": "json"}},
    {"a": {"data_type": "text"}, "b": {"data_type": "bigint"}},
    {"a": {"data_type": "timestamp"}, "b": {"data_type": "double"}, "c": {"data_type": "bool"}},
    {"a": {"data_type": "timestamp", "timezone": False}},
    {"b": {"data_type": "timestamp", "precision": 3}},
    {"a": {"data_type": "decimal"}, "b": {"data_type": "date"}, "c": {"data_type": "time"}},
    {"a": {"data_type": "wei"}, "b": {"data_type": "binary"}, "n": {"data_type": "json"}},
    {"a": {"nullable": False}},
    {"a": {"nullable": False, "data_type": "bigint"}},
    {"a": {"description": "known by name only"}, "b": {"unique": True}},
    {"a": {"data_type": "bigint", "precision": 16}},
    {"b": {"data_type": "decimal", "precision": 10, "scale": 2}},
]  # fmt: skip
CONTRACTS: list[Any] = [
    "freeze",
    "discard_row",
    "discard_value",
    {"tables": "discard_value"},
    {"tables": "freeze"},
    {"columns": "discard_value"},
    {"columns": "discard_row"},
    {"data_type": "discard_value"},
    {"data_type": "discard_row"},
    {"data_type": "freeze"},
    {"columns": "discard_row", "data_type": "discard_value"},
]
WRITES: list[dict[str, Any]] = [
    {"write_disposition": "merge", "primary_key": "id"},
    {"write_disposition": {"disposition": "merge", "strategy": "upsert"}, "primary_key": "id"},
    {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": ["id", "a"],
    },
    {"write_disposition": {"disposition": "merge", "strategy": "scd2"}},
    {"write_disposition": "replace"},
]
SETTINGS: list[dict[str, Any]] = [
    {"preferred_types": {"a": "bigint", "re:^b": "text"}},
    {"preferred_types": {"n": "json"}},
    {"detections": ["iso_timestamp", "timestamp"]},
    {"detections": ["iso_date", "large_integer"]},
    {"schema_contract": {"columns": "discard_value"}},
    {"excludes": ["re:^a"]},
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    row = draw(rows())
    # from the second line of a file on, rows may go the direct lane
    lines = st.lists(st.lists(row, max_size=5), min_size=1, max_size=4)
    loads = draw(st.lists(st.lists(lines, min_size=1, max_size=2), min_size=1, max_size=2))
    resource: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        resource["columns"] = draw(st.sampled_from(HINTS))
    if draw(st.integers(0, 3)) == 0:
        resource["schema_contract"] = draw(st.sampled_from(CONTRACTS))
    if draw(st.integers(0, 2)) == 0:
        resource["max_table_nesting"] = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        resource.update(draw(st.sampled_from(WRITES)))
    chosen = draw(st.sampled_from(SETTINGS)) if draw(st.integers(0, 3)) == 0 else {}
    return Case(
        loads,
        resource,
        chosen,
        max_length=draw(st.sampled_from([None, None, None, 24])),
        batch=draw(st.sampled_from([1, 2, 3, 5, 2000])),
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    # shrinking is for whoever looks into a failure: it can take minutes
    phases=list(Phase) if os.environ.get("MILLSTREAM_SHRINK") else [Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(case=cases())
def test_lands_as_dlt_lands_it(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "parity"
    compare(case, folder)
