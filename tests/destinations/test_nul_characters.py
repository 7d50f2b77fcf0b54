"""NUL characters that a destination can't hold: a sign in their place, and counted."""

from __future__ import annotations

from typing import Any

import dlt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.destinations.nul_characters import keeping, replaced
from millstream.formats.copy_files import NUL_SIGN

POSTGRES = dlt.destinations.postgres("postgresql://u@localhost/d").capabilities().escape_literal


@given(st.text("a\0'\\é"))
def test_texts_with_a_nul_stay_apart_from_those_without(text: str) -> None:
    keep = keeping(POSTGRES)
    assert keep is not None
    assert keep(text) == POSTGRES(text.replace("\0", NUL_SIGN))
    assert (keep(text) == keep(text.replace("\0", ""))) == ("\0" not in text)
    assert keep.texts == 2 * ("\0" in text)


@pytest.mark.parametrize("value", [5, None, True, b"\0", 1.5])
def test_other_values_are_written_as_dlt_writes_them(value: Any) -> None:
    keep = keeping(POSTGRES)
    assert keep is not None
    assert keep(value) == POSTGRES(value)
    assert keep.texts == 0


def test_destinations_that_hold_nul_are_left_alone() -> None:
    assert keeping(None) is None
    assert keeping(repr) is None


def test_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    keep = keeping(POSTGRES)
    assert keep is not None
    for count in (1, 3, 5):
        keep.note(count)
    assert keep.texts == 9
    assert len(caplog.records) == 1
    assert "U+2400" in caplog.text


def test_a_pipeline_without_nul_warns_of_nothing() -> None:
    pipeline = dlt.pipeline("shop", destination=dlt.destinations.duckdb(":memory:"))
    assert replaced(pipeline) == ()
