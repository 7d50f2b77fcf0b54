"""A run refers to a file at rest, and the file changes: its rows are there once, as it has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import dlt
import duckdb
import pytest

from millstream import handover, packages, runner
from millstream.config import PipelineConfig
from millstream.errors import RunError, SourceNotFoundError
from millstream.model import RunReport

ROWS = 2000


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as at rest, in several parts, each of several blocks."""
    monkeypatch.setattr(handover, "_QUIET", -1.0)
    monkeypatch.setattr("millstream.sources.json_lines.BLOCK", 5_000)
    monkeypatch.setattr("millstream.sources.json_lines.PART_BYTES", 30_000)
    write(tmp_path / "orders.jsonl", "old")
    return tmp_path / "orders.jsonl"


def write(file: Path, who: str, rows: int = ROWS) -> None:
    lines = (f'{{"id": {n}, "who": "{who}", "items": [{{"n": {n}}}]}}\n' for n in range(rows))
    file.write_text("".join(lines))


def load(file: Path) -> RunReport:
    source = {"type": "files", "streams": {"orders": {"path": file.name}}}
    config = PipelineConfig.model_validate(
        {"name": "shop", "project": file.parent, "source": source}
    )
    return runner.run(config, "orders")


def loaded(file: Path) -> tuple[Any, ...]:
    """Rows, different ids, items, and who."""
    sql = (
        "SELECT count(*), count(DISTINCT id), (SELECT count(*) FROM shop.orders__items),"
        " string_agg(DISTINCT who) FROM shop.orders"
    )
    with duckdb.connect(str(file.with_name("shop_db.duckdb")), read_only=True) as connection:
        (found,) = connection.execute(sql).fetchall()
    return tuple(found)


def interrupt(file: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A run that ends before a step; how much of each part refers to the file."""
    references = []

    def end(pipeline: dlt.Pipeline, *_: Any, **__: Any) -> None:
        for part in Path(pipeline.pipelines_dir).glob("*/normalize/extracted/*/*/*.typed-jsonl"):
            if handover.origin_of(part):
                references.append(part.read_bytes().count(b"@"))
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(dlt.Pipeline, step, end)
        with pytest.raises(RunError):
            load(file)
    return references


def test_an_interrupted_run_goes_on_with_the_file(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = interrupt(orders, "normalize", monkeypatch)
    assert len(references) > 2
    assert min(references) > 1
    assert load(orders).warnings == ("loaded first what an earlier run had extracted",)
    assert loaded(orders) == (ROWS, ROWS, ROWS, "old")


def later(file: Path) -> None:
    """Other values, of the same size, from the same time."""
    before = file.stat()
    write(file, "new")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_an_interrupted_run_had_extracted_of_a_changed_file_is_dropped(
    orders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(orders, "normalize", monkeypatch)
    later(orders)
    caplog.set_level("INFO")
    assert load(orders).warnings == ()
    assert f"{orders} has changed, or is gone" in caplog.text
    assert loaded(orders) == (ROWS, ROWS, ROWS, "new")


def test_what_an_interrupted_run_had_extracted_of_a_file_that_is_gone_is_dropped(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(orders, "normalize", monkeypatch)
    orders.unlink()
    with pytest.raises(SourceNotFoundError):
        load(orders)
    write(orders, "back")
    assert load(orders).warnings == ()
    assert loaded(orders) == (ROWS, ROWS, ROWS, "back")


def test_what_was_normalized_needs_the_file_no_more(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupt(orders, "load", monkeypatch) == []
    orders.unlink()
    orders.with_name("other.jsonl").write_text("")
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}}
    config = PipelineConfig.model_validate(
        {"name": "shop", "project": orders.parent, "source": source}
    )
    runner.run(config, "orders")
    assert loaded(orders) == (ROWS, ROWS, ROWS, "old")


@pytest.mark.parametrize("change", [later, lambda file: write(file, "new", ROWS // 2)])
@pytest.mark.parametrize("moment", ["before", "while"])
def test_a_file_that_changes_before_it_is_read_again_is_extracted_anew(
    orders: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    change: Callable[[Path], None],
) -> None:
    """Twice read, since it changed once; and what came of the first time is nowhere."""
    normalize, opened = dlt.Pipeline.normalize, handover.Origin.open
    attempts: list[str] = []

    def changed_before(pipeline: dlt.Pipeline, *args: Any, **more: Any) -> Any:
        attempts.append(pipeline.pipeline_name)
        if moment == "before" and len(attempts) == 1:
            change(orders)
        return normalize(pipeline, *args, **more)

    opens: list[handover.Origin] = []

    @contextmanager
    def changed_while(origin: handover.Origin) -> Iterator[IO[bytes]]:
        opens.append(origin)
        with opened(origin) as file:
            if moment == "while" and len(opens) == 2:  # the second part
                change(orders)
            yield file

    monkeypatch.setattr(dlt.Pipeline, "normalize", changed_before)
    monkeypatch.setattr(handover.Origin, "open", changed_while)
    report = load(orders)
    rows = orders.read_text().count("\n")
    assert attempts.count(attempts[0]) == 2
    assert report.rows == rows
    assert loaded(orders) == (rows, rows, rows, "new")
    assert packages.pending(Path(os.environ["MILLSTREAM_HOME"])) == []


def test_worker_processes_read_the_file_too(orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMALIZE__WORKERS", "2")
    assert load(orders).rows == ROWS
    assert loaded(orders) == (ROWS, ROWS, ROWS, "old")
