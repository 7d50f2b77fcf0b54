"""Models that put child tables back into their parents' rows, as lists.

A row of a list becomes a structure of its columns with the lists below it, or the value alone where
that is all it has. Lists are in their order. One that was empty and one that was absent are alike:
both are empty here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from millstream.dbt.sources_file import SourceTable
from millstream.formats.json_path import LIST_ITEM

_LINKS = frozenset({"_dlt_id", "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database writes what these models need; `{0}` is an expression.

    Attributes:
        structure: a row of the sub-query `{0}` as one value.
        aggregate: values in the order of `position`, as a list.
        empty: a list without values.
    """

    quote: str
    structure: str
    aggregate: str
    empty: str


DIALECTS: Mapping[str, Dialect] = {
    "duckdb": Dialect('"', "{0}", "list({0} order by position)", "[]"),
    "postgres": Dialect('"', "to_jsonb({0})", "jsonb_agg({0} order by position)", "'[]'::jsonb"),
    "bigquery": Dialect("`", "{0}", "array_agg({0} order by position)", "[]"),
}
"""By type of the destination."""


def nested_models(
    source: str, tables: Sequence[SourceTable], dialect: Dialect
) -> Iterator[tuple[str, str]]:
    """File names and texts of models, one for each root table that has child tables."""
    children: dict[str, list[SourceTable]] = {}
    for each in tables:
        if each.table.parent is not None:
            children.setdefault(each.table.parent, []).append(each)
    for root in tables:
        if root.table.parent is None and root.table.name in children:
            text = _model(source, root, children, dialect)
            yield f"nested_{source}__{root.table.name}.sql", text


def _model(
    source: str,
    root: SourceTable,
    children: Mapping[str, Sequence[SourceTable]],
    dialect: Dialect,
) -> str:
    below = [*_below(root, children)]
    # the innermost first: each is read by its parent's
    lists = [_list(source, each, children, dialect) for each in reversed(below)]
    names = [column.name for column in root.table.columns]
    selected = _selected(root, names, children, dialect)
    return (
        f"with {', '.join(lists)}\nselect\n{selected}\n"
        f"from {_relation(source, root)} as rows_\n{_joins(root, children, dialect)}"
    )


def _below(
    table: SourceTable, children: Mapping[str, Sequence[SourceTable]]
) -> Iterator[SourceTable]:
    for child in children.get(table.table.name, ()):
        yield child
        yield from _below(child, children)


def _list(
    source: str,
    table: SourceTable,
    children: Mapping[str, Sequence[SourceTable]],
    dialect: Dialect,
) -> str:
    """One list a parent's row, as a common table expression."""
    q = dialect.quote
    names = [column.name for column in table.table.columns if column.name not in _LINKS]
    is_value = names == [LIST_ITEM] and table.table.name not in children
    fields = {*names, *_fields(table, names, children).values()}
    row = _free("item", fields)  # a column of the name would be read in place of the row
    item = f"{row}.{q}{LIST_ITEM}{q}" if is_value else dialect.structure.format(row)
    selected = _selected(table, names, children, dialect)
    joins = _joins(table, children, dialect)
    return f"""{q}{table.table.name}{q} as (
    select parent, {dialect.aggregate.format("value")} as items
    from (
        select
            rows_._dlt_parent_id as parent,
            rows_._dlt_list_idx as position,
            (select {item} from (select
{selected}
            ) as {row}) as value
        from {_relation(source, table)} as rows_
        {joins}
    ) as list_
    group by parent
)"""  # noqa: S608 (names of tables and columns, quoted)


def _selected(
    table: SourceTable,
    names: Sequence[str],
    children: Mapping[str, Sequence[SourceTable]],
    dialect: Dialect,
) -> str:
    q = dialect.quote
    lines = [f"    rows_.{q}{name}{q}" for name in names]
    for name, field in _fields(table, names, children).items():
        lines.append(f"    coalesce({q}{name}{q}.items, {dialect.empty}) as {q}{field}{q}")
    return ",\n".join(lines)


def _fields(
    table: SourceTable, names: Sequence[str], children: Mapping[str, Sequence[SourceTable]]
) -> dict[str, str]:
    """What the lists of a table are called in its rows, by child table."""
    found: dict[str, str] = {}
    for child in children.get(table.table.name, ()):
        name = child.table.name
        field = name.removeprefix(f"{table.table.name}__")
        taken = {*names, *found.values()}
        # a field of single values in some rows has a column of that name, too
        found[name] = field if _free(field, taken) == field else _free(f"{field}_list", taken)
    return found


def _free(name: str, taken: Iterable[str]) -> str:
    """The name, with as many `_` as it takes to be no other's, whatever its case."""
    others = {each.casefold() for each in taken}
    while name.casefold() in others:
        name += "_"
    return name


def _joins(
    table: SourceTable, children: Mapping[str, Sequence[SourceTable]], dialect: Dialect
) -> str:
    q = dialect.quote
    return "".join(
        f"left join {q}{child.table.name}{q} on {q}{child.table.name}{q}.parent = rows_._dlt_id\n"
        for child in children.get(table.table.name, ())
    )


def _relation(source: str, table: SourceTable) -> str:
    return "{{ source('" + source + "', '" + table.table.name + "') }}"
