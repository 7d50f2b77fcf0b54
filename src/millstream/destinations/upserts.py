"""With `upsert`, a row that comes with its mark of deletion is not inserted.

dlt's MERGE deletes a marked row that the table has, and inserts one that it does not have: a row
that was made and deleted between two loads would stay, marked. With a dlt that has another function
for it, dlt's own result stays.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

from millstream.dlt_compat import contract


def leave_deleted_out() -> None:
    """Let MERGE statements of this process insert no row that is marked as deleted."""
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
