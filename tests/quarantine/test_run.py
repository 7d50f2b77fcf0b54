"""Runs that put rows aside: why, how many, what else stays, and once only whatever happens."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from millstream.cli import main
from millstream.cli.report import report_lines
from millstream.config import PipelineConfig, TargetConfig
from millstream.errors import (
    ConfigError,
    QuarantineLimitError,
    RunError,
    SchemaHeldError,
    SourceDataError,
)
from millstream.model import RunReport
from millstream.runs import load_packages, runner, stages
from millstream.schema_changes import fingerprint

BASE = [{"id": n, "n": n, "user": "ann"} for n in range(50)]
RULES = {"rules": [{"action": "quarantine", "change": ["risky", "breaking", "table_added"]}]}


def target(folder: Path, **more: Any) -> TargetConfig:
    return TargetConfig.model_validate({"name": "shop", "project": folder, **more})


def load(folder: Path, rows: list[Any], config: Any = None, **hints: Any) -> RunReport:
    data = dlt.resource(lambda: iter([rows]), name="orders", **hints)
    return runner.run_data(data, config or target(folder))


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "shop_db.duckdb")) as connection:
        return connection.execute(sql).fetchall()


def columns(folder: Path, table: str) -> set[str]:
    sql = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
    return {row[0] for row in query(folder, sql)}


@pytest.mark.parametrize("engine", ["millstream", "dlt"])
def test_a_rule_keeps_rows_out_and_no_ddl_is_sent(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    load(tmp_path, BASE)
    before = columns(tmp_path, "orders")
    rows = [
        *({"id": 100 + n, "n": n, "user": "bob", "note": "allowed"} for n in range(60)),
        {"id": 200, "n": "two"},
        {"id": 201, "user": {"login": "eve"}},
        {"id": 202, "tags": ["a"], "also": 1},
        {"id": 203, "n": "three"},
    ]
    report = load(tmp_path, rows, target(tmp_path, schema_policy=RULES))
    assert report.rows == 60
    found = {(each.table, each.reason, each.rows): each.detail for each in report.quarantined}
    assert found.keys() == {
        ("orders", "policy", 2),
        ("orders", "policy", 1),
        ("orders__tags", "policy", 1),
    }, "each change by itself"
    assert "`n`: bigint, now also text" in found["orders", "policy", 2]
    assert "now it is also an object" in found["orders", "policy", 1]
    assert columns(tmp_path, "orders") == before | {"note"}, "what only a refused row has stays out"
    assert columns(tmp_path, "orders__tags") == set()
    decided = {(d.action, d.change.kind) for d in report.decisions}
    assert decided == {
        ("allow", "column_added"),
        ("quarantine", "variant_added"),
        ("quarantine", "became_object"),
        ("quarantine", "table_added"),
    }
    ids = query(tmp_path, "SELECT DISTINCT change_id FROM shop._millstream_quarantine")
    # nothing is warned of that did not come to be
    shown = "\n".join(report_lines(report, io.StringIO()))
    assert "in quarantine" in shown
    assert "warning" not in shown
    refused = [d.change for d in report.decisions if d.action == "quarantine"]
    assert {row[0] for row in ids} == {fingerprint(change) for change in refused}
    kept = query(tmp_path, "SELECT document FROM shop._millstream_quarantine WHERE json_path = 'n'")
    assert sorted(json.loads(row[0])["id"] for row in kept) == [200, 203]


def test_rows_that_are_tried_again_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A chunk with a row that a contract discards is made again, row by row."""
    load(tmp_path, BASE)
    rows = [{"id": 100, "n": 1}, {"id": 101, "n": 2, "more": True}, {"id": 102, "n": 3}]
    data = dlt.resource(rows, name="orders", schema_contract={"columns": "discard_row"})
    with caplog.at_level("INFO", "millstream"):
        report = runner.run_data(data, target(tmp_path), progress="log")
    assert (report.rows, report.quarantined[0].rows) == (2, 1)
    assert "orders: normalize: 1 file, orders 2, _millstream_quarantine 1" in caplog.messages


