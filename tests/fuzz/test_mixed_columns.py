"""Columns of random mixed values over three loads: each value is found as it was, or waits."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from services.places import NAME, Place
from services.processes import millstream

SEEDS = range(10) if os.environ.get("MILLSTREAM_NIGHTLY") else range(1)
ROWS = 40
POOLS: list[list[Any]] = [
    [0, 5, -1, 2**53 + 1, 2**62, 2**63, -(2**70), 10**37],
    [0.5, 2.0, -1.25, 1e300, 1e18, 2.0**53],
    [True, False],
    ["", "02139", "0x1F", "1_000", "no", "NaN", "2020", "null", "\uf02c 123", "\uf02ex", "{}"],
    ["2024-01-01T00:00:00Z", "2024-01-01T10:00:00+02:00", "2024-01-01T00:00:00.123456789Z"],
    ["2024-01-01T00:00:00", "2024-01-01", "2024-06-30 23:59:59.5", "2024-01-01T00:00:00.5Z"],
]


def rows_of(random: Random, first: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(first, first + ROWS):
        row: dict[str, Any] = {"id": number}
        for column in ("a", "b", "c", "d"):
            if random.random() < 0.9:
                row[column] = random.choice(random.choice(POOLS))
        rows.append(row)
    return rows


def is_same(value: Any, held: Any) -> bool:
    if isinstance(value, bool) or isinstance(held, bool):
        return value is held
    if isinstance(value, str):
        if isinstance(held, datetime):
            found = datetime.fromisoformat(value.replace("Z", "+00:00"))
            return found == (held.astimezone(timezone.utc) if held.tzinfo else held)
        return bool(value == held)
    if isinstance(held, str):  # an integer that no type of the destination holds
        return isinstance(value, int) and not -(2**63) <= value < 2**63 and held == str(value)
    return bool(value == held)


def missing(row: dict[str, Any], held: dict[str, Any]) -> list[Any]:
    found = []
    for column, value in row.items():
        places = {
            name: each
            for name, each in held.items()
            if each is not None and (name == column or name.startswith(f"{column}__v_"))
        }
        if len(places) != 1 or not is_same(value, next(iter(places.values()))):
            found.append((row["id"], column, value, places))
    return found


@pytest.mark.nightly_on("filesystem", "postgres")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "kind",
    ["duckdb", "filesystem", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))],
)
def test_each_value_is_found(request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    random = Random(seed)
    source = {"type": "files", "streams": {"items": {"path": "data/*.jsonl"}}}
    attributes = {"name": NAME, "source": source, "destination": dict(place.destination)}
    text = yaml.safe_dump({"type": "millstream.Pipeline", "attributes": attributes})
    Path(place.project, "defs.yaml").write_text(text)
    (place.project / "data").mkdir()
    rows: list[dict[str, Any]] = []
    for load in range(3):
        new = rows_of(random, len(rows))
        rows += new
        lines = [json.dumps(row, ensure_ascii=random.random() < 0.5) for row in new]
        if random.random() < 0.5:
            lines.insert(random.randrange(len(lines)), "{no JSON")
        file = place.project / "data" / f"{load}.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        done = millstream(place.project, "run")
        assert done.returncode == 0, done.stdout + done.stderr
    names = ["id"]
    for column in ("a", "b", "c", "d"):
        for kind_of in ("", "__v_bigint", "__v_double", "__v_bool", "__v_text", "__v_wei"):
            try:
                place.query(f"SELECT {column}{kind_of} FROM {place.from_clause('items')} LIMIT 1")
            except Exception:  # no such column
                continue
            names.append(f"{column}{kind_of}")
    found = place.query(f"SELECT {', '.join(names)} FROM {place.from_clause('items')} ORDER BY id")
    held = [dict(zip(names, row)) for row in found]
    assert [row["id"] for row in held] == list(range(len(rows)))
    assert [each for row, one in zip(rows, held) for each in missing(row, one)] == []
