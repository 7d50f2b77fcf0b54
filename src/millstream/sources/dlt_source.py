"""Any dlt source or resource, named by `package.module:function`.

A partition reaches it in two ways, either of which is enough to read that part alone: as arguments
of the function (`partitions.arguments`), and as initial and end value of a resource's own
`dlt.sources.incremental`. Whatever comes is then checked row by row: only what belongs to the
partition is loaded.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import DltConfig
from millstream.dlt_compat.pipes import pipe_of
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import Check, Partition, Stream
from millstream.sources.partition import MILLISECONDS, require_field, rows_of

if TYPE_CHECKING:
    from dlt.sources import DltResource, DltSource

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class DltSourceAdapter:
    """Loads each selected resource of a dlt source as a stream of its own.

    Args:
        label: what the source is called in messages.
        streams: the resources to load; all that the source selects where there are none.
        groups: resources that are loaded together, by the stream's name.
        build: makes the source, of one partition where there is one.
    """

    def __init__(
        self,
        label: str,
        *,
        streams: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
        build: Callable[[Partition | None], DltSource],
    ) -> None:
        self._label = label
        self._named = tuple(streams)
        self._groups = groups or {}
        self._build = build

    @classmethod
    def of_function(cls, config: DltConfig) -> DltSourceAdapter:
        """The source that a function makes, which `path` names."""
        return cls(
            config.path,
            streams=config.streams,
            groups=config.stream_groups,
            build=lambda partition: _called(config, partition),
        )

    def streams(self) -> Sequence[Stream]:
        """The configured names, or, where none are given, what the source itself selects.

        Resources that load into one table are one stream, called after the table.

        Raises:
            ConfigError: a group has a resource that the source does not have.
        """
        groups = {name: tuple(members) for name, members in self._groups.items()}
        names = self._named or tuple(self._source.selected_resources)
        if not self._named:
            groups = {**self._by_table(names, groups), **groups}
        grouped = {member: name for name, members in groups.items() for member in members}
        found = dict.fromkeys(grouped.get(name, name) for name in names)
        return [self._stream(name, tuple(groups.get(name, ()))) for name in found]

    def _stream(self, name: str, members: tuple[str, ...]) -> Stream:
        if self._named:  # the module is not imported to see
            return Stream(name, members=members, has_own_table=not members)
        named = self._source.resources
        resources = [named[each] for each in members or (name,) if each in named]
        tables = {str(each.table_name) for each in resources}
        if len(tables) != 1 or any(each.has_dynamic_table_name for each in resources):
            return Stream(name, members=members, has_own_table=False)
        table = self._source.schema.naming.normalize_tables_path(tables.pop())
        return Stream(name, members=members, table="" if table == name else table)

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltSource:
        # a fresh call for each run: dlt's sources hold generators, which run out
        source = self._build(partition)
        members = next((each.members for each in self.streams() if each.name == stream), ())
        for name in members or (stream,):
            self._require(source, name)
        self._refuse_shared_table(source, members or (stream,))
        source = source.with_resources(*(members or (stream,)))
        if partition is not None:
            for resource in source.selected_resources.values():
                initial = self._initial_value(resource)
                _confine(resource, partition, self._takes_window(resource.name), initial)
        return source

    def _require(self, source: DltSource, name: str) -> None:
        if name in source.resources:
            return
        close = get_close_matches(name, source.resources, n=1)
        raise SourceNotFoundError(
            f"{self._label} has no resource {name!r}",
            hint=f"did you mean {close[0]!r}?"
            if close
            else "it has " + ", ".join(sorted(source.resources)),
        )

    def _by_table(
        self, names: Sequence[str], groups: Mapping[str, Sequence[str]]
    ) -> dict[str, tuple[str, ...]]:
        """The resources that load into one table, where no group has them yet."""
        grouped = {member for members in groups.values() for member in members}
        free = [name for name in names if name not in grouped]
        found: dict[str, tuple[str, ...]] = {}
        for table, members in _tables(self._source, free).items():
            if len(members) > 1:
                is_taken = table in groups or (table in names and table not in members)
                found["_and_".join(members) if is_taken else table] = tuple(members)
        return found

    def _refuse_shared_table(self, source: DltSource, members: Sequence[str]) -> None:
        """Stop where a resource of another stream loads into a table of this one's.

        Raises:
            ConfigError: each would drop, replace or change the other's rows and columns.
        """
        every = self._named or tuple(source.selected_resources)
        known = [name for name in dict.fromkeys((*every, *members)) if name in source.resources]
        for table, sharing in _tables(source, known).items():
            others = [name for name in sharing if name not in members]
            if others and len(others) < len(sharing):
                together = ", ".join(sharing)
                raise ConfigError(
                    f"the resources {together} load into one table, {table!r}: as streams of their "
                    "own each would replace the other's rows and columns",
                    hint=f"load them as one stream: `stream_groups: {{{table}: [{together}]}}` "
                    "under `source`",
                )

    def check(self) -> Sequence[Check]:
        try:
            names = ", ".join(self._source.selected_resources)
        except ConfigError as error:
            return [Check("source", False, error.message, error.hint)]
        return [Check("source", True, f"{self._label} offers {names}")]

    @cached_property
    def _source(self) -> DltSource:
        return self._build(None)

    def _takes_window(self, name: str) -> bool:
        """Whether an incremental may be given to a resource that takes one and has none."""
        return True

    def _initial_value(self, resource: DltResource) -> Any:
        """What a resource's own incremental begins with; None where nothing tells."""
        own = _incremental_of(resource)
        return None if own is None else own.initial_value


