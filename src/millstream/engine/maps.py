"""Resources whose rows hold objects used as maps: child tables instead of a column per key."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.dlt_compat.pipes import is_import
from millstream.errors import ConfigError
from millstream.formats.object_maps import as_lists

if TYPE_CHECKING:
    from dlt.sources import DltResource

_LONG_INTEGER = re.compile(rb"\d{19}")


def apply(resource: DltResource, maps: Sequence[str]) -> DltResource:
    """Let a resource yield its rows with these maps as lists; paths are dotted, `a.b`."""
    import orjson

    paths = [tuple(each.split(".")) for each in maps]
    if any(not all(path) for path in paths):
        raise ConfigError(f"maps: not all of {list(maps)} are paths", hint="such as `a` or `a.b`")

    def convert(row: Any, meta: Any = None) -> Any:
        if is_import(meta):
            raise ConfigError(
                f"stream {resource.name!r} hands on files as they are, whose rows have no maps "
                "taken apart",
                hint="yield their rows, or take the stream out of `maps`",
            )
        if not isinstance(row, orjson.Fragment):
            return as_lists(row, paths)
        text = orjson.dumps(row)
        if not _LONG_INTEGER.search(text):
            return as_lists(orjson.loads(text), paths)
        # orjson rounds integers beyond 64 bits; Python keeps them, and they travel as text
        return orjson.Fragment(json.dumps(as_lists(json.loads(text), paths)).encode())

    return resource.add_map(convert) if paths else resource
