"""Which collection was read: known by its UUID, wherever it lies and whatever it is called.

A collection that is dropped and created again, or replaced by `$out` or a rename, gets a new UUID;
so does its copy in another database or cluster. A renamed one keeps it. A view is known by its
definition and the collection below it, a time series by its buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from pymongo.database import Database

_MOST_VIEWS = 20
"""How many views MongoDB stacks on each other."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a collection is.

    Attributes:
        uuid: of the collection; of that below a view. None where this user may not list it.
        definition: of a view, a digest of what it is made of.
    """

    database: str
    name: str
    uuid: str | None = None
    definition: str | None = None

    def is_same(self, other: Identity) -> bool:
        """Whether both are one collection; decided by name where a UUID is not known."""
        if self.uuid is None or other.uuid is None:
            return (self.database, self.name) == (other.database, other.name)
        return (self.uuid, self.definition) == (other.uuid, other.definition)

    def difference(self, now: Identity) -> str:
        """What happened to this collection, for people, where `now` is another one."""
        if (self.database, self.name) != (now.database, now.name):
            return f"earlier runs read {self.database}.{self.name}, which is another collection"
        if self.definition != now.definition:
            return "the view has another definition than in the last run"
        return "the collection was dropped and created again since the last run"

    def to_json(self) -> dict[str, str | None]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | None) -> Identity | None:
        """The identity in a state; None where the state holds none."""
        if found is None:
            return None
        return cls(*(found.get(name) for name in ("database", "name", "uuid", "definition")))  # type: ignore[arg-type]


def identify(database: Database[Any], name: str) -> Identity:
    """The identity of a collection or view that exists.

    Raises:
        PyMongoError: the server does not answer.
    """
    below, definitions = name, list[Any]()
    listed = _listed(database, name)
    while listed.get("type") == "view" and len(definitions) < _MOST_VIEWS:
        options = listed.get("options", {})
        definitions.append([options.get("viewOn"), options.get("pipeline")])
        below = str(options.get("viewOn"))
        listed = _listed(database, below)
    if listed.get("type") == "timeseries" and "uuid" not in listed.get("info", {}):
        listed = _listed(database, f"system.buckets.{below}")
    uuid = listed.get("info", {}).get("uuid")
    return Identity(
        database.name,
        name,
        None if uuid is None else _hex(uuid),
        _digest(definitions) if definitions else None,
    )


def listed(database: Database[Any], name: str, **options: Any) -> Mapping[str, Any] | None:
    """What the server lists of a collection; None where it lists none of this name.

    Args:
        options: of the command `listCollections`.

    Raises:
        PyMongoError: the server does not answer, or this user may not list.
    """
    from millstream.sources.mongodb.encode import EXACT

    # the driver's own method decodes dates in a view's definition, and fails beyond the year 9999
    found = database.command(
        "listCollections", filter={"name": name}, cursor={}, codec_options=EXACT, **options
    )
    return next(iter(found["cursor"]["firstBatch"]), None)


def _listed(database: Database[Any], name: str) -> Mapping[str, Any]:
    """What the server lists of a collection; nothing where this user may not list it."""
    from pymongo.errors import OperationFailure

    try:
        return listed(database, name) or {}
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        return {}


_UNAUTHORIZED = 13


def _hex(uuid: Any) -> str:
    # an option of the connection string decides which of both the driver returns
    return (uuid.bytes if isinstance(uuid, UUID) else bytes(uuid)).hex()


def _digest(definitions: list[Any]) -> str:
    from millstream.sources.mongodb import ids

    text = ids.extended(definitions)
    return sha1(text.encode(), usedforsecurity=False).hexdigest()
