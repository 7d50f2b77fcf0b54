"""What GitHub's own API changed over the years, and what differs from one part of MongoDB's
sample collections to the next, by recordings and files of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest

from millstream.config import PolicyConfig
from millstream.demo import recordings
from millstream.model import ColumnProfile, Decision, SchemaVersion
from millstream.schema_changes import govern, profile, snapshot

from .sketches import sketch

CACHE = Path(__file__).parents[2] / ".cache" / "github3.py"


@pytest.fixture(scope="module")
def dataset() -> recordings.Dataset:
    found = recordings.load(CACHE)
    if not found.origin.startswith("real"):
        pytest.skip(found.origin)
    return found.dataset


def years(dataset: recordings.Dataset, stream: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows = [row for streams in dataset.values() for row in streams.get(stream, [])]
    for year in sorted({row["_recorded_at"][:4] for row in rows}):
        yield (
            year,
            [
                {name: value for name, value in row.items() if name != "_recorded_at"}
                for row in rows
                if row["_recorded_at"].startswith(year)
            ],
        )


def counted(rows: list[dict[str, Any]], columns: list[str]) -> dict[str, ColumnProfile]:
    """Presence by reading the JSON itself, so that nothing of the code under test counts it."""
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for row in rows:
        for name, value in _leaves(row, ""):
            if name in values:
                values[name].append(value)
    return {
        name: ColumnProfile(
            len(rows),
            len(found),
            len(rows) - sum(value is not None for value in found),
            sketch=sketch(found),
        )
        for name, found in values.items()
    }


def _leaves(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}__")
        elif not isinstance(value, list):
            yield f"{prefix}{name}", value


def documents(
    shared_data: Path, collection: str, count: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real collection's first documents, in its own order, in four parts."""
    decode = {"$oid": str, "$numberInt": int, "$numberLong": int, "$numberDouble": float}

    def plain(pairs: dict[str, Any]) -> Any:
        ((name, value), *more) = pairs.items() if pairs else [("", None)]
        if not more and name == "$date":
            return datetime.fromtimestamp(value / 1000, timezone.utc)
        return decode[name](value) if not more and name in decode else pairs

    text = (shared_data / f"mongodb_{collection}.jsonl").read_text()
    rows = [json.loads(line, object_hook=plain) for line in text.splitlines()[:count]]
    size = -(-len(rows) // 4)
    for start in range(0, len(rows), size):
        yield f"part {start // size + 1}", rows[start : start + size]


def governed(
    parts: Iterable[tuple[str, list[dict[str, Any]]]],
    stream: str,
    folder: Path,
    key: str = "id",
    loads: int = 1,
) -> dict[str, tuple[Decision, ...]]:
    """Each part loaded after the other, as runs would, in so many loads that are alike."""
    pipeline = dlt.pipeline(stream, destination="duckdb", pipelines_dir=str(folder))
    before = SchemaVersion()
    told = {}
    for part, rows in parts:
        pipeline.extract(
            dlt.resource(rows, name=stream, primary_key=key, write_disposition="merge")
        )
        pipeline.normalize()
        version = snapshot(pipeline.default_schema)
        columns = [c.name for c in version.table[stream].columns if not c.name.startswith("_dlt")]
        version = profile.attach(version, {stream: counted(rows, columns)})
        recent = [profile.LoadProfile(profile.profile_of(before))] * loads
        told[part] = govern(before, None, version, PolicyConfig(), stream=stream, recent=recent)
        before = version
    return told


def test_eight_years_of_issues(dataset: recordings.Dataset, tmp_path: Path) -> None:
    told = governed(years(dataset, "issues"), "issues", tmp_path)
    everything = [decision for year in told.values() for decision in year]
    assert {d.action for d in everything} == {"allow", "warn"}, "GitHub broke nobody in these years"
    added = {year: {d.change.column for d in found if d.change.kind == "column_added"}
             for year, found in told.items()}  # fmt: skip
    assert {"node_id", "user__node_id"} <= added["2018"], "GraphQL's ids came in 2018"
    assert "reactions__rocket" in added["2021"]
    gone = [d.change for d in told["2018"] if d.change.kind == "column_gone"]
    # only search results carry a score, and no search was recorded that year
    assert [(change.column, change.severity) for change in gone] == [("score", "risky")]


def test_a_licence_is_one_object_not_four_columns(
    dataset: recordings.Dataset, tmp_path: Path
) -> None:
    told = governed(years(dataset, "pull_requests"), "pull_requests", tmp_path, loads=3)
    moved = [d.change.message for d in told["2021"] if d.change.kind == "presence_changed"]
    assert (
        "`head__repo__license` with its 4 fields arrives in 79.4% of 34 rows, "
        "in 3 earlier loads in 34.9%" in moved
    )
    # one pull request of 2015 proves nothing of those of 2017
    told = governed(years(dataset, "pull_requests"), "pull_requests", tmp_path / "once")
    assert {d.change.kind for d in told["2017"]} == {"column_added", "table_added"}


@pytest.mark.parametrize("collection", ["accounts", "theaters"])
def test_a_collection_of_one_form_alarms_nobody(
    shared_data: Path, tmp_path: Path, collection: str
) -> None:
    told = governed(documents(shared_data, collection, 800), collection, tmp_path, "_id")
    first, *later = told.values()
    assert {(d.change.kind, d.reason) for d in first} == {("table_added", "first run")}
    # a second line of an address, which few theaters have
    allowed = {"location__address__street2"} if collection == "theaters" else set()
    assert {str(d.change.column) for found in later for d in found} <= allowed


def test_keys_that_are_data_are_told_of_in_each_part(shared_data: Path, tmp_path: Path) -> None:
    """`customers.tier_and_details` is an object keyed by ids: each part brings new ones."""
    told = governed(documents(shared_data, "customers", 120), "customers", tmp_path, "_id")
    maps = [
        [(d.change.column, d.action) for d in found if d.change.kind == "map_explosion"]
        for found in told.values()
    ]
    first, *later = maps
    assert first == [("tier_and_details", "hold")], "before columns and tables exist"
    assert later
    assert all(found == [("tier_and_details", "warn")] for found in later)
