"""Where the accepted schema is kept: in a file, or wherever else someone keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millstream.model import SchemaVersion
from millstream.schema_changes import accepted_file


class AcceptedSchemaStore(Protocol):
    """Keeps what people accepted of a pipeline's streams, and forgets nothing by itself."""

    @property
    def where(self) -> str:
        """In words, for people."""

    def check(self) -> None:
        """Find out what can be found out without connecting.

        Raises:
            ConfigError: it can't be read.
        """

    def load(self) -> dict[str, SchemaVersion]:
        """The accepted tables of each stream, by the stream's name."""

    def add(self, stream: str, version: SchemaVersion) -> bool:
        """Accept a schema, beside all that was accepted before; True where that is news."""


@dataclass(frozen=True, slots=True)
class FileStore:
    """`schema.yaml` in the folder of `defs.yaml`."""

    folder: Path

    @property
    def where(self) -> str:
        return str(self.folder / accepted_file.FILE_NAME)

    def check(self) -> None:
        self.load()

    def load(self) -> dict[str, SchemaVersion]:
        return accepted_file.load(self.folder)

    def add(self, stream: str, version: SchemaVersion) -> bool:
        return accepted_file.save(self.folder, stream, version, add=True)
