"""Any dlt source or resource, named by `package.module:function`.

A partition reaches it in two ways, either of which is enough to read that part alone: as arguments
of the function (`partitions.arguments`), and as initial and end value of a resource's own
`dlt.sources.incremental`. Whatever comes is then checked row by row: only what belongs to the
partition is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import DltConfig
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import Check, Partition, Stream
from millstream.sources.partition import require_field, rows_of

if TYPE_CHECKING:
    from dlt.sources import DltResource, DltSource


class DltSourceAdapter:
    """Loads each selected resource of a dlt source as a stream of its own."""

    def __init__(self, config: DltConfig) -> None:
        self.config = config

    def streams(self) -> Sequence[Stream]:
        """The configured names, or, where none are given, what the source itself selects."""
        if self.config.streams:
            return [Stream(name) for name in self.config.streams]
        return [Stream(name) for name in self._source.selected_resources]

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltSource:
        # a fresh call for each run: dlt's sources hold generators, which run out
        source = self._build(partition)
        if stream not in source.resources:
            close = get_close_matches(stream, source.resources, n=1)
            raise SourceNotFoundError(
                f"{self.config.path} has no resource {stream!r}",
                hint=f"did you mean {close[0]!r}?"
                if close
                else "it has " + ", ".join(sorted(source.resources)),
            )
        source = source.with_resources(stream)
        if partition is not None:
            _confine(source.resources[stream], partition)
        return source

    def check(self) -> Sequence[Check]:
        try:
            names = ", ".join(self._source.selected_resources)
        except ConfigError as error:
            return [Check("source", False, error.message, error.hint)]
        return [Check("source", True, f"{self.config.path} offers {names}")]

    @cached_property
    def _source(self) -> DltSource:
        return self._build()

    def _build(self, partition: Partition | None = None) -> DltSource:
        from dlt.sources import DltResource, DltSource

        made = self._function()(**{**self.config.arguments, **_arguments(partition)})
        if isinstance(made, DltSource):
            return made
        if isinstance(made, DltResource):
            return _as_source(made)
        raise ConfigError(
            f"{self.config.path} returned {type(made).__name__}, not a dlt source or resource",
            hint="decorate it with @dlt.source or @dlt.resource",
        )

    def _function(self) -> Callable[..., Any]:
        module_name, _, name = self.config.path.partition(":")
        if (
            str(Path.cwd()) not in sys.path
        ):  # as `python -m` would have it; `millstream` is a script
            sys.path.insert(0, str(Path.cwd()))
        try:
            function = getattr(import_module(module_name), name)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"source path {self.config.path!r}: {error}",
                hint="the module must be importable from the project's folder or installed",
            ) from error
        except AttributeError as error:
            close = get_close_matches(name, dir(import_module(module_name)), n=1)
            raise ConfigError(
                f"source path {self.config.path!r}: {error}",
                hint=f"did you mean {close[0]!r}?"
                if close
                else "name a function that returns a dlt source or resource",
            ) from error
        if not callable(function):
            raise ConfigError(
                f"source path {self.config.path!r} is not callable",
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


def _confine(resource: DltResource, partition: Partition) -> None:
    """Let a resource yield the rows of a partition alone."""
    import dlt

    what = f"stream {resource.name!r}"
    field = require_field(partition, what)
    if resource.incremental is not None and partition.window is not None:
        start, end = _bounds(partition, *partition.window)
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
        return next(rows_of(partition, [item], what), None)

    resource.add_map(mine)
    resource.add_filter(lambda row: row is not None)


def _bounds(partition: Partition, start: datetime, end: datetime) -> tuple[Any, Any]:
    """What a resource's own incremental is to begin and end with; never too narrow."""
    if partition.cursor_type in ("epoch", "epoch_ms"):
        unit = 1000 if partition.cursor_type == "epoch_ms" else 1
        return int(start.timestamp()) * unit, int(end.timestamp()) * unit
    if partition.cursor_type == "timestamp":
        return start, end
    # dates and texts of other time zones, or written otherwise, compare otherwise
    start, end = start - timedelta(days=2), end + timedelta(days=2)
    if partition.cursor_type == "date":
        return start.date(), end.date()
    return start.strftime("%Y-%m-%dT%H:%M:%SZ"), end.strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_source(resource: DltResource) -> DltSource:
    import dlt
    from dlt.sources import DltSource

    return DltSource(dlt.Schema(resource.name), resource.section or resource.name, [resource])
