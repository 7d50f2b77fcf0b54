"""The steps of one run of one stream, and what they share.

`runner` puts them in order. A step that fails is named in the error, and what a driver said is
passed on without its secrets.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from hashlib import sha1
from pathlib import Path
from random import random
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Literal

from millstream import destinations, engine, schema_changes
from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import sql_client
from millstream.config import DltConfig, PipelineConfig, TargetConfig
from millstream.errors import (
    ConfigError,
    MillstreamError,
    RunError,
    RunInterrupted,
    SchemaTooLargeError,
)
from millstream.formats.key_names import name_primary_key
from millstream.model import (
    ColumnProfile,
    Decision,
    Drift,
    Partition,
    QuarantinedRows,
    RunReport,
    SchemaChange,
    SchemaVersion,
    Skipped,
    TableLoad,
)
from millstream.quarantine import limits, store
from millstream.quarantine.rules import QuarantineRules
from millstream.quarantine.store import Entry
from millstream.runs import (
    deduplication,
    load_ids,
    load_packages,
    manifests,
    pending_packages,
    quarantine_replay,
    workdir,
)
from millstream.runs.load_history import LoadHistory
from millstream.runs.step_errors import explain, interruption, is_interruption, pending_hint
from millstream.sources import corrected_lines, findings
from millstream.sources.findings import Findings
from millstream.sources.pages import limit_pages

if TYPE_CHECKING:
    import dlt
    from dlt.common.metrics import NormalizeMetrics

Progress = Literal["none", "log", "bar"]
"""Show nothing, a log line every few seconds, or a bar in a terminal."""

logger = logging.getLogger(__name__)


class StaleCursorError(Exception):
    """Another run of the stream has loaded since this one read the cursor."""


@dataclass(frozen=True, slots=True)
class Normalized:
    """What a package would load.

    Attributes:
        seen: what the engine did and counted.
        outdated: rows by table of which the package has a later version.
        schema: the tables, with the profile of the package's rows.
    """

    counted: tuple[load_packages.Count, ...]
    seen: engine.EngineReport
    outdated: Mapping[str, int]
    schema: SchemaVersion


@dataclass
class Work:
    """What the steps of one run share, and what they found out so far."""

    target: TargetConfig
    stream: str
    credentials: str | None
    progress: Progress
    partition: Partition | None = None
    keeper: schema_changes.AcceptedSchemaStore | None = None
    """Has what people accepted; None where nobody can."""
    seconds: dict[str, float] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    load_ids: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    engine_rows: Counter[str] = field(default_factory=Counter)
    profile: Mapping[str, Mapping[str, ColumnProfile]] = field(default_factory=dict)
    quarantined: list[QuarantinedRows] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of rows that came again from quarantine."""
    outdated: Counter[str] = field(default_factory=Counter)
    """Rows by table that were not loaded, since the load has a later version of them."""
    findings: Findings = field(default_factory=Findings)
    """What the source reported of the package that is worked on, beside its rows."""
    skipped: list[Skipped] = field(default_factory=list)
    jumps: dict[tuple[str, str], Drift] = field(default_factory=dict)
    compared_loads: int = 0
    before: SchemaVersion | None = None
    """What the destination had before an interrupted run, whose package this one finished."""
    loaded: destinations.Loads | None = None
    """The stream's loads when this run took its cursor from the destination."""
    known_loads: frozenset[str] = frozenset()
    """The ids of the stream's loads before a partition was read."""
    has_stream: bool = False
    """No other partition of the stream, and no run of all of it, can load now."""
    stored: dlt.Schema | None = None
    """The schema that the destination had before this run; None of an empty one."""
    waived: frozenset[str] = frozenset()
    """Changes that people accepted for an earlier run of the partition, which this one replaces."""
    is_preview: bool = False
    """Nothing is loaded: the destination is read, and nothing is written there."""
    pages: int | None = None
    """So many pages of the source are read; None where all are."""
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    finished: tuple[schema_changes.history.Place | None, RunReport] | None = None
    """Where, and with what result, this run loaded what interrupted ones had left."""
    told: bool = False
    """Alerts of this run are sent."""
    current_step: str | None = None
    stopped: bool = False
    """Ctrl-C or SIGTERM came while the load was coming to its end."""
    folder: Path | None = None
    """The working folder whose package is being loaded."""
    holds_turn: Callable[[], None] = lambda: None
    """Raises where another machine may be loading the same stream by now."""

    @cached_property
    def history(self) -> LoadHistory:
        """What is written of this run's loads."""
        return LoadHistory(self.target, self.stream, self.schema)

    @property
    def schema(self) -> str:
        """The name of the stream's dlt schema; partitions share it, as they share tables."""
        return _shortened(f"{self.target.name}__{_plain(self.stream)}", _SCHEMA_NAME)

    @property
    def name(self) -> str:
        """The name of the dlt pipeline, which belongs to the stream or partition alone."""
        if self.partition is None:
            return self.schema
        return f"{self.schema}__{_plain(self.partition.key)}"

    @property
    def key(self) -> str:
        """The name of the folder with the working folders of the stream or partition."""
        plain = _plain(self.stream)
        return plain if self.partition is None else f"{plain}@{_plain(self.partition.key)}"

    @property
    def has_unique_keys(self) -> bool:
        """Whether keys hold in tables that are replaced, too: in those of our own sources."""
        source = self.target.source if isinstance(self.target, PipelineConfig) else None
        return source is not None and not isinstance(source, DltConfig)

    @property
    def what(self) -> str:
        """What people call the stream or partition."""
        name = f"{self.target.name}.{self.stream}"
        return name if self.partition is None else f"{name} [{self.partition.key}]"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and tell which one failed."""
        started = perf_counter()
        self.current_step = name
        try:
            yield
        except StaleCursorError:
            raise
        except Exception as error:
            if is_interruption(error):
                raise KeyboardInterrupt from None
            # not `from error`: what the driver said may hold a secret, which explain() takes out
            raise explain(error, self.what, self.stream, name) from None
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def writer(self) -> AbstractContextManager[None]:
        return destinations.writer(self.target, self.credentials)

    def pipeline(self, folder: Path) -> dlt.Pipeline:
        """A dlt pipeline of this stream alone, so that streams share neither state nor schema."""
        import dlt
        from dlt.common.runtime.collector import NULL_COLLECTOR

        from millstream.runs.progress import collector

        # compressing what is read back a moment later costs a third of a bulk run; a user's own
        # setting in the environment still comes first
        dlt.config[f"{self.name}.data_writer.disable_compression"] = True
        dlt.config[f"{self.name}.sources.data_writer.buffer_max_items"] = 1000
        pipeline = dlt.pipeline(
            pipeline_name=self.name,
            pipelines_dir=str(folder),
            destination=destinations.build(self.target, self.credentials),
            dataset_name=self.target.dataset,
            progress=collector(self.progress, self.stream) or NULL_COLLECTOR,
        )
        if self.partition is not None:
            # a partition is read whole each time: no cursor may keep a row from coming again
            pipeline.config.restore_from_destination = False
        return pipeline

    def restore(self, pipeline: dlt.Pipeline, run: Path, opened: Any) -> SchemaVersion:
        """Take cursors and schema from the destination; the schema as it was before this run.

        Raises:
            ConfigError: there are tables that the stream is to load into, and did not make.
        """
        before = self._restore(pipeline, run)
        taken = destinations.take_over(
            pipeline,
            self.schema,
            _resources(opened),
            accept=self.target.accept_existing,
            what=self.what,
        )
        if taken is None:
            return before
        if self.partition is not None:
            destinations.refuse_unpartitioned(taken, self.what)
        pipeline.schemas.save_schema(taken)
        self.stored = taken.clone()
        return self.version(pipeline)

    def _restore(self, pipeline: dlt.Pipeline, run: Path) -> SchemaVersion:
        if self.partition is not None:
            self.known_loads = destinations.load_ids(pipeline, self.schema)
            return self.catch_up(pipeline)
        self.loaded = destinations.loads(pipeline, self.schema)
        load_packages.begin(run, self._standing())
        destinations.restore(pipeline, self.schema, self.loaded)
        if not pipeline.schemas.has_schema(self.schema):  # no state, and yet partitions loaded
            stored = destinations.stored_schema(pipeline, self.schema)
            if stored is not None:
                pipeline.schemas.save_schema(stored)
        known = pipeline.schemas.has_schema(self.schema)
        self.stored = pipeline.schemas[self.schema].clone() if known else None
        if not self.is_preview:
            self.history.settle(pipeline)
        version = self.version(pipeline)
        if self.loaded and known:
            newest = pipeline.schemas[self.schema].stored_version_hash
            if self.loaded.schema_hash == newest:  # what is stored is complete
                return version
        return self.history.before(pipeline, version)

    def catch_up(self, pipeline: dlt.Pipeline) -> SchemaVersion:
        """Take over what other partitions of the stream have made of its schema meanwhile.

        Raises:
            ConfigError: the tables hold rows that no partition can replace.
        """
        self.loaded = destinations.loads(pipeline, self.schema)
        self.stored = stored = destinations.stored_schema(pipeline, self.schema)
        if stored is None:
            return SchemaVersion()
        before = self.history.before(pipeline, schema_changes.snapshot(stored))
        destinations.refuse_unpartitioned(stored, self.what)
        if pipeline.schemas.has_schema(self.schema):
            stored = destinations.united(stored, pipeline.schemas[self.schema])
        pipeline.schemas.save_schema(stored)
        return before

    def _standing(self) -> Sequence[object]:
        return astuple(self.loaded) if self.loaded else ()

    def quarantine(self, pipeline: dlt.Pipeline, *, documents: bool = False) -> list[Entry]:
        """What was put aside of this stream, read from the destination.

        Raises:
            ConfigError: the destination holds no tables to query.
        """
        if sql_client(pipeline) is None:
            raise ConfigError(
                f"{self.target.destination.type} can't be queried, so nobody knows what waits there"
            )
        with self.writer():
            return store.entries(
                pipeline.destination,
                pipeline.dataset_name,
                self.target.name,
                self.stream,
                documents=documents,
            )

    def _put_aside(self, pipeline: dlt.Pipeline) -> list[Entry]:
        """What was put aside since all rows were read; none where nobody can tell."""
        if sql_client(pipeline) is None:
            return []
        refreshed = quarantine_replay.newest_refreshed(pipeline, self.name)
        entries = self.quarantine(pipeline, documents=True)
        return [entry for entry in entries if str(entry.put_aside["load_id"]) > refreshed]

    def extract(self, pipeline: dlt.Pipeline, opened: Any, *, full_refresh: bool) -> None:
        import dlt

        known = pipeline.schemas.has_schema(self.schema)
        schema: Any = pipeline.schemas[self.schema] if known else dlt.Schema(self.schema)
        if self.target.names_keys:
            dialect = pipeline.destination.capabilities().sqlglot_dialect
            for resource in _resources(opened):
                name_primary_key(schema, resource, dialect)
        if self.partition is not None:
            for resource in _resources(opened):
                destinations.confine(pipeline, schema.naming, resource)
        else:
            for resource in _resources(opened):
                destinations.refuse_partitioned(schema, resource, self.what)
                if not full_refresh:
                    destinations.refuse_unmergeable(pipeline, schema, resource, self.what)
        if isinstance(self.target, PipelineConfig) and self.stream in self.target.dedup_sort:
            column = self.target.dedup_sort[self.stream]
            for resource in _resources(opened):
                resource.apply_hints(columns={column: {"dedup_sort": "desc"}})
        if self.pages is not None:
            for resource in _resources(opened):
                limit_pages(resource, self.pages)
        if isinstance(opened, dlt.sources.DltSource):  # brings a schema, and its hints, along
            opened = opened.clone(with_name=self.schema)
            schema = None
        if not self.has_unique_keys:  # a dlt source, or what Python code hands over
            engine.check_arrow_items(
                _resources(opened),
                pipeline.schemas[self.schema] if known else dlt.Schema(self.schema),
                pipeline.destination.capabilities(),
                is_exact=self.target.coercion == "exact",
            )
        newest = self.loaded.newest if self.loaded else None
        refresh: Literal["drop_data"] | None = None
        if full_refresh:
            quarantine_replay.remember_refresh(pipeline, self.name, newest)
            refresh = self._prepare_refresh(pipeline, opened)
        # the engine is on so that sources know what it reads itself
        with (
            engine.enabled() as fits,
            engine.unambiguous(),
            load_ids.above(newest, stream=self.stream),
            raising_signals(),
            findings.collecting(Path(pipeline.pipelines_dir)) as self.findings,
            corrected_lines.from_quarantine(lambda: self._put_aside(pipeline)),
        ):
            extracted = pipeline.extract(
                opened,
                schema=schema,
                loader_file_format=destinations.loader_file_format(
                    self.target, pipeline.destination, engine_fits=fits
                ),
                refresh=refresh,
            )
        deduplication.remember_order(Path(pipeline.pipelines_dir), extracted)
        self._warn_of_source_state(pipeline, opened)

    def _prepare_refresh(self, pipeline: dlt.Pipeline, opened: Any) -> Literal["drop_data"] | None:
        """Let all be read anew; dlt's way to empty tables first, where there is no other."""
        resources = _resources(opened)
        if not destinations.is_swept(pipeline, resources):
            return "drop_data"
        dispositions = {}
        for resource in resources:
            how = resource.write_disposition
            dispositions[resource.name] = how["disposition"] if isinstance(how, dict) else how
        load_packages.remember_refresh(Path(pipeline.pipelines_dir), dispositions)
        destinations.prepare(pipeline, self.schema, resources)
        return None

    def _warn_of_source_state(self, pipeline: dlt.Pipeline, opened: Any) -> None:
        """Say that other streams do not see what resources keep in their source's state."""
        import dlt

        if not isinstance(opened, dlt.sources.DltSource):
            return
        others = opened.resources.keys() - opened.selected_resources.keys()
        state: Any = pipeline.state.get("sources", {})
        keys = state.get(self.schema, {}).keys() - {"resources", quarantine_replay.STATE}
        if others and keys:
            names = ", ".join(f"`{key}`" for key in sorted(keys))
            self.warnings.append(
                f"other streams do not see what this one keeps in dlt.current.source_state(): "
                f"{names}. Load those that need it as one stream: `stream_groups` under `source`"
            )

    def process(self, pipeline: dlt.Pipeline, run: Path) -> None:
        """Normalize, govern and load what was extracted.

        Raises:
            StaleCursorError: its rows are older than what the destination has by now.
        """
        if self.partition is None:
            self._process(pipeline, run)
            return
        # partitions share tables and a schema: each in its turn; extracting is done by then
        with nullcontext() if self.has_stream else self.stream_turn():
            with self.step("restore"), self.writer():
                self.history.settle(pipeline)
                self.before = self.catch_up(pipeline)
                schema_changes.held_packages.remember(run, self.stream, self.before)
            self._process(pipeline, run)

    @contextmanager
    def stream_turn(self) -> Iterator[None]:
        """Keep other partitions, and runs of the whole stream, from loading meanwhile."""
        with destinations.turn(
            self.target,
            self.schema,
            what=f"the stream {self.target.name}.{self.stream}",
            credentials=self.credentials,
        ) as self.holds_turn:
            self.has_stream = True
            try:
                yield
            finally:
                self.has_stream = False

    def _refuse_overtaken(
        self,
        pipeline: dlt.Pipeline,
        seen: engine.EngineReport,
        counted: Sequence[load_packages.Count],
    ) -> None:
        """Load nothing over what another run has read later.

        Raises:
            StaleCursorError: it may have.
        """
        if self.partition is None:
            if destinations.loads(pipeline, self.schema) != self.loaded:
                raise StaleCursorError
            return
        arrived = destinations.load_ids(pipeline, self.schema) - self.known_loads
        profile = seen.profile if self._profiles_all(seen, counted) else {}
        if destinations.may_overwrite(
            pipeline, pipeline.schemas[self.schema], arrived, self.partition, profile
        ):
            raise StaleCursorError

    def normalize(
        self, pipeline: dlt.Pipeline, run: Path, accepted: SchemaVersion | None
    ) -> Normalized:
        """Make tables of what was extracted."""
        with self.step("normalize"):
            named = (self.schema,) if self.target.names_keys else ()
            coercions = {self.schema: coercion_of(self.target)}
            watches = self._watches(run, accepted)
            with engine.enabled(watches, named, coercions) as is_watched:
                if not is_watched and self.target.coercion == "exact":
                    raise ConfigError(
                        "exact coercion does not fit the installed dlt",
                        hint="install the dlt that Millstream requires, or set `coercion: dlt`",
                    )
                if named and not is_watched:
                    raise ConfigError(
                        "the names of columns do not fit the installed dlt",
                        hint="install the dlt that Millstream requires",
                    )
                if self.target.quarantine.enabled and not is_watched:
                    raise ConfigError(
                        "quarantine does not fit the installed dlt",
                        hint="install the dlt that Millstream asks for, or set "
                        "`quarantine: {enabled: false}`, and lose what contracts discard",
                    )
                self._add_root_ids(pipeline)
                extracted = pipeline.list_extracted_load_packages()
                noting = manifests.write_in_background(run, extracted, "extracted")
                with raising_signals():
                    normalized = deduplication.normalize(
                        run,
                        pipeline,
                        self.schema,
                        counted={count.load_id for count in load_packages.counted(run, ())},
                        replaced=self.has_unique_keys,
                        stored=self.stored,
                    )
                noting.join()
                counted = load_packages.counted(run, _counts(normalized))
                deduplication.forget_extracted(run)
                self._write_manifests(pipeline, run, counted)
            waiting = {count.load_id for count in counted} | {*load_packages.pending(run)}
            seen = engine.collect(Path(pipeline.working_dir), waiting)
            outdated = deduplication.outdated_rows(pipeline, sorted(waiting))
        # rows that are replayed are no sample of the source: of a load's columns they tell nothing
        new = self.packaged(pipeline, run, {} if seen.outcomes else seen.profile)
        if not seen.outcomes and self._profiles_all(seen, counted):
            new = schema_changes.attach(new, schema_changes.complete(new, seen.profile))
        return Normalized(tuple(counted), seen, outdated, new)

    def _process(self, pipeline: dlt.Pipeline, run: Path) -> None:
        from dlt.common.runtime import signals

        accepted = self.accepted()
        normalized = self.normalize(pipeline, run, accepted)
        counted, seen, outdated, new = (
            normalized.counted,
            normalized.seen,
            normalized.outdated,
            normalized.schema,
        )
        with self.step("govern"):
            # rows that are replayed are expected to be bad
            if not seen.outcomes.keys() & {"replayed", "waiting"}:
                limits.check(
                    self.target.quarantine,
                    seen.quarantined,
                    sum(seen.rows.values()) + sum(outdated.values()),
                    pipeline=self.target.name,
                    stream=self.stream,
                )
            recent = self.recent(pipeline) if seen.profile and not seen.outcomes else ()
            decisions = self.govern(run, new, counted, recent, accepted)
        with self.step("load"), self.writer():
            self.holds_turn()
            pending_packages.check(run, self.what, self.stream, fully=False)
            self._refuse_overtaken(pipeline, seen, counted)
            if self.partition is not None and not any(count.rows for count in counted):
                self.clear(pipeline, self.partition)
            coming = self._package_schema(run)
            # what was sent once has made its tables, whoever knows of them
            if coming and not self.target.accept_existing and not (run / "kept").exists():
                try:
                    destinations.refuse_existing(
                        pipeline, self.schema, coming, self.stored, what=self.what
                    )
                except ConfigError:
                    load_packages.discard(run)
                    raise
            if self.stored is not None and coming:
                self.warnings += destinations.migrate(pipeline, self.stored, coming)
            corrected = destinations.update_rows(pipeline, self.schema, self.findings.updates)
            load_packages.keep(run, pipeline)
            self.history.note(
                pipeline,
                counted,
                schema_changes.held_packages.recall(run, self.stream),
                new,
                (*seen.refusals, *decisions),
                self.started_at,
                self.seconds,
            )
            with signals.intercepted_signals():
                known = self.stored and self.stored.data_tables(seen_data_only=True)
                if self.stored is not None and known:
                    destinations.replace_through_staging(pipeline, self.stored)
                elif coming and self.partition is None:
                    destinations.drop_staging_tables(pipeline, coming)
                loading = load_packages.pending(run)
                emptied = self._emptied(pipeline, run, counted)
                try:
                    self._load(pipeline)
                except Exception:
                    self.history.retract(pipeline)
                    raise
                self._sweep(pipeline, run, loading, counted)
                self.warnings += emptied
                self.stopped = signals.was_signal_received()
            load_packages.forget(run)
        self._count(counted, pipeline.schemas[self.schema])
        self.engine_rows.update(seen.rows)
        self.quarantined += seen.quarantined
        self.outcomes.update(seen.outcomes)
        self.outdated.update(outdated)
        self.warnings += (*self.findings.warnings, *corrected, *engine.told(seen.twins))
        self.skipped += self.findings.skipped
        self._remember(schema_changes.profile_of(new))
        self.decisions += (*seen.refusals, *decisions)
        self._compare(new, recent, decisions)
        self.accept(self.version(pipeline))

    @staticmethod
    def _profiles_all(seen: engine.EngineReport, counted: Sequence[load_packages.Count]) -> bool:
        """Whether all rows were counted; files that a source imports as they are were not."""
        rows = {
            table: max((each.rows for each in columns.values()), default=0)
            for table, columns in seen.profile.items()
        }
        loaded = {table: count for table, count in _rows_by_table(counted).items() if count}
        return all(rows.get(table) == count for table, count in loaded.items())

    def clear(self, pipeline: dlt.Pipeline, partition: Partition) -> None:
        """Take out what a partition held that holds nothing any more."""
        schema = pipeline.schemas[self.schema]
        tables = [table for table in schema.data_tables() if not table.get("parent")]
        roots = [str(table["name"]) for table in tables if not is_own(str(table["name"]))]
        gone = destinations.clear(pipeline, schema, roots, partition.key)
        if gone:
            self.warnings.append(f"the partition is empty now: {gone:,} rows were deleted")

    def _watches(self, run: Path, accepted: SchemaVersion | None) -> Mapping[str, QuarantineRules]:
        """How the rows of this run's packages are watched while dlt normalizes them."""
        if not self.target.quarantine.enabled:
            return {}
        gate = schema_changes.gate(
            schema_changes.held_packages.recall(run, self.stream),
            accepted,
            self.target.schema_policy,
            stream=self.stream,
            waived=schema_changes.held_packages.waived(run),
        )
        settings = self.target.quarantine
        dispositions = {*load_packages.refreshed(run).values()}
        disposition = dispositions.pop() if len(dispositions) == 1 else None
        watch = QuarantineRules(self.target.name, self.stream, settings, gate, disposition)
        return {self.schema: watch}

    def _sweep(
        self,
        pipeline: dlt.Pipeline,
        run: Path,
        load_ids: Sequence[str],
        counted: Sequence[load_packages.Count],
    ) -> None:
        """After a full refresh: take out what earlier loads left."""
        if resources := load_packages.refreshed(run):
            schema = pipeline.schemas[self.schema]
            loaded = {count.table for count in counted if count.rows}
            destinations.sweep(pipeline, schema, resources, load_ids, loaded)

    def _emptied(
        self, pipeline: dlt.Pipeline, run: Path, counted: Sequence[load_packages.Count]
    ) -> list[str]:
        """What a full refresh says of tables that it empties: the source may have failed it."""
        resources = load_packages.refreshed(run)
        if not resources or self.stored is None:
            return []
        loaded = {count.table for count in counted if count.rows}
        roots = [
            str(table["name"])
            for table in self.stored.data_tables(seen_data_only=True)
            if table.get("resource") in resources and table["name"] not in loaded
        ]
        try:
            known = destinations.row_counts(pipeline, self.stored, roots) if roots else {}
        except Exception as error:  # a count that fails must not stop the load
            return [f"rows were not counted: {destinations.redact(str(error))}"]
        return [
            f"table {root}: the source has no rows any more; the full refresh deleted {rows:,} rows"
            for root, rows in known.items()
            if rows
        ]

    def _write_manifests(
        self, pipeline: dlt.Pipeline, run: Path, counted: Sequence[load_packages.Count]
    ) -> None:
        for load_id in pipeline.list_normalized_load_packages():
            rows: Counter[str] = Counter()
            for count in counted:
                if count.load_id == load_id:
                    rows[count.table] += count.rows
            manifests.write(run, load_id, "normalized", rows)

    def note_failure(self, error: Exception) -> None:
        """Keep beside a package why it was not loaded, for `millstream pending`."""
        if self.folder is not None and isinstance(error, MillstreamError):
            with suppress(OSError):
                pending_packages.note_failure(self.folder, error)

    def _add_root_ids(self, pipeline: dlt.Pipeline) -> None:
        if pipeline.schemas.has_schema(self.schema):
            schema = pipeline.schemas[self.schema]
            if destinations.add_root_ids(schema):
                pipeline.schemas.save_schema(schema)

    def _load(self, pipeline: dlt.Pipeline) -> None:
        """Load, and try again where two runs that make the same table or dataset collide."""
        for patience in (0.5, 1.0, 2.0):
            try:
                pipeline.load()
                return
            except Exception:
                if not load_packages.untouched(pipeline):
                    raise
            sleep(patience * (0.5 + random()))  # noqa: S311 (apart, not secret)
        pipeline.load()

    def decide(
        self,
        run: Path,
        new: SchemaVersion,
        recent: Sequence[schema_changes.LoadProfile],
        accepted: SchemaVersion | None,
    ) -> tuple[Decision, ...]:
        """What the policy says of what nobody has accepted yet."""
        decisions = schema_changes.govern(
            schema_changes.held_packages.recall(run, self.stream),
            accepted,
            new,
            self.target.schema_policy,
            stream=self.stream,
            waived=self.waived | schema_changes.held_packages.waived(run),
            recent=recent,
        )
        # what should be quarantined, and yet came this far, came in a form that is not rows
        return tuple(
            replace(each, action="hold") if each.action == "quarantine" else each
            for each in decisions
        )

    def govern(
        self,
        run: Path,
        new: SchemaVersion,
        counted: Sequence[load_packages.Count],
        recent: Sequence[schema_changes.LoadProfile],
        accepted: SchemaVersion | None,
    ) -> tuple[Decision, ...]:
        """Let the policy decide before anything is sent.

        Raises:
            SchemaHeldError: it holds a change; the package waits.
        """
        decisions = self.decide(run, new, recent, accepted)
        if any(decision.action == "hold" for decision in decisions):
            rows = _rows_by_table(counted)
            error = schema_changes.held_packages.hold(
                run, self.target.name, self.stream, decisions, new, rows
            )
            # with what was loaded first of an interrupted run: one message a run
            self.tell((*self.decisions, *decisions), {**self.rows, **rows})
            raise error
        return decisions

    def _remember(self, profile: Mapping[str, Mapping[str, ColumnProfile]]) -> None:
        """Note what a package's columns held; a run may load an interrupted one's first."""
        if not any(profile.values()):
            return
        self.profile = schema_changes.pool([self.profile, profile]) if self.profile else profile

    def recent(self, pipeline: dlt.Pipeline) -> Sequence[schema_changes.LoadProfile]:
        """What each of the last loads saw; nothing where no history is kept or can be read."""
        if not self.target.history or self.loaded is None:
            return ()
        try:
            with self.writer():
                known = schema_changes.history.recent(pipeline, self.target.name, self.stream)
            if not self.profile or self.history.noted:
                return known
            # the package that this run loaded first is in no history yet
            own = schema_changes.LoadProfile(
                self.profile, schema_changes.settled(self.decisions, self.profile)
            )
            return (*known, own)
        except Exception as error:  # a help, and no condition of a load
            text = destinations.redact(str(error))
            logger.warning("%s: the schema's history was not read: %s", self.stream, text)
            return ()

    def _compare(
        self,
        new: SchemaVersion,
        recent: Sequence[schema_changes.LoadProfile],
        decisions: Sequence[Decision],
    ) -> None:
        """Remember which shares left the range of the loads before."""
        check = self.target.profile_check
        found = schema_changes.jumps(
            new,
            schema_changes.comparable(recent),
            threshold=check.threshold,
            min_rows=check.min_rows,
            explained=schema_changes.explained(decisions, schema_changes.profile_of(new)),
        )
        self.jumps.update({(jump.table, jump.column): jump for jump in found})
        self.compared_loads = max(self.compared_loads, len(recent))

    def accepted(self) -> SchemaVersion | None:
        """What people accepted of this stream; None where nobody did, or can."""
        return self.keeper.load().get(self.stream) if self.keeper else None

    def accept(self, loaded: SchemaVersion) -> None:
        """Write down what the policy let in, for the next pull request to show."""
        if self.keeper is None:
            return
        try:
            self.keeper.add(self.stream, loaded)
        except Exception as error:  # the rows are in; a project may be deployed read-only
            self.warnings.append(explain(error, self.what, self.stream, "accept").message)

    def tell(self, decisions: Sequence[Decision], rows: Mapping[str, int]) -> tuple[str, ...]:
        """Alert whom the configuration names; the alerts that could not be sent."""
        self.told = True
        if not self.target.alerts:
            return ()
        from millstream import alerts

        return alerts.send(self.target.alerts, self.target.name, self.stream, decisions, rows)

    def record(self, pipeline: dlt.Pipeline, report: RunReport) -> RunReport:
        """Append to the history of the schema; a load never fails for want of it."""
        if not self.target.history:
            return report
        try:
            with self.step("record"):
                if report.load_id in self.history.noted:
                    self.history.complete(pipeline, self.seconds)
                else:
                    schema_changes.history.record(pipeline, report)
        except MillstreamError as error:
            logger.warning("%s: the schema's history was not written: %s", self.stream, error)
            warning = f"the schema's history was not written: {error.message}"
            return replace(report, warnings=(*report.warnings, warning))
        return report

    def finish(self, left: workdir.WorkDir, *, drop: bool) -> None:
        """Load what a run that was interrupted had extracted, unless newer data got there first.

        A partition is read again instead: since then its rows may have changed, or have moved to
        another partition that was loaded meanwhile.
        """
        self.history.dead.update(load_packages.pending(left.path))
        if self.partition is not None:
            self.waived |= schema_changes.held_packages.waived(left.path)
        elif drop or self._is_mapped_now(left.path):
            self.take_out(left.path)
        elif load_packages.pending(left.path):
            try:
                try:
                    self._finish(left.path)
                except RunError as error:
                    # whatever it is, such as a file that was damaged meanwhile: there is a way out
                    error.hint = error.hint or pending_hint(self.stream)
                    raise
                self.warnings.append("loaded first what an earlier run had extracted")
            except StaleCursorError:
                logger.info("%s: an interrupted run's package is out of date: dropped", self.stream)
            except SchemaTooLargeError:
                logger.info("%s: rows of an interrupted run are too wide: read again", self.stream)
        left.remove()

    def _is_mapped_now(self, run: Path) -> bool:
        """Whether a package waits for a map to be accepted that `maps` names by now.

        Its rows are read again then, as rows of a child table.
        """
        paths = self.target.maps_of(self.stream) if isinstance(self.target, PipelineConfig) else ()
        if not paths:
            return False
        try:
            held = schema_changes.held_packages.read(run)
        except ValueError:  # damaged: the run that goes on with it says so
            return False
        accepted = schema_changes.held_packages.waived(run)
        return held is not None and any(
            change["kind"] == "map_explosion"
            and change["id"] not in accepted
            and any(schema_changes.is_map_at(path, change["column"]) for path in paths)
            for change in held.changes
        )

    def take_out(self, run: Path) -> None:
        """Take out of the destination what an interrupted load of a package had appended."""
        interrupted = load_packages.interrupted(run)
        if not interrupted:
            return
        with self.step("restore"), self.writer(), TemporaryDirectory() as folder:
            # the package may be damaged: what it loaded into is in the destination's own schema
            pipeline = self.pipeline(Path(folder))
            schema = destinations.stored_schema(pipeline, self.schema)
            if schema is None:
                return
            complete = destinations.load_ids(pipeline, self.schema)
            pipeline.schemas.save_schema(schema)
            for load_id in interrupted:
                if load_id not in complete:
                    destinations.undo(pipeline, schema, load_id)

    def _finish(self, run: Path) -> None:
        self.folder = run
        with self.step("restore"), self.writer():
            self.findings = findings.stored(run)
            load_packages.settle(run)
            pending_packages.check(run, self.what, self.stream, fully=True)
            pipeline = self.pipeline(run)
            self.loaded = destinations.loads(pipeline, self.schema)
            waiting = load_packages.pending(run)
            if self.loaded is not None and self.loaded.newest in waiting:
                # killed right after the load
                self._sweep(pipeline, run, waiting, load_packages.counted(run, ()))
            if not load_packages.began_with(run, self._standing()):
                raise StaleCursorError  # by another run; or by itself, killed right after its load
            self.stored = destinations.stored_schema(pipeline, self.schema)
            logger.info("%s: loading first what an earlier run had extracted", self.stream)
            self.history.settle(pipeline)
            before = schema_changes.held_packages.recall(run, self.stream)
            for load_id in load_packages.rewind(run, pipeline):
                destinations.undo(pipeline, pipeline.default_schema, load_id)
        self.process(pipeline, run)
        self.before = self.before or before
        with self.writer():
            self.finished = schema_changes.history.place_of(pipeline), self.report(pipeline, before)
            with suppress(Exception):  # what stays open is settled by the next run
                self.history.complete(pipeline, self.seconds)

    def interruption(self, report: RunReport | None = None) -> RunInterrupted:
        """What stops this run, with what is saved of it."""
        return interruption(
            self.what,
            self.stream,
            self.current_step,
            pending=self.folder is not None and bool(load_packages.pending(self.folder)),
            partition=self.partition is not None,
            report=report,
        )

    def salvage(self) -> None:
        """Record what was loaded of interrupted runs, where this run itself comes to nothing."""
        if self.finished is None:
            return
        place, report = self.finished
        if not self.told:
            self.tell(report.decisions, self.rows)
        if place is None or not self.target.history or report.load_id in self.history.noted:
            return
        try:
            with self.writer():
                schema_changes.history.append(place, report)
        except Exception as error:
            text = destinations.redact(str(error))
            logger.warning("%s: the schema's history was not written: %s", self.stream, text)

    def report(self, pipeline: dlt.Pipeline, before: SchemaVersion) -> RunReport:
        schema = schema_changes.attach(self.version(pipeline), self.profile)
        tables = [table.name for table in schema.tables]
        totals = self._totals(pipeline, tables)
        names = destinations.full_names(
            pipeline, self.target, [*tables, schema_changes.history.CHANGES]
        )
        appended = destinations.fallbacks(pipeline, pipeline.default_schema)
        return RunReport(
            pipeline=self.target.name,
            stream=self.stream,
            destination=self.target.destination.type,
            dataset=destinations.dataset_name(self.target),
            load_id=self.load_ids[-1] if self.load_ids else None,
            started_at=self.started_at,
            seconds=self.seconds,
            tables=tuple(
                TableLoad(
                    name=table.name,
                    parent=table.parent,
                    rows=self.rows[table.name],
                    rows_total=totals.get(table.name),
                    bytes=self.bytes[table.name],
                    full_name=names[table.name],
                )
                for table in schema.tables
            ),
            changes=self._changes(self.before or before, schema),
            schema=schema,
            engine_rows=dict(self.engine_rows),
            warnings=tuple(
                dict.fromkeys([*self.warnings, *appended, *destinations.replaced(pipeline)])
            ),
            decisions=tuple(self.decisions),
            quarantined=tuple(self.quarantined),
            replayed=dict(self.outcomes),
            outdated=dict(self.outdated),
            partition=self.partition.key if self.partition else None,
            history=names[schema_changes.history.CHANGES] if self.target.history else None,
            jumps=tuple(self.jumps.values()),
            compared_loads=self.compared_loads,
            skipped=tuple(dict.fromkeys(self.skipped)),
        )

    def _changes(self, before: SchemaVersion, schema: SchemaVersion) -> tuple[SchemaChange, ...]:
        """What changed in the schema, and in the data as far as people accepted it."""
        changes = {
            schema_changes.fingerprint(each): each for each in schema_changes.diff(before, schema)
        }
        for decision in self.decisions:
            if decision.reason == "accepted":
                changes.setdefault(schema_changes.fingerprint(decision.change), decision.change)
        position = {table.name: at for at, table in enumerate(schema.tables)}
        return tuple(sorted(changes.values(), key=lambda each: position.get(each.table, 0)))

    def _totals(self, pipeline: dlt.Pipeline, tables: Sequence[str]) -> dict[str, int | None]:
        try:
            return destinations.row_counts(pipeline, pipeline.default_schema, tables)
        except Exception as error:  # the rows are in; a count that fails must not say otherwise
            self.warnings.append(f"rows were not counted: {destinations.redact(str(error))}")
            return {}

    def version(self, pipeline: dlt.Pipeline) -> SchemaVersion:
        """The stream's tables as its pipeline knows them."""
        if not pipeline.schemas.has_schema(self.schema):  # the first run
            return SchemaVersion()
        return schema_changes.snapshot(pipeline.schemas[self.schema])

    def packaged(
        self,
        pipeline: dlt.Pipeline,
        run: Path,
        profile: Mapping[str, Mapping[str, ColumnProfile]],
    ) -> SchemaVersion:
        """The schema that the newest package would load.

        A run that was killed right after normalize left it in the package alone.
        """
        found = self._package_schema(run)
        if found is None:
            return schema_changes.attach(self.version(pipeline), profile)
        return schema_changes.snapshot(found, profile)

    @staticmethod
    def _package_schema(run: Path) -> dlt.Schema | None:
        import dlt

        found = sorted(run.glob("*/load/normalized/*/schema.json"))
        return dlt.Schema.from_dict(json.loads(found[-1].read_bytes())) if found else None

    def _count(self, counted: Sequence[load_packages.Count], schema: dlt.Schema) -> None:
        """Add what a package loaded; what it replaced of an earlier package is gone."""
        from dlt.common.schema.utils import get_write_disposition

        if self.load_ids and counted:
            for table in [*self.rows]:
                if (
                    table in schema.tables
                    and get_write_disposition(schema.tables, table) == "replace"
                ):
                    self.rows[table] = self.bytes[table] = 0
        for count in counted:
            if count.load_id not in self.load_ids:
                self.load_ids.append(count.load_id)
            self.rows[count.table] += count.rows
            self.bytes[count.table] += count.bytes


