"""Rules, quarantine and alerts: what can't work is refused where it is written."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from millstream.config.governance import (
    MADE_BY_ROWS,
    AlertConfig,
    PolicyConfig,
    PolicyRule,
    QuarantineConfig,
)
from millstream.model import ChangeKind, Severity


@pytest.mark.parametrize("kind", get_args(ChangeKind))
def test_only_what_rows_make_can_be_quarantined(kind: str) -> None:
    for action in ("allow", "warn", "hold"):
        assert PolicyRule(action=action, change=kind).change == (kind,)
    if kind in MADE_BY_ROWS:
        assert PolicyRule(action="quarantine", change=(kind, "risky")).change == (kind, "risky")
    else:
        with pytest.raises(ValidationError, match=f"no single row makes `{kind}`"):
            PolicyRule(action="quarantine", change=(kind,))


def test_a_severity_is_a_kind_too_and_a_mistype_is_told() -> None:
    for severity in get_args(Severity):
        assert PolicyRule(action="hold", change=severity).change == (severity,)
    with pytest.raises(ValidationError, match="did you mean variant_added"):
        PolicyRule(action="hold", change="variant_aded")
    with pytest.raises(ValidationError, match="did you mean safe, risky, breaking, "):
        PolicyRule(action="hold", change="zzz")


@pytest.mark.parametrize("field", ["stream", "table", "column"])
def test_a_pattern_is_never_empty(field: str) -> None:
    assert getattr(PolicyRule(action="hold"), field) == "*"
    with pytest.raises(ValidationError, match="at least 1 character"):
        PolicyRule.model_validate({"action": "hold", field: ""})


@pytest.mark.parametrize(
    ("path", "is_path"),
    [
        ("user.email", True),
        ("tokens[].secret", True),
        ("*.password", True),
        ("tags[]", True),
        ("", False),
        ("a..b", False),
        (".a", False),
        ("[]", False),
        ("a.[].b", False),
        ('"a.b"[].c', True),
        (r'"a.\x"', False),
    ],
)
def test_paths_that_are_redacted(path: str, is_path: bool) -> None:
    if is_path:
        assert QuarantineConfig(redact=(path,)).redact == (path,)
        return
    with pytest.raises(ValidationError, match="is not a path such as"):
        QuarantineConfig(redact=(path,))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"max_share": 1.1}, "less than or equal to 1"),
        ({"max_share": float("nan")}, "less than or equal to 1"),
        ({"max_rows": -1}, "greater than or equal to 0"),
        ({"max_row_bytes": 99}, "greater than or equal to 100"),
    ],
)
def test_limits_of_the_quarantine(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuarantineConfig(**attributes)


@pytest.mark.parametrize(
    ("alert", "message"),
    [
        ({"type": "webhook"}, "url_from"),
        ({"type": "email", "host": "h", "sender": "a@b", "to": []}, "at least 1 item"),
        ({"type": "email", "host": "h", "sender": "a@b", "to": ["a@b", "a b@c"]}, "e-mail address"),
        ({"type": "email", "host": "h", "sender": "a@b\nBcc: c@d", "to": ["a@b"]}, "sender"),
        ({"type": "email", "host": "h", "sender": "a@b", "to": ["a@b\r\nBcc: c@d"]}, "e-mail"),
        ({"type": "email", "host": "h", "sender": "a@b", "to": ["a@b"], "port": 0}, "port"),
        ({"type": "pager"}, "does not match any of the expected tags"),
    ],
)
def test_alerts_that_reach_nobody(alert: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(AlertConfig).validate_python(alert)


def test_the_first_run_of_a_stranger_holds_what_breaks() -> None:
    assert (PolicyConfig().preset, PolicyConfig().rules) == ("evolve", ())
    assert QuarantineConfig().enabled
