from __future__ import annotations

from pathlib import Path

import pytest

from sources.github_kit import FakeClock, Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
