"""Where dlt fails or loses digits, the engine decides: docs/explanation/engine.md says how."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import orjson
import pytest
from orjson import Fragment
from tests.engine.test_patch import _engine_off_again, content, load  # noqa: F401

from millstream import engine

LARGE = 2**70 + 1
HUGE = 10**60 + 7


def rows(*texts: str) -> list[Fragment]:
    return [Fragment(text.encode()) for text in texts]


def test_an_integer_beyond_64_bits_fails_dlt(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="too large"):
        load(tmp_path, "plain", [{"n": 1}, {"n": 2**63}])


@pytest.mark.parametrize(
    "data", [[{"n": 1}, {"n": 2**63}], rows('{"n": 1}', '{"n": 9223372036854775808}')]
)
def test_integers_beyond_64_bits_go_to_a_variant(tmp_path: Path, data: list[Any]) -> None:
    engine.enable()
    pipeline = load(tmp_path, "large", data)
    assert content(pipeline, "items", "n", "n__v_wei") == [(1, None), (None, Decimal(2**63))]


def test_every_digit_stays(tmp_path: Path) -> None:
    engine.enable()
    data = rows(
        '{"n": 1}', f'{{"n": {LARGE}}}', f'{{"n": {HUGE}}}', f'{{"n": {-LARGE}}}', '{"n": 5}'
    )
    pipeline = load(tmp_path, "digits", data)
    found = content(pipeline, "items", "n", "n__v_wei", "n__v_text")
    assert sorted(map(str, found)) == sorted(
        map(
            str,
            [
                (1, None, None),
                (5, None, None),
                (None, Decimal(LARGE), None),
                (None, Decimal(-LARGE), None),
                (None, None, str(HUGE)),
            ],
        )
    )


def test_digits_stay_inside_json_columns(tmp_path: Path) -> None:
    engine.enable()
    text = f'{{"n":{LARGE},"x":[1.5e300,"é"]}}'
    data = rows(f'{{"id": 1, "doc": {text}}}')
    pipeline = load(tmp_path, "doc", data, columns={"doc": {"data_type": "json"}})
    ((found,),) = content(pipeline, "items", "doc::text")
    assert json.loads(found) == json.loads(text)


def test_large_floats_stay_floats(tmp_path: Path) -> None:
    engine.enable()
    pipeline = load(tmp_path, "floats", [{"x": 1.5}, {"x": 1e300}, {"x": -2e19}])
    assert content(pipeline, "items", "x") == [(-2e19,), (1.5,), (1e300,)]
    assert set(pipeline.default_schema.tables["items"]["columns"]) == {
        "x",
        "_dlt_id",
        "_dlt_load_id",
    }


def test_fragments_are_what_dlt_would_have_written(tmp_path: Path) -> None:
    engine.disable()
    data = [{"id": 1, "list": [{"a": "é"}]}]
    pipeline = load(tmp_path, "fragments", [Fragment(orjson.dumps(row)) for row in data])
    assert content(pipeline, "items__list", "a") == [("é",)]
    assert dlt.__version__
