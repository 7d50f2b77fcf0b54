"""What a run covers, all of a stream or one partition of it, and how it goes on from other loads.

A whole stream has a cursor: a run goes on from the loads that the destination had when it took the
cursor. A partition is read whole each time and replaces its own rows; it takes over the schema that
other partitions have made by the time that it loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millstream import destinations, schema_changes
from millstream.common.metadata_tables import is_own
from millstream.model import ColumnProfile, Partition, SchemaVersion
from millstream.runs import load_packages
from millstream.runs.context import RunContext, resources_of
from millstream.runs.load_history import LoadHistory

if TYPE_CHECKING:
    import dlt

TableProfiles = Mapping[str, Mapping[str, ColumnProfile]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the destination had of a stream before a package is loaded.

    Attributes:
        version: its tables, as complete loads left them.
        schema: the schema that it stores; None of an empty one.
        loads: the stream's loads; None where there are none or nobody can tell.
        load_ids: of these loads, for a partition alone.
        has_state: whether cursors came with the schema.
        warnings: what is to be said of what was found.
    """

    version: SchemaVersion = field(default_factory=SchemaVersion)
    schema: dlt.Schema | None = None
    loads: destinations.Loads | None = None
    load_ids: frozenset[str] = frozenset()
    has_state: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def marks(self) -> Sequence[object]:
        """What a working folder notes of the loads that its package goes on from."""
        return astuple(self.loads) if self.loads else ()


class Scope(Protocol):
    """All of a stream, or a part of it."""

    def restore(self, pipeline: dlt.Pipeline, run: Path, history: LoadHistory) -> Baseline:
        """Take cursors and schema from the destination."""

    def prepare(
        self,
        pipeline: dlt.Pipeline,
        schema: dlt.Schema,
        opened: Any,
        *,
        full_refresh: bool,
        is_replay: bool = False,
    ) -> None:
        """Set up how the rows of resources meet those that are there.

        Raises:
            ConfigError: they can't be loaded beside these.
        """

    def is_overtaken(
        self, pipeline: dlt.Pipeline, baseline: Baseline, profile: TableProfiles
    ) -> bool:
        """Whether other runs may have loaded what was read later.

        Args:
            profile: of all of the package's rows; empty where not all were counted.
        """

    def clear(self, pipeline: dlt.Pipeline) -> Sequence[str]:
        """Take out what stands where the source has no rows any more; says what was deleted."""


def scope_of(context: RunContext) -> Scope:
    """What a run covers."""
    if context.partition is None:
        return WholeStream(context)
    return OnePartition(context, context.partition)


@dataclass(frozen=True, slots=True)
class WholeStream:
    """From the stream's cursor on."""

    context: RunContext

    def restore(self, pipeline: dlt.Pipeline, run: Path, history: LoadHistory) -> Baseline:
        name = self.context.schema
        found = Baseline(loads=destinations.loads(pipeline, name))
        load_packages.write_start_marker(run, found.marks)
        destinations.restore(pipeline, name, found.loads)
        has_state = pipeline.schemas.has_schema(name)
        if not has_state:  # and yet partitions loaded, or somebody took it out
            stored = destinations.stored_schema(pipeline, name)
            if stored is not None:
                pipeline.schemas.save_schema(stored)
        known = pipeline.schemas.has_schema(name)
        schema = pipeline.schemas[name].clone() if known else None
        if not self.context.is_preview:
            history.reconcile(pipeline)
        version = self.context.version(pipeline)
        # what is stored is complete where the newest load left it
        if not (
            found.loads
            and known
            and found.loads.schema_hash == pipeline.schemas[name].stored_version_hash
        ):
            version = history.before(pipeline, version)
        return replace(found, version=version, schema=schema, has_state=has_state)

    def prepare(
        self,
        pipeline: dlt.Pipeline,
        schema: dlt.Schema,
        opened: Any,
        *,
        full_refresh: bool,
        is_replay: bool = False,
    ) -> None:
        destinations.forget_scopes(schema)
        for resource in resources_of(opened):
            if not is_replay:  # what it loads is in no table
                destinations.refuse_partitioned(schema, resource, self.context.what)
            if not full_refresh:
                destinations.refuse_unmergeable(pipeline, schema, resource, self.context.what)
            destinations.free_former_keys(schema, resource)
            destinations.forget_sizes(schema, resource)

    def is_overtaken(
        self, pipeline: dlt.Pipeline, baseline: Baseline, profile: TableProfiles
    ) -> bool:
        return destinations.loads(pipeline, self.context.schema) != baseline.loads

    def clear(self, pipeline: dlt.Pipeline) -> Sequence[str]:
        return ()


@dataclass(frozen=True, slots=True)
class OnePartition:
    """All of a partition, in place of its rows."""

    context: RunContext
    partition: Partition

    def restore(self, pipeline: dlt.Pipeline, run: Path, history: LoadHistory) -> Baseline:
        load_ids = destinations.load_ids(pipeline, self.context.schema)
        return replace(self.sync_schema(pipeline, history), load_ids=load_ids)

    def sync_schema(self, pipeline: dlt.Pipeline, history: LoadHistory) -> Baseline:
        """Take over what other partitions of the stream have made of its schema meanwhile.

        Its `load_ids` are left out: those from before the partition was read count.

        Raises:
            ConfigError: the tables hold rows that no partition can replace.
        """
        name = self.context.schema
        loads = destinations.loads(pipeline, name)
        stored = destinations.stored_schema(pipeline, name)
        if stored is None:
            return Baseline(loads=loads)
        before = history.before(pipeline, schema_changes.snapshot(stored))
        destinations.refuse_unpartitioned(stored, self.context.what)
        known = stored
        if pipeline.schemas.has_schema(name):
            known = destinations.merge_schemas(stored, pipeline.schemas[name])
        pipeline.schemas.save_schema(known)
        return Baseline(before, stored, loads)

    def prepare(
        self,
        pipeline: dlt.Pipeline,
        schema: dlt.Schema,
        opened: Any,
        *,
        full_refresh: bool,
        is_replay: bool = False,
    ) -> None:
        for resource in resources_of(opened):
            destinations.scope_to_partition(pipeline, schema.naming, resource)

    def is_overtaken(
        self, pipeline: dlt.Pipeline, baseline: Baseline, profile: TableProfiles
    ) -> bool:
        schema = pipeline.schemas[self.context.schema]
        arrived = destinations.load_ids(pipeline, self.context.schema) - baseline.load_ids
        return destinations.may_overwrite(pipeline, schema, arrived, self.partition, profile)

    def clear(self, pipeline: dlt.Pipeline) -> Sequence[str]:
        schema = pipeline.schemas[self.context.schema]
        tables = [table for table in schema.data_tables() if not table.get("parent")]
        roots = [str(table["name"]) for table in tables if not is_own(str(table["name"]))]
        gone = destinations.clear(pipeline, schema, roots, self.partition.key)
        return (f"the partition is empty now: {gone:,} rows were deleted",) if gone else ()
