"""Whatever is altered between the source's bytes and the tables is named: the table, and what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from millstream.cli import main
from millstream.config import PipelineConfig
from millstream.runs import load_packages, runner
from receipts.breakages import ORDERS, Breakage, breakages
from services.places import Place

BREAKAGES = list(breakages())
AT_EACH_COMMIT = 13
"""One of so many is tried at each commit, and all of them at night."""


def written(project: Path, place: Place | None = None, rows: Any = ORDERS) -> Path:
    """A project that loads orders."""
    destination = place.destination if place else {"type": "duckdb", "database": "w.duckdb"}
    config = {
        "type": "millstream.Pipeline",
        "attributes": {
            "name": "shop",
            "source": {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
            "destination": dict(destination),
            "receipts": "sample",
        },
    }
    (project / "defs.yaml").write_text(json.dumps(config))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (project / "a.jsonl").write_text(lines, encoding="utf-8")
    return project


def audited(project: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main(["audit", str(project), "--json", *options])
    (load,) = json.loads(capsys.readouterr().out)
    return code, load


def problems(load: Any) -> dict[str, str]:
    return {
        each["table"]: "; ".join(each["problems"]) for each in load["receipts"] if each["problems"]
    }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Orders in DuckDB, loaded once; each test breaks a copy."""
    with pytest.MonkeyPatch.context() as patch:
        project = tmp_path_factory.mktemp("orders")
        patch.setenv("MILLSTREAM_HOME", str(project / "home"))
        patch.setenv("DLT_DATA_DIR", str(project / "dlt"))
        assert main(["run", str(written(project))]) == 0
        yield project


@pytest.mark.xdist_group("receipts")
@pytest.mark.parametrize(
    "breakage",
    [
        pytest.param(
            each, id=each.name, marks=() if at % AT_EACH_COMMIT == 0 else pytest.mark.nightly
        )
        for at, each in enumerate(BREAKAGES)
    ],
)
def test_each_breakage_is_named(
    breakage: Breakage, loaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("defs.yaml", "w.duckdb"):
        shutil.copy(loaded / name, tmp_path / name)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        for statement in breakage.statements:
            connection.execute(statement.format(s="shop"))
    code, load = audited(tmp_path, capsys)
    assert code == 1
    assert breakage.says in problems(load)[breakage.table]


def test_there_are_a_hundred_of_them() -> None:
    names = [each.name for each in BREAKAGES] + [f"package: {name}" for name in ALTERATIONS]
    assert len({*names}) >= 100


@pytest.mark.xdist_group("receipts")
def test_rows_are_found(loaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("defs.yaml", "w.duckdb"):
        shutil.copy(loaded / name, tmp_path / name)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE shop.orders SET name = 'x' WHERE id = 7")
        connection.execute("DELETE FROM shop.orders WHERE id = 9")
        connection.execute(
            "UPDATE shop.orders__lines SET qty = 0 WHERE _dlt_parent_id = "
            "(SELECT _dlt_id FROM shop.orders WHERE id = 11)"
        )
    code, load = audited(tmp_path, capsys, "--find")
    assert code == 1
    assert sorted(load["found"]) == [
        "1 row of the source no longer there",
        "id = 11: differs",
        "id = 7: differs",
    ]


Alter = Callable[[pa.Table], pa.Table]


def _column(name: str, change: Callable[[Any], Any]) -> Alter:
    return lambda table: table.set_column(
        table.schema.names.index(name), name, change(table.column(name))
    )


ALTERATIONS: dict[str, tuple[str, Alter, str]] = {
    "rows lost": ("orders", lambda table: table.slice(3), "3 rows missing"),
    "rows doubled": (
        "orders",
        lambda table: pa.concat_tables([table, table.slice(0, 2)]),
        "2 rows too many",
    ),
    "numbers rounded": ("orders", _column("price", pc.round), "column `price` differs, in 60"),
    "texts cut": (
        "orders__lines",
        _column("sku", lambda found: pc.utf8_slice_codeunits(found, 0, 5)),
        "column `sku` differs",
    ),
    "times shifted": (
        "orders__lines",
        _column(
            "made",
            lambda found: pc.add(found, pa.scalar(3_600_000_000, pa.duration("us"))),
        ),
        "column `made` differs, in 60",
    ),
    "child rows lost": ("orders__lines", lambda table: table.slice(0, 100), "80 rows missing"),
    "child rows on other parents": (
        "orders__lines",
        _column("_dlt_parent_id", lambda found: pa.array(found.to_pylist()[::-1])),
        "another parent",
    ),
    "values null": (
        "orders__lines__tags",
        _column("value", lambda found: pa.nulls(len(found), found.type)),
        "column `value` differs",
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if at in (4, 6) else pytest.mark.nightly)
        for at, name in enumerate(ALTERATIONS)
    ],
)
def test_what_is_altered_before_the_load_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, alter, says = ALTERATIONS[name]
    keep = load_packages.keep

    def altered(run: Path, pipeline: Any) -> None:
        # behind the check of the package's files, right before they are sent
        for path in run.glob(f"*/load/normalized/*/new_jobs/{table}.*.parquet"):
            pq.write_table(alter(pq.read_table(path)), path)
        keep(run, pipeline)

    monkeypatch.setattr(load_packages, "keep", altered)
    project = written(tmp_path)
    config = PipelineConfig.model_validate(
        {**json.loads((project / "defs.yaml").read_text())["attributes"], "project": project}
    )
    report = runner.run(config, "orders")
    found = {each.table: "; ".join(each.problems) for each in report.receipts if each.problems}
    assert says in found[table]
    # what was loaded wrongly stays so
    code, audit = audited(project, capsys)
    assert code == 1
    assert problems(audit)[table]


def test_a_difference_beside_a_row_in_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells the rows apart, and one of them is expected to be missing."""
    keep = load_packages.keep

    def altered(run: Path, pipeline: Any) -> None:
        for path in run.glob("*/load/normalized/*/new_jobs/orders.*.parquet"):
            table = pq.read_table(path)
            at = table.schema.names.index("share")
            half = pc.multiply(table.column("share"), 0.5)
            pq.write_table(table.set_column(at, "share", half), path)
        keep(run, pipeline)

    monkeypatch.setattr(load_packages, "keep", altered)
    project = written(tmp_path, rows=[{"share": 0.25}, {"share": 0.75}])
    with (project / "a.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"share": 0.5, "share": 1.5}\n')
    config = PipelineConfig.model_validate(
        {**json.loads((project / "defs.yaml").read_text())["attributes"], "project": project}
    )
    (receipt,) = runner.run(config, "orders").receipts
    assert receipt.quarantined == 1
    assert receipt.problems == ("2 rows are not what the source gave, or duplicate",)


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_breakages_on_postgres(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    project = written(place.project, place)
    assert main(["run", str(project)]) == 0
    code, load = audited(project, capsys)
    assert code == 0
    assert problems(load) == {}
    place.query("UPDATE shop.orders SET price = round(price) WHERE id = 7")
    place.query(
        "UPDATE shop.orders__lines SET _dlt_parent_id = (SELECT _dlt_id FROM shop.orders "
        "WHERE id = 1) WHERE sku = 'sku 2-0'"
    )
    code, load = audited(project, capsys)
    assert code == 1
    assert problems(load) == {"orders": "column `price` differs"} | {
        table: words for table, words in problems(load).items() if table != "orders"
    }
