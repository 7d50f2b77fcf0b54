"""MongoDB into DuckDB: documents of about 600 bytes with two nested lists; whole processes.

    python bench/mongodb.py [--check] [--runs 3] [--documents 1000000] [--peer-documents 20000]

A real mongod, and peers: dlt's verified MongoDB source as it comes and at its best settings, and
ingestr, which makes no child tables. Peers that need minutes for the whole may be given fewer
documents: what is compared is documents a second. Each result is counted in the database that it
made: documents, and the rows of both lists where there are tables for them.

Each contender has an environment of its own below bench/.work, made on the first run: ingestr from
PyPI, with DuckDB's ADBC driver from npm; dlt with a clone of github.com/dlt-hub/verified-sources,
which may be put there by hand (bench/.work/verified-sources). What can't be had is left out, and
named. All that can use them get two normalize workers. Peak memory is that of our processes
together, shared pages in equal parts, looked at five times a second in one more run.

In the end the sample collections and a generated one with every BSON type are loaded and compared
value by value (round_trip.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import peers
from harness import WORK, Result, Run, Target, finish, median, run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

ROOT = Path(__file__).resolve().parents[1]
FOLDER = WORK / "mongodb"
DATABASE = "bench"
WORDS = [f"{greek}-word" for greek in ("alpha", "beta", "gamma", "delta", "eps", "zeta", "eta")]
WORDS += [f"{greek} word" for greek in ("theta", "iota", "kappa", "lambda", "mu", "nu", "xi")]
MOST_MEMORY = 600


def documents(count: int) -> Iterator[dict[str, Any]]:
    """Users with an address, three tags and two to five orders."""
    from bson import Int64, ObjectId

    chance = random.Random(7)
    for n in range(count):
        yield {
            "_id": ObjectId(f"{0x64B7F0A1:08x}{n:016x}"),
            "name": f"user {n}",
            "email": f"user{n}@example.com",
            "age": n % 90,
            "score": n * 1.5,
            "active": n % 2 == 0,
            "created_at": datetime(2020, 1, 1) + timedelta(seconds=n * 37),
            "nickname": None if n % 5 == 0 else WORDS[n % 14],
            "address": {
                "street": f"{n} Main Street",
                "city": chance.choice(WORDS),
                "zip": f"{n % 99999:05}",
                "geo": {"lat": n * 1e-5, "lon": n * -2e-5},
            },
            "tags": chance.sample(WORDS, 3),
            "orders": [
                {
                    "sku": f"SKU-{n + k}",
                    "quantity": k + 1,
                    "price": 9.99 * k,
                    "at": datetime(2021, 1, 1) + timedelta(hours=n % 9999),
                }
                for k in range(2 + n % 4)
            ],
            "views": Int64(n * 1_000_003),
        }


def ours(url: str, collection: str, folder: Path) -> None:
    """`millstream run`, as a project has it, with a second normalize worker."""
    from millstream.config import parse_pipeline
    from millstream.runs.runner import run as run_stream

    os.environ["MONGODB_URI"] = url
    os.environ["MILLSTREAM_HOME"] = str(folder / "home")
    os.environ["NORMALIZE__WORKERS"] = "2"
    source = {"type": "mongodb", "collections": [collection]}
    attributes = {"name": "mongo", "source": source, "destination": {"database": "out.duckdb"}}
    config = parse_pipeline(attributes, where="bench", project=folder)
    report = run_stream(config, collection)
    print(json.dumps({"seconds": report.seconds, "engine_rows": dict(report.engine_rows)}))


def verified(url: str, collection: str, folder: Path) -> None:
    """The verified source, called as its README does."""
    _verified(url, collection, folder, parallel=False)


def verified_best(url: str, collection: str, folder: Path) -> None:
    """Parquet, no compression, two workers with files to share, parallel reads."""
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    os.environ["NORMALIZE__WORKERS"] = "2"
    os.environ["EXTRACT__DATA_WRITER__FILE_MAX_ITEMS"] = "10000"
    _verified(url, collection, folder, parallel=True, loader_file_format="parquet")


def _verified(url: str, collection: str, folder: Path, *, parallel: bool, **options: Any) -> None:
    import dlt

    sys.path.insert(0, str(WORK / "verified-sources" / "sources"))
    # this script has the package's name
    sys.path.remove(str(Path(__file__).parent))
    sys.modules.pop("mongodb", None)
    from mongodb import mongodb  # type: ignore[attr-defined]

    source = mongodb(url, DATABASE, collection_names=[collection], parallel=parallel)
    dlt.pipeline(
        "verified",
        pipelines_dir=str(folder / "dlt"),
        destination=dlt.destinations.duckdb(str(folder / "out.duckdb")),
        dataset_name="mongo",
    ).run(source, **options)


def ingestr(url: str, collection: str, folder: Path) -> None:
    """ingestr's command line."""
    env = {**os.environ, "ADBC_DRIVER_PATH": str(WORK / "adbc"), "DISABLE_TELEMETRY": "true"}
    command = [str(peers.python_of("ingestr").parent / "ingestr"), "ingest", "--yes"]
    command += ["--source-uri", url, "--source-table", f"{DATABASE}.{collection}"]
    command += ["--dest-uri", f"duckdb:///{folder / 'out.duckdb'}"]
    command += ["--dest-table", f"mongo.{collection}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])


CONTENDERS: dict[str, Callable[[str, str, Path], None]] = {
    "verified": verified,
    "verified-best": verified_best,
    "ingestr": ingestr,
    "ours": ours,
}
VERIFIED = "https://github.com/dlt-hub/verified-sources"


def python_of(name: str) -> str:
    """The Python that runs a contender."""
    return str(WORK / f"mongodb-{name.partition('-')[0]}" / "bin" / "python")


def environment(name: str, *packages: str) -> None:
    """Make an environment with these packages, in the versions that the project is tested with."""
    python = Path(python_of(name))
    ready = python.parents[1] / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", python.parents[1]], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", ROOT / "constraints.txt", *packages], check=True)
        ready.touch()


