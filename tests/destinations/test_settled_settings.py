"""What a destination remembers of its settings is what dlt would find each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.resolve import inject_section
from dlt.common.configuration.specs import ConfigSectionContext

from millstream.config import DestinationConfig, TargetConfig
from millstream.destinations.factory import build, settings
from millstream.destinations.settled_settings import change


def asked(destination: Any, config: TargetConfig, pipeline: str) -> Any:
    with inject_section(ConfigSectionContext(pipeline_name=pipeline)):
        return destination.configuration(settings(destination, config))


def test_each_pipeline_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREATE_INDEXES", "false")
    monkeypatch.setenv("ONE__DESTINATION__DUCKDB__CREATE_INDEXES", "true")
    config = TargetConfig(
        name="shop", project=tmp_path, destination=DestinationConfig(type="duckdb")
    )
    destination = build(config)
    for _ in range(2):
        assert asked(destination, config, "one").create_indexes
        assert not asked(destination, config, "two").create_indexes


def test_what_is_written_into_an_answer_is_not_in_the_next(tmp_path: Path) -> None:
    config = TargetConfig(
        name="shop", project=tmp_path, destination=DestinationConfig(type="duckdb")
    )
    destination = build(config)
    first = asked(destination, config, "one")
    first.dataset_name = "other"
    assert asked(destination, config, "one").dataset_name == config.dataset
    assert first.credentials is asked(destination, config, "one").credentials


def test_what_is_changed_is_looked_up_again(tmp_path: Path) -> None:
    config = TargetConfig(
        name="shop", project=tmp_path, destination=DestinationConfig(type="duckdb")
    )
    destination = build(config)
    assert asked(destination, config, "one").replace_strategy is None
    change(destination, "one.destination.duckdb.replace_strategy", "staging-optimized")
    assert asked(destination, config, "one").replace_strategy == "staging-optimized"
    assert asked(destination, config, "two").replace_strategy is None
