"""What is kept of a stream between runs, beside its rows in the destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millstream.errors import ConfigError
from millstream.sources.mongodb.identity import Identity
from millstream.sources.mongodb.ids import Kind

VERSION = 2
"""1 had no version, knew no identity, and wrote ids by `kind` as that version did."""


@dataclass(frozen=True, slots=True)
class ReadState:
    """How far a stream was read.

    Attributes:
        fingerprint: of the settings that it was read with.
        identity: of the collection that was read; None in a state of version 1.
        kind: what its ids are; None while it had no documents.
        token: where its change stream goes on.
        highest: of the cursor field, per type.
        version: of the state that an earlier run left.
    """

    fingerprint: str
    identity: Identity | None
    kind: Kind | None
    token: str | None = None
    highest: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "identity": self.identity.to_json() if self.identity else None,
            "kind": self.kind,
        }
        if self.token is not None:
            found["token"] = self.token
        if self.highest:
            found["highest"] = dict(self.highest)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | None, what: str) -> ReadState | None:
        """What an earlier run kept; None where there was none.

        Raises:
            ConfigError: a later version of Millstream wrote it.
        """
        if not found:
            return None
        version = found.get("version", 1)
        if version > VERSION:
            raise ConfigError(
                f"{what}: a later version of Millstream wrote the state of this stream",
                hint="run that version or a later one",
            )
        return cls(
            found["fingerprint"],
            Identity.from_json(found.get("identity")),
            found.get("kind"),
            found.get("token"),
            found.get("highest") or {},
            version,
        )
