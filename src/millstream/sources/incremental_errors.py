"""What dlt's `incremental` says of a row whose cursor it can't use, in our words."""

from __future__ import annotations

from millstream.errors import SourceDataError


def explain(error: BaseException) -> SourceDataError | None:
    """The error for a row that lacks the field which an incremental goes by, or has another type.

    None for any other.
    """
    from dlt.extract.incremental.exceptions import (
        IncrementalCursorInvalidCoercion,
        IncrementalCursorPathHasValueNone,
        IncrementalCursorPathMissing,
    )

    if isinstance(error, IncrementalCursorInvalidCoercion):
        return SourceDataError(
            f"{error.pipe_name}: `{error.cursor_path}`, by which `incremental` reads on, is "
            f"{type(error.item).__name__} in a row, which can't be compared with the "
            f"{type(error.cursor_value).__name__} of `{error.cursor_value_type}`",
            hint="give all rows one type, such as by `add_map` of the resource, or write "
            "`initial_value` in theirs; where the source itself has changed, --full-refresh reads "
            "all rows anew",
        )
    if not isinstance(error, (IncrementalCursorPathMissing, IncrementalCursorPathHasValueNone)):
        return None
    lacks = "has null in" if isinstance(error, IncrementalCursorPathHasValueNone) else "has no"
    fields = f"; it has {', '.join(map(str, error.item))}" if isinstance(error.item, dict) else ""
    return SourceDataError(
        f"{error.pipe_name}: a row {lacks} `{error.json_path}`, by which `incremental` reads on",
        hint=f"correct `cursor_path`{fields}; or `on_cursor_value_missing: include` loads such "
        "rows",
    )
