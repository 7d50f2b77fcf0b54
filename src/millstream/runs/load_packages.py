"""A run's packages on disk: is one unfinished, and how is it loaded exactly once.

dlt marks each file of a package as loaded right after the destination has committed it. A process
that dies in between leaves a file that was loaded and says it was not. So a load that was
interrupted is never continued: its package is put back as it was before the load, what the load had
appended is taken out of the destination, and it is loaded anew. Merge and replace need no taking
out: their staging tables, and the tables that they replace, are emptied whenever a load starts.

    RUN/PIPELINE/normalize/extracted/LOAD_ID    extracted by dlt, to be normalized
    RUN/PIPELINE/load/normalized/LOAD_ID        normalized by dlt; the load eats it up
    RUN/kept/LOAD_ID                            the same package before its load: hard links
    RUN/began.json                              what the destination had loaded when the run began
    RUN/refresh.json                            what a full refresh reads anew
    RUN/counted.json                            what normalize counted: only that run can count it
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.common import atomic_write
from millstream.runs import manifests

if TYPE_CHECKING:
    import dlt
    from dlt.common.destination.configuration import CsvFormatConfiguration


@dataclass(frozen=True, slots=True)
class Count:
    """What one package holds of one table: rows, and the bytes of its load file."""

    load_id: str
    table: str
    rows: int
    bytes: int


_WHOLE = ("new_jobs", "schema.json", "load_package_state.json")
"""What each package has that was extracted."""

_PLACES = ("*/normalize/extracted/*", "*/load/normalized/*", "kept/*")


def pending(run: Path) -> list[str]:
    """The load ids of a run that were extracted, and not all loaded, oldest first."""
    found = {path.name for pattern in _PLACES for path in run.glob(pattern)}
    return sorted(name for name in found if not name.startswith("."))


def remember_refresh(run: Path, dispositions: Mapping[str, str]) -> None:
    """Note that the run reads resources anew; each with how its table is written else."""
    atomic_write.write(run / "refresh.json", json.dumps(dispositions))


def refreshed(run: Path) -> Mapping[str, str]:
    """The resources that a run reads anew, as they were noted; none where it does not."""
    try:
        found: Mapping[str, str] = json.loads((run / "refresh.json").read_bytes())
    except FileNotFoundError:
        return {}
    return found


def write_start_marker(run: Path, loaded: Sequence[object]) -> None:
    """Note what the destination has loaded by now, for whoever finishes this run."""
    atomic_write.write(run / "began.json", json.dumps(loaded))


def unchanged_since_start(run: Path, loaded: Sequence[object]) -> bool:
    """True while the destination has loaded just what it had when the run began.

    Else the run's package is out of date, whichever is the higher load id: clocks may differ.
    """
    try:
        return bool(json.loads((run / "began.json").read_bytes()) == list(loaded))
    except (FileNotFoundError, ValueError):  # killed at its start: there is no whole package yet
        return False


def complete_renames(run: Path) -> None:
    """Finish what a process that died between two renames left half done.

    dlt moves a normalized package into place, then deletes the extracted one it was made from.
    """
    for extracted in run.glob("*/normalize/extracted/*"):
        made = [*run.glob(f"*/load/normalized/{extracted.name}"), run / "kept" / extracted.name]
        if any(package.exists() for package in made):
            shutil.rmtree(extracted)


def complete_deletions(run: Path) -> None:
    """Finish what a process that died while dlt deleted a package without rows left half done.

    dlt deletes such packages, file by file, in place of normalizing them. No cursor has moved.
    """
    for extracted in run.glob("*/normalize/extracted/[!.]*"):
        is_whole = all((extracted / name).exists() for name in _WHOLE)
        has_jobs = any(extracted.glob("*_jobs/*")) or manifests.names_jobs(run, extracted.name)
        if not is_whole and not has_jobs:
            shutil.rmtree(extracted)


def complete_extracts(run: Path, pipeline: dlt.Pipeline) -> None:
    """Take the schemas of packages whose process died before it saved these.

    dlt moves an extracted package into place, then saves the schema, and normalizes by what is
    saved: hints of the package, such as to replace the table, would be lost.
    """
    import dlt

    for path in sorted(run.glob("*/normalize/extracted/[!.]*/schema.json")):
        extracted = dlt.Schema.from_dict(json.loads(path.read_bytes()))
        known = pipeline.schemas.has_schema(extracted.name)
        saved = pipeline.schemas[extracted.name].stored_version_hash if known else None
        if saved is None or saved in extracted.previous_hashes:
            pipeline.schemas.save_schema(extracted)


def nothing_sent(pipeline: dlt.Pipeline) -> bool:
    """True while no file of the normalized packages has been sent to the destination."""
    return all(
        state == "new_jobs" or not jobs
        for load_id in pipeline.list_normalized_load_packages()
        for state, jobs in pipeline.get_load_package_info(load_id).jobs.items()
    )


def keep(run: Path, pipeline: dlt.Pipeline) -> None:
    """Remember the normalized packages as they are now, before a load."""
    for load_id in pipeline.list_normalized_load_packages():
        kept = run / "kept" / load_id
        if not kept.exists():
            _link(Path(pipeline.get_load_package_info(load_id).package_path), kept)


def interrupted(run: Path) -> list[str]:
    """The load ids of packages whose load began and did not end."""
    return sorted(path.name for path in run.glob("kept/*") if not path.name.startswith("."))


def forget(run: Path) -> None:
    """The load is complete: what was kept is not needed any more.

    It goes at once: a process that dies here must not leave a part of it, which looks damaged.
    """
    aside = run / ".kept"
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):
        (run / "kept").rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def discard(run: Path) -> None:
    """Drop what was extracted and never sent: no cursor has moved, and the next run reads it."""
    for pattern in _PLACES:
        for path in run.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def rewind(run: Path, pipeline: dlt.Pipeline) -> list[str]:
    """Put kept packages back as they were before their load; the load ids of those put back."""
    kept = sorted(path for path in run.glob("kept/*") if not path.name.startswith("."))
    for path in kept:
        package = run / pipeline.pipeline_name / "load" / "normalized" / path.name
        shutil.rmtree(package, ignore_errors=True)
        _link(path, package)
        if pipeline.destination and pipeline.destination.destination_type.endswith("bigquery"):
            _rename_jobs(package)
    return [path.name for path in kept]


def _rename_jobs(package: Path) -> None:
    """Give each file of a package another name.

    dlt names BigQuery's jobs after them, and takes a job of that name, whatever became of its rows
    since, for the one that it was about to start: nothing would be loaded.
    """
    from dlt.common.storages import ParsedLoadJobFileName

    for path in (package / "new_jobs").iterdir():
        job = ParsedLoadJobFileName.parse(path.name)
        renamed = job._replace(file_id=ParsedLoadJobFileName.new_file_id())
        path.rename(path.with_name(renamed.file_name()))


def counted(run: Path, counts: Sequence[Count]) -> list[Count]:
    """What the run's packages hold: counted now, or by the run that normalized them."""
    file = run / "counted.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    every = [*(Count(*each) for each in known), *counts]
    if counts:
        atomic_write.write(file, json.dumps([astuple(each) for each in every]))
    return every


