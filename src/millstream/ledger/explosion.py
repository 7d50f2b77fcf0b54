"""Objects used as maps: `{"0df0": {...}, "3f1a": {...}}` becomes a column per key and leaf."""

from __future__ import annotations

import re
from collections.abc import Iterator

from millstream.model import SchemaChange, Table

SEPARATOR = "__"
KEYS = 20
"""So many new keys of one object in one run, and it may be a map."""
ALIKE = 0.8
"""The share of the keys that must have the commonest shape."""

# ids, hashes, dates: digits in bulk or a long hexadecimal word; `field_1` is none of them
_GENERATED = re.compile(r"\d{3,}|(?=[a-f_]*\d)[0-9a-f_]{8,}", re.ASCII)


def explosions(old: Table | None, new: Table) -> Iterator[SchemaChange]:
    """Objects that got `KEYS` or more new keys of one shape at once, outermost first."""
    known = set(old.column) if old else set()
    # object -> key -> the shape of what lies below the key
    objects: dict[str, dict[str, dict[str, str]]] = {}
    for column in new.columns:
        if column.name in known or column.variant_of is not None:
            continue
        parts = column.name.split(SEPARATOR)
        for end in range(len(parts)):
            if not all(parts[: end + 1]):
                break  # `_dlt_id` and the like
            inside = objects.setdefault(SEPARATOR.join(parts[:end]), {})
            inside.setdefault(parts[end], {})[SEPARATOR.join(parts[end + 1 :])] = column.data_type
    known_objects = {
        SEPARATOR.join(name.split(SEPARATOR)[:end])
        for name in known
        for end in range(1, name.count(SEPARATOR) + 2)
    }
    told: list[str] = []
    for name, keys in sorted(objects.items(), key=lambda item: item[0].count(SEPARATOR)):
        if any(
            name == outer or name.startswith(f"{outer}{SEPARATOR}") or not outer for outer in told
        ):
            continue
        fresh = {
            key: shape
            for key, shape in keys.items()
            if (f"{name}{SEPARATOR}{key}" if name else key) not in known_objects
        }
        if not _is_map(fresh):
            continue
        told.append(name)
        columns = sum(len(shape) for shape in fresh.values())
        example = min(fresh)
        where = f"`{name}`" if name else f"rows of `{new.name}`"
        yield SchemaChange(
            "map_explosion",
            new.name,
            name or None,
            None,
            f"{columns} columns",
            "risky",
            f"{where}: {len(fresh):,} new keys of the same shape (`{example}`, ...) became "
            f"{columns:,} columns; it looks like a map, whose keys are data",
        )


def _is_map(keys: dict[str, dict[str, str]]) -> bool:
    if len(keys) < KEYS:
        return False
    objects = {key: shape for key, shape in keys.items() if "" not in shape}
    if len(objects) >= ALIKE * len(keys):
        # a leaf that is null in one entry is missing there: compare what most entries have
        counts: dict[str, int] = {}
        for shape in objects.values():
            for leaf in shape:
                counts[leaf] = counts.get(leaf, 0) + 1
        common = {leaf for leaf, count in counts.items() if count >= ALIKE * len(objects)}
        alike = sum(common <= shape.keys() and bool(common) for shape in objects.values())
        return len(counts) <= max(8, 3 * len(common)) and alike >= ALIKE**2 * len(keys)
    types = [shape[""] for shape in keys.values() if "" in shape]
    if len(types) < ALIKE * len(keys) or len(set(types)) > 1:
        return False
    return sum(bool(_GENERATED.search(key)) for key in keys) >= ALIKE * len(keys)
