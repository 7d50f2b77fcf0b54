"""What a source may be told, and what it makes of it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from millstream.config import (
    DltConfig,
    FilesConfig,
    FileStream,
    GitHubConfig,
    MongoDBCollection,
    MongoDBConfig,
)

UTC = datetime.timezone.utc
offsets = st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
moments = st.datetimes(
    datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 29), timezones=st.none() | offsets
)


def github(**attributes: Any) -> GitHubConfig:
    return GitHubConfig(**{"repositories": ("a/b",), **attributes})


@given(moments, st.booleans())
@example(datetime.datetime(900, 1, 1), False)
def test_since_is_one_moment_however_it_is_written(moment: Any, is_text: bool) -> None:
    since = github(since=moment.isoformat() if is_text else moment).since
    expected = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    assert since is not None
    assert since.endswith("Z")
    assert datetime.datetime.fromisoformat(since[:-1]).replace(tzinfo=UTC) == expected.replace(
        microsecond=0
    )
    assert github(since=since).since == since


@pytest.mark.parametrize("since", ["yesterday", "2024-13-01", 5, "0001-01-01T00:00:00+05:00"])
def test_since_is_a_time(since: Any) -> None:
    with pytest.raises(ValidationError, match="is not a time such as 2024-01-31T00:00:00Z"):
        github(since=since)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"repositories": ("a",)}, "owner/name"),
        ({"repositories": ("a/b/c",)}, "owner/name"),
        ({"repositories": ("/b",)}, "owner/name"),
        ({"repositories": (" a/b",)}, "owner/name"),
        ({"repositories": ()}, "at least one of"),
        ({"base_url": "ftp://host"}, "not a URL"),
        ({"base_url": "https://"}, "not a URL"),
        ({"base_url": "https://me@host"}, "only the API's address"),
        ({"base_url": "https://host?token=x"}, "only the API's address"),
    ],
)
def test_repositories_and_addresses_of_github(attributes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        github(**attributes)
    assert github(base_url="https://host/api/v3/").base_url == "https://host/api/v3"


def test_a_resource_is_in_one_group() -> None:
    groups = {"crm": ("fields", "deals"), "other": ("deals",)}
    with pytest.raises(ValidationError, match="the resource 'deals' is in two places"):
        DltConfig(path="a:b", stream_groups=groups)
    assert DltConfig(path="a.b:c", stream_groups={"crm": ("deals",)}).stream_groups


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"projection": ("a",), "exclude": ("b",)}, "not both"),
        ({"exclude": ("_id",)}, "can't be left out"),
        ({"cursor": "at", "changes": True}, "each keeps the table up to date"),
        ({"filter": {"at": {"$date": "soon"}}}, "is not a time"),
    ],
)
def test_settings_of_a_collection_that_exclude_each_other(attributes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MongoDBCollection(**attributes)


def test_a_collection_has_its_own_settings_or_the_defaults() -> None:
    filter_ = {"at": {"$gte": datetime.date(2024, 1, 4)}}
    config = MongoDBConfig(settings={"orders": MongoDBCollection(filter=filter_)})
    assert config.settings_of("orders").filter == {
        "at": {"$gte": {"$date": "2024-01-04T00:00:00.000Z"}}
    }
    assert config.settings_of("others") == MongoDBCollection()
    for name in ("", " ", "a\0b"):
        with pytest.raises(ValidationError, match="is not a name"):
            MongoDBConfig(collections=(name,))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"encoding": "utf-9"}, "is not a text encoding"),
        ({"encoding": "rot13"}, "is not a text encoding"),
        ({"maps": ("a..b",)}, "is not a path"),
    ],
)
def test_files_that_can_not_be_read(attributes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FileStream(path="x", **attributes)


def test_hosts_are_compared_without_regard_to_case() -> None:
    streams = {"a": FileStream(path="x")}
    assert FilesConfig(streams=streams, hosts=("Example.COM:8080",)).hosts == ("example.com:8080",)
    for host in ("https://a", "a/b", "*.a", "", "me@a"):
        with pytest.raises(ValidationError, match="is not a host"):
            FilesConfig(streams=streams, hosts=(host,))
