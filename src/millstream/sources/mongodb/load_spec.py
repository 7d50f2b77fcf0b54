"""What is loaded of one collection, and how: the configuration, and what the server says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from millstream.config import MongoDBCollection, MongoDBConfig
from millstream.config.extended_json import with_exact_dates
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import Partition
from millstream.sources.mongodb import errors, partition_filter
from millstream.sources.mongodb.connection import SYSTEM_DATABASES
from millstream.sources.mongodb.encode import EXACT
from millstream.sources.mongodb.identity import listed
from millstream.sources.mongodb.loads import change_stream
from millstream.sources.mongodb.range_reader import again
from millstream.sources.mongodb.stream_names import CollectionRef
from millstream.sources.table_names import did_you_mean

if TYPE_CHECKING:
    from pymongo.collection import Collection

    from millstream.sources.mongodb.connection import Client

_FORMAT = 1
"""Of what is kept between runs; a new one starts anew."""


# dates that Python can't hold stay milliseconds
_OPTIONS = json_util.JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


_BAD_QUERY = frozenset({2, 9, 14})  # BadValue, FailedToParse, TypeMismatch
# Unauthorized, CommandNotFound, CommandNotSupported, Atlas: that says nothing of the query
_NO_PLAN = errors.PASSING | {13, 59, 115, 8000}


@dataclass(frozen=True)
class CollectionInfo:
    """What the server says of a collection before it is read.

    Attributes:
        time_field: of a time series, where this user may list it.
    """

    kind: str
    has_before_images: bool
    time_field: str | None = None


@dataclass(frozen=True)
class LoadSpec:
    """One stream's load.

    Attributes:
        mode: `full` replaces the table, `cursor` and `changes` merge into it after a full load.
        partition: of which the rows are replaced; None: all.
        full: read all, whatever earlier runs did.
        maps: objects whose keys are data, by path.
    """

    config: MongoDBConfig
    located: CollectionRef
    settings: MongoDBCollection
    facts: CollectionInfo
    full: bool
    partition: Partition | None = None
    maps: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        if self.partition is not None:
            return "partition"
        if self.settings.cursor:
            return "cursor"
        wanted = self.config.changes if self.settings.changes is None else self.settings.changes
        return "changes" if wanted and self.facts.kind == "collection" else "full"

    @property
    def has_index(self) -> bool:
        """Views and time series have no index on `_id`, and may hold one `_id` many times."""
        return self.facts.kind == "collection"

    @property
    def has_ids(self) -> bool:
        """Whether `_id` becomes one column that tells documents apart, or rows to be replaced."""
        return self.has_index or self.merge_key == "_id"

    @property
    def merge_key(self) -> str | None:
        """The field by whose values rows without a primary key are replaced, all of one at once.

        A view may show an `_id` many times, so all its documents of an `_id` come together. Those
        of a time series keep their time, and a cursor reads all of one time together.
        """
        if self.mode != "cursor" or self.has_index:
            return None
        return "_id" if self.facts.kind == "view" else self.settings.cursor

    @property
    def query(self) -> dict[str, Any]:
        """The filter, as the server reads it.

        Raises:
            ConfigError: it is not Extended JSON.
        """
        try:
            query = json.dumps(with_exact_dates(self.settings.filter))
            return dict(json_util.loads(query, json_options=_OPTIONS))
        except (ValueError, TypeError, ArithmeticError, BSONError) as error:
            raise ConfigError(
                f"{self.what}: `filter` in settings.{self.located.stream}: {error}",
                hint="https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/",
            ) from None

    @property
    def projection(self) -> dict[str, int] | None:
        if self.settings.projection:
            return {"_id": 1, **dict.fromkeys(self.settings.projection, 1)}
        return dict.fromkeys(self.settings.exclude, 0) or None

    @property
    def fingerprint(self) -> str:
        """Changes when what is read changes, so that the table must be read anew."""
        settings = self.settings.model_dump(mode="json", exclude={"lag"})
        what = [_FORMAT, self.mode, self.located.collection, settings, self.config.deletes]
        if self.maps:
            what.append([*self.maps])
        if self.merge_key is not None:  # earlier versions appended what they read
            what.append(self.merge_key)
        if self.partition is not None:
            what.append([self.partition.key, self.partition.by])
        text = json.dumps(what, sort_keys=True)
        return sha1(text.encode(), usedforsecurity=False).hexdigest()

    @property
    def what(self) -> str:
        return f"collection {self.located.stream}"


def facts(client: Client, job_database: str, name: str, what: str) -> CollectionInfo:
    """What kind of collection this is.

    Raises:
        SourceNotFoundError: there is none of this name.
        SourceAuthError: it may not be read.
    """
    database = client.get_database(job_database, codec_options=EXACT)
    found, names = again(what, lambda: _listed(database, name))
    if found is not None:
        options = found.get("options", {})
        return CollectionInfo(
            found.get("type", "collection"),
            change_stream.has_before_images(options),
            options.get("timeseries", {}).get("timeField"),
        )
    if not names and job_database not in _databases(client):
        raise SourceNotFoundError(
            f"{what}: no such database: {job_database}",
            hint=did_you_mean(job_database, {*_databases(client)} - SYSTEM_DATABASES),
        )
    raise SourceNotFoundError(
        f"no such collection: {job_database}.{name}",
        hint=f"{did_you_mean(name, names)}; where it was dropped or renamed, take it out of "
        "`collections` in defs.yaml if it is named there, and run `millstream discover`",
    )


def _check_time_series(job: LoadSpec) -> None:
    """A cursor on a time series is its time field: nothing else tells its documents apart."""
    field, settings = job.facts.time_field, job.settings
    if job.facts.kind != "timeseries" or job.mode != "cursor" or field is None:
        return
    if settings.cursor != field:
        raise ConfigError(
            f"{job.what}: a time series can't be read by the cursor {settings.cursor!r}: its "
            "documents have no unique key",
            hint=f"use its time field, `cursor: {field}`, or no cursor",
        )
    if field in settings.exclude or (settings.projection and field not in settings.projection):
        raise ConfigError(
            f"{job.what}: the cursor field {field!r} must be read too",
            hint=f"add {field} to `projection`, or take it out of `exclude`",
        )


def _check_query(job: LoadSpec, collection: Collection[Any]) -> None:
    """Have the server plan the query, which tells what is wrong with it and reads nothing."""
    from pymongo.errors import OperationFailure, PyMongoError

    query, projection = job.query, job.projection
    if not query and not projection:
        return
    find = {"find": collection.name, "filter": query, "projection": projection or {}}
    try:
        collection.database.command(
            "explain",
            find,
            verbosity="queryPlanner",
            read_preference=collection.read_preference,
            codec_options=EXACT,  # the answer repeats the query
        )
    except OperationFailure as error:
        # of a view, the server may also refuse the definition
        if error.code in _BAD_QUERY or (job.has_index and error.code not in _NO_PLAN):
            said = str((error.details or {}).get("errmsg") or error)
            raise ConfigError(
                f"{job.what}: the server refuses the query: {said}",
                hint=f"check `filter`, `projection` and `exclude` in settings.{job.located.stream}",
            ) from None
    except PyMongoError:
        return  # the run tries again, and says what is wrong


def _listed(database: Any, name: str) -> tuple[Mapping[str, Any] | None, list[str]]:
    """What the server lists of a collection; where it lists none, the names of those there are."""
    from pymongo.errors import OperationFailure

    # being allowed to read is more than being allowed to list
    database[name].find_one({}, {"_id": 1})
    try:
        found = listed(database, name)
    except OperationFailure:
        found = listed(database, name, authorizedCollections=True, nameOnly=True)
    if found is not None:
        return found, []
    return None, database.list_collection_names(authorizedCollections=True)


def _databases(client: Client) -> list[str]:
    from pymongo.errors import PyMongoError

    try:
        return client.list_database_names()
    except PyMongoError:
        return []


def check(job: LoadSpec, collection: Collection[Any]) -> None:
    """Refuse what can't be right before anything is read.

    Raises:
        ConfigError: the settings contradict each other, or what the server has.
    """
    _check_query(job, collection)
    if job.partition is not None:
        partition_filter.condition(job.partition, job.what)  # says what is missing
    _check_time_series(job)
    if job.mode != "changes" or job.config.deletes != "soft":
        return
    if job.settings.filter:
        raise ConfigError(
            f"{job.what}: `deletes: soft` can't be told from leaving the `filter`",
            hint="use `deletes: hard` with a filter, or no filter",
        )
    if not job.facts.has_before_images:
        name = job.located.collection
        raise ConfigError(
            f"{job.what}: `deletes: soft` keeps a deleted document's last values, which the server "
            "does not record for this collection",
            hint=f'from MongoDB 6.0: db.runCommand({{collMod: "{name}", '
            "changeStreamPreAndPostImages: {enabled: true}}); or use `deletes: hard`",
        )
