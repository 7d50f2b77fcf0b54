"""dbt's file of sources: written from the accepted schema, and updated without a word of people's.

Format: https://docs.getdbt.com/reference/source-properties
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from millstream.errors import ConfigError
from millstream.model import Column, Table

_LINKS = {
    "_dlt_load_id": "The load that brought the row: `load_id` of `_dlt_loads`.",
    "_dlt_id": "The row.",
    "_dlt_parent_id": "The row that held it: `_dlt_id` of its parent table.",
    "_dlt_list_idx": "Its place in the list, from 0.",
    "_dlt_root_id": "The row of the stream's own table that it belongs to: `_dlt_id` there.",
}
_OURS = ("data_type", "schema", "loader")
"""What is brought up to date; all else is written once, and then belongs to people."""
_YAML_1_1: Any = Resolver()
_TEXT = "tag:yaml.org,2002:str"
_NAMED = ("sources", "tables", "columns")


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One table of a pipeline.

    Attributes:
        table: as accepted, with the columns that a load adds.
        description: for people.
        asset_key: of Dagster; empty where Dagster is not there to ask.
        unique: columns that no two rows share.
    """

    table: Table
    description: str
    asset_key: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()


def sources(name: str, dataset: str, tables: Sequence[SourceTable]) -> dict[str, Any]:
    """The document for the tables of one pipeline.

    Args:
        name: the source's in dbt, and the first part of Dagster's keys.
        dataset: the schema or dataset that they are in.
    """
    loads = {
        "name": "_dlt_loads",
        "description": "Each load that is complete, with its time.",
        "loaded_at_field": "inserted_at",
        "freshness": {"warn_after": {"count": 1, "period": "day"}},
    }
    source = {
        "name": name,
        "description": f"Loaded by the Millstream pipeline `{name}`.",
        "loader": "millstream",
        "schema": dataset,
        "tables": [loads, *(_table(name, each) for each in tables)],
    }
    return {"version": 2, "sources": [source]}


def _table(source: str, found: SourceTable) -> dict[str, Any]:
    table = found.table
    made: dict[str, Any] = {"name": table.name, "description": found.description}
    if found.asset_key:
        # dagster-dbt joins a source to the asset of this key
        made["meta"] = {"dagster": {"asset_key": list(found.asset_key)}}
    made["columns"] = [
        {"name": column.name, "data_type": column.data_type, **_link(source, table, column.name)}
        if column.name in _LINKS
        else _column(column, found.unique)
        for column in table.columns
    ]
    return made


def _column(column: Column, unique: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "data_type": column.data_type}
    if column.variant_of:
        made["description"] = f"Values of `{column.variant_of}` that its type does not take."
    elif column.origin:
        made["description"] = f"`{column.origin}`"
    tests = [
        *(["unique"] if column.name in unique else []),
        *([] if column.nullable else ["not_null"]),
    ]
    if tests:
        made |= {"quote": True, "data_tests": tests}
    return made


def _link(source: str, table: Table, name: str) -> dict[str, Any]:
    """What a column that the load adds is for, and what must hold of it."""
    made: dict[str, Any] = {"description": _LINKS[name]}
    if name == "_dlt_id":
        made["data_tests"] = ["unique", "not_null"]
    if name == "_dlt_parent_id" and table.parent:
        parent = {"to": f"source('{source}', '{table.parent}')", "field": "_dlt_id"}
        made["data_tests"] = ["not_null", {"relationships": {"arguments": parent}}]
    return made


def merged(text: str, document: Mapping[str, Any]) -> str:
    """The text of a file, with what a document has and it lacks.

    Sources, tables and columns are added; of those that are there only the types, the schema and
    the loader are brought up to date. Comments, tests and descriptions of people stay, and so does
    what the document no longer has.

    Raises:
        ConfigError: the text is not a file of dbt's.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        found = yaml.load(text) if text.strip() else {}
    except YAMLError as error:
        raise ConfigError(
            f"not YAML: {str(error).splitlines()[0]}", hint="correct the file, or name another"
        ) from None
    if not isinstance(found, dict):
        raise ConfigError("not a file of dbt's: no mapping", hint="name another file")
    _merge(found, _quoted(document))
    out = io.StringIO()
    yaml.dump(found, out)
    return out.getvalue()


def _quoted(value: Any) -> Any:
    """A document with quotes around the texts that dbt, by YAML 1.1, reads as something else.

    ruamel.yaml goes by YAML 1.2, where `no` is a text.
    """
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {key: _quoted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_quoted(each) for each in value]
    if isinstance(value, str) and _YAML_1_1.resolve(ScalarNode, value, (True, False)) != _TEXT:
        return DoubleQuotedScalarString(value)
    return value


def unproven(text: str, name: str, tables: Sequence[SourceTable]) -> Iterator[str]:
    """Columns that a file calls unique, and their tables do not: `orders.id`."""
    from ruamel.yaml import YAML

    keys = {each.table.name: {*each.unique, "_dlt_id"} for each in tables}
    for source in _entries(YAML(typ="safe").load(text), "sources"):
        for table in _entries(source, "tables") if source["name"] == name else ():
            for column in _entries(table, "columns"):
                tests = [*(column.get("data_tests") or ()), *(column.get("tests") or ())]
                names = {each if isinstance(each, str) else next(iter(each)) for each in tests}
                known = keys.get(table["name"])
                if "unique" in names and known is not None and column["name"] not in known:
                    yield f"{table['name']}.{column['name']}"


def _entries(of: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [each for each in of.get(key) or () if isinstance(each, dict) and "name" in each]


def _merge(into: Any, new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if key in _NAMED and into.get(key) is not None:
            if not isinstance(into[key], list):
                raise ConfigError(
                    f"not a file of dbt's: `{key}` is not a list", hint="correct it, or take it out"
                )
            there = {each.get("name"): each for each in into[key] if isinstance(each, dict)}
            for each in value:
                if each["name"] in there:
                    # as a Millstream before wrote it, in which dbt reads `no` as a bool
                    there[each["name"]]["name"] = each["name"]
                    _merge(there[each["name"]], each)
                else:
                    into[key].append(each)
        elif key in _OURS or (key in _NAMED and key in into) or not {key, "name"} & into.keys():
            # what else a source, table or column that is there lacks, people took out
            into[key] = value
