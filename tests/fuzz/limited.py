"""Load one file in a process of its own, with no more memory than it is given.

python limited.py FILE GIGABYTES      a line of JSON: what became of it, and the memory it took
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any


def load(file: Path, *, gigabytes: int = 3) -> dict[str, Any]:
    """What a run says of a file that it loads into an empty DuckDB."""
    from services.processes import python_file

    quiet = {"RUNTIME__LOG_LEVEL": "CRITICAL"}
    done = python_file(Path(__file__), str(file), str(gigabytes), environment=quiet)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def main(file: Path, gigabytes: int) -> None:
    import duckdb
    import pyarrow.parquet  # noqa: F401 (imported before memory is short)

    from millstream.config import parse_pipeline
    from millstream.errors import MillstreamError
    from millstream.runs import runner

    folder = file.parent
    config = parse_pipeline(
        {
            "name": "fuzz",
            "source": {"type": "files", "streams": {"rows": {"path": file.name}}},
            "history": False,
        },
        where="fuzz",
        project=folder,
        folder=folder,
    )
    resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))
    said: dict[str, Any] = {}
    try:
        report = runner.run(config, "rows")
    except MillstreamError as error:
        said = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    else:
        said["rows"] = report.rows
        said["quarantined"] = sum(each.rows for each in report.quarantined)
        values = []
        with duckdb.connect(str(folder / "fuzz_db.duckdb"), read_only=True) as connection:
            if any(table.name == "rows" for table in report.tables):
                cursor = connection.execute(
                    'SELECT * EXCLUDE (_dlt_id, _dlt_load_id) FROM fuzz."rows"'
                )
                said["columns"] = [each[0] for each in cursor.description or ()]
                values = cursor.fetchall()
        said["values"] = [str(row) for row in values] if len(str(values)) < 100_000 else None
    said["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
