"""What Python code hands over, as what dlt extracts: rows, resources, a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from millstream.errors import ConfigError

if TYPE_CHECKING:
    from dlt.sources import DltResource, DltSource


@dataclass(frozen=True, slots=True)
class LoadHints:
    """How the rows are loaded; what is None stays as the data itself says.

    Attributes:
        table_name: the table of a single resource.
        primary_key: a column, or several. Plain rows are then merged on it.
        write_disposition: `append`, `replace` or `merge`, or a mapping, as dlt takes it.
    """

    table_name: str | None = None
    primary_key: str | Sequence[str] | None = None
    write_disposition: Any = None


def as_extractable(
    data: Any, stream: str | None, hints: LoadHints
) -> tuple[str, DltSource | DltResource]:
    """The name of the stream, and what it extracts; whatever `data` is stays as it was.

    Args:
        data: a dlt source or resource, a list of resources, or any iterable of rows.

    Raises:
        ConfigError: no name, or hints that don't fit what `data` is.
    """
    import dlt

    name = stream or getattr(data, "name", None)
    several = _resources(data)
    if several is not None and len(several) == 1:
        name, data = name or several[0].name, several[0]
    elif several is not None and not name:
        raise ConfigError(
            f"{len(several)} resources have no name in common: "
            f"{', '.join(each.name for each in several)}",
            hint="pass stream='a_name'; each resource makes its own table",
        )
    if not name:
        raise ConfigError("this data has no name", hint="pass stream='the_table'")
    if isinstance(data, dlt.sources.DltSource):
        data = data.clone()
        _apply(list(data.selected_resources.values()), hints)
    elif several is not None and len(several) > 1:
        cloned = [each.with_name(each.name) for each in several]
        _apply(cloned, hints)
        data = dlt.sources.DltSource(dlt.Schema("resources"), "", cloned)
    elif isinstance(data, dlt.sources.DltResource):
        if hints != LoadHints():
            data = data.with_name(data.name)
            _apply([data], hints)
    else:
        data = dlt.resource(data, name=name)
        disposition = hints.write_disposition or ("merge" if hints.primary_key else None)
        _apply([data], replace(hints, write_disposition=disposition))
    return name, data


def _resources(data: Any) -> list[DltResource] | None:
    """The resources of a list of them; None of anything else.

    Raises:
        ConfigError: a list that also has something else.
    """
    import dlt

    if not isinstance(data, (list, tuple)) or not data:
        return None
    if not any(isinstance(e, (dlt.sources.DltResource, dlt.sources.DltSource)) for e in data):
        return None
    for each in data:
        if not isinstance(each, dlt.sources.DltResource):
            raise ConfigError(
                f"a list of resources also has a {type(each).__name__}",
                hint="run each dlt source, and rows, on their own",
            )
    return list(data)


def _apply(resources: Sequence[DltResource], hints: LoadHints) -> None:
    if hints.table_name and len(resources) > 1:
        raise ConfigError(
            f"table_name={hints.table_name!r} names one table, and there are {len(resources)} "
            f"resources: {', '.join(each.name for each in resources)}",
            hint="name the table of each resource, or run each on its own",
        )
    key = hints.primary_key
    given = {
        "table_name": hints.table_name,
        "primary_key": key if key is None or isinstance(key, str) else list(key),
        "write_disposition": hints.write_disposition,
    }
    if wanted := {name: value for name, value in given.items() if value is not None}:
        for resource in resources:
            resource.apply_hints(**wanted)
