"""Other tools, each in an environment of its own under bench/.work, made with uv on the first run.

What can't be installed is left out of a table and named; nothing of it is estimated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import WORK

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = WORK / "envs"
ADBC = WORK / "adbc"
PAGE = 1000
PACKAGES = {
    "millstream": ("-e", f"{ROOT}[fast]"),
    "millstream-postgres": ("-e", f"{ROOT}[postgres,fast]"),
    "dlt": ("dlt[duckdb,parquet]==1.31.0", "sqlglot<30.22", "orjson"),
    "dlt-postgres": ("dlt[postgres,parquet]==1.31.0", "sqlglot<30.22", "orjson"),
    "duckdb": ("duckdb",),
    # later wheels of these two download a binary
    "ingestr": ("ingestr==1.1.22",),
    "sling": (
        "sling-linux-amd64==1.4.11",
        "duckdb-cli==1.5.5",
        "duckdb-extension-httpfs==1.5.5",
    ),
    "pyairbyte": ("airbyte==0.71.3", "orjson"),
}
# those that are part of what the project is tested with
OURS = ("millstream", "millstream-postgres", "dlt", "dlt-postgres", "duckdb")
DRIVER = "@duckdb/node-bindings-linux-x64@1.5.6-r.1"


def python_of(name: str) -> Path:
    return ENVIRONMENTS / name / "bin" / "python"


def environment(name: str) -> Path:
    """The Python of a contender's environment, made when it is not there.

    Raises:
        OSError, subprocess.CalledProcessError: it can't be made here.
    """
    folder = ENVIRONMENTS / name
    done = folder / ".done"
    if done.exists() and done.read_text() == repr(PACKAGES[name]):
        return python_of(name)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--clear", "-p", sys.executable, str(folder)], check=True)
    install = [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python_of(name))]
    constraints = ["-c", str(ROOT / "constraints.txt")] if name in OURS else []
    subprocess.run([*install, *constraints, *PACKAGES[name]], check=True)
    if name == "ingestr":
        _driver()
    done.write_text(repr(PACKAGES[name]))
    return python_of(name)


def missing(name: str) -> str | None:
    """Why a contender can't run here, in a line; None where it can. Makes its environment."""
    try:
        environment(name)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return f"{name}: {error}"
    return None


def millstream(
    environment: str, folder: Path, file: str, destination: Mapping[str, str]
) -> list[str]:
    """`millstream run`, in a project in `folder` as `millstream init` makes it."""
    project = folder / "bulk"
    project.mkdir()
    target = ", ".join(f'{name}: "{value}"' for name, value in destination.items())
    (project / "defs.yaml").write_text(
        f"""\
type: millstream.Pipeline
attributes:
  name: bulk
  source: {{type: files, streams: {{issues: {{path: "{file}"}}}}}}
  destination: {{{target}, dataset: bulk}}
"""
    )
    program = python_of(environment).with_name("millstream")
    return [str(program), "run", str(project), "--json"]


def load_pages(
    file: str, destination: Any, folder: str, loader_format: str | None
) -> dict[str, Any]:
    """dlt: an unchanged script, whose resource parses the file as fast as Python can, a page at a
    time; seconds by step."""
    import dlt

    pipeline = dlt.pipeline(
        "bulk", pipelines_dir=folder, destination=destination, dataset_name="bulk"
    )
    times = [time.perf_counter()]
    issues = dlt.resource(_pages(file), name="issues")
    pipeline.extract(issues, loader_file_format=loader_format)
    times.append(time.perf_counter())
    pipeline.normalize()
    times.append(time.perf_counter())
    pipeline.load()
    times.append(time.perf_counter())
    extract, normalize, load = (round(b - a, 2) for a, b in pairwise(times))
    return {"extract": extract, "normalize": normalize, "load": load}


def _pages(file: str) -> Iterator[list[dict[str, Any]]]:
    import orjson

    page = []
    with Path(file).open("rb") as lines:
        for line in lines:
            page.append(orjson.loads(line))
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page


