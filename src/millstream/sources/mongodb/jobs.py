"""What is loaded of one collection, and how: the configuration, and what the server says of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from bson import json_util

from millstream.config import MongoDBCollection, MongoDBConfig
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import Partition
from millstream.sources.mongodb import changes, windows
from millstream.sources.mongodb.names import Located
from millstream.sources.mongodb.reading import again

if TYPE_CHECKING:
    from millstream.sources.mongodb.connection import Client

_FORMAT = 1
"""Of what is kept between runs; a new one starts anew."""


@dataclass(frozen=True)
class Facts:
    """What the server says of a collection before it is read."""

    kind: str
    has_before_images: bool


@dataclass(frozen=True)
class Job:
    """One stream's load.

    Attributes:
        mode: `full` replaces the table, `cursor` and `changes` merge into it after a full load.
        partition: of which the rows are replaced; None: all.
        full: read all, whatever earlier runs did.
    """

    config: MongoDBConfig
    located: Located
    settings: MongoDBCollection
    facts: Facts
    full: bool
    partition: Partition | None = None

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
    def query(self) -> dict[str, Any]:
        return dict(json_util.loads(json.dumps(dict(self.settings.filter))))

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
        if self.partition is not None:
            what.append([self.partition.key, self.partition.by])
        text = json.dumps(what, sort_keys=True)
        return sha1(text.encode(), usedforsecurity=False).hexdigest()

    @property
    def what(self) -> str:
        return f"collection {self.located.stream}"


def facts(client: Client, job_database: str, name: str, what: str) -> Facts:
    """What kind of collection this is.

    Raises:
        SourceNotFoundError: there is none of this name.
        SourceAuthError: it may not be read.
    """
    found, names = again(what, lambda: _listed(client[job_database], name))
    if found is not None:
        options = found.get("options", {})
        return Facts(found.get("type", "collection"), changes.has_before_images(options))
    if not names and job_database not in _databases(client):
        raise SourceNotFoundError(
            f"{what}: no such database: {job_database}",
            hint=_did_you_mean(job_database, _databases(client)),
        )
    raise SourceNotFoundError(
        f"no such collection: {job_database}.{name}", hint=_did_you_mean(name, names)
    )


def _listed(database: Any, name: str) -> tuple[dict[str, Any] | None, list[str]]:
    """What the server lists of a collection; where it lists none, the names of those there are."""
    from pymongo.errors import OperationFailure

    # being allowed to read is more than being allowed to list
    database[name].find_one({}, {"_id": 1})
    only = {"name": name}
    try:
        found = list(database.list_collections(filter=only))
    except OperationFailure:
        found = list(
            database.list_collections(filter=only, authorizedCollections=True, nameOnly=True)
        )
    if found:
        return found[0], []
    return None, database.list_collection_names(authorizedCollections=True)


def _databases(client: Client) -> list[str]:
    from pymongo.errors import PyMongoError

    try:
        return client.list_database_names()
    except PyMongoError:
        return []


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(sorted(names)[:20])}" if names else "this user sees none"


def check(job: Job) -> None:
    """Refuse what can't be right before anything is read.

    Raises:
        ConfigError: the settings contradict each other, or what the server has.
    """
    if job.partition is not None:
        windows.condition(job.partition, job.what)  # says what is missing
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
