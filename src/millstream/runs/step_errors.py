"""What goes wrong in a step of a run, told without secrets and with the way out."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections.abc import Sequence

from millstream import destinations
from millstream.common.redact import redact_foreign
from millstream.common.text import quantity
from millstream.config import data_dir
from millstream.errors import MillstreamError, RunError, RunInterrupted
from millstream.model import RunReport
from millstream.runs.pending_packages import drop_hint
from millstream.sources import incremental_errors

logger = logging.getLogger(__name__)

_WAITING_STEPS = ("normalize", "load")
_FULL = re.compile(r'Could not write file "(?P<file>.+?)": (No space left|Disk quota).*')  # DuckDB
_NEVER_NULL = re.compile(
    r'null value in column "(?P<column>.+?)" of relation "(?P<table>.+?)"'  # PostgreSQL
    r'|NOT NULL constraint failed: "?(?P<of>[^."\s]+)"?\."?(?P<name>[^";\s]+)'  # DuckDB
)


def pending_hint(stream: str) -> str:
    """What becomes of a package that was extracted and not loaded."""
    return (
        "No data was lost. The next run loads the extracted package first; if it can't be loaded, "
        f"{drop_hint(stream)}"
    )


def full_disk(root: BaseException, where: str, stream: str, step: str) -> RunError | None:
    """What is raised where a disk is full: that of the runs, or of a DuckDB file."""
    if isinstance(root, OSError) and root.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{where}: {step} failed: {root.strerror}",
            stream=stream,
            step=step,
            hint=f"free space for {data_dir()}, where runs keep what is not loaded yet, or let "
            "MILLSTREAM_HOME name a folder on another disk; no data was lost",
        )
    if found := _FULL.search(str(root)):
        return RunError(
            f"{where}: {step} failed: {found[0]}",
            stream=stream,
            step=step,
            hint=f"free space for {found['file']}; no data was lost, and the next run goes on",
        )
    return None


def explain(error: Exception, where: str, stream: str, step: str) -> MillstreamError:
    """What Millstream raises for an error that dlt, a driver or a source raised in a step."""
    root: BaseException = error
    cause: BaseException | None = error
    while cause is not None:  # dlt wraps what a source raises
        if isinstance(cause, MillstreamError):
            return cause
        if unusable := incremental_errors.explain(cause):
            return unusable
        root, cause = cause, cause.__cause__
    logger.debug("%s", redact_foreign("".join(traceback.format_exception(error))))
    if problem := destinations.in_use(root):
        return problem
    if full := full_disk(root, where, stream, step):
        return full
    if lacking := _lacking(root):
        return RunError(
            f"{where}: {step} failed: no row has {lacking}",
            stream=stream,
            step=step,
            hint=f"name columns that rows have; {drop_hint(stream)}",
        )
    if named := re.search(r'column name "(.+?)" conflicts with a system column', str(root)):
        return RunError(
            f"{where}: {step} failed: the destination has a system column `{named[1]}` in every "
            "table",
            stream=stream,
            step=step,
            hint=f"rename the column `{named[1]}` in the source, which declares it or yields it in "
            f"Arrow tables or data frames; then {drop_hint(stream)}",
        )
    if _too_deep(root):
        return RunError(
            f"{where}: {step} failed: a row is nested too deeply ({type(root).__name__})",
            stream=stream,
            step=step,
            hint=f"leave the row out, or keep the field as text; {drop_hint(stream)}",
        )
    waits = pending_hint(stream) if step in _WAITING_STEPS else None
    hint = _promotion_hint(error) or _never_null_hint(root) or waits
    frames = traceback.extract_tb(root.__traceback__)
    # what C code raised may have no frame at all
    where_from = frames[-1] if step == "extract" and frames else None
    place = f" ({where_from.filename}, line {where_from.lineno})" if where_from else ""
    told = _advising(error, root)
    return RunError(
        f"{where}: {step} failed: {type(told).__name__}: {_words(told)}{place}",
        stream=stream,
        step=step,
        hint=hint,
    )


def _words(error: BaseException) -> str:
    return redact_foreign(destinations.error_text(error))


def describe_job_error(error: BaseException) -> str:
    """Why a file was not loaded, in one line without rows and secrets."""
    root = destinations.root_error(error)
    return f"{type(root).__name__}: {' '.join(_words(root).split())}"


def refused_by_check(error: BaseException, check: str, where: str, stream: str) -> RunError:
    """The destination refused a row by a constraint of which only its `check` names the columns."""
    return RunError(
        f"{where}: load failed: {describe_job_error(error)}: {check}",
        stream=stream,
        step="load",
        hint=pending_hint(stream),
    )


def made_narrower(error: BaseException, statements: str, where: str, stream: str) -> RunError:
    """A value did not fit a column that somebody made narrower in the destination."""
    return RunError(
        f"{where}: load failed: {describe_job_error(error)}",
        stream=stream,
        step="load",
        hint=f"columns that are narrower in the destination than they were made get their type "
        f"back by {statements}. {pending_hint(stream)}",
    )


def removed_by_hand(
    error: BaseException, missing: Sequence[str], where: str, stream: str
) -> RunError:
    """A load failed at tables or columns that were not there, and that are again."""
    names = ", ".join(f"`{each}`" for each in missing)
    return RunError(
        f"{where}: load failed: {describe_job_error(error)}",
        stream=stream,
        step="load",
        hint=f"the destination no longer had {names}. They were made again, empty; the next run "
        "loads what this one has extracted. What they held, such as the ids that link nested rows, "
        "comes again with --full-refresh alone",
    )


def _advising(error: BaseException, root: BaseException) -> BaseException:
    """The innermost error of dlt's that says more than its cause does: what to set, or to write.

    The errors that dlt wraps around every failure of a step say nothing of their own.
    """
    from dlt.common.configuration.exceptions import ConfigurationException
    from dlt.common.data_writers.exceptions import DataWriterException
    from dlt.common.schema.exceptions import SchemaException

    told, cause = root, error if error is not root else None
    while cause is not None:
        if isinstance(cause, (ConfigurationException, DataWriterException, SchemaException)):
            told = cause
        cause = cause.__cause__
    return told if str(root) in str(told) else root


def _promotion_hint(error: BaseException) -> str | None:
    """What dlt advises where Arrow tables of one table have different schemas."""
    from dlt.common.data_writers.exceptions import IncompatibleArrowSchema

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, IncompatibleArrowSchema):
        cause = cause.__cause__
    if cause is None:
        return None
    return (
        "yield tables of one schema; or set `data_writer.arrow_concat_promote_options` to "
        "`default`, which alters no data (in the environment "
        "DATA_WRITER__ARROW_CONCAT_PROMOTE_OPTIONS=default)"
    )


def _never_null_hint(error: BaseException) -> str | None:
    """How to load rows that have nothing for a column that someone made in the destination."""
    found = _NEVER_NULL.search(str(error))
    if found is None:
        return None
    table, column = found["table"] or found["of"], found["name"] or found["column"]
    return (
        f"rows of this load have nothing for `{column}`, which may not be null in the "
        f'destination\'s `{table}`: give it a default, or `ALTER TABLE ... ALTER COLUMN "{column}" '
        "DROP NOT NULL`. No data was lost: the next run loads what this one has extracted"
    )


def is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C or SIGTERM caused an error; dlt wraps it as it does any other cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause is not None


def interruption(
    where: str,
    stream: str,
    step: str | None,
    *,
    pending: bool,
    partition: bool = False,
    report: RunReport | None = None,
) -> RunInterrupted:
    """What Millstream raises where a run is stopped by Ctrl-C or SIGTERM.

    Args:
        step: the step that was under way; None before the first.
        pending: a package with extracted rows is in the working folder.
        partition: the run loads a partition, which is always read whole.
        report: of the load, where it was complete.
    """
    if report is not None or step in ("report", "record"):
        step = "load"
        saved = "the load was complete; all of its rows are in the destination"
    elif partition:
        saved = "the next run reads the partition again and replaces its rows"
    elif not pending:
        saved = "nothing was loaded and no cursor moved; the next run reads these rows again"
    elif step == "load":
        saved = "what was extracted is saved; the next run completes the load, each row once"
    else:
        saved = "nothing was loaded yet; what was extracted is saved, and the next run loads it"
    message = f"{where}{f', during {step}' if step else ''}: {saved}"
    return RunInterrupted(message, stream=stream, step=step, report=report)


def after_a_load(said: str, report: RunReport) -> str:
    """What an error or an interruption says, where its run had loaded something before."""
    return said.replace("nothing was loaded", "nothing more was loaded", 1) + (
        f"\n  before that, this run loaded {quantity(report.rows, 'row')}"
    )


def _lacking(error: BaseException) -> str | None:
    """The columns that a source declares as never null, and that no row has, in words."""
    from dlt.common.schema.exceptions import UnboundColumnException

    if not isinstance(error, UnboundColumnException):
        return None
    keys = ("primary_key", "merge_key")
    names = [
        f"`{column['name']}`"
        + (" of the key" if any(column.get(key) for key in keys) else ", which may not be null,")
        for column in error.columns
    ]
    return f"{' and '.join(names)} in the table `{error.table_name}`"


def _too_deep(error: BaseException) -> bool:
    """Nested beyond what orjson writes (254) or reads (1024), Python recurses, or a path holds."""
    if isinstance(error, RecursionError):
        return True
    # a table is called by its path, and its files by the table
    said = "Recursion limit reached", "depth limit exceeded", f"[Errno {errno.ENAMETOOLONG}]"
    return any(each in str(error) for each in said)
