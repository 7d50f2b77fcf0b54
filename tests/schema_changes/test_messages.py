"""Types and shares in words: nothing is rounded into what it is not."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.model import Column
from millstream.schema_changes import yaml_column
from millstream.schema_changes.messages import (
    accept_command,
    key_words,
    percent,
    reject_command,
    type_words,
)

shares = st.fractions(0, 1).map(float)


@given(shares, shares)
@example(0.9995, 1.0)
@example(0.0004, 0.0)
def test_more_is_never_said_to_be_less(one: float, another: float) -> None:
    def number(share: float) -> float:
        text = percent(share)
        return {"under 0.1%": 0.01, "over 99.9%": 99.99}.get(text) or float(text.rstrip("%"))

    low, high = sorted((one, another))
    assert number(low) <= number(high)
    assert abs(number(low) - low * 100) <= 0.1


@given(shares)
@example(1e-9)
@example(1 - 1e-9)
def test_only_nothing_is_0_and_only_all_is_100_percent(share: float) -> None:
    assert (percent(share) == "0%") == (share == 0)
    assert (percent(share) == "100%") == (share == 1)


@given(
    st.sampled_from(yaml_column.DATA_TYPES),
    st.none() | st.integers(0, 99),
    st.none() | st.integers(-9, 99),
    st.none() | st.booleans(),
)
def test_a_type_in_words_can_be_read_again(
    data_type: str, precision: int | None, scale: int | None, timezone: bool | None
) -> None:
    column = Column("c", data_type, precision=precision, scale=scale, timezone=timezone)
    assert yaml_column.read("c", type_words(column)) == column


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, ""),
        ({"primary_key": True, "cursor": True}, "primary key, cursor"),
        ({"merge_key": True}, "merge key"),
    ],
)
def test_the_keys_of_a_column(flags: dict[str, bool], words: str) -> None:
    assert key_words(Column("c", "text", **flags)) == words


@given(st.text(min_size=1))
@example("x; reboot")
@example("--all")
def test_a_command_names_the_stream_whatever_it_is_called(stream: str) -> None:
    for command, verb in ((accept_command(stream), "accept"), (reject_command(stream), "reject")):
        assert shlex.split(command) == ["millstream", "schema", verb, "--stream", stream]
