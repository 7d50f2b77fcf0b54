"""What follows from the configuration and what the server says of a collection."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from millstream.config import MongoDBCollection, MongoDBConfig
from millstream.errors import ConfigError
from millstream.model import Partition
from millstream.sources.mongodb.load_spec import CollectionInfo, LoadSpec
from millstream.sources.mongodb.stream_names import CollectionRef

KINDS = ("collection", "view", "timeseries")


def spec(kind: str = "collection", config: Any = None, **settings: Any) -> LoadSpec:
    more = {name: settings.pop(name) for name in ("partition", "maps") if name in settings}
    return LoadSpec(
        MongoDBConfig.model_validate(config or {}),
        CollectionRef("orders", None, "orders", kind),
        MongoDBCollection.model_validate(settings),
        CollectionInfo(kind, has_before_images=False),
        full=False,
        **more,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("all_changes", "settings", "mode"),
    [
        (False, {}, "full"),
        (True, {}, "changes"),
        (True, {"changes": False}, "full"),
        (False, {"changes": True}, "changes"),
        (True, {"cursor": "at"}, "cursor"),
        (True, {"partition": Partition("k", "at")}, "partition"),
    ],
)
def test_how_a_collection_is_loaded(kind: str, all_changes: bool, settings: Any, mode: str) -> None:
    if mode == "changes" and kind != "collection":
        mode = "full"  # only collections have change streams
    assert spec(kind, {"changes": all_changes}, **settings).mode == mode


@pytest.mark.parametrize(
    ("kind", "settings", "merge_key", "has_ids"),
    [
        ("collection", {"cursor": "at"}, None, True),
        ("view", {"cursor": "at"}, "_id", True),
        ("timeseries", {"cursor": "at"}, "at", False),
        ("view", {}, None, False),
        ("timeseries", {}, None, False),
    ],
)
def test_what_tells_documents_apart(
    kind: str, settings: Any, merge_key: str | None, has_ids: bool
) -> None:
    found = spec(kind, **settings)
    assert (found.merge_key, found.has_ids) == (merge_key, has_ids)


def test_the_filter_is_what_the_server_reads() -> None:
    filter_ = {"at": {"$gte": date(2024, 1, 4)}, "n": {"$numberLong": 2**40}, "t": "x"}
    (moment,) = spec(filter=filter_).query["at"].values()
    assert moment.replace(tzinfo=None) == datetime(2024, 1, 4)
    assert spec(filter=filter_).query["n"] == 2**40
    assert spec().query == {}
    far = spec(filter={"at": {"$date": {"$numberLong": str(2**60)}}}).query["at"]
    assert not isinstance(far, datetime)  # MongoDB's dates reach further than Python's
    with pytest.raises(ConfigError, match=r"`filter` in settings\.orders"):
        spec(filter={"$regularExpression": {"pattern": 5}}).query  # noqa: B018


def test_the_fields_that_are_read() -> None:
    assert spec().projection is None
    assert spec(projection=["a", "b"]).projection == {"_id": 1, "a": 1, "b": 1}
    assert spec(exclude=["a"]).projection == {"a": 0}


def test_a_change_of_what_is_read_has_another_fingerprint() -> None:
    start = datetime(2024, 1, 1, tzinfo=timezone.utc)
    different = [
        spec(),
        spec(filter={"a": 1}),
        spec(projection=["a"]),
        spec(exclude=["a"]),
        spec(cursor="at"),
        spec("view", cursor="at"),
        spec(changes=True),
        spec(config={"deletes": "soft"}),
        spec(maps=("a",)),
        spec(partition=Partition("k", "at", start=start, end=start)),
        spec(partition=Partition("k2", "at", start=start, end=start)),
    ]
    found = [each.fingerprint for each in different]
    assert len(set(found)) == len(found)
    # how it is read is not what is read
    for same in (spec(config={"parallel": 7}), spec(config={"chunk_size": 5}), spec(lag=9)):
        assert same.fingerprint == spec().fingerprint
