"""Make the `schema.yaml` of `millstream init github_issues` from a real load of real rows.

    python tests/scaffold/build_schema.py

The rows: all that is recorded in github3.py's source package, and a later page of 100 issues of
duckdb/duckdb. Both go through the source, the runner and DuckDB.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from millstream.config import PipelineConfig
from millstream.demo.github_server import GitHubServer
from millstream.demo.recordings import Dataset
from millstream.runs import runner
from millstream.schema_changes import accepted_file

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY.parent / "shared" / "data" / "github_issues_page.json"
TEMPLATE = (
    REPOSITORY / "src/millstream/scaffold/templates/sources/github_issues" / accepted_file.FILE_NAME
)
STREAMS = ("issues", "issue_comments")


def load(recorded: Dataset, page: Path, folder: Path) -> Path:
    """Load everything into a DuckDB file in `folder`; the `schema.yaml` that the runs leave."""
    rows = json.loads(page.read_text(encoding="utf-8"))
    dataset = {**recorded, "duckdb/duckdb": {"issues": rows, "issue_comments": []}}
    with GitHubServer(dataset) as server:
        config = PipelineConfig.model_validate(
            {
                "name": "github",
                "source": {
                    "type": "github",
                    "base_url": server.url,
                    "repositories": list(dataset),
                    "streams": STREAMS,
                },
                "destination": {"type": "duckdb", "database": "all.duckdb"},
                "project": folder,
                "folder": folder,
            }
        )
        for stream in STREAMS:
            runner.run(config, stream)
    return folder / accepted_file.FILE_NAME


if __name__ == "__main__":
    from millstream.demo import recordings

    found = recordings.load(REPOSITORY / ".cache" / "github3.py")
    if not found.origin.startswith("real"):
        raise SystemExit(found.origin)
    with tempfile.TemporaryDirectory() as name:
        TEMPLATE.write_bytes(load(found.dataset, PAGE, Path(name)).read_bytes())
