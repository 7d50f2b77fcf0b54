"""Definitions of built-in sources load without what only a run needs, and without a network."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HEAVY = ("dlt", "requests", "pyarrow", "pandas", "duckdb", "pymongo", "numba")

PROGRAM = """
import socket, sys
def refuse(*arguments, **named):
    raise AssertionError("definitions connect to nothing")
socket.socket.connect = refuse
socket.getaddrinfo = refuse

import dagster as dg
before = set(sys.modules)
{load}
dg.Definitions.validate_loadable(defs)
print(len(defs.resolve_all_asset_specs()), [m for m in {heavy} if m in set(sys.modules) - before])
"""


def output_of(load, folder):
    program = PROGRAM.format(load=textwrap.dedent(load), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_component_loads_without_dlt_and_without_a_network(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "trial"\n'
    )
    folder = tmp_path / "src" / "trial" / "defs" / "github"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(
        "type: millstream.Pipeline\n"
        "attributes:\n"
        "  name: github\n"
        "  source: {type: github, repositories: [duckdb/duckdb], streams: [issues, releases]}\n"
        "  schedule: '0 6 * * *'\n"
    )
    (folder / "schema.yaml").write_text(
        "version: 1\nstreams:\n  issues:\n    issues:\n      columns: {id: bigint}\n"
        "    issues__labels:\n      parent: issues\n      columns: {name: text}\n"
    )
    load = """
        from pathlib import Path
        sys.path.insert(0, "src")
        defs = dg.load_from_defs_folder(path_within_project=Path.cwd())
    """

    assert output_of(load, tmp_path) == "3 []"


def test_assets_from_python_load_without_dlt_or_network(tmp_path):
    load = """
        import millstream
        defs = millstream.definitions(
            name="github", source={"type": "github", "repositories": ["duckdb/duckdb"]}
        )
        dg.asset(lambda millstream: None, name="own", required_resource_keys={"warehouse"})
        defs = dg.Definitions.merge(
            defs,
            dg.Definitions(
                resources={"warehouse": millstream.MillstreamResource(pipeline_name="own")}
            ),
        )
    """

    assert output_of(load, tmp_path) == "1 []"


def test_exports_for_dagster_import_without_dlt(tmp_path):
    # as `dg` does it to find components: it looks at every public name
    load = """
        import millstream
        for name in dir(millstream):
            getattr(millstream, name)
        defs = dg.Definitions()
    """

    assert output_of(load, tmp_path) == "0 []"
