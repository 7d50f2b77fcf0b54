"""A dlt source is found by its path, from wherever the pipeline is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millstream.cli import main

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: dlt, path: "shop_of_the_project:orders"}
  destination: {type: duckdb}
"""
SOURCE = """\
import dlt

@dlt.resource
def orders():
    yield {"NAME": 1}
"""


@pytest.mark.parametrize("folder", [".", "src"])
def test_the_module_is_the_projects_wherever_it_is_run(
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    (project / folder).mkdir(parents=True)
    elsewhere.mkdir()
    (project / "defs.yaml").write_text(DEFS)
    for place, name in ((project / folder, "ours"), (elsewhere, "theirs")):
        if folder == "." or place != elsewhere:
            (place / "shop_of_the_project.py").write_text(SOURCE.replace("NAME", name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shop_of_the_project", raising=False)
    monkeypatch.chdir(elsewhere)
    try:
        assert main(["preview", "orders", str(project)]) == 0
    finally:
        sys.modules.pop("shop_of_the_project", None)
    shown = capsys.readouterr().out
    assert "ours" in shown
    assert "theirs" not in shown
