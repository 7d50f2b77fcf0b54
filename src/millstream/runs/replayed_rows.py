"""Rows from quarantine as what a run extracts in place of its source, with the stream's own hints.

Each travels in an envelope that names its entry, so that the row and the note that it no longer
waits are one package: they land together, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream.quarantine import envelope
from millstream.quarantine.store import Entry

if TYPE_CHECKING:
    import dlt
    from dlt.common.schema.typing import TTableSchema
    from dlt.sources import DltResource

    from millstream.runs.quarantine_replay import Plan

_NOT_OF_ROWS = ("x-merge-strategy", "x-merge-destination-scope", "x-normalizer")


def extractable(opened: Any, schema: dlt.Schema, made: Plan) -> Any:
    """What to extract in place of `opened`: the rows of a plan, with the stream's hints.

    A resource for each of the stream's own; rows of one that names its table by the row are marked.
    """
    import orjson
    from dlt.sources import DltSource

    parts: dict[str, _Part] = {}
    for entry, text in made.rows:
        resource, table = target(opened, schema, entry, text)
        item = envelope.replay(entry.without_document(), orjson.Fragment(text))
        part = parts.setdefault(resource.name, _Part(resource, table))
        part.items.append((table, orjson.Fragment(orjson.dumps(item))))
    for entry in made.superseded:
        resource, table = target(opened, schema, entry, "")
        part = next(iter(parts.values()), None) or _Part(resource, table)
        parts.setdefault(part.resource.name, part)
        item = envelope.superseded(entry.without_document())
        part.items.append((part.table, orjson.Fragment(orjson.dumps(item))))
    if not parts:
        return nothing()
    resources = [part.extractable() for part in parts.values()]
    if isinstance(opened, DltSource):
        return DltSource(opened.schema, opened.section, resources)
    return resources[0]


@dataclass
class _Part:
    """What of a plan goes to one resource.

    Attributes:
        table: that of its first row.
        items: with the table of each.
    """

    resource: Any
    table: TTableSchema
    items: list[tuple[TTableSchema, Any]] = field(default_factory=list)

    def extractable(self) -> DltResource:
        """A resource of these items that lands as the stream's own does, and replaces nothing."""
        import dlt

        def items() -> Iterator[Any]:
            for table, item in self.items:
                if table["name"] == self.table["name"]:
                    yield item
                else:
                    marks = dlt.mark.make_hints(**_hints(table))
                    yield dlt.mark.with_hints(item, marks, create_table_variant=True)

        make: Any = dlt.resource
        hints = _hints(self.table)
        further = hints.pop("additional_table_hints")
        made: DltResource = make(items, name=self.resource.name, **hints)
        return made.apply_hints(additional_table_hints=further) if further else made


def nothing() -> DltResource:
    """What to extract where nothing waits."""
    import dlt

    made: DltResource = dlt.resource([], name="nothing")
    return made


def _hints(table: Any) -> dict[str, Any]:
    """How a table is written, as the arguments of a resource."""
    disposition = table.get("write_disposition") or "append"
    if disposition == "replace":  # what the last load left, and these rows
        disposition = "append"
    if disposition == "merge" and "x-merge-strategy" in table:
        disposition = {"disposition": "merge", "strategy": table["x-merge-strategy"]}
    further = {
        name: value
        for name, value in table.items()
        if name.startswith("x-") and name not in _NOT_OF_ROWS
    }
    return {
        "table_name": table["name"],
        "write_disposition": disposition,
        "columns": table.get("columns"),
        "schema_contract": table.get("schema_contract"),
        "additional_table_hints": further,
    }


def target(opened: Any, schema: dlt.Schema, entry: Entry, text: str) -> tuple[Any, TTableSchema]:
    """The resource that a row came from, and the root table that it goes to.

    Args:
        text: of the row: a resource may choose the table by it.
    """
    from dlt.sources import DltSource

    resources = [opened]
    if isinstance(opened, DltSource):
        resources = list(opened.selected_resources.values())
    wanted = str(entry.fields["table_name"])
    tables = [(each, _table(each, schema, wanted, text)) for each in resources]
    separator = schema.naming.PATH_SEPARATOR
    fitting = [
        (resource, table)
        for resource, table in tables
        if f"{wanted}{separator}".startswith(f"{table['name']}{separator}")
    ]
    return max(fitting or tables[:1], key=lambda found: len(str(found[1]["name"])))


def _table(resource: Any, schema: dlt.Schema, wanted: str, text: str) -> TTableSchema:
    """A resource's root table as its source declares it, else as it was last loaded."""
    normalize = schema.naming.normalize_tables_path
    try:
        table: TTableSchema = resource.compute_table_schema(decoded(text))
        return {**table, "name": normalize(str(table["name"]))}
    except Exception:  # its hints depend on the row, which can't be read
        root: Any = schema.tables.get(wanted)
        while root is not None and root.get("parent"):
            root = schema.tables.get(root["parent"])
        if root is not None and root.get("resource") == resource.name:
            return root  # type: ignore[no-any-return]
        name = normalize(resource.name)
        return schema.tables.get(name) or {"name": name, "columns": {}}


def decoded(text: str) -> Any:
    """The row of a text, as its source had it; None where it is none."""
    from dlt.common.json import custom_pua_decode_nested
    from dlt.common.json import json as typed

    from millstream.formats import typed_json

    try:
        return typed_json.decode(custom_pua_decode_nested(typed.loads(text)))
    except ValueError:
        return None
