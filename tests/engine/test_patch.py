"""The engine inside real pipelines: switched on and off, in worker processes, verified at start."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow.parquet as pq
import pytest
from dlt.common.runtime import signals
from dlt.normalize import normalize, worker
from dlt.normalize.items_normalizers import JsonLItemsNormalizer
from dlt.pipeline.exceptions import PipelineStepFailed

import millstream
from millstream import engine
from millstream.engine.dlt import normalizer, patch
from millstream.formats import engine_mode
from millstream.formats.engine_mode import EngineMode, RowRules

ROWS = [
    {
        "id": number,
        "user": {"login": f"u{number % 7}", "admin": number % 2 == 0},
        "created_at": f"2024-01-{number % 28 + 1:02}T00:00:00Z",
        "labels": [{"name": f"l{i}"} for i in range(number % 3)],
        "score": number if number % 5 else f"n/a {number}",
    }
    for number in range(1200)
]


@pytest.fixture(autouse=True)
def _engine_off_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MILLSTREAM_ENGINE", raising=False)
    keys = ("disable_compression", "buffer_max_items")
    before = {
        f"sources.data_writer.{key}": dlt.config.get(f"sources.data_writer.{key}") for key in keys
    }
    yield
    engine.disable()
    for key, value in before.items():
        dlt.config[key] = value


def load(folder: Path, name: str, data: Any = ROWS, **resource: Any) -> dlt.Pipeline:
    pipeline = dlt.pipeline(
        name,
        pipelines_dir=str(folder / name),
        destination=dlt.destinations.duckdb(str(folder / f"{name}.duckdb")),
        dataset_name="data",
    )
    pipeline.run(dlt.resource(data, name="items", **resource), loader_file_format="parquet")
    return pipeline


def content(pipeline: dlt.Pipeline, table: str, *columns: str) -> list[Any]:
    with pipeline.sql_client() as client:
        names = ", ".join(columns)
        with client.execute_query(f"SELECT {names} FROM {table} ORDER BY ALL") as cursor:
            return cursor.fetchall()


def same(first: dlt.Pipeline, second: dlt.Pipeline) -> None:
    one, two = (p.default_schema.to_dict()["tables"] for p in (first, second))
    assert one == two
    for name, table in one.items():
        if name.startswith("_dlt"):
            continue
        assert list(table["columns"]) == list(two[name]["columns"])
        columns = [c for c in table["columns"] if not c.startswith("_dlt_") or c == "_dlt_list_idx"]
        assert content(first, name, *columns) == content(second, name, *columns)


def test_one_line_makes_a_pipeline_faster_and_changes_nothing(tmp_path: Path) -> None:
    plain = load(tmp_path, "plain")
    assert millstream.accelerate() is True
    assert worker.JsonLItemsNormalizer is normalizer.ColumnarNormalizer
    same(plain, load(tmp_path, "fast"))


@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (0, 0), (90_000, 90_000)])
def test_garbage_is_looked_for_less_often(before: int, after: int) -> None:
    known = gc.get_threshold()
    try:
        gc.set_threshold(before, 7, 8)
        assert millstream.accelerate()
        assert gc.get_threshold() == (after, 7, 8)
    finally:
        gc.set_threshold(*known)


def test_workers_that_are_done_are_hardly_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = signals.sleep
    engine.enable()
    monkeypatch.setenv("NORMALIZE__WORKERS", "2")
    with monkeypatch.context() as patched:
        patched.setattr(signals, "sleep", lambda seconds: (waits.append(seconds), sleep(seconds)))
        load(tmp_path, "fast")
    assert set(waits) == {0.02}
    engine.disable()
    assert normalize.sleep is sleep


def test_each_of_two_runs_keeps_its_rules_until_it_ends() -> None:
    millstream.accelerate()
    one, two = RowRules(names_keys=True), RowRules()
    first, second = engine.enabled({"one": one}), engine.enabled({"two": two})
    first.__enter__()
    second.__enter__()
    assert millstream.accelerate()
    assert engine_mode.current().is_run, "a run comes first"
    assert engine_mode.current().rules == {"one": one, "two": two}
    first.__exit__(None, None, None)
    assert engine_mode.current() == EngineMode("columnar", is_run=True, rules={"two": two})
    second.__exit__(None, None, None)
    assert engine_mode.current() == EngineMode("columnar")


def test_another_way_to_wait_for_workers_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(seconds: float) -> None: ...

    monkeypatch.setattr(normalize, "sleep", other)
    assert engine.enable()
    engine.disable()
    assert normalize.sleep is other


@pytest.mark.parametrize(("compression", "told"), [("none", "UNCOMPRESSED"), ("snappy", "SNAPPY")])
def test_files_that_are_read_at_once_are_plain(tmp_path: Path, compression: Any, told: str) -> None:
    from dlt.common.destination.configuration import ParquetFormatConfiguration

    engine.enable()
    form = ParquetFormatConfiguration(compression=compression)
    pipeline = dlt.pipeline(
        "plain_files",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb"), parquet_format=form),
    )
    pipeline.extract(dlt.resource(ROWS, name="items"), loader_file_format="parquet")
    pipeline.normalize()
    files = list(tmp_path.rglob("items*.parquet"))
    assert files
    for file in files:
        column = pq.ParquetFile(file).metadata.row_group(0).column(0)
        assert column.compression == told
        assert column.has_dictionary_page is (compression != "none")
    pipeline.load()
    assert content(pipeline, "items", "count(*)") == [(len(ROWS),)]


def test_a_load_that_fails_leaves_no_thread_behind(tmp_path: Path) -> None:
    engine.enable()
    dlt.config["sources.data_writer.buffer_max_items"] = 100
    load(tmp_path, "failing")
    news = [*ROWS[:500], {"id": 0, "news": 1}, *ROWS[500:]]
    # the error keeps all frames that it came through
    with pytest.raises(PipelineStepFailed, match="news"):
        load(tmp_path, "failing", news, schema_contract={"columns": "freeze"})
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("millstream-engine")]


def test_children_join_their_parents_in_the_destination(tmp_path: Path) -> None:
    engine.enable()
    pipeline = load(tmp_path, "joined", write_disposition="merge", primary_key="id")
    found = content(
        pipeline,
        "items__labels AS l JOIN items AS i "
        "ON i._dlt_id = l._dlt_parent_id AND i._dlt_id = l._dlt_root_id",
        "i.id", "l._dlt_list_idx", "l.name",
    )  # fmt: skip
    assert found == [(n, i, f"l{i}") for n in range(1200) for i in range(n % 3)]


@pytest.mark.parametrize("method", [pytest.param("fork", marks=pytest.mark.nightly), "spawn"])
@pytest.mark.nightly_on("spawn")
def test_worker_processes_have_it_too(tmp_path: Path, method: str) -> None:
    """In a process of its own: a pool must not be forked from pytest's threads."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import dlt