@contextmanager
def raising_signals() -> Iterator[None]:
    """Let dlt finish what it is doing on Ctrl-C or SIGTERM, then stop, done or not.

    dlt forgets a signal that arrives while its step ends.
    """
    from dlt.common.runtime import signals

    with signals.intercepted_signals():
        yield
        signals.raise_if_signalled()


def coercion_of(target: TargetConfig) -> engine.Coercion:
    """How the rows of a pipeline are typed."""
    is_exact = target.coercion == "exact"
    return engine.Coercion(exact=is_exact, detect_timestamps=target.detect_timestamps)


def _rows_by_table(counted: Sequence[load_packages.Count]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for count in counted:
        rows[count.table] += count.rows
    return rows


def _plain(name: str) -> str:
    """A name as folders, dlt pipelines and dlt schemas may be called."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    # two streams must never share state: `a.b` and `a_b` are told apart by a digest
    if plain != name:
        plain += "_" + sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]
    return _shortened(plain, _PART_OF_NAME)


_SCHEMA_NAME = 64  # dlt allows no more
_PART_OF_NAME = 100  # two of them make the name of a folder, which most systems cut at 255


def _shortened(name: str, limit: int) -> str:
    """The name; beyond the limit its beginning, with a digest of all of it."""
    if len(name) <= limit:
        return name
    digest = sha1(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return f"{name[: limit - 11].rstrip('_')}_{digest}"


def _resources(opened: Any) -> list[Any]:
    import dlt

    if isinstance(opened, dlt.sources.DltSource):
        return list(opened.selected_resources.values())
    return [opened]


def _counts(normalized: Mapping[str, Sequence[NormalizeMetrics]]) -> list[load_packages.Count]:
    """What was normalized, by load and table; dlt's own tables left out."""
    return [
        load_packages.Count(load_id, table, counted.items_count, counted.file_size)
        for load_id, metrics in normalized.items()
        for metric in metrics
        for table, counted in metric["table_metrics"].items()
        if not is_own(table) and not table.lower().startswith("_dlt")
    ]
