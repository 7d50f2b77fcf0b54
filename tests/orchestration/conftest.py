from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import millstream
from millstream.config import PipelineConfig, parse_pipeline

from . import shop


@pytest.fixture(autouse=True)
def fresh_shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shop.reset()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)


def shop_config(folder: Path, **attributes: Any) -> PipelineConfig:
    """The shop into DuckDB; its accepted schema lies in `folder`, too."""
    source = {
        "type": "dlt",
        "path": "orchestration.shop:shop",
        "streams": ["orders", "orders__archive", "empty"],
    }
    return parse_pipeline(
        {"name": "shop", "source": source, **attributes},
        where="a test",
        project=folder,
        folder=folder,
    )


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return shop_config(tmp_path)


@pytest.fixture(scope="session")
def loaded_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's database and accepted schema after a first run."""
    folder = tmp_path_factory.mktemp("loaded-shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLSTREAM_HOME", str(folder / "home"))
        shop.reset()
        assert dg.materialize(millstream.step_assets(shop_config(folder))).success
    return folder


@pytest.fixture
def known(loaded_shop: Path, config: PipelineConfig) -> list[dg.AssetsDefinition]:
    """The shop's assets after a first run and a reload: child tables are among them."""
    for file in loaded_shop.iterdir():
        if file.is_file():
            shutil.copy(file, config.project)
    shop.reset()
    return millstream.step_assets(config)


def specs_of(assets: list[dg.AssetsDefinition]) -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for each in assets for spec in each.specs}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["shop", name])


def loaded(result: Any) -> dict[str, dict[str, Any]]:
    """The metadata values of each materialization of a result, by the asset's last name."""
    found: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        name = event.asset_key.path[-1]
        assert name not in found, f"{name} was materialized twice"
        found[name] = {n: v.value for n, v in event.materialization.metadata.items()}
    return found


def log_lines(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What the log of a run says, as its page shows it."""
    return [entry.user_message for entry in instance.all_logs(run_id)]