def prepare_ours() -> None:
    """As `pip install millstream[mongodb,fast]` makes it."""
    environment("ours", "-e", f"{ROOT}[mongodb,fast]")


def prepare_verified() -> None:
    """dlt and the driver, and a clone of the verified sources."""
    environment("verified", "dlt[duckdb]", "pymongo", "pyarrow")
    place = WORK / "verified-sources"
    if not (place / "sources" / "mongodb").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", "--depth", "1", VERIFIED, place], check=True)


def prepare_ingestr() -> None:
    """ingestr, and the driver by which it writes to DuckDB."""
    peers.environment("ingestr")


PREPARE: dict[str, Callable[[], None]] = {
    "ours": prepare_ours,
    "verified": prepare_verified,
    "verified-best": prepare_verified,
    "ingestr": prepare_ingestr,
}


def is_prepared(name: str) -> bool:
    """Whether a contender can run here; makes its environment where it has none yet."""
    try:
        PREPARE.get(name, lambda: None)()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--peer-documents", type=int, default=20_000)
    parser.add_argument("--only", choices=CONTENDERS, action="append")
    parser.add_argument("--as", dest="contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        url, collection, folder = arguments.rest
        CONTENDERS[arguments.contender](url, collection, Path(folder))
        return 0
    return compare(arguments)


def compare(arguments: argparse.Namespace) -> int:
    import round_trip
    from services import mongod

    wanted = arguments.only or list(CONTENDERS)
    chosen = [name for name in CONTENDERS if name in wanted]
    left_out = [name for name in chosen if not is_prepared(name)]
    chosen = [name for name in chosen if name not in left_out]
    # ours and ingestr read all; dlt's source would take a quarter of an hour a run
    sizes = {
        name: arguments.peer_documents if name.startswith("verified") else arguments.documents
        for name in chosen
    }
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    peak = 0.0
    with mongod.running() as server:
        for size in sorted(set(sizes.values())):
            fill(server, f"users_{size}", size)
        for _ in range(arguments.runs):  # in turn, so that a busy minute is everyone's
            for name in chosen:
                runs[name].append(once(server, name, sizes[name]))
        if "ours" in chosen:
            peak = once(server, "ours", sizes["ours"], watch_memory=True).peak
        returned, missing = round_trip.check(server) if "ours" in chosen else ({}, [])
        left_out += missing
    results, rates = [], {}
    for name in chosen:
        result = median(name, runs[name])
        rates[name] = sizes[name] / result.seconds
        notes = f"{sizes[name]:,} documents, {rates[name]:,.0f} a second"
        results.append(Result(name, result.seconds, result.runs, notes))
    least = {"verified": 15.0, "verified-best": 5.0, "ingestr": 2.0}
    targets = [
        Target(f"documents a second, times {name}", rates["ours"] / rates[name], least[name])
        for name in chosen
        if name in least and "ours" in rates
    ]
    if peak:
        targets.append(Target(f"{MOST_MEMORY} MB over peak memory", MOST_MEMORY / peak, 1.0))
    return finish(
        "mongodb",
        results,
        targets,
        check=arguments.check,
        left_out=left_out,
        documents_per_second=rates,
        came_back_value_by_value=returned,
        peak_megabytes=peak,
        steps=[dict(each.said) for each in runs.get("ours", [])],
    )


def fill(server: Any, collection: str, size: int) -> None:
    with server.client() as client:
        made: list[dict[str, Any]] = []
        for document in documents(size):
            made.append(document)
            if len(made) == 10_000:
                client[DATABASE][collection].insert_many(made)
                made = []
        if made:
            client[DATABASE][collection].insert_many(made)


def once(server: Any, name: str, size: int, *, watch_memory: bool = False) -> Run:
    """One whole process in a folder of its own, its result counted."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    collection = f"users_{size}"
    url = server.url(DATABASE)
    python = sys.executable if name == "ingestr" else python_of(name)
    command = [python, __file__, "--as", name, url, collection, str(folder)]
    measured = run(command, watch_memory=watch_memory)
    count(folder / "out.duckdb", collection, size, lists=name != "ingestr")
    shutil.rmtree(folder, ignore_errors=True)
    return measured


def count(file: Path, collection: str, size: int, *, lists: bool) -> None:
    import duckdb

    expected = {collection: size}
    if lists:
        expected |= {
            f"{collection}__tags": size * 3,
            f"{collection}__orders": sum(2 + n % 4 for n in range(size)),
        }
    with duckdb.connect(str(file), read_only=True) as connection:
        for table, rows in expected.items():
            found = connection.execute(f'SELECT count(*) FROM mongo."{table}"').fetchone()
            assert found == (rows,), f"{table}: {found} rows instead of {rows}"


if __name__ == "__main__":
    sys.exit(main())
