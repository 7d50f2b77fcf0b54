"""Any dlt source or resource, named by `package.module:function`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import DltConfig
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.model import Check, Stream

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

    def open(self, stream: str, *, full_refresh: bool = False) -> DltSource:
        # a fresh call for each run: dlt's sources hold generators, which run out
        source = self._build()
        if stream not in source.resources:
            close = get_close_matches(stream, source.resources, n=1)
            raise SourceNotFoundError(
                f"{self.config.path} has no resource {stream!r}",
                hint=f"did you mean {close[0]!r}?"
                if close
                else "it has " + ", ".join(sorted(source.resources)),
            )
        return source.with_resources(stream)

    def check(self) -> Sequence[Check]:
        try:
            names = ", ".join(self._source.selected_resources)
        except ConfigError as error:
            return [Check("source", False, error.message, error.hint)]
        return [Check("source", True, f"{self.config.path} offers {names}")]

    @cached_property
    def _source(self) -> DltSource:
        return self._build()

    def _build(self) -> DltSource:
        from dlt.sources import DltResource, DltSource

        made = self._function()(**self.config.arguments)
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
            raise ConfigError(f"source path {self.config.path!r}: {error}") from error
        if not callable(function):
            raise ConfigError(f"source path {self.config.path!r} is not callable")
        return function  # type: ignore[no-any-return]


def _as_source(resource: DltResource) -> DltSource:
    import dlt
    from dlt.sources import DltSource

    return DltSource(dlt.Schema(resource.name), resource.section or resource.name, [resource])