def size_of_job(run: Path, pipeline: dlt.Pipeline, load_id: str, job: str) -> tuple[int, int]:
    """Rows and bytes of a file that waits to be loaded; no rows where its format tells none."""
    import gzip

    import pyarrow.parquet as pq

    for file in run.glob(f"*/load/normalized/{load_id}/new_jobs/{job}.*"):
        name, rows = file.name.removesuffix(".gz"), 0
        if name.endswith(".parquet"):
            rows = pq.read_metadata(file).num_rows
        elif name.endswith(".jsonl"):
            with (gzip.open if name != file.name else open)(file, "rb") as lines:
                rows = sum(1 for line in lines if line.strip())
        elif name.endswith(".csv"):
            how = _csv_format(pipeline)
            with (gzip.open if name != file.name else open)(
                file, "rt", encoding=how.encoding, errors="replace", newline=""
            ) as lines:
                records = sum(1 for row in csv.reader(lines, delimiter=how.delimiter) if row)
            rows = max(0, records - how.include_header)
        return rows, file.stat().st_size
    return 0, 0


def _csv_format(pipeline: dlt.Pipeline) -> CsvFormatConfiguration:
    """How the destination reads CSV."""
    from dlt.common.destination.configuration import CsvFormatConfiguration

    config = pipeline.destination_client().config
    return getattr(config, "csv_format", None) or CsvFormatConfiguration()


def _link(package: Path, target: Path) -> None:
    # made aside and renamed, so that a half-made one is never taken for whole
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(package, aside, copy_function=os.link)
    aside.rename(target)


def schema_of(run: Path) -> dlt.Schema | None:
    """The schema of the newest package that is normalized."""
    import dlt

    found = sorted(run.glob("*/load/normalized/*/schema.json"))
    return dlt.Schema.from_dict(json.loads(found[-1].read_bytes())) if found else None
