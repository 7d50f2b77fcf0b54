"""What must equal dlt's result does so with compiled kernels, where numba is installed."""

from __future__ import annotations

import os

import pytest

_SETTING = os.environ.get("MILLSTREAM_KERNELS", "on")


@pytest.fixture(autouse=True)
def kernels(isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first row on; `MILLSTREAM_KERNELS=off pytest tests/parity` goes without."""
    monkeypatch.setenv("MILLSTREAM_KERNELS", _SETTING)
