"""The generated reference: complete, and drift is found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "build_reference.py"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, writing below tmp_path."""
    spec = importlib.util.spec_from_file_location("build_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_reference", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setattr(module, "REFERENCE", tmp_path / "docs")
    return module


def test_what_it_writes_passes_its_check_and_drift_does_not(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0

    page = tmp_path / "docs" / "cli.md"
    page.write_text(page.read_text().replace("millstream run", "millstream walk"))
    capsys.readouterr()
    assert build.main(["--check"]) == 1
    assert "+usage: millstream run" in capsys.readouterr().err
    assert "millstream walk" in page.read_text()


def test_every_command_and_every_attribute_is_there(build: ModuleType) -> None:
    from millstream.cli.commands import ROOT
    from millstream.config import GitHubConfig, PipelineConfig

    cli, configuration = build.cli(), build.configuration()
    assert all(f"## millstream {command.name}\n" in cli for command in ROOT.commands)
    internal = {"project", "folder", "component"}
    for name in (PipelineConfig.model_fields.keys() - internal) | GitHubConfig.model_fields.keys():
        assert f"| `{name}` |" in configuration


def test_what_is_not_described_fails(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "src" / "new.py"
    source.parent.mkdir()
    source.write_text('os.environ["MILLSTREAM_SECRET_SWITCH"]')
    assert build.main([]) == 1
    assert "no description of MILLSTREAM_SECRET_SWITCH" in capsys.readouterr().err