def test_a_first_run_has_nothing_to_keep_out(tmp_path: Path) -> None:
    config = target(tmp_path, schema_policy={"rules": [{"action": "quarantine"}]})
    report = load(tmp_path, BASE, config)
    assert (report.rows, report.quarantined) == (50, ())


def test_what_comes_in_columns_is_held(tmp_path: Path) -> None:
    import pyarrow as pa

    load(tmp_path, BASE)
    config = target(tmp_path, schema_policy={"rules": [{"action": "quarantine"}]})
    table = pa.table({"id": [1], "n": [1], "user": ["x"], "note": ["no row to quarantine"]})
    with pytest.raises(SchemaHeldError, match="note"):
        runner.run_data(dlt.resource([table], name="orders"), config)


def test_null_in_a_key_takes_no_load_along(tmp_path: Path) -> None:
    report = load(tmp_path, [*BASE, {"id": None, "n": 7}], primary_key="id")
    assert report.rows == 50
    (put_aside,) = report.quarantined
    assert (put_aside.reason, put_aside.rows) == ("refused", 1)
    off = target(tmp_path, name="other", quarantine={"enabled": False})
    with pytest.raises(RunError, match="not nullable"):
        load(tmp_path, [*BASE, {"id": None, "n": 7}], off, primary_key="id")


def test_too_many_wait_until_the_limit_allows(tmp_path: Path) -> None:
    contract = {"columns": "discard_row"}
    load(tmp_path, BASE)
    bad = [{"id": n, "n": n, "extra": 1} for n in range(3)]
    config = target(tmp_path, quarantine={"max_rows": 2})
    with pytest.raises(QuarantineLimitError):
        load(tmp_path, bad, config, schema_contract=contract)
    with pytest.raises(duckdb.CatalogException):
        query(tmp_path, "SELECT * FROM shop._millstream_quarantine")
    report = load(tmp_path, [{"id": 60}], schema_contract=contract)
    assert report.quarantined[0].rows == 3
    assert query(tmp_path, "SELECT count(*) FROM shop._millstream_quarantine") == [(3,)]
    assert query(tmp_path, "SELECT count(*) FROM shop.orders") == [(51,)]


