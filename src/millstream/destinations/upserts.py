"""What dlt's MERGE statements insert, and should not.

With `upsert`, dlt deletes a marked row that the table has, and inserts one that it does not have: a
row that was made and deleted between two loads would stay, marked. With `insert-only`, dlt leaves a
row that the table has, and inserts what is new of the child rows of its later version: they would
hang on a row that never had them. With a dlt that has other functions, dlt's own result stays.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from millstream.dlt_compat import contract

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase


def leave_deleted_out() -> None:
    """Let MERGE statements of this process insert no deleted row, no child of one that stays."""
    from dlt.destinations.sql_jobs import SqlMergeFollowupJob

    job: Any = SqlMergeFollowupJob
    own = job.gen_upsert_merge_sql
    if getattr(own, "leaves_deleted_out", False):
        return
    if contract.problem("upsert"):
        return
    generate = own.__func__

    @wraps(generate)
    def gen_upsert_merge_sql(cls: Any, *args: Any, **kwargs: Any) -> list[str]:
        call = inspect.signature(own).bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if given["hard_delete_col"] and given["deleted_cond"] and not given["insert_only"]:
            # null is no mark, and `NOT` of null is null
            is_marked = f"CASE WHEN s.{given['deleted_cond']} THEN 1 ELSE 0 END"
            given["insert_cond"] = given["insert_cond"] or f"{is_marked} = 0"
        made: list[str] = generate(cls, *call.args, **call.kwargs)
        return made

    gen_upsert_merge_sql.leaves_deleted_out = True  # type: ignore[attr-defined]
    job.gen_upsert_merge_sql = classmethod(gen_upsert_merge_sql)
    of_chain: Any = job.gen_upsert_sql.__func__

    @wraps(of_chain)
    def gen_upsert_sql(
        cls: Any, table_chain: Any, sql_client: Any, insert_only: bool = False, **kwargs: Any
    ) -> list[str]:
        before = _without_children(table_chain, sql_client) if insert_only else []
        made: list[str] = of_chain(cls, table_chain, sql_client, insert_only=insert_only, **kwargs)
        return before + made

    job.gen_upsert_sql = classmethod(cast("Any", gen_upsert_sql))


def _without_children(chain: Sequence[Any], client: SqlClientBase[Any]) -> list[str]:
    """Statements that take staged child rows away from rows that an earlier load brought."""
    from dlt.common.schema.utils import get_columns_names_with_prop as columns_with
    from dlt.common.schema.utils import get_first_column_name_with_prop as column_with

    staged = {each["name"]: client.get_qualified_table_names(each["name"])[1] for each in chain}
    quoted = client.escape_column_name
    root = chain[0]
    load = next((name for name in root["columns"] if name.lower() == "_dlt_load_id"), None)
    made = []
    for table in chain[1:]:
        parent = next(each for each in chain if each["name"] == table["parent"])
        key, link = column_with(parent, "row_key"), column_with(table, "parent_key")
        if load is None or key is None or link is None:
            return []
        stays = f"NOT IN (SELECT {quoted(key)} FROM {staged[parent['name']]})"  # noqa: S608
        if parent is root:
            table_name, staging_name = client.get_qualified_table_names(root["name"])
            # by the key: rows of Arrow tables have no id, or one that is not made of it. By its
            # load, so that a statement that is sent again finds the same rows
            same = " AND ".join(
                f"t.{quoted(name)} = s.{quoted(name)}" for name in columns_with(root, "primary_key")
            )
            stays = (
                f"IN (SELECT s.{quoted(key)} FROM {staging_name} AS s "  # noqa: S608
                f"JOIN {table_name} AS t ON {same} WHERE t.{quoted(load)} IS NULL "
                f"OR t.{quoted(load)} NOT IN (SELECT {quoted(load)} FROM {staging_name}))"
            )
        made.append(f"DELETE FROM {staged[table['name']]} WHERE {quoted(link)} {stays};")  # noqa: S608
    return made
