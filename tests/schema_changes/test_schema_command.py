"""`millstream schema`, from a held run to the one that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from behaviour.feed import FEED
from millstream import destinations
from millstream.cli import main
from millstream.config import read_pipeline
from millstream.destinations.accepted_table import DestinationStore
from millstream.errors import SchemaHeldError
from millstream.model import Column, SchemaVersion, Table
from millstream.runs import runner

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: dlt, path: "behaviour.feed:since"}
  destination: {type: duckdb, database: warehouse.duckdb}
"""
FIRST = [{"id": 1, "changed": 1, "buyer": "ann", "items": [{"sku": "a", "tags": ["x"]}]}]
LATER = [{"id": 2, "changed": 2, "buyer": {"login": "bob"}, "note": "new"}]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    FEED.reset()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(DEFS)
    yield tmp_path
    FEED.reset()


def load(project: Path, rows: list[dict[str, Any]]) -> None:
    FEED.rows = rows
    runner.run(read_pipeline(project), "orders")


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    code = main(["schema", *map(str, words)])
    return code, capsys.readouterr().out


def test_show(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "show", project) == (
        0,
        "nothing accepted yet: the first run accepts what it loads\n",
    )
    load(project, FIRST)
    code, printed = call(capsys, "show", project)
    assert code == 0
    lines = printed.splitlines()
    assert lines[:2] == ["shop.orders", "  orders"]
    assert "  │  buyer         text" in lines
    assert "  └─ orders__items" in lines
    assert "     └─ orders__items__tags" in lines
    code, printed = call(capsys, "show", project, "--json")
    tables = json.loads(printed)["orders"]
    assert [table["parent"] for table in tables] == [None, "orders", "orders__items"]


def test_diff_reads_the_source_and_loads_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, FIRST)
    before = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
    assert call(capsys, "diff", project) == (0, "shop.orders: no changes\n")

    FEED.rows = [*FIRST, *LATER]
    code, printed = call(capsys, "diff", project)
    assert code == 12
    assert "breaking  hold        orders: `buyer` was text, now it is also an object" in printed
    FEED.rows = [*FIRST, {"id": 2, "changed": 2, "buyer": "b", "note": "new"}]
    assert call(capsys, "diff", project)[0] == 0, "safe, and milder than what fails"
    code, printed = call(capsys, "diff", project, "--fail-on", "safe", "--json")
    assert code == 10
    assert [change["message"] for change in json.loads(printed)["orders"]] == [
        "new column `note` (text)"
    ]
    after = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
    assert after == before


def test_accept_then_the_log_tells_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "accept", project) == (0, "no changes are pending\n")
    load(project, FIRST)
    with pytest.raises(SchemaHeldError) as held:
        load(project, LATER)
    line = next(line for line in held.value.message.splitlines() if "was text" in line)
    name = line.split()[0]

    assert main(["schema", "accept", str(project), "--change", "0000"]) == 1
    assert "no such change is pending: 0000" in capsys.readouterr().err
    code, printed = call(capsys, "accept", project, "--change", name)
    assert code == 0
    assert printed.splitlines()[0].startswith(f"accepted  {name}  orders: `buyer` was")
    load(project, [])

    code, printed = call(capsys, "log", project)
    assert [line.split()[2:4] for line in printed.splitlines()] == [
        ["safe", "allow"],
        ["safe", "allow"],
        ["safe", "allow"],
        ["safe", "accepted"],
        ["safe", "accepted"],
        ["breaking", "accepted"],
    ]
    code, printed = call(capsys, "log", project, "--at-least", "breaking", "--json")
    (row,) = json.loads(printed)
    assert (row["kind"], row["reason"], row["change_id"]) == ("became_object", "accepted", name)
    assert call(capsys, "log", project, "--table", "no")[1] == "no schema changes recorded\n"


