"""A list in the order of its cursor, read by runs of which each is killed: each row once."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from services.places import Place
from sources.api_server import SIZE, ApiServer, Reply, serving

RUN = """
import sys
from millstream.sources.rest_api import ascending
ascending._PART_SECONDS = 0.3
from millstream.cli import main
sys.exit(main(["run", sys.argv[1]]))
"""
ROWS = 20 * SIZE


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "disposition"), [("duckdb", "append"), ("postgres", "merge")])
def test_each_row_once(request: pytest.FixtureRequest, kind: str, disposition: str) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    with serving() as api:
        # up to nine rows of a value, on two or three pages
        api.lists["orders"] = [
            {"id": n, "at": f"2024-01-01T{n // 9:03d}", "tags": [{"t": f"t{n}"}]}
            for n in range(ROWS)
        ]
        api.fault = _slow
        _configure(place, api, disposition)
        starts = []
        for kill_at in (3, 11, 9, None):
            api.requests.clear()
            _run(place, api, kill_at)
            starts.append(api.requests[0])
        assert len(set(starts)) > 1, "no run went on behind another"
        assert place.column("orders", "id") == list(range(ROWS))
        joined = place.query(
            f"""SELECT o.id, t.t FROM {place.from_clause("orders")} o
            JOIN {place.from_clause("orders__tags")} t ON t._dlt_parent_id = o._dlt_id
            ORDER BY 1"""
        )
        assert joined == [(n, f"t{n}") for n in range(ROWS)]


def _slow(_: str, query: dict[str, str]) -> Reply | None:
    time.sleep(0.05)
    return None


def _configure(place: Place, api: ApiServer, disposition: str) -> None:
    destination = dict(place.destination)
    if place.kind == "duckdb":
        destination["database"] = str(place.extra["file"])
    orders = {
        "name": "orders",
        "primary_key": "id",
        "write_disposition": disposition,
        "endpoint": {
            "path": "link/orders",
            "params": {"since": "{incremental.start_value}"},
            "incremental": {"cursor_path": "at", "initial_value": "2024", "row_order": "asc"},
        },
    }
    source = {"type": "rest_api", "client": {"base_url": api.url}, "resources": [orders]}
    attributes = {"name": "shop", "source": {**source, "parallel": 1}, "destination": destination}
    place.project.mkdir(parents=True, exist_ok=True)
    (place.project / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )


def _run(place: Place, api: ApiServer, kill_at: int | None) -> None:
    """One run, killed as soon as so many requests came."""
    command = [sys.executable, "-c", RUN, str(place.project / "defs.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while kill_at is not None and process.poll() is None:
            if len(api.requests) >= kill_at:
                process.kill()
                return
            time.sleep(0.01)
        out, _ = process.communicate()
        assert process.returncode == 0, out.decode()
