"""What a declarative configuration says of one of its resources, defaults included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def incremental_of(made: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What dlt's `incremental` of a resource is made of; None where it has none."""
    defaults = (made.get("resource_defaults") or {}).get("endpoint") or {}
    own = next(
        (
            each.get("endpoint")
            for each in made["resources"]
            if isinstance(each, dict) and each.get("name") == name
        ),
        None,
    )
    endpoint = {**defaults, **own} if isinstance(own, dict) else defaults
    if not isinstance(endpoint, dict):
        return None
    found = endpoint.get("incremental") or next(
        (
            value
            for value in (endpoint.get("params") or {}).values()
            if isinstance(value, dict) and value.get("type") == "incremental"
        ),
        None,
    )
    not_its = ("type", "start_param", "end_param", "convert", "transform")
    return {k: v for k, v in found.items() if k not in not_its} if found else None


def is_emptied(disposition: Any) -> bool:
    """Whether rows that a run does not bring are taken out of the table, or closed there."""
    if isinstance(disposition, Mapping):
        return disposition.get("disposition") == "replace" or disposition.get("strategy") == "scd2"
    return bool(disposition == "replace")


def comes_in_parts(written: Mapping[str, Any], name: str) -> bool:
    """Whether a part of a resource's rows may be loaded: requests ask for those behind it."""
    incremental = incremental_of(written, name)
    if incremental is None or incremental.get("row_order") != "asc":
        return False
    only = {"cursor_path", "initial_value", "primary_key", "row_order", "range_start"}
    if any(value is not None for key, value in incremental.items() if key not in only):
        return False  # such as `lag` or `end_value`
    defaults = written.get("resource_defaults") or {}
    own = next((each for each in written["resources"] if _name_of(each) == name), None)
    merged = {**defaults, **own} if isinstance(own, Mapping) else defaults
    endpoints = [each.get("endpoint") for each in (defaults, merged)]
    steps = merged.get("processing_steps") or ()
    return (
        any(_asks_from_cursor(each) for each in endpoints)
        # one that changes a row may change its cursor
        and not any({"map", "yield_map"} & {*step} for step in steps)
        and not is_emptied(merged.get("write_disposition"))
    )


def _name_of(resource: Any) -> Any:
    return resource if isinstance(resource, str) else resource.get("name")


def _asks_from_cursor(value: Any) -> bool:
    if isinstance(value, Mapping):
        return (
            value.get("type") == "incremental"
            or bool(value.get("start_param"))
            or any(map(_asks_from_cursor, value.values()))
        )
    starts = ("{incremental.start_value", "{incremental.last_value")
    return isinstance(value, str) and any(start in value for start in starts)