@pytest.mark.parametrize("moment", ["govern", "load"])
def test_a_killed_run_puts_aside_once(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = {"columns": "discard_row"}
    load(tmp_path, BASE)
    rows = [{"id": 70}, {"id": 71, "extra": 1}, {"id": 72, "extra": 2}]
    child = os.fork()
    if child == 0:
        if moment == "govern":  # normalized, not yet loaded
            stages.govern = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        else:  # loaded, not yet told so
            load_packages.forget = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        load(tmp_path, rows, schema_contract=contract)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    report = load(tmp_path, [{"id": 73}], schema_contract=contract)
    assert query(
        tmp_path, "SELECT count(DISTINCT id), count(*) FROM shop._millstream_quarantine"
    ) == [(2, 2)]
    assert query(tmp_path, "SELECT id FROM shop.orders WHERE id >= 70 ORDER BY 1") == [(70,), (73,)]
    if moment == "govern":
        assert report.quarantined[0].rows == 2


def test_lines_that_are_no_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_bytes(b'{"id": 1}\n{"id": 2, "broken": \n{"id": 3}\n\xff\n')
    config = {
        "type": "millstream.Pipeline",
        "attributes": {
            "name": "shop",
            "source": {"type": "files", "streams": {"orders": {"path": file.name}}},
        },
    }
    defs = tmp_path / "defs.yaml"
    defs.write_text(json.dumps(config))
    assert main(["run", str(defs)]) == 0
    assert "2 rows in quarantine" in capsys.readouterr().out
    assert query(tmp_path, "SELECT id FROM shop.orders ORDER BY 1") == [(1,), (3,)]

    assert main(["quarantine", "list", str(defs), "--reason", "unreadable", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["origin"].rsplit(", ")[-1] for each in found] == ["line 2", "line 4"]
    assert json.loads(found[0]["document"]) == '{"id": 2, "broken":'
    assert main(["quarantine", "replay", str(defs)]) == 0
    assert "correct it with --row" in capsys.readouterr().out

    only = ["--id", found[0]["id"], "--row", '{"id": 2}']
    assert main(["quarantine", "replay", str(defs), *only]) == 0
    assert "1 replayed" in capsys.readouterr().out
    assert main(["quarantine", "replay", str(defs), *only]) == 1, "it no longer waits"
    assert "no entry waits under" in capsys.readouterr().err
    assert query(tmp_path, "SELECT id FROM shop.orders ORDER BY 1") == [(1,), (2,), (3,)]
    assert main(["quarantine", "list", str(defs)]) == 0
    assert found[0]["id"] not in capsys.readouterr().out


def twice(number: int) -> str:
    return f'{{"id": {number}, "n": 1, "user": {{"name": "ann", "name": "bob"}}}}'


def plain(number: int) -> str:
    return f'{{"id": {number}, "n": 1, "user": {{"name": "ann"}}}}'


def path_of(folder: Path) -> str:
    return (folder / "orders.jsonl").as_uri()


def files(folder: Path, name: str = "orders.jsonl", **more: Any) -> PipelineConfig:
    source = {"type": "files", "streams": {"orders": {"path": name}}}
    return PipelineConfig.model_validate(
        {"name": "shop", "project": folder, "source": source, **more}
    )


def test_partitions_go_on_beside_what_waits(tmp_path: Path) -> None:
    partitions = {"type": "static", "values": ["a", "b"]}
    config = files(tmp_path, "{partition}.jsonl", partitions=partitions)
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": 2\n')
    (tmp_path / "b.jsonl").write_text('{"id": 3}\n')
    assert runner.run(config, "orders", partition="a").quarantined[0].rows == 1
    assert runner.run(config, "orders", partition="b").rows == 1
    (tmp_path / "a.jsonl").write_text("")
    assert "1 rows were deleted" in runner.run(config, "orders", partition="a").warnings[0]
    assert query(tmp_path, "SELECT id FROM shop.orders") == [(3,)]
    assert query(tmp_path, "SELECT count(*) FROM shop._millstream_quarantine") == [(1,)]


@pytest.mark.parametrize("name", ["{partition}.jsonl", "*.jsonl"])
def test_a_row_corrected_by_hand_lands_in_its_partition(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside of it, no later load would replace the row: it would be doubled."""
    told = {} if "{" in name else {"field": "at"}
    partitions = {"type": "static", "values": ["a", "b"], **told}
    streams = {"orders": {"path": name}}
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": streams},
        "partitions": partitions,
        "schema_policy": RULES,
    }
    defs = tmp_path / "defs.yaml"
    defs.write_text(json.dumps({"type": "millstream.Pipeline", "attributes": attributes}))

    def run(*arguments: str) -> str:
        assert main([*arguments[:2], str(defs), *arguments[2:]]) == 0
        return capsys.readouterr().out

    def write(key: str, *rows: dict[str, Any]) -> None:
        lines = (json.dumps({**row, "at": key}) + "\n" for row in rows)
        (tmp_path / f"{key}.jsonl").write_text("".join(lines))
        assert main(["run", str(defs), "--partition", key]) == 0
        capsys.readouterr()

    write("b", {"id": 1, "n": 1})
    write("a", {"id": 1, "n": 1}, {"id": 2, "n": "two"})
    (entry,) = json.loads(run("quarantine", "list", "--json"))
    replay = ("quarantine", "replay", "--id", entry["id"], "--row")
    if told:
        said = run(*replay, '{"id": 2, "n": 2, "at": "b"}')
        assert "left in quarantine" in said, "it would move by hand"
        assert "'b'" in said
    run(*replay, '{"id": 2, "n": 2, "at": "a"}')
    where = "SELECT id, n, _millstream_partition FROM shop.orders ORDER BY ALL"
    assert query(tmp_path, where) == [(1, 1, "a"), (1, 1, "b"), (2, 2, "a")]
    write("a", {"id": 1, "n": 1}, {"id": 2, "n": 2})
    assert query(tmp_path, where) == [(1, 1, "a"), (1, 1, "b"), (2, 2, "a")]


@pytest.mark.parametrize("history", [True, False])
def test_a_line_corrected_by_hand_lands_in_its_partition(tmp_path: Path, history: bool) -> None:
    """Its text was no row yet: the history tells with which partition it was read."""
    partitions = {"type": "static", "values": ["a", "b"]}
    config = files(tmp_path, "{partition}.jsonl", partitions=partitions, history=history)
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": 2\n')
    runner.run(config, "orders", partition="a")
    ((entry,),) = query(tmp_path, "SELECT id FROM shop._millstream_quarantine")
    _, plan = runner.replay(config, "orders", ids=[entry], corrected='{"id": 2}')
    if not history:
        assert "`_millstream_partition`" in plan.left[0][1]
        row = '{"id": 2, "_millstream_partition": "a"}'
        runner.replay(config, "orders", ids=[entry], corrected=row)
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    runner.run(config, "orders", partition="a")
    assert query(tmp_path, "SELECT id FROM shop.orders ORDER BY id") == [(1,), (2,)]


def origins(folder: Path) -> list[tuple[str, str, str]]:
    """Of what waits: where it was in its file, why, and its text."""
    found = query(folder, "SELECT origin, detail, document FROM shop._millstream_quarantine")
    return sorted(((o or "").rsplit(", ")[-1], why, json.loads(text)) for o, why, text in found)


@pytest.mark.parametrize("engine", ["millstream", "dlt"])
@pytest.mark.parametrize("name", ["orders.jsonl", "orders.json"])
def test_rows_that_have_a_key_twice(
    tmp_path: Path, engine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine reads most of these rows without a Python object: it must find them all the same.

    The first ones teach it, the middle ones are read in columns, the last ones come with a number
    that is too long for that.
    """
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    monkeypatch.setattr("millstream.sources.json_lines.BLOCK", 2_000)
    lines = [twice(n) if n in (3, 700, 701, 990) else plain(n) for n in range(1, 1000)]
    if name.endswith(".jsonl") and engine == "millstream":  # dlt refuses such a number
        lines[994] = '{"id": 995, "n": 123456789012345678901234567890}'
    text = "".join(f"{line}\n" for line in lines)
    if name.endswith(".json"):
        text = f"[{','.join(lines)}]"
    (tmp_path / name).write_text(text)
    report = runner.run(files(tmp_path, name), "orders")
    assert report.rows == 995
    assert [(each.reason, each.rows) for each in report.quarantined] == [("unreadable", 4)]
    assert query(tmp_path, "SELECT count(*), count(DISTINCT id) FROM shop.orders") == [(995, 995)]
    found = origins(tmp_path)
    assert {why for _, why, _ in found} == {"duplicate key `name`"}
    assert {text for *_, text in found} == set(map(twice, (3, 700, 701, 990)))
    if name.endswith(".json"):
        assert {where for where, *_ in found} == {"row 3", "row 700", "row 701", "row 990"}
    elif engine == "millstream":
        assert {where for where, *_ in found} == {"line 3", "line 700", "line 701", "line 990"}


def test_a_key_twice_without_quarantine_names_its_place(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text(f"{plain(1)}\n{twice(2)}\n")
    config = files(tmp_path, quarantine={"enabled": False})
    with pytest.raises(SourceDataError) as caught:
        runner.run(config, "orders")
    assert "orders.jsonl, line 2: duplicate key `name`" in caught.value.message
    assert "quarantine" in str(caught.value.hint)
    # the way out that the hint names
    assert runner.run(files(tmp_path), "orders").rows == 1


def test_a_key_twice_in_a_partition(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text(
        f'{plain(1)}\n{twice(1)}\n{plain(2)}\n{{"id": 2, "n": "two"}}\n'
    )
    partitions = {"type": "static", "field": "id", "values": [1, 2]}
    config = files(tmp_path, partitions=partitions)
    for key, aside in (("1", 1), ("2", 0)):
        report = runner.run(config, "orders", partition=key)
        assert (report.rows, sum(each.rows for each in report.quarantined)) == (2 - aside, aside)


def test_a_corrected_row_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text(f"{plain(1)}\n{twice(2)}\n")
    runner.run(files(tmp_path), "orders")
    ((number,),) = query(tmp_path, "SELECT id FROM shop._millstream_quarantine")
    with pytest.raises(ConfigError, match="duplicate key `name`"):
        runner.replay(files(tmp_path), "orders", ids=[number], corrected=twice(2))
    report, _ = runner.replay(files(tmp_path), "orders", ids=[number], corrected=plain(2))
    assert report.replayed == {"replayed": 1}


@pytest.mark.parametrize("engine", ["millstream", "dlt"])
def test_lines_that_are_no_rows_wherever_they_are(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine finds them among lines that look alike; with dlt's normalizer the source does."""
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    monkeypatch.setattr("millstream.sources.json_lines.BLOCK", 4_000)
    monkeypatch.setattr("millstream.sources.json_lines.PART_BYTES", 60_000)
    bad = {
        300: b'{"id": 300, "n": NaN}',
        700: b'{"id": 700, "name": "\\ud800"}',
        701: b'{"id": 701, "name": "\xff"}',
        900: b'{"id": 900, "n": tru}',
        1300: b'{"id": 1300} {"id": 1301}',
        1700: b"[7",
        1900: twice(1900).encode(),
    }
    lines = [bad.get(n, plain(n).encode()) for n in range(1, 2501)]
    lines[1499] = b""
    lines[1599] = b'{"id": 1600, "more": [{"a": 1.5}], "n": null}'
    (tmp_path / "orders.jsonl").write_bytes(b"\n".join(lines))
    report = runner.run(files(tmp_path), "orders")
    aside = query(
        tmp_path,
        "SELECT origin, reason FROM shop._millstream_quarantine ORDER BY length(origin), 1",
    )
    places = [f"{path_of(tmp_path)}, line {n}" for n in bad]
    if engine == "dlt":
        places[-1] = None  # type: ignore[call-overload]  # JSON all the same: rows come in pages
    assert aside == [(place, "unreadable") for place in places]
    assert report.rows == 2500 - len(bad) - 1
    ids = query(tmp_path, "SELECT id FROM shop.orders ORDER BY id")
    assert [row[0] for row in ids] == [n for n in range(1, 2501) if n not in (*bad, 1500)]
    assert query(tmp_path, "SELECT a FROM shop.orders__more") == [(1.5,)]
    if engine == "millstream":
        assert report.engine_rows["millstream"] > 2000


@pytest.mark.parametrize("at", [1, 257, 300])
def test_values_that_are_no_objects_are_rows_wherever_they_are(tmp_path: Path, at: int) -> None:
    lines = [plain(n) for n in range(1, 601)]
    lines[at - 1 : at - 1] = ["null", "7", "[8]", "null"]
    (tmp_path / "orders.jsonl").write_text("\n".join(lines))
    report = runner.run(files(tmp_path), "orders")
    assert (report.rows, report.quarantined) == (604, ())
    assert query(tmp_path, "SELECT count(*) FROM shop.orders WHERE id IS NULL") == [(4,)]


def test_inf_is_put_aside_as_nan_is(tmp_path: Path) -> None:
    lines = ['{"id": 1, "a": 1.5}', '{"id": 2, "a": Inf}', '{"id": 3, "a": -Inf}', '{"id": 4}']
    (tmp_path / "orders.jsonl").write_text("\n".join(lines))
    report = runner.run(files(tmp_path), "orders")
    assert (report.rows, sum(each.rows for each in report.quarantined)) == (2, 2)


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies between extracting and normalizing a line that is not JSON."""
    (folder / "orders.jsonl").write_text(f'{plain(1)}\n{{"id": tru}}\n{plain(3)}\n')
    with monkeypatch.context() as patched:
        patched.setattr(dlt.Pipeline, "normalize", lambda self, *args, **more: 1 / 0)
        with pytest.raises(RunError):
            runner.run(files(folder), "orders")


def test_what_was_extracted_is_read_without_the_engine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, monkeypatch)
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    report = runner.run(files(tmp_path), "orders")
    assert query(tmp_path, "SELECT id FROM shop.orders ORDER BY id") == [(1,), (3,)]
    assert sum(each.rows for each in report.quarantined) == 1


def test_what_is_not_a_row_never_becomes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, monkeypatch)
    off = files(tmp_path, quarantine={"enabled": False})
    with pytest.raises(SourceDataError, match=r"orders\.jsonl, line 2: not JSON") as caught:
        runner.run(off, "orders")
    assert "quarantine" in str(caught.value.hint)
    assert runner.run(files(tmp_path), "orders").rows == 2


def test_worker_processes_put_aside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMALIZE__WORKERS", "2")
    monkeypatch.setenv("EXTRACT__DATA_WRITER__FILE_MAX_ITEMS", "30")
    load(tmp_path, BASE)
    rows = [{"id": n, "n": "bad" if n % 10 == 0 else n} for n in range(100, 200)]
    report = load(tmp_path, rows, target(tmp_path, schema_policy=RULES))
    assert report.rows == 90
    assert report.quarantined[0].rows == 10
    assert query(tmp_path, "SELECT count(DISTINCT id) FROM shop._millstream_quarantine") == [(10,)]


def test_the_configuration_reaches_the_source(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": 1}\n{"id": 2\n')

    def config(*, enabled: bool) -> PipelineConfig:
        return PipelineConfig.model_validate(
            {
                "name": "shop",
                "source": {"type": "files", "streams": {"orders": {"path": "x.jsonl"}}},
                "quarantine": {"enabled": enabled},
                "project": tmp_path,
            }
        )

    with pytest.raises(SourceDataError, match="line 2"):
        runner.run(config(enabled=False), "orders")
    assert sum(each.rows for each in runner.run(config(enabled=True), "orders").quarantined) == 1


@pytest.mark.filterwarnings("ignore:millstream's engine does not fit")
def test_quarantine_with_another_dlt_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlt, "__version__", "1.40.0")
    with pytest.raises(ConfigError, match="quarantine does not fit") as raised:
        load(tmp_path, BASE, target(tmp_path, coercion="dlt"))
    assert "on_unsupported_dlt: warn" in str(raised.value)
    rules = {"on_unsupported_dlt": "warn"}
    warns = target(tmp_path, coercion="dlt", quarantine=rules)
    report = load(tmp_path, [{"id": 50, "user": "ann"}], warns)
    assert any("is off" in warning for warning in report.warnings)
    ids = query(tmp_path, "SELECT count(*) FROM shop.orders")
    assert ids == [(51,)], "the package that waited, and this one"


def test_a_place_is_told_by_the_keys_of_the_row_that_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "defs.yaml").write_text(
        json.dumps(
            {
                "type": "millstream.Pipeline",
                "attributes": {
                    "name": "shop",
                    "source": {
                        "type": "files",
                        "streams": {"orders": {"path": "*.jsonl", "primary_key": "orderId"}},
                    },
                    "destination": {"type": "duckdb"},
                    "schema_policy": {
                        "rules": [{"action": "quarantine", "change": ["risky", "became_list"]}]
                    },
                },
            }
        )
    )

    def order(n: int, net: Any = 1, part: Any = 1) -> dict[str, Any]:
        lines = [{"subParts": [{"partNo": 0}, {"partNo": part}]}]
        return {"orderId": n, "unitPrices": {"v1.net": net}, "orderLines": lines}

    def run(*rows: dict[str, Any]) -> None:
        name = f"{rows[0]['orderId']}.jsonl"
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
        assert main(["run", str(tmp_path)]) == 0

    run(*map(order, range(9)))
    odd = order(20, "two"), order(21, 1, "x"), order(22, [2]), order(23, 1, [1]), {"orderId": None}
    run(*map(order, range(10, 19)), *odd)
    capsys.readouterr()
    assert main(["quarantine", "list", str(tmp_path), "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert sorted((each["table_name"], each["json_path"]) for each in kept) == [
        ("orders", "orderId"),
        ("orders", 'unitPrices."v1.net"'),
        ("orders", 'unitPrices."v1.net"'),
        ("orders__order_lines__sub_parts", "orderLines[].subParts[1].partNo"),
        ("orders__order_lines__sub_parts", "orderLines[].subParts[].partNo"),
    ]
    assert main(["quarantine", "list", str(tmp_path), "--reason", "contract"]) == 0
    said = capsys.readouterr().out
    assert said == "nothing here; 5 other rows wait in quarantine, of orders\n"
