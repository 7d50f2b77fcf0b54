"""The accepted schema in the destination, for pipelines that nobody deploys from a repository.

    _millstream_accepted_schemas    what a stream's schema was accepted to be, each time it grew

Rows are only appended, and what is accepted is all of them together: of two that accept something
at the same time, neither takes the other's back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from millstream.common import metadata_tables
from millstream.config import PipelineConfig, TargetConfig
from millstream.destinations.duckdb_file import duckdb_file
from millstream.destinations.factory import build
from millstream.destinations.table_names import dataset_name
from millstream.destinations.write_lock import reader, writer
from millstream.errors import ConfigError
from millstream.model import SchemaVersion
from millstream.schema_changes import accepted_file, canonical
from millstream.schema_changes.accepted_store import AcceptedSchemaStore, FileStore

TABLE = "_millstream_accepted_schemas"
_SCHEMA = "millstream_accepted"
_COLUMNS = {
    "pipeline": "text",
    "stream": "text",
    "accepted_at": "timestamp",
    "definition": "text",
}


@dataclass(frozen=True, slots=True)
class DestinationStore:
    """Beside the data, whichever machine asks."""

    config: TargetConfig
    credentials: str | None = None

    @property
    def where(self) -> str:
        return f"{TABLE} in the dataset {dataset_name(self.config)}"

    def check(self) -> None:
        """Refuse a destination that holds no tables to query.

        Raises:
            ConfigError: it is a function, a queue or the like.
        """
        from dlt.destinations.sql_client import WithSqlClient

        if not issubclass(build(self.config, self.credentials).client_class, WithSqlClient):
            raise ConfigError(
                f"accepted_schema: {self.config.destination.type} can't be queried",
                hint="leave it out, and the accepted schema is kept in schema.yaml",
            )

    def load(self) -> dict[str, SchemaVersion]:
        """The accepted tables of each stream.

        Raises:
            DestinationError: the destination can't be asked.
        """
        is_file = self.config.destination.type == "duckdb"
        if is_file and not duckdb_file(self.config, self.credentials).exists():
            return {}  # asking would make it
        with reader(self.config, self.credentials) as destination:
            rows = metadata_tables.read(
                destination,
                self.config.dataset,
                _SCHEMA,
                TABLE,
                _COLUMNS,
                {"pipeline": self.config.name},
            )
        found: dict[str, SchemaVersion] = {}
        for row in sorted(rows, key=lambda row: row["accepted_at"]):
            for stream, version in accepted_file.parse(row["definition"]).items():
                found[stream] = accepted_file.merged(found.get(stream), version)
        return {stream: canonical(version) for stream, version in found.items()}

    def add(self, stream: str, version: SchemaVersion) -> bool:
        """Accept a schema of a stream, and all that was accepted before; True where it is news.

        Raises:
            Exception: dlt's, when the destination can't be written.
        """
        known = self.load().get(stream)
        together = canonical(accepted_file.merged(known, version))
        if together == known:
            return False
        self.append(stream, together)
        return True

    def append(self, stream: str, version: SchemaVersion) -> None:
        """Accept a schema, whatever else was accepted."""
        row = {
            "pipeline": self.config.name,
            "stream": stream,
            "accepted_at": datetime.now(timezone.utc),
            "definition": accepted_file.render({stream: version}, header=False),
        }
        destination: Any = build(self.config, self.credentials)
        with writer(self.config, self.credentials):
            metadata_tables.append(
                destination, self.config.dataset, _SCHEMA, {TABLE: [row]}, {TABLE: _COLUMNS}
            )


def accepted_store(
    config: TargetConfig, credentials: str | None = None
) -> AcceptedSchemaStore | None:
    """Where a pipeline's accepted schema is; None where there is no folder to keep it in."""
    if config.accepted_schema == "destination":
        return DestinationStore(config, credentials)
    if isinstance(config, PipelineConfig) and config.folder is not None:
        return FileStore(config.folder)
    return None