from pathlib import Path
from tests.engine.test_patch import ROWS, load, same
from millstream import engine

def main():
    plain = load(Path({str(tmp_path)!r}), "plain")
    dlt.config["normalize.workers"] = 2
    dlt.config["normalize.start_method"] = {method!r}
    dlt.config["sources.data_writer.file_max_items"] = 300
    dlt.config["sources.data_writer.buffer_max_items"] = 100
    assert engine.enable(keep_stats=True)
    pages = (ROWS[start : start + 100] for start in range(0, len(ROWS), 100))
    fast = load(Path({str(tmp_path)!r}), "fast", pages)
    same(plain, fast)
    load_ids = fast.list_completed_load_packages()
    report = engine.collect(Path(fast.working_dir), load_ids)
    assert report.rows == {{"millstream": 1200}}, report.rows
    assert len(list((Path(fast.working_dir) / "engine").rglob("*.json"))) == 4
    column = report.profile["items"]["id"]
    assert (column.rows, column.present, column.minimum, column.maximum) == (1200, 1200, 0, 1199)
    print("all the same")

if __name__ == "__main__":
    main()
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert "all the same" in done.stdout, done.stdout + done.stderr


def test_the_environment_turns_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.enable()
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    assert millstream.accelerate() is False
    assert worker.JsonLItemsNormalizer is JsonLItemsNormalizer


def test_another_dlt_gets_its_own_normalizer_and_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dlt, "__version__", "1.40.0")
    monkeypatch.setattr(patch, "_warned", False)
    with pytest.warns(UserWarning, match=r"does not fit dlt 1\.40\.0"):
        assert engine.enable() is False
    assert worker.JsonLItemsNormalizer is JsonLItemsNormalizer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.enable() is False


def test_a_changed_signature_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JsonLItemsNormalizer, "_coerce_row", lambda self, row: None)
    patch.mismatch.cache_clear()
    found = patch.mismatch(dlt.__version__)
    patch.mismatch.cache_clear()
    assert found == "JsonLItemsNormalizer._coerce_row has changed"


def test_rows_that_need_dlt_are_counted(tmp_path: Path) -> None:
    """Two keys that fall into one column: the last one wins, which only dlt's own code tells."""
    engine.enable(keep_stats=True)
    rows: list[dict[str, Any]] = [{"id": n} for n in range(119)]
    rows.insert(50, {"id": 119, "Foo": 1, "foo": 2})
    pipeline = load(tmp_path, "counted", rows)
    report = engine.collect(Path(pipeline.working_dir), pipeline.list_completed_load_packages())
    assert sum(report.rows.values()) == 120
    assert 1 <= report.rows["dlt"] <= normalizer.SMALLEST
    assert list(report.reasons) == ["two keys for column items.foo"]
    assert content(pipeline, "items", "foo") == [(2,), *[(None,)] * 119]


def test_other_loader_formats_stay_with_dlt(tmp_path: Path) -> None:
    engine.enable(keep_stats=True)
    pipeline = dlt.pipeline(
        "values",
        pipelines_dir=str(tmp_path / "p"),
        destination=dlt.destinations.duckdb(str(tmp_path / "values.duckdb")),
    )
    pipeline.run(dlt.resource(ROWS, name="items"), loader_file_format="insert_values")
    report = engine.collect(Path(pipeline.working_dir), pipeline.list_completed_load_packages())
    assert report.rows == {"dlt": 1200}


def test_a_bug_of_the_engine_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> Any:
        raise KeyError("a value of a row")

    monkeypatch.setattr(normalizer, "coerce_table", broken)
    monkeypatch.setattr(normalizer, "_LOGGED", set())
    engine.enable()
    pipeline = load(tmp_path, "broken", [{"id": n} for n in range(100)])
    with pipeline.sql_client() as client:
        assert client.execute_sql("SELECT count(*) FROM items") == [(100,)]
    logged = [each.getMessage() for each in caplog.records if each.name == normalizer.__name__]
    assert len(logged) == 1
    assert "KeyError at test_patch.py" in logged[0]
    assert "a value of a row" not in logged[0]