def _called(config: DltConfig, partition: Partition | None) -> DltSource:
    from dlt.sources import DltResource, DltSource

    made = import_object(config.path)(**{**config.arguments, **_arguments(partition)})
    if isinstance(made, DltSource):
        return made
    if isinstance(made, DltResource):
        return _as_source(made)
    raise ConfigError(
        f"{config.path} returned {type(made).__name__}, not a dlt source or resource",
        hint="decorate it with @dlt.source or @dlt.resource",
    )


def search_modules_in(project: Path) -> None:
    """Let the modules of a project be found, installed or not, and from wherever it is run."""
    here, packages = str(project.resolve()), project.resolve() / "src"
    if here not in sys.path:  # as `python -m` would have it; `millstream` is a script
        sys.path.insert(0, here)
    if packages.is_dir() and str(packages) not in sys.path:  # of a project not installed yet
        sys.path.append(str(packages))


def import_object(path: str) -> Callable[..., Any]:
    """The function that `package.module:name` names, in the project's folder or installed.

    Raises:
        ConfigError: there is none.
    """
    module_name, _, name = path.partition(":")
    search_modules_in(Path.cwd())
    try:
        function = getattr(import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"source path {path!r}: {error}",
            hint="the module must be in the project's folder, in its `src`, or installed",
        ) from error
    except AttributeError as error:
        close = get_close_matches(name, dir(import_module(module_name)), n=1)
        raise ConfigError(
            f"source path {path!r}: {error}",
            hint=f"did you mean {close[0]!r}?"
            if close
            else "name a function that returns a dlt source or resource",
        ) from error
    if not callable(function):
        raise ConfigError(
            f"source path {path!r} is not callable",
            hint="name a function that returns a dlt source or resource",
        )
    return function  # type: ignore[no-any-return]


def _arguments(partition: Partition | None) -> dict[str, Any]:
    if partition is None:
        return {}
    found = {"start": partition.start, "end": partition.end, "key": partition.value}
    if partition.value is None:
        found["key"] = partition.key
    return {name: found[what] for what, name in partition.arguments.items()}


def _tables(source: DltSource, names: Sequence[str]) -> dict[str, list[str]]:
    """The resources that load into each table; those that choose a table by the row are in none."""
    found: dict[str, list[str]] = {}
    for name in names:
        table = source.resources[name].table_name if name in source.resources else None
        if isinstance(table, str):
            found.setdefault(source.schema.naming.normalize_tables_path(table), []).append(name)
    return found