def _driver() -> None:
    """DuckDB's ADBC driver, by which ingestr writes: a library in an npm package, and a manifest.

    Raises:
        OSError, subprocess.CalledProcessError: there is no npm, or not the package.
    """
    ADBC.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "install", "--silent", "--no-save", "--prefix", str(ADBC), DRIVER]
    subprocess.run(npm, check=True)
    (library,) = ADBC.glob("node_modules/@duckdb/*/libduckdb.so")
    (ADBC / "duckdb.toml").write_text(
        'manifest_version = 1\nname = "duckdb"\n'
        f'[Driver]\nentrypoint = "duckdb_adbc_init"\nshared = "{library}"\n'
    )


def ingestr(source: str, table: str, destination: str, into: str) -> None:
    """ingestr's command line, which the environment of the running Python has."""
    settings = {"ADBC_DRIVER_PATH": str(ADBC), "DISABLE_TELEMETRY": "true"}
    command = [str(Path(sys.executable).parent / "ingestr"), "ingest", "--yes"]
    command += ["--source-uri", source, "--source-table", table]
    command += ["--dest-uri", destination, "--dest-table", into]
    _run(command, settings)


def ingestr_files(file: str, database: str) -> dict[str, Any]:
    """ingestr: one table, objects and lists as JSON text."""
    ingestr(f"jsonl://{file}", "issues", f"duckdb:///{database}", "bulk.issues")
    return {}


def sling_files(file: str, database: str, *, flatten: bool = False) -> dict[str, Any]:
    """Sling: one table; objects as JSON text, or flattened."""
    home = Path(f"{database}.home")
    sling(file, f"duckdb:///{database}", "main.issues", home, flatten=flatten)
    return {}


def sling(file: str, destination: str, into: str, home: Path, *, flatten: bool = False) -> None:
    """Sling's command line, with a home folder of its own."""
    packages = next(Path(sys.prefix).glob("lib/python*/site-packages"))
    # Sling streams to DuckDB's command line over HTTP, which is an extension; DuckDB looks for it
    # in the home folder
    extension = next(packages.glob("duckdb_extension_httpfs/extensions/*/*"))
    place = home / ".duckdb" / "extensions" / extension.parent.name / "linux_amd64"
    place.mkdir(parents=True, exist_ok=True)
    (place / extension.name).unlink(missing_ok=True)
    (place / extension.name).symlink_to(extension)
    settings = {
        "HOME": str(home),
        "DUCKDB_PATH": str(packages / "duckdb_cli" / "duckdb"),
        "DUCKDB_USE_INSTALLED_EXTENSIONS": "true",
        "OUT": destination,
    }
    program = packages / "sling_linux_amd64" / "bin" / "sling-linux-amd64"
    command = [str(program), "run", "--src-stream", f"file://{file}"]
    if flatten:
        command += ["--src-options", json.dumps({"flatten": True})]
    _run([*command, "--tgt-conn", "OUT", "--tgt-object", into], settings)


def pyairbyte_files(file: str, database: str) -> dict[str, Any]:
    """PyAirbyte, with a source that writes each line as a record: one table, JSON columns."""
    os.environ["AIRBYTE_OFFLINE_MODE"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    import airbyte
    from airbyte.caches import DuckDBCache

    program = Path(f"{database}.source")
    program.write_text(f"#!{sys.executable}\n" + (ROOT / "bench" / "airbyte_source.py").read_text())
    program.chmod(0o755)
    source = airbyte.get_source(
        "source-lines", config={"file": file}, local_executable=program, streams="*"
    )
    source.read(cache=DuckDBCache(db_path=database), force_full_refresh=True)
    return {}


def _run(command: list[str], settings: dict[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])


FILES: dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]] = {
    "ingestr": ("ingestr", ingestr_files),
    "sling": ("sling", sling_files),
    "sling, flattened": ("sling", lambda file, db: sling_files(file, db, flatten=True)),
    "pyairbyte": ("pyairbyte", pyairbyte_files),
}
"""Who loads a file of JSON lines into DuckDB: the environment, and how."""
