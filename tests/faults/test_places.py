"""A disk that is full, a package that was damaged: a clear error, and a way out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from millstream.config import TargetConfig, data_dir
from millstream.errors import MillstreamError, RunError
from millstream.runs import pending_decisions, runner
from services import places
from services.places import Place

ROWS = 200


def rows_once() -> Any:
    """Rows that a cursor hands out once: what is lost on the way does not come again."""

    @dlt.resource(name="things", write_disposition="append")
    def rows() -> Any:
        state = dlt.current.resource_state()
        if not state.get("read"):
            yield [{"id": n, "text": "x" * 1000} for n in range(ROWS)]
        state["read"] = True

    return rows()


def target(place: Place) -> TargetConfig:
    return TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": dict(place.destination)}
    )


def whole(place: Place) -> None:
    assert place.column("things", "id") == list(range(ROWS))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real file system of 1 MB."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root mounts a small disk")
    folder = Path(tempfile.mkdtemp(prefix="millstream-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_a_full_disk_is_named_and_the_next_run_loads_all(
    duckdb_place: Place, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "others").write_bytes(b"x" * (900 << 10))
    with monkeypatch.context() as full:
        full.setenv("MILLSTREAM_HOME", str(small_disk))
        with pytest.raises(MillstreamError, match="No space left on device"):
            runner.run_data(rows_once(), target(duckdb_place))
        (small_disk / "others").unlink()
        runner.run_data(rows_once(), target(duckdb_place))
    whole(duckdb_place)


def test_a_full_disk_of_the_database_is_named_and_the_next_run_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB writes its file when it is closed, when the rows are in."""
    monkeypatch.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    place = places.duckdb(small_disk)

    def random_rows() -> Any:
        return dlt.resource(
            [{"id": n, "text": os.urandom(500).hex()} for n in range(6_000)],
            name="things",
            write_disposition="replace",
        )

    with pytest.raises(MillstreamError, match="No space left on device") as error:
        runner.run_data(random_rows(), target(place))
    assert "free space for" in str(error.value.hint)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    runner.run_data(random_rows(), target(place))
    assert place.count("things") == 6_000


def damage(how: str, package: Path) -> None:
    for file in package.rglob("*"):
        if not file.is_file() or "things" not in file.name:
            continue
        if how == "cut off":
            os.truncate(file, file.stat().st_size // 2)
        elif how == "gone":
            file.unlink()
        else:
            file.write_bytes(os.urandom(999))


@pytest.mark.parametrize("how", ["cut off", "gone", "garbage"])
def test_a_damaged_package_never_passes_for_whole(
    how: str, duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as here:
        here.setattr(dlt.Pipeline, "load", lost)
        here.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
        with pytest.raises(RunError, match="went dead"):
            runner.run_data(rows_once(), target(duckdb_place))
    damage(how, data_dir() / "runs")
    try:
        runner.run_data(rows_once(), target(duckdb_place))
    except MillstreamError as error:
        assert error.hint  # noqa: PT017
        assert "millstream pending drop" in error.hint  # noqa: PT017
        assert pending_decisions.drop_pending(target(duckdb_place), "things")
        runner.run_data(rows_once(), target(duckdb_place))
    whole(duckdb_place)


def test_foreign_files_in_the_working_directory_do_no_harm(duckdb_place: Place) -> None:
    stream = data_dir() / "runs" / "shop" / "things"
    (stream / "garbage" / "shop__things" / "load").mkdir(parents=True)
    (stream / "garbage" / "began.json").write_bytes(b"\xff{")
    (stream / "a file").write_text("?")
    runner.run_data(rows_once(), target(duckdb_place))
    whole(duckdb_place)