@pytest.mark.parametrize("where", ["file", "destination"])
def test_accept_from_the_source_before_any_run(
    project: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    (project / "defs.yaml").write_text(f"{DEFS}  accepted_schema: {where}\n")
    FEED.rows = FIRST
    assert call(capsys, "diff", project)[0] == 0, "all of it is new, and safe"
    assert not (project / "warehouse.duckdb").exists()
    code, printed = call(capsys, "accept", project, "--from-source")
    assert code == 0
    assert "orders__items__tags" in printed
    if where == "file":
        assert "buyer: text" in (project / "schema.yaml").read_text()
        assert not (project / "warehouse.duckdb").exists()
    assert "  │  buyer         text" in call(capsys, "show", project)[1].splitlines()
    code, printed = call(capsys, "diff", project, "--fail-on", "safe", "--json")
    ahead = json.loads(printed)["orders"]
    assert (code, {each["reason"] for each in ahead}) == (0, {"accepted"})
    assert main(["run", str(project), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    made = [each["message"] for each in report["changes"]]
    assert [each["message"] for each in ahead] == made, "a run makes what was accepted ahead"
    assert call(capsys, "diff", project) == (0, "shop.orders: no changes\n")


def test_two_that_accept_at_once_both_count(project: Path) -> None:
    """Each adds to what it knows, and neither knows of the other yet."""
    (project / "defs.yaml").write_text(f"{DEFS}  accepted_schema: destination\n")
    accepted_store = destinations.accepted_store(read_pipeline(project))
    assert isinstance(accepted_store, DestinationStore)

    def version(*columns: Column) -> SchemaVersion:
        return SchemaVersion((Table("orders", None, columns),))

    known = version(Column("id", "bigint"))
    assert accepted_store.add("orders", known)
    assert not accepted_store.add("orders", known), "no news"
    mine, theirs = (version(Column("id", "bigint"), Column(name, "text")) for name in ("a", "b"))
    for each in (mine, theirs):
        accepted_store.append("orders", each)
    assert accepted_store.load()["orders"].table["orders"].column.keys() == {"id", "a", "b"}


def test_a_stream_that_is_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "show", str(project), "--stream", "ordres"]) == 2
    assert "did you mean 'orders'" in capsys.readouterr().err


def test_a_stream_that_cannot_be_read_is_not_in_the_way_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    streams = "{orders: {path: rows.jsonl}, gone: {path: none.jsonl}}"
    (tmp_path / "defs.yaml").write_text(
        "type: millstream.Pipeline\n"
        f"attributes: {{name: shop, source: {{type: files, streams: {streams}}}, "
        "destination: {database: w.duckdb}}\n"
    )
    assert main(["schema", "accept", str(tmp_path), "--from-source"]) == 1
    printed = capsys.readouterr()
    assert "orders: new table `orders`" in printed.out
    assert "gone failed: stream 'gone': no file fits none.jsonl" in printed.err
    assert "id: bigint" in (tmp_path / "schema.yaml").read_text()


def test_columns_are_told_by_the_keys_of_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From what was loaded, and from schema.yaml."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "rows.jsonl").write_text(
        '{"orderId": 1, "a.b": 2, "c, d: e": 3, "customer": {"firstName": "Ann"}, '
        '"orderLines": [{"unitPrice": 1.5, "Tags": ["a"], "sub lines": [{"x-y": 1}]}]}\n'
    )
    (tmp_path / "defs.yaml").write_text(
        "type: millstream.Pipeline\n"
        "attributes: {name: shop, source: {type: files, streams: {orders: {path: rows.jsonl}}}, "
        "destination: {database: w.duckdb}}\n"
    )
    assert main(["run", str(tmp_path)]) == 0
    for command in ("show", "accept --from-source --offline", "show"):
        capsys.readouterr()
        assert main(["schema", *command.split(), str(tmp_path)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        if command == "show":
            assert [words.partition(" ")[0] for words in said.split("from ")[1:]] == [
                '"a.b"', '"c,', "customer.firstName", "orderId", "orderLines[].unitPrice",
                "orderLines[].sub", "orderLines[].Tags[]",
            ]  # fmt: skip
            assert 'from "c, d: e"' in said
            assert "from orderLines[].sub lines[].x-y" in said
    assert "      from: orderLines\n" in (tmp_path / "schema.yaml").read_text()
