"""What each source reads of a partition: all that belongs to it, and nothing else."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from bson import ObjectId

from millstream.config import FilesConfig, TimePartitions
from millstream.demo.github_server import GitHubServer
from millstream.errors import ConfigError, SourceDataError
from millstream.model import PARTITION_COLUMN, Partition
from millstream.runs.runner import run
from millstream.sources.files import FilesSource
from millstream.sources.partition import instant
from sources.github_kit import issue, source
from sources.mongodb_kit import Shop

DAYS = TimePartitions(every="day", start="2023-01-01")


def day(key: str, by: str | None = None) -> Partition:
    return DAYS.model_copy(update={"cursor": by}).partition("any", key)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("2023-01-02T00:00:00Z", "2023-01-02"),
        ("2023-01-01T23:59:59.999999Z", "2023-01-01"),
        ("2023-01-02T00:30:00+01:00", "2023-01-01"),
        ("2023-01-02 05:00", "2023-01-02"),
        ("2023-01-02", "2023-01-02"),
        (1672617600, "2023-01-02"),
        (1672617600123, "2023-01-02"),
        (datetime(2023, 1, 2, tzinfo=timezone.utc), "2023-01-02"),
    ],
)
def test_a_time_as_sources_write_it(value: Any, key: str) -> None:
    found = day(key, "at")
    assert found.start <= instant(value, found, "a test") < found.end


def test_what_is_no_time_is_not_guessed_at() -> None:
    for value in ("soon", "", True, [1], float("nan")):
        with pytest.raises(SourceDataError, match="is not a time"):
            instant(value, day("2023-01-01", "at"), "a test")


# GitHub


def read(made: Any, stream: str, partition: Partition) -> list[dict[str, Any]]:
    return list(made.open(stream, partition=partition))


@pytest.mark.parametrize("stream", ["issues", "pull_requests"])
def test_github_windows_hold_each_row_once(stream: str) -> None:
    rows = [issue(n, f"2023-01-0{1 + n % 3}T{n % 24:02}:00:00Z") for n in range(1, 61)]
    # more rows in one second than two pages hold
    rows += [issue(n, "2023-01-02T23:59:59Z") for n in range(100, 125)]
    with GitHubServer({"octo/hello": {stream: rows}}) as server:
        made = source(server, streams=[stream], parallel=1)
        found = {
            key: sorted(row["id"] for row in read(made, stream, day(key)))
            for key in ("2023-01-02", "2023-01-01", "2023-01-03")
        }
        asked = read(made, stream, day("2023-01-03"))
    for key, ids in found.items():
        assert ids == sorted(r["id"] for r in rows if r["updated_at"].startswith(key))
    assert {row[PARTITION_COLUMN] for row in asked} == {"2023-01-03"}


@pytest.mark.parametrize("stream", ["commits", "labels"])
def test_github_says_what_has_no_windows(stream: str) -> None:
    with GitHubServer({"octo/hello": {}}) as server:
        made = source(server, "octo/hello", streams=[stream])
        with pytest.raises(ConfigError, match="can't be partitioned by time"):
            made.open(stream, partition=day("2023-01-01"))


# files


def files(folder: Path, pattern: str, **settings: Any) -> FilesSource:
    config = FilesConfig(streams={"items": {"path": pattern, **settings}})
    return FilesSource(config, project=folder)


def rows_in(made: FilesSource, partition: Partition) -> list[Any]:
    return orjson.loads(orjson.dumps(list(made.open("items", partition=partition))))


def test_files_by_their_path(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"2023/01/0{number}"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(f'{{"n": {number}}} \n{{}}\n')
    made = files(tmp_path, "{partition:%Y/%m/%d}/*.jsonl")
    (check,) = made.check()
    assert (check.ok, check.detail.endswith(": 2")) == (True, True), check.detail
    assert rows_in(made, day("2023-01-02")) == [
        {"n": 2, PARTITION_COLUMN: "2023-01-02"},
        {PARTITION_COLUMN: "2023-01-02"},
    ]
    assert rows_in(made, day("2023-01-03")) == []
    with pytest.raises(ConfigError, match="is the files of a partition"):
        made.open("items")


def test_files_by_a_column(tmp_path: Path) -> None:
    lines = [{"a": {"at": f"2023-01-0{n}"}, "big": 2**70} for n in (1, 2, 1)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list(files(tmp_path, "*.jsonl").open("items", partition=day("2023-01-01", "a.at")))
    assert [json.loads(orjson.dumps(row))["big"] for row in found] == [2**70] * 2
    with pytest.raises(Exception, match="belongs to no partition"):
        list(files(tmp_path, "*.jsonl").open("items", partition=day("2023-01-01", "b")))


def test_files_by_the_time_of_change(tmp_path: Path) -> None:
    for number in (1, 2):
        file = tmp_path / f"{number}.jsonl"
        file.write_text(f'{{"id": {number}}}\n')
        at = datetime(2023, 1, number, 12, tzinfo=timezone.utc).timestamp()
        os.utime(file, (at, at))
    made = files(tmp_path, "*.jsonl", primary_key=["id"])
    assert [row["id"] for row in rows_in(made, day("2023-01-02"))] == [2]
    with pytest.raises(ConfigError, match="its rows would be doubled"):
        files(tmp_path, "*.jsonl").open("items", partition=day("2023-01-02"))


# MongoDB


@pytest.mark.xdist_group("mongodb")
def test_mongodb_chooses_a_window_on_the_server(shop: Shop) -> None:
    times = [datetime(2023, 1, 1 + n % 3, n % 24, tzinfo=timezone.utc) for n in range(30)]
    shop.db.things.insert_many(
        [{"_id": ObjectId.from_datetime(at), "at": at, "tags": ["x", "y"]} for at in times[:24]]
    )
    for by in ("at", "_id"):
        config = shop.config(collections=["things"]).model_copy(
            update={"partitions": DAYS.model_copy(update={"cursor": by})}
        )
        for key in ("2023-01-02", "2023-01-01", "2023-01-02"):
            run(config, "things", partition=key)
        found = shop.query(
            "SELECT _millstream_partition, COUNT(*) FROM shop.things GROUP BY 1 ORDER BY 1"
        )
        assert found == [("2023-01-01", 8), ("2023-01-02", 8)]
        assert shop.query("SELECT COUNT(*) FROM shop.things__tags") == [(32,)]
