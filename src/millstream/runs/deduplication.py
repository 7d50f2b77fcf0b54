"""Normalizing so that of several versions of one row in one load the last one read is loaded.

A package in which a key occurs more than once is normalized once more, from a copy of what was
extracted (hard links), without the rows that lost. One in which none does costs a look at its keys.

    RUN/order.json             the extracted files of each load, as they were written
    RUN/extracted/LOAD_ID      what was extracted, until its normalized rows are counted

A process that dies between dlt's last rename and the count leaves a package of which nobody knows
the rows: it is normalized once more, too.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.common import atomic_write
from millstream.runs import manifests

if TYPE_CHECKING:
    import dlt
    from dlt.common.metrics import NormalizeMetrics
    from dlt.common.pipeline import ExtractInfo

_NORMALIZED = "load/normalized"
_EXTRACTED = "normalize/extracted"


def remember_order(run: Path, info: ExtractInfo) -> None:
    """Note the order in which the files of a run were extracted; their names tell none."""
    order: dict[str, list[str]] = {}
    for load_id, metrics in info.metrics.items():
        files = [file for metric in metrics for file in metric["job_metrics"].values()]
        created = {Path(file.file_path).name: file.created for file in files}
        order[load_id] = _in_order(created)
    atomic_write.write(run / "order.json", json.dumps(order))


def normalize(
    run: Path,
    pipeline: dlt.Pipeline,
    schema: str,
    *,
    counted: Collection[str],
    replaced: bool,
    stored: dlt.Schema | None,
) -> Mapping[str, list[NormalizeMetrics]]:
    """Normalize a run's packages, each without outdated versions of its rows.

    Args:
        schema: the name of the dlt schema.
        counted: the load ids of packages that were normalized and counted before.
        replaced: whether keys hold in tables that are replaced, too.
        stored: the schema in the destination; None where it has none.

    Returns:
        dlt's metrics by load id. Once they are noted, `forget_extracted` may follow.
    """
    working_dir = Path(pipeline.working_dir)
    for package in sorted((working_dir / _EXTRACTED).glob("[!.]*")):
        _copy(package, run / "extracted" / package.name)
    uncounted = [copy for copy in _copies(run) if copy.name not in counted]
    if uncounted and pipeline.schemas.has_schema(schema):
        for copy in uncounted:
            _put_back(copy, working_dir)
        _forget_new_nested(pipeline, schema, stored)
    metrics = _normalize(pipeline)
    known = pipeline.schemas.has_schema(schema)
    if known and _set_back(run, working_dir, pipeline.schemas[schema].tables, replaced=replaced):
        _forget_new_nested(pipeline, schema, stored)
        metrics |= _normalize(pipeline)
    return metrics


def forget_extracted(run: Path) -> None:
    """Remove the copies of what was extracted: what became of it is counted."""
    shutil.rmtree(run / "extracted", ignore_errors=True)


def _normalize(pipeline: dlt.Pipeline) -> dict[str, list[NormalizeMetrics]]:
    info = pipeline.normalize()
    return {load_id: list(metrics) for load_id, metrics in info.metrics.items()} if info else {}


def _copies(run: Path) -> list[Path]:
    return sorted((run / "extracted").glob("[!.]*"))


def outdated_rows(pipeline: dlt.Pipeline, load_ids: Sequence[str]) -> Counter[str]:
    """Rows by table that were left out of these loads, for a version read later."""
    from millstream.engine import versions

    return versions.outdated_rows(Path(pipeline.working_dir), load_ids)


def _set_back(run: Path, working_dir: Path, tables: Any, *, replaced: bool) -> bool:
    """Put the packages that hold outdated rows back as they were extracted."""
    from millstream.engine import versions

    found = False
    for copy in _copies(run):
        order = _order(run, copy)
        is_outdated = versions.find_outdated(
            working_dir,
            copy.name,
            tables,
            order,
            replaced=replaced,
            arrow_files=_arrow_files(copy, tables),
        )
        if not is_outdated:
            continue
        found = True
        manifests.forget(run, copy.name, "extracted")
        # first of all: whoever finishes this run, if it is killed here, must not load it with them
        shutil.rmtree(working_dir / _NORMALIZED / copy.name, ignore_errors=True)
        versions.confirm_outdated(working_dir, copy.name)
        _put_back(copy, working_dir)
    return found


def _put_back(copy: Path, working_dir: Path) -> None:
    """Make a package as it was extracted, without rows that are known to be outdated."""
    from millstream.engine import versions

    target = working_dir / _EXTRACTED / copy.name
    if target.exists():
        return
    shutil.rmtree(working_dir / _NORMALIZED / copy.name, ignore_errors=True)
    aside = _linked(copy, target)
    for path in aside.glob("new_jobs/*.parquet"):
        versions.leave_out_of_parquet(working_dir, copy.name, path)
    aside.rename(target)


def _forget_new_nested(pipeline: dlt.Pipeline, name: str, stored: dlt.Schema | None) -> None:
    """Forget child tables, and columns of child tables, that came with packages put back.

    Where outdated rows alone had them, no load would make them: dlt changes the tables of which a
    load has rows. Its merge names all of them, with each column.
    """
    from dlt.common.storages import ParsedLoadJobFileName

    working_dir = Path(pipeline.working_dir)
    schema = pipeline.schemas[name]
    declared: dict[str, Any] = {}  # by the source: these stay as they were extracted
    for path in sorted((working_dir / _EXTRACTED).glob("[!.]*/schema.json")):
        declared |= json.loads(path.read_bytes())["tables"]
    jobs = (working_dir / _NORMALIZED).glob("*/*_jobs/*")
    kept = {ParsedLoadJobFileName.parse(job.name).table_name for job in jobs}
    before = dict(stored.tables) if stored else {}
    changed = False
    for table in schema.data_tables(seen_data_only=True):
        table_name = str(table["name"])
        if not table.get("parent") or table_name in kept:
            continue
        if table_name not in before:
            changed = True
            if table_name in declared:
                schema.tables[table_name] = declared[table_name]
            else:
                del schema.tables[table_name]
            continue
        known = {*before[table_name]["columns"], *declared.get(table_name, {}).get("columns", ())}
        for column in set(table["columns"]) - known:
            if not table["columns"][column].get("root_key"):  # that one has been migrated
                changed = True
                del table["columns"][column]
    if changed:
        pipeline.schemas.save_schema(schema)


def _order(run: Path, package: Path) -> list[str]:
    try:
        order: Mapping[str, list[str]] = json.loads((run / "order.json").read_bytes())
        return order[package.name]
    except (FileNotFoundError, KeyError, ValueError):  # killed right after its extract
        return _in_order(
            {file.name: file.stat().st_mtime_ns for file in package.glob("new_jobs/*")}
        )


def _in_order(times: Mapping[str, float]) -> list[str]:
    """Extracted files, of which the times are known, as their rows were read.

    A table has two of them open at once, for Arrow tables and for rows, and the time says which was
    opened first. Where order matters, Arrow tables that come behind rows become rows
    (`engine.arrow_check`): those that are left came before all rows.
    """
    return sorted(times, key=lambda name: (not name.endswith(".parquet"), times[name]))


def _arrow_files(package: Path, tables: Any) -> dict[str, list[Path]]:
    """The Parquet files of Arrow tables that a source yielded, by table."""
    from dlt.common.storages import ParsedLoadJobFileName

    found: dict[str, list[Path]] = {}
    for path in package.glob("new_jobs/*.parquet"):
        found.setdefault(ParsedLoadJobFileName.parse(path.name).table_name, []).append(path)
    return {table: files for table, files in found.items() if table in tables}


def _copy(package: Path, target: Path) -> None:
    if target.exists():
        return
    _linked(package, target).rename(target)


def _linked(package: Path, target: Path) -> Path:
    """Hard links to a package's files, beside the place that they are for."""
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(package, aside, copy_function=os.link)
    return aside
