"""`MillstreamResource`: run a pipeline inside an asset of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, ValidationError

from millstream.errors import ConfigError
from millstream.model import RunReport
from millstream.orchestration import logs
from millstream.orchestration.metadata import child_metadata, stream_metadata

if TYPE_CHECKING:
    from millstream.config import TargetConfig
    from millstream.pending import PendingPackage


class MillstreamResource(dg.ConfigurableResource[Any]):
    """Loads what an asset of yours hands over, and tells the asset what that did.

    >>> import dagster as dg
    >>> from millstream import MillstreamResource
    >>> @dg.asset
    ... def github_issues(millstream: MillstreamResource) -> dg.MaterializeResult:
    ...     report = millstream.run([{"id": 1, "labels": ["bug"]}], stream="github_issues")
    ...     return millstream.materialize_result(report)
    >>> defs = dg.Definitions(
    ...     assets=[github_issues],
    ...     resources={"millstream": MillstreamResource(pipeline_name="github")},
    ... )
    """

    pipeline_name: str = Field(description="Names the pipeline, and the dataset where none is set.")
    destination: str = Field(default="duckdb", description="`duckdb`, `postgres`, `bigquery`, ...")
    dataset: str | None = Field(default=None, description="Schema or dataset to load into.")
    database: str | None = Field(
        default=None, description="DuckDB's file; `PIPELINE_NAME.duckdb` when left out."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of the dlt destination; no secrets."
    )
    credentials: str | None = Field(
        default=None,
        repr=False,
        description="A connection string or JSON; pass it as `EnvVar(NAME)`. Where left out, found "
        "under the names that dlt documents.",
        json_schema_extra={"dagster__is_secret": True},
    )

    schema_policy: str = Field(
        default="evolve",
        description="What happens when the schema changes: `evolve`, `strict` or `anything`.",
    )

    coercion: str = Field(
        default="exact",
        description="What happens to a value whose type is not its column's: `exact` or `dlt`.",
    )
    detect_timestamps: bool = Field(
        default=True, description="Whether texts that are times make a column of timestamps."
    )

    def run(self, data: Any, *, stream: str | None = None, full_refresh: bool = False) -> RunReport:
        """Load rows, and the lists within them into child tables.

        Args:
            data: a dlt source or resource, or any iterable of rows or of pages (lists of rows).
            stream: names the table, where `data` has no name of its own.
            full_refresh: forget cursors, read all, and replace what the tables hold.

        Raises:
            ConfigError: the fields of this resource name no destination, or `data` has no name.
            DestinationError: it can't be reached or written to; nothing was extracted.
            SourceError: `data` can't be read; nothing was loaded.
            SchemaHeldError: the policy holds a change until `accept`; nothing was loaded.
            RunError: any other failure, with the step that failed.
        """
        from millstream import runner

        context = _context()
        with logs.forwarded(context.log) if context else nullcontext():
            return runner.run_data(
                data,
                self._target(),
                stream=stream,
                credentials=self.credentials,
                full_refresh=full_refresh,
                progress="log" if context else "none",
            )

    def accept(self, stream: str, *, changes: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """Accept what a held run of a stream waits for on this machine; the next run loads it.

        Args:
            changes: the ids of those to accept, as the error has them; all where left out.

        Returns:
            The changes that were accepted; none where nothing waits.
        """
        from millstream import runner

        return runner.accept(self._target(), stream, changes=changes, credentials=self.credentials)

    def list_pending(self, stream: str) -> Sequence[PendingPackage]:
        """The packages of a stream that earlier runs left on this machine, oldest first."""
        from millstream import runner

        return runner.list_pending(self._target(), stream, self.credentials)

    def drop_pending(self, stream: str, *, ids: Sequence[str] = ()) -> Sequence[PendingPackage]:
        """Drop packages of a stream that can't be loaded; the next run reads their rows again.

        Args:
            ids: the load ids of those to drop; all where left out.
        """
        from millstream import runner

        return runner.drop_pending(self._target(), stream, ids=ids, credentials=self.credentials)

    def materialize_result(
        self, report: RunReport, *, table: str | None = None, asset_key: Any = None
    ) -> dg.MaterializeResult[Any]:
        """What a run did, for the asset of the stream itself, or of one of its child tables.

        Raises:
            ConfigError: the run has no such table.
        """
        if table is None:
            return dg.MaterializeResult(asset_key=asset_key, metadata=stream_metadata(report))
        load = next((load for load in report.tables if load.name == table), None)
        if load is None:
            names = ", ".join(load.name for load in report.tables)
            raise ConfigError(
                f"{report.pipeline}.{report.stream} has no table {table!r}", hint=f"it has {names}"
            )
        return dg.MaterializeResult(asset_key=asset_key, metadata=child_metadata(report, load))

    def _target(self) -> TargetConfig:
        from millstream.config import TargetConfig, complaints, project_of

        try:
            return TargetConfig.model_validate(
                {
                    "name": self.pipeline_name,
                    "destination": {
                        "type": self.destination,
                        "dataset": self.dataset,
                        "database": self.database,
                        "options": self.options,
                    },
                    "schema_policy": self.schema_policy,
                    "coercion": self.coercion,
                    "detect_timestamps": self.detect_timestamps,
                    "project": project_of(Path.cwd()),
                }
            )
        except ValidationError as error:
            raise ConfigError(f"MillstreamResource: {complaints.of(error)}") from None


def _context() -> dg.OpExecutionContext | None:
    """The step that this code runs in; None outside of one, such as in a unit test."""
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