def _confine(
    resource: DltResource, partition: Partition, gives_incremental: bool, initial: Any
) -> None:
    """Let a resource yield the rows of a partition alone.

    Args:
        initial: what its incremental begins with, which tells what it compares.
    """
    import dlt

    what = f"stream {resource.name!r}"
    field = require_field(partition, what)
    incremental = _incremental_of(resource)
    own = None if incremental is None else str(incremental.cursor_path)
    if own is not None and own != field:
        raise ConfigError(
            f"{what}: its own incremental reads by {own!r}, and partitions go by {field!r}: "
            "rows of a partition would be missed",
            hint=f"set `cursor: {own}` under `partitions`, or give the resource no incremental "
            "and the window as `partitions.arguments`",
        )
    takes_bounds = resource.incremental is not None and (own is not None or gives_incremental)
    bounds: tuple[Any, Any] | None = None
    if takes_bounds and partition.window is not None:
        start, end = bounds = _bounds(partition.cursor_type, initial, *partition.window)
        resource.apply_hints(
            incremental=dlt.sources.incremental(field, initial_value=start, end_value=end)
        )

    def mine(item: Any) -> Any:
        if not isinstance(item, Mapping):
            raise ConfigError(
                f"{what} yields {type(item).__name__}, and only rows that are dicts can be told "
                "apart by partitions",
                hint="yield dicts or lists of dicts",
            )
        row = next(rows_of(partition, [item], what), None)
        if row is not None and bounds is not None:
            _require_within(bounds, row, field, what)
        return row

    # before the incremental, which dlt keeps at the end
    resource.add_map(mine)
    resource.add_filter(lambda row: row is not None)


def _require_within(bounds: tuple[Any, Any], row: Mapping[str, Any], field: str, what: str) -> None:
    """
    Raises:
        ConfigError: a row of the partition, which its incremental would drop.
    """
    value: Any = row
    for name in field.split("."):
        value = value[name]
    start, end = bounds
    try:
        is_within = isinstance(value, datetime) or start <= value < end
    except TypeError:
        is_within = False
    if not is_within:
        raise ConfigError(
            f"{what}: {field!r} of a row is {value!r}, and its incremental compares with {start!r}",
            hint="set `cursor_type` under `partitions` to what the field holds: text, date, "
            "timestamp, epoch (seconds) or epoch_ms",
        )


def _incremental_of(resource: DltResource) -> Any:
    """A resource's own `dlt.sources.incremental`; None where it has none."""
    import dlt

    made = getattr(resource.incremental, "incremental", resource.incremental)
    if isinstance(made, dlt.sources.incremental):
        return made
    generator = pipe_of(resource).gen
    if not callable(generator):
        return None
    # of an argument's default the wrapper makes one only when it extracts
    defaults = (each.default for each in inspect.signature(generator).parameters.values())
    return next((each for each in defaults if isinstance(each, dlt.sources.incremental)), None)


def _bounds(kind: str | None, initial: Any, start: datetime, end: datetime) -> tuple[Any, Any]:
    """What a resource's own incremental is to begin and end with; never too narrow.

    Args:
        kind: the `cursor_type`; None: that of `initial`, whose form texts have, too.
    """
    kind = kind or _cursor_type(initial)
    if kind in ("epoch", "epoch_ms"):
        unit = 1000 if kind == "epoch_ms" else 1
        return int(start.timestamp()) * unit, int(end.timestamp()) * unit
    if kind == "timestamp":
        return start, end
    # dates and texts of other time zones, or written otherwise, compare otherwise
    start, end = start - timedelta(days=2), end + timedelta(days=2)
    if kind == "date":
        return start.date(), end.date()
    is_day = isinstance(initial, str) and _DAY.fullmatch(initial) is not None
    form = "%Y-%m-%d" if is_day else "%Y-%m-%dT%H:%M:%SZ"
    return start.strftime(form), end.strftime(form)


def _cursor_type(initial: Any) -> str:
    if isinstance(initial, str):
        return "text"
    if isinstance(initial, (int, float)):  # of a small one rows say whether it was right
        return "epoch_ms" if abs(initial) >= MILLISECONDS else "epoch"
    return (
        "date" if isinstance(initial, date) and not isinstance(initial, datetime) else "timestamp"
    )


def _as_source(resource: DltResource) -> DltSource:
    import dlt
    from dlt.sources import DltSource

    return DltSource(dlt.Schema(resource.name), resource.section or resource.name, [resource])
