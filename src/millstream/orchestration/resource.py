"""`MillstreamResource`: run a pipeline inside an asset of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, ValidationError

from millstream.errors import ConfigError
from millstream.model import RunReport
from millstream.orchestration import logs
from millstream.orchestration.downstream import downstream_of, links_of
from millstream.orchestration.metadata import child_metadata, stream_metadata

if TYPE_CHECKING:
    from millstream.config import TargetConfig
    from millstream.runs.pending_packages import PendingPackage


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
    schema_rules: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Rules that come before the preset, as in `defs.yaml`: "
        "`{'action': 'hold', 'change': 'column_added', 'table': 'orders'}`.",
    )
    alerts: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Who is told of schema changes, as in `defs.yaml`: `{'type': 'slack'}`.",
    )
    quarantine: dict[str, Any] = Field(
        default_factory=dict,
        description="What happens to rows that can't be loaded, as in `defs.yaml`: "
        "`{'max_rows': 100, 'redact': ['user.email']}`.",
    )

    coercion: str = Field(
        default="exact",
        description="What happens to a value whose type is not its column's: `exact` or `dlt`.",
    )
    detect_timestamps: bool = Field(
        default=True, description="Whether texts that are times make a column of timestamps."
    )

    def run(
        self,
        data: Any,
        *,
        stream: str | None = None,
        table_name: str | None = None,
        primary_key: str | Sequence[str] | None = None,
        write_disposition: Any = None,
        full_refresh: bool = False,
    ) -> RunReport:
        """Load rows, and the lists within them into child tables.

        Run twice, plain rows are appended twice; with a `primary_key` each row is there once, in
        its newest version; with `write_disposition="replace"` the last run's rows alone are there.
        A dlt resource is loaded as it says itself.

        Args:
            data: a dlt source or resource, a list of resources, which are loaded together, or any
                iterable of rows or of pages (lists of rows).
            stream: names the table, where `data` has no name of its own; the run of several
                resources, each of which makes its own table.
            table_name: the table, where it is called otherwise than the stream or the resource.
            primary_key: the column, or the columns, that tell rows apart.
            write_disposition: `append`, `replace` or `merge`, as dlt takes it; `merge` for rows
                with a `primary_key`, else `append`, when left out.
            full_refresh: forget cursors, read all, and replace what the tables hold.

        Raises:
            ConfigError: the fields of this resource name no destination, `data` has no name, or
                one table's name or key is given for several.
            DestinationError: it can't be reached or written to; nothing was extracted.
            SourceError: `data` can't be read; nothing was loaded.
            SchemaHeldError: the policy holds a change until `accept`; nothing was loaded.
            RunError: any other failure, with the step that failed.
        """
        from millstream.runs import runner
        from millstream.runs.handed_data import LoadHints

        context = _context()
        forwarded = logs.forwarded(context.log) if context else nullcontext()
        with forwarded, self._about(context):
            return runner.run_data(
                data,
                self._target(),
                stream=stream,
                hints=LoadHints(table_name, primary_key, write_disposition),
                credentials=self.credentials,
                full_refresh=full_refresh,
                progress="log" if context else "none",
            )

    def _about(self, context: dg.OpExecutionContext | None) -> AbstractContextManager[None]:
        """What only Dagster knows of the run, for alerts to say."""
        if context is None or not self.alerts or not context.has_assets_def:
            return nullcontext()
        from millstream import alerts

        root, *others = sorted(context.selected_asset_keys)
        links = links_of(context, root)
        return alerts.about(links=links, downstream=downstream_of(context, [root, *others]))

    def accept(self, stream: str, *, changes: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """Accept what a held run of a stream waits for on this machine; the next run loads it.

        Args:
            changes: the ids of those to accept, as the error has them; all where left out.

        Returns:
            The changes that were accepted; none where nothing waits.
        """
        from millstream.runs import pending_decisions

        return pending_decisions.accept(
            self._target(), stream, changes=changes, credentials=self.credentials
        )

    def reject(self, stream: str) -> Sequence[PendingPackage]:
        """Refuse what held runs of a stream wait for; the next run reads its rows again."""
        from millstream.runs import pending_decisions

        return pending_decisions.reject(self._target(), stream, credentials=self.credentials)

    def list_pending(self, stream: str) -> Sequence[PendingPackage]:
        """The packages of a stream that earlier runs left on this machine, oldest first."""
        from millstream.runs import pending_decisions

        return pending_decisions.list_pending(self._target(), stream, self.credentials)

    def drop_pending(self, stream: str, *, ids: Sequence[str] = ()) -> Sequence[PendingPackage]:
        """Drop packages of a stream that can't be loaded; the next run reads their rows again.

        Args:
            ids: the load ids of those to drop; all where left out.
        """
        from millstream.runs import pending_decisions

        return pending_decisions.drop_pending(
            self._target(), stream, ids=ids, credentials=self.credentials
        )

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
        from millstream.config import TargetConfig, project_of, validation_messages

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
                    "schema_policy": {"preset": self.schema_policy, "rules": self.schema_rules},
                    "alerts": self.alerts,
                    "quarantine": self.quarantine,
                    "coercion": self.coercion,
                    "detect_timestamps": self.detect_timestamps,
                    "project": project_of(Path.cwd()),
                }
            )
        except ValidationError as error:
            found = validation_messages.of(error, TargetConfig)
            raise ConfigError(f"MillstreamResource: {found.message}", hint=found.hint) from None


def _context() -> dg.OpExecutionContext | None:
    """The step that this code runs in; None outside of one, such as in a unit test."""
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
