"""What is remembered of typed dictionaries is what dlt would evaluate; it checks as before."""

from __future__ import annotations

import sys
from typing import Any, get_type_hints

import dlt
import pytest
from dlt.common import validation
from dlt.common.exceptions import DictValidationException
from dlt.common.schema import typing as described
from dlt.common.schema.utils import validate_stored_schema

from millstream.dlt_compat import type_hints

KINDS = [each for each in vars(described).values() if hasattr(each, "__required_keys__")]


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is evaluated from here on."""
    found: list[Any] = []

    def noted(spec: Any, **names: Any) -> Any:
        found.append(spec)
        return plain(spec, **names)

    plain = type_hints._evaluate
    monkeypatch.setattr(type_hints, "_evaluate", noted)
    monkeypatch.setattr(validation, "get_type_hints", noted)
    type_hints._of.cache_clear()
    type_hints.evaluate_once()
    return found


def schema() -> Any:
    made = dlt.Schema("shop")
    columns = {name: {"name": name, "data_type": "text"} for name in "abc"}
    made.update_table({"name": "orders", "columns": columns})
    return made.to_dict()


def test_each_is_evaluated_once(evaluated: list[Any]) -> None:
    validate_stored_schema(schema())
    assert evaluated
    validate_stored_schema(schema())
    assert len(evaluated) == len({*evaluated})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_types_are_those_of_dlt(evaluated: list[Any], kind: Any) -> None:
    names = vars(sys.modules[kind.__module__])
    for _ in range(2):
        assert validation.get_type_hints(kind, globalns=names) == get_type_hints(kind, names)


def test_what_is_wrong_is_found(evaluated: list[Any]) -> None:
    for _ in range(2):
        wrong = schema()
        wrong["tables"]["orders"]["columns"]["a"]["nullable"] = "no"
        with pytest.raises(DictValidationException, match="nullable=no"):
            validate_stored_schema(wrong)
