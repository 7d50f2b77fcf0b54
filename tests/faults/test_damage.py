"""A package that waits, and then loses a file or a bit: named, or loaded whole, never in part."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from millstream import drop_pending, list_pending
from millstream.cli import main
from millstream.config import PipelineConfig, read_pipeline
from millstream.errors import DamagedPackageError, RunError
from millstream.runs import manifests
from millstream.runs.runner import run
from services.places import Place
from services.processes import python_code

NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))
DEATH = """
import os, sys
from millstream.cli import entry
from millstream.runs.stages import loading, normalizing
if sys.argv.pop(1) == "extracted":
    normalizing._write_manifests = None
    normalizing.manifests.write_in_background = lambda run, ids, stage: (
        [normalizing.manifests.write(run, each, stage) for each in ids], os._exit(9))
else:
    loading._send = lambda *_: os._exit(9)
entry()
"""


def made(place: Place) -> PipelineConfig:
    config = {
        "name": "shop",
        "source": {"type": "dlt", "path": "faults.damage_feed:feed"},
        "destination": dict(place.destination),
    }
    file = place.project / "defs.yaml"
    file.write_text(json.dumps({"type": "millstream.Pipeline", "attributes": config}))
    return read_pipeline(file)


def die(config: PipelineConfig, stage: str, end: int) -> None:
    """A run that dies once its package is extracted, or normalized."""
    environment = {"END": str(end), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = python_code(DEATH, stage, "run", folder=config.project, environment=environment)
    assert done.returncode == 9, done.stderr


def load(config: PipelineConfig, end: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("END", str(end))
    return run(config, "things")


def files(config: PipelineConfig) -> list[Path]:
    (package,) = list_pending(config, "things")
    return sorted(path for path in package.folder.rglob("*") if path.is_file())


def whole(place: Place, end: int) -> None:
    assert place.column("things", "id") == list(range(end))
    assert place.column("things__tags", "n", "n") == list(range(end))
    assert place.count("things__tags__deep") == 2 * end


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.parametrize("stage", ["extracted", "normalized"])
@pytest.mark.nightly_on("postgres")
def test_a_damaged_package_is_named_and_dropped(
    place: Place, stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = made(place)
    load(config, 200, monkeypatch)
    die(config, stage, 500)
    victim = next(
        path for path in files(config) if "things" in path.name and "new_jobs" in str(path)
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    victim.write_bytes(data)
    for _ in range(2):
        with pytest.raises(DamagedPackageError, match="has other bytes than were written") as error:
            load(config, 500, monkeypatch)
        assert victim.name in error.value.message
        assert "`millstream pending drop --stream things`" in str(error.value.hint)
    (package,) = list_pending(config, "things", fully=True)
    assert package.status == "damaged"
    defs = str(config.project / "defs.yaml")
    capsys.readouterr()
    assert main(["pending", "show", defs, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["status"]) == (package.id, "damaged")
    assert main(["pending", "drop", defs, "--id", "1.5"]) != 0
    assert main(["pending", "drop", defs, "--stream", "things"]) == 0
    assert f"dropped {package.id} of things" in capsys.readouterr().out
    assert main(["pending", "list", defs]) == 0
    assert "no packages are pending" in capsys.readouterr().out
    load(config, 500, monkeypatch)
    whole(place, 500)


@pytest.mark.parametrize(
    "stage", [pytest.param("extracted", marks=pytest.mark.nightly), "normalized"]
)
def test_any_file_that_is_gone_or_altered_is_named_or_harmless(
    duckdb_place: Place, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are removed, or have a bit flipped: nightly each in turn, else some by chance."""
    config, end = made(duckdb_place), 200
    load(config, end, monkeypatch)
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    die(config, stage, end + 50)
    count = len(files(config))
    told = 0
    numbers = range(count) if NIGHTLY else chance.sample(range(count), 2)
    for number in numbers:
        for how in ("gone", "flipped"):
            if not list_pending(config, "things"):
                die(config, stage, end + 50)
            found = files(config)
            victim = found[number % len(found)]
            data = bytearray(victim.read_bytes())
            if how == "gone" or not data:
                victim.unlink()
            else:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                victim.write_bytes(data)
            try:
                load(config, end + 50, monkeypatch)
            except RunError as error:
                told += 1
                hint = str(error.hint)
            else:
                hint = ""
            if hint:
                assert "pending drop" in hint, (seed, victim, how)
                assert drop_pending(config, "things")
                load(config, end + 50, monkeypatch)
            end += 50
            whole(duckdb_place, end)
    assert told >= count // 2 or not NIGHTLY


def test_a_package_without_a_manifest_is_loaded(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made(duckdb_place)
    die(config, "normalized", 300)
    (package,) = list_pending(config, "things")
    for path in (package.folder / "manifests").iterdir():
        path.unlink()
    load(config, 400, monkeypatch)
    whole(duckdb_place, 400)


def test_what_was_written_is_compared_in_the_same_run(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made(duckdb_place)
    write = manifests.write

    def lose(run: Path, load_id: str, stage: Any, rows: Any = None) -> None:
        write(run, load_id, stage, rows)
        if stage == "normalized":
            next(run.rglob("new_jobs/things__tags.*")).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(manifests, "write", lose)
        with pytest.raises(DamagedPackageError, match=r"things__tags.*: missing"):
            load(config, 100, monkeypatch)
    drop_pending(config, "things")
    load(config, 100, monkeypatch)
    whole(duckdb_place, 100)
