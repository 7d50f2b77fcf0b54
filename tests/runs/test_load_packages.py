from pathlib import Path

import dlt
import pytest

from millstream.config import TargetConfig
from millstream.runs import load_packages
from millstream.runs.runner import run_data


@pytest.fixture
def run(tmp_path):
    """A run's folder with one package that was normalized and not loaded."""
    pipeline = dlt.pipeline(
        "shop",
        pipelines_dir=str(tmp_path / "run"),
        destination=dlt.destinations.duckdb(str(tmp_path / "shop_db.duckdb")),
        dataset_name="shop",
    )
    pipeline.extract([{"id": 1}], table_name="orders")
    pipeline.normalize()
    return tmp_path / "run", pipeline


def files(run):
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def test_a_normalized_package_is_pending_until_it_is_loaded(run):
    folder, pipeline = run
    assert load_packages.pending(folder) == pipeline.list_normalized_load_packages()
    assert load_packages.nothing_sent(pipeline)
    pipeline.load()
    assert load_packages.pending(folder) == []


def test_what_was_kept_comes_back_as_it_was(run):
    folder, pipeline = run
    before = files(folder)
    load_packages.keep(folder, pipeline)
    (load_id,) = load_packages.pending(folder)
    for job in folder.rglob("load/normalized/*/new_jobs/orders*"):
        job.rename(job.parents[1] / "started_jobs" / job.name)
    assert not load_packages.nothing_sent(pipeline)
    assert load_packages.rewind(folder, pipeline) == [load_id]
    assert load_packages.nothing_sent(pipeline)
    load_packages.forget(folder)
    assert files(folder) == before
    pipeline.load()
    assert load_packages.pending(folder) == []


def test_a_process_that_dies_right_after_its_extract_keeps_its_hints(run):
    folder, pipeline = run
    pipeline.load()
    schema = folder / "shop" / "schemas" / "shop.schema.json"
    saved = schema.read_bytes()
    pipeline.extract([{"id": 2}], table_name="orders", write_disposition="replace")
    schema.write_bytes(saved)  # as it was until then
    pipeline.deactivate()
    later = dlt.pipeline(
        "shop",
        pipelines_dir=str(folder),
        destination=pipeline.destination,
        dataset_name="shop",
    )
    load_packages.complete_extracts(folder, later)
    later.normalize()
    assert load_packages.schema_of(folder).tables["orders"]["write_disposition"] == "replace"
    later.load()
    assert [tuple(row) for row in later.dataset().orders["id"].fetchall()] == [(2,)]


def test_a_process_that_dies_while_it_forgets_leaves_no_part(run, monkeypatch):
    folder, pipeline = run
    load_packages.keep(folder, pipeline)
    pipeline.load()

    def die(path, **_):
        if path.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(load_packages.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            load_packages.forget(folder)
    assert load_packages.interrupted(folder) == []
    load_packages.forget(folder)
    assert not [*folder.glob(".kept")]


def test_keeping_twice_keeps_the_first(run):
    folder, pipeline = run
    load_packages.keep(folder, pipeline)
    kept = files(folder / "kept")
    load_packages.keep(folder, pipeline)
    assert files(folder / "kept") == kept


def test_an_extracted_package_that_is_normalized_is_done(run):
    folder, _ = run
    (load_id,) = load_packages.pending(folder)
    left = folder / "shop" / "normalize" / "extracted" / load_id
    (left / "new_jobs").mkdir(parents=True)
    waiting = left.with_name("2000000000.0")
    (waiting / "new_jobs").mkdir(parents=True)
    load_packages.complete_renames(folder)
    assert not left.exists()
    assert waiting.exists()


def test_a_process_that_dies_while_dlt_deletes_an_empty_package_goes_on(tmp_path, monkeypatch):
    from dlt.common.storages.load_package import PackageStorage

    target = TargetConfig(
        name="shop", destination={"type": "duckdb", "database": "w.duckdb"}, project=tmp_path
    )

    cursor = dlt.sources.incremental("id")

    @dlt.resource(name="orders", write_disposition="append")
    def orders(found, at=cursor):
        yield found

    run_data(orders([{"id": 1}]), target)

    def die(self, load_id, **_):
        (tmp_path / "died").touch()
        folder = Path(self.get_package_path(load_id))
        (self.storage.storage_path / folder / "load_package_state.json").unlink()
        (self.storage.storage_path / folder / "new_jobs").rmdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PackageStorage, "delete_package", die)
        with pytest.raises(KeyboardInterrupt):
            run_data(orders([{"id": 1}]), target)
    assert (tmp_path / "died").exists()
    report = run_data(orders([{"id": 2}]), target)
    assert report.warnings == ()
    assert [table.rows_total for table in report.tables] == [2]
