import gc
import shutil
import sys
import textwrap
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dlt
import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext

import millstream
from millstream import engine
from millstream.config import DestinationConfig, TargetConfig, data_dir, parse_pipeline
from millstream.errors import ConfigError, RunError, SourceDataError
from millstream.runs import pending_decisions, preview, runner
from services.processes import python_code

SOURCE = """
import json, os, signal
from pathlib import Path
import dlt

HERE = Path(__file__).parent

def say(stream):
    with (HERE / "calls").open("a") as file:
        file.write(stream + "\\n")

@dlt.source
def shop():
    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        state = dlt.current.resource_state()
        say(f"orders from {state.get('cursor')}")
        rows = json.loads((HERE / "orders.json").read_text())
        yield rows
        state["cursor"] = max(row["id"] for row in rows)
        if (HERE / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    @dlt.resource(write_disposition="append")
    def events():
        say("events")
        yield [{"event": n} for n in range(3)]

    @dlt.resource
    def broken():
        yield {"a": 1}
        raise ZeroDivisionError("what the source said")

    return orders, events, broken
"""

ORDERS = (
    '[{"id": 1, "who": "ann", "items": [{"n": 1}, {"n": 2}]}, {"id": 2, "who": "bob", "items": []}]'
)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "shop_source.py").write_text(SOURCE)
    (tmp_path / "orders.json").write_text(ORDERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("shop_source", None)
    return parse_pipeline(
        {"name": "shop", "source": {"type": "dlt", "path": "shop_source:shop"}},
        where="test",
        project=tmp_path,
        folder=tmp_path,
    )


def query(config, sql):
    file = config.project / "shop_db.duckdb"
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(sql).fetchall()


def in_a_process(config, code):
    """Run code in another process, as a user's shell or Dagster's would."""
    prelude = f"""
        import sys; sys.path.insert(0, {str(config.project)!r})
        from pathlib import Path
        from millstream.config import parse_pipeline
        from millstream.runs import runner
        config = parse_pipeline(
            {{"name": "shop", "source": {{"type": "dlt", "path": "shop_source:shop"}}}},
            where="test", project=Path({str(config.project)!r}),
        )
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(code)
    return python_code(source)


def calls(config):
    return (config.project / "calls").read_text().splitlines()


def left_behind(config):
    return [path for path in (data_dir() / "runs").rglob("lock") if path.is_file()]


def test_a_run_leaves_nothing_of_itself_in_memory(shop):
    """A process that ran for weeks held each setting that dlt had looked up, and each run."""
    runner.run(shop, "orders")
    gc.collect()
    kept = Counter(type(each).__qualname__ for each in gc.get_objects())
    runner.run(shop, "orders")
    gc.collect()
    now = Counter(type(each).__qualname__ for each in gc.get_objects())
    assert (now - kept)["ResolvedValueTrace"] < 100
    assert not (now - kept)["DltResource"]


def test_the_report_tells_the_whole_load(shop):
    report = runner.run(shop, "orders")
    assert [(t.name, t.parent, t.rows, t.rows_total) for t in report.tables] == [
        ("orders", None, 2, 2),
        ("orders__items", "orders", 2, 2),
    ]
    assert all(table.bytes > 0 for table in report.tables)
    assert report.tables[1].full_name == "shop_db.shop.orders__items"
    assert report.rows == 2
    assert [step for step, seconds in report.seconds.items() if seconds >= 0] == [
        "prepare",
        "restore",
        "extract",
        "normalize",
        "govern",
        "load",
        "report",
        "record",
    ]
    assert [(c.kind, c.table) for c in report.changes] == [
        ("table_added", "orders"),
        ("table_added", "orders__items"),
    ]
    assert query(shop, "SELECT DISTINCT _dlt_load_id FROM shop.orders") == [(report.load_id,)]
    assert report.to_dict()["started_at"].endswith("+00:00")


def test_a_second_run_goes_on_from_the_destinations_cursor(shop):
    runner.run(shop, "orders")
    (shop.project / "orders.json").write_text(
        '[{"id": 2, "who": 2.5, "vip": true, "items": [{"n": "many", "tags": ["x"]}]}]'
    )
    report = runner.run(shop, "orders")
    assert calls(shop) == ["orders from None", "orders from 2"]
    assert [(t.name, t.rows, t.rows_total) for t in report.tables] == [
        ("orders", 1, 2),
        ("orders__items", 1, 3),
        ("orders__items__tags", 1, 1),
    ]
    assert [(c.kind, c.table, c.column, c.old, c.new) for c in report.changes] == [
        ("variant_added", "orders", "who__v_double", "text", "double"),
        ("column_added", "orders", "vip", None, "bool"),
        ("variant_added", "orders__items", "n__v_text", "bigint", "text"),
        ("table_added", "orders__items__tags", None, None, "table"),
    ]


def test_nothing_changed_says_nothing(shop):
    runner.run(shop, "orders")
    report = runner.run(shop, "orders")
    assert report.changes == ()
    assert query(shop, "SELECT count(*) FROM shop.orders__items") == [(2,)]


def test_full_refresh_forgets_cursor_and_rows(shop):
    runner.run(shop, "orders")
    (shop.project / "orders.json").write_text('[{"id": 9, "who": "eve", "items": []}]')
    report = runner.run(shop, "orders", full_refresh=True)
    assert calls(shop)[-1] == "orders from None"
    assert query(shop, "SELECT id FROM shop.orders") == [(9,)]
    assert [t.rows_total for t in report.tables] == [1, 0]


def test_streams_share_neither_state_nor_schema(shop):
    runner.run(shop, "orders")
    report = runner.run(shop, "events")
    assert [table.name for table in report.schema.tables] == ["events"]
    assert calls(shop) == ["orders from None", "events"]
    runner.run(shop, "orders")
    assert calls(shop)[-1] == "orders from 2"


def test_the_accepted_schema_is_kept_beside_the_pipeline(shop):
    from millstream.schema_changes import accepted_file

    runner.run(shop, "orders")
    runner.run(shop, "events")
    accepted = accepted_file.load(shop.folder)
    assert {stream: list(version.table) for stream, version in accepted.items()} == {
        "orders": ["orders", "orders__items"],
        "events": ["events"],
    }


def test_a_zero_row_load_reports_no_rows(shop):
    (shop.project / "orders.json").write_text('[{"id": 1, "who": "ann"}]')
    runner.run(shop, "orders")
    report = runner.run_data(
        dlt.resource([], name="orders", primary_key="id"),
        TargetConfig(name="shop", project=shop.project),
    )
    assert report.rows == 0
    assert [(t.name, t.rows, t.rows_total) for t in report.tables] == [("orders", 0, 1)]


def test_a_first_load_without_rows(shop):
    report = runner.run_data([], TargetConfig(name="shop", project=shop.project), stream="none")
    assert (report.rows, report.tables, report.changes) == (0, (), ())


def test_what_the_source_raises_is_named_with_stream_and_step(shop):
    with pytest.raises(RunError) as raised:
        runner.run(shop, "broken")
    assert (raised.value.stream, raised.value.step) == ("broken", "extract")
    assert "shop.broken: extract failed: ZeroDivisionError: what the source said" in str(
        raised.value
    )
    assert left_behind(shop) == []


def test_millstreams_own_errors_pass_through_dlt_unchanged(shop):
    def rows():
        yield {"a": 1}
        raise SourceDataError("page 2 is cut off", hint="try again")

    with pytest.raises(SourceDataError, match="page 2 is cut off"):
        runner.run_data(rows(), TargetConfig(name="shop", project=shop.project), stream="rows")


def test_where_nothing_waits_nobody_needs_credentials(shop):
    postgres = shop.model_copy(update={"destination": DestinationConfig(type="postgres")})
    assert pending_decisions.waiting(postgres, "orders") == []
    assert pending_decisions.accept(postgres, "orders") == ()


def test_unknown_streams_are_refused_with_what_there_is(shop):
    with pytest.raises(ConfigError, match="has no stream 'order'") as raised:
        runner.run(shop, "order")
    assert raised.value.hint == "it has orders, events, broken"


def test_data_without_a_name_needs_a_stream(shop):
    with pytest.raises(ConfigError, match="has no name"):
        runner.run_data([{"a": 1}], TargetConfig(name="shop", project=shop.project))


def test_stream_names_that_look_alike_stay_apart(shop):
    target = TargetConfig(name="shop", project=shop.project)
    runner.run_data([{"a": 1}], target, stream="a.b")
    # one table of two streams would be one that each changes under the other
    with pytest.raises(ConfigError, match="already has the table `a_b`"):
        runner.run_data([{"b": 2}], target, stream="a_b")
    runner.run_data(dlt.resource([{"b": 2}], name="b"), target, stream="a_b")
    names = "SELECT count(DISTINCT schema_name) FROM shop._dlt_version"
    assert query(shop, f"{names} WHERE schema_name LIKE 'shop_%'") == [(2,)]


def test_killed_in_extract_the_next_run_reads_again(shop):
    (shop.project / "die").touch()
    assert in_a_process(shop, 'runner.run(config, "orders")').returncode == -9
    (shop.project / "die").unlink()
    assert len(left_behind(shop)) == 1
    report = runner.run(shop, "orders")
    assert calls(shop) == ["orders from None", "orders from None"]
    assert report.tables[0].rows_total == 2
    assert left_behind(shop) == []


@pytest.mark.parametrize("step", ["normalize", "load"])
@pytest.mark.parametrize(("stream", "total"), [("orders", 2), ("events", 6)])
def test_killed_after_extract_the_package_loads_first(shop, step, stream, total):
    code = f"""
        import os, signal, dlt
        dlt.Pipeline.{step} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        runner.run(config, {stream!r})
    """
    assert in_a_process(shop, code).returncode == -9
    report = runner.run(shop, stream)
    assert report.warnings == ("loaded first what an earlier run had extracted",)
    assert query(shop, f"SELECT count(*) FROM shop.{stream}") == [(total,)]
    if stream == "orders":  # the cursor moved with the package
        assert calls(shop) == ["orders from None", "orders from 2"]
    assert left_behind(shop) == []


def test_a_package_that_was_overtaken_is_dropped(shop, monkeypatch):
    code = """
        import os, signal, dlt
        dlt.Pipeline.load = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        runner.run(config, "orders")
    """
    assert in_a_process(shop, code).returncode == -9
    (shop.project / "orders.json").write_text('[{"id": 1, "who": "newer", "items": []}]')
    monkeypatch.setenv("MILLSTREAM_HOME", str(shop.project / "another machine"))
    runner.run(shop, "orders")
    monkeypatch.undo()
    (shop.project / "orders.json").write_text('[{"id": 3, "who": "cleo", "items": []}]')
    report = runner.run(shop, "orders")
    assert report.warnings == ()
    assert query(shop, "SELECT id, who FROM shop.orders ORDER BY 1") == [(1, "newer"), (3, "cleo")]


def test_full_refresh_drops_what_an_interrupted_run_left(shop):
    code = """
        import os, signal, dlt
        dlt.Pipeline.load = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        runner.run(config, "events")
    """
    assert in_a_process(shop, code).returncode == -9
    report = runner.run(shop, "events", full_refresh=True)
    assert (report.rows, report.tables[0].rows_total, report.warnings) == (3, 3, ())
    assert left_behind(shop) == []


def test_concurrent_runs_of_one_stream_lose_nothing(shop):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from millstream import config\nfrom millstream.runs import runner\n"
        "source = {'type': 'dlt', 'path': 'shop_source:shop'}\n"
        "shop = config.parse_pipeline({'name': 'shop', 'source': source}, where='test',"
        " project=Path(sys.argv[1]))\n"
        "runner.run(shop, 'events')"
    )
    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(partial(python_code, code), [str(shop.project)] * 3):
            assert done.returncode == 0, done.stderr
    assert query(shop, "SELECT count(*) FROM shop.events") == [(9,)]


def test_run_folders_are_for_their_owner_only(shop, monkeypatch):
    modes = []
    load = dlt.Pipeline.load

    def look(self, *args, **kwargs):
        modes.append(Path(self.pipelines_dir).stat().st_mode & 0o777)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(dlt.Pipeline, "load", look)
    runner.run(shop, "events")
    assert set(modes) == {0o700}


def test_the_report_says_who_normalized_and_profiles(shop):
    report = runner.run(shop, "orders")
    assert report.engine_rows == {"millstream": 2}
    who = report.schema.table["orders"].column["who"].profile
    assert (who.rows, who.nulls, who.distinct, who.longest) == (2, 0, 2, 3)


def test_the_engine_can_be_turned_off(shop, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    report = runner.run(shop, "orders")
    assert [(t.name, t.rows, t.rows_total) for t in report.tables] == [
        ("orders", 2, 2),
        ("orders__items", 2, 2),
    ]
    assert "millstream" not in report.engine_rows


def test_what_can_not_be_loaded_waits_and_the_error_says_so(shop):
    target = TargetConfig(name="shop", project=shop.project)
    contract = {"columns": "freeze"}

    def rows(*values, contract=None):
        return dlt.resource(list(values), name="strict", schema_contract=contract)

    runner.run_data(rows({"a": 1}), target)
    with pytest.raises(RunError) as raised:
        runner.run_data(rows({"a": 1, "b": 2}, contract=contract), target)
    assert raised.value.step == "normalize"
    assert "No data was lost" in raised.value.hint
    report = runner.run_data(rows({"a": 3}), target, full_refresh=True)
    assert report.tables[0].rows_total == 1


def test_secrets_of_a_driver_do_not_travel_with_the_error(shop):
    def rows():
        yield {"a": 1}
        raise OSError("postgresql://ann:hunter2@db/prod refused, password=hunter2")

    with pytest.raises(RunError) as raised:
        runner.run_data(rows(), TargetConfig(name="shop", project=shop.project), stream="rows")
    shown = "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in shown
    assert "test_runner.py, line" in str(raised.value)


def test_a_run_leaves_the_process_as_it_was(shop):
    from millstream.formats import engine_mode

    runner.run(shop, "orders")
    assert not Container()[PipelineContext].is_active()
    assert engine_mode.current() == engine_mode.EngineMode()
    assert millstream.accelerate()
    try:
        runner.run(shop, "orders")
        assert engine_mode.current() == engine_mode.EngineMode("columnar")
    finally:
        engine.disable()


def test_a_preview_leaves_the_process_as_it_was_too(shop):
    preview.preview(shop, "orders")
    assert not Container()[PipelineContext].is_active()


def test_a_former_active_pipeline_fails_no_run(shop, tmp_path):
    gone = dlt.pipeline("gone", pipelines_dir=str(tmp_path / "gone"), destination="duckdb")
    gone.extract([{"id": 1}], table_name="things")
    shutil.rmtree(tmp_path / "gone")
    assert runner.run(shop, "orders").rows
