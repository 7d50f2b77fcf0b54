"""What is kept of a row: cut, redacted, and always a valid JSON document."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from pydantic import ValidationError

from millstream.config import PolicyRule, QuarantineConfig, TargetConfig
from millstream.errors import QuarantineLimitError
from millstream.model import QuarantinedRows
from millstream.quarantine import entry, limits
from millstream.quarantine.redaction import redacted
from millstream.quarantine.rules import QuarantineRules

PROBLEM = entry.Rejection("contract", "why", "orders", "n")


def made(document: Any, *, is_text: bool = False, **settings: Any) -> dict[str, Any]:
    watch = QuarantineRules("shop", "orders", QuarantineConfig(**settings))
    return entry.make(
        watch,
        [PROBLEM],
        document,
        load_id="1.5",
        position="file:1",
        disposition="append",
        is_text=is_text,
    )


def test_a_large_row_is_cut_with_a_mark_and_a_digest() -> None:
    row = {"id": 1, "text": "é" * 1000}
    whole = made(row)
    found = made(row, max_row_bytes=101)
    kept = json.loads(found["document"])
    assert found["is_cut"]
    assert whole["document"].startswith(kept[entry.CUT])
    assert 99 <= len(kept[entry.CUT].encode()) <= 101
    assert kept["sha256"] == sha256(whole["document"].encode()).hexdigest()
    assert found["document_bytes"] == kept["bytes"] == len(whole["document"].encode())
    assert not whole["is_cut"]


def test_secrets_are_taken_out_and_it_says_which() -> None:
    row = {"id": 1, "users": [{"token": "S3cret", "name": "ann"}], "a": {"password": "S3cret"}}
    found = made(row, redact=["users[].token", "*.password", "absent"])
    assert "S3cret" not in json.dumps(found, default=str)
    assert json.loads(found["redacted_paths"]) == ["users[].token", "*.password"]
    assert json.loads(found["document"])["users"][0]["name"] == "ann"
    assert row["users"][0]["token"] == "S3cret", "the row itself is still to be loaded"  # type: ignore[index]


def test_an_unreadable_text_may_hold_a_secret() -> None:
    text = '{"token": "S3cret", '
    assert json.loads(made(text, is_text=True)["document"]) == text
    hidden = made(text, is_text=True, redact=["token"])
    assert "S3cret" not in json.dumps(hidden, default=str)
    assert hidden["document_bytes"] == len(json.dumps("[redacted]"))


@pytest.mark.parametrize(
    ("row", "path", "expected"),
    [
        ({"a": 1}, "a", {"a": "[redacted]"}),
        ({"a": [1, 2]}, "a[]", {"a": "[redacted]"}),
        ({"a": [[{"b": 1}]]}, "a.b", {"a": [[{"b": "[redacted]"}]]}),
        ({"a": None, "c": 1}, "b", {"a": None, "c": 1}),
        (5, "a", 5),
        (
            {"a.b": {'c"[]': 1}, "a": {"b": 2}},
            r'"a.b"."c\"\u005b]"',
            {"a.b": {'c"[]': "[redacted]"}, "a": {"b": 2}},
        ),
        ({"a.b": [{"c": 1}]}, '"a.b"[].c', {"a.b": [{"c": "[redacted]"}]}),
    ],
)
def test_redacted(row: Any, path: str, expected: Any) -> None:
    assert redacted(row, [path])[0] == expected


@pytest.mark.parametrize(
    ("rows", "put_aside", "refused"),
    [
        (1000, 500, None),
        (1000, 501, "max_share"),
        (20, 10, None),
        (20, 11, "max_share"),
        (5, 5, "max_share"),
        (4, 4, None),  # too few to tell
        (10_000, 1001, "max_rows"),
    ],
)
def test_limits(rows: int, put_aside: int, refused: str | None) -> None:
    settings = QuarantineConfig(max_rows=1000)
    counts = [QuarantinedRows("orders", "contract", "the contract says so", put_aside)]
    if refused is None:
        limits.check(settings, counts, rows, pipeline="shop", stream="orders")
        return
    with pytest.raises(QuarantineLimitError, match=refused) as caught:
        limits.check(settings, counts, rows, pipeline="shop", stream="orders")
    assert f"{put_aside:,} of {rows:,} rows" in caught.value.message
    assert "the contract says so" in caught.value.message


def test_a_share_of_zero_allows_none() -> None:
    counts = [QuarantinedRows("orders", "contract", "no", 1)]
    settings = QuarantineConfig(max_share=0)
    with pytest.raises(QuarantineLimitError, match="max_share"):
        limits.check(settings, counts, 3, pipeline="shop", stream="orders")
    limits.check(settings, [], 0, pipeline="shop", stream="orders")


def test_a_rule_that_no_row_can_break_is_refused() -> None:
    with pytest.raises(ValidationError, match="no single row makes `column_gone`"):
        PolicyRule(action="quarantine", change=("column_gone",))
    with pytest.raises(ValidationError, match=r"`quarantine.enabled` is false"):
        TargetConfig.model_validate(
            {
                "name": "shop",
                "quarantine": {"enabled": False},
                "schema_policy": {"rules": [{"action": "quarantine"}]},
            }
        )
