"""What every sender needs: secrets from the environment, and when to try again."""

from __future__ import annotations

import pytest

from millstream.alerts.delivery import RefusedError, _host, _seconds, post, secret
from millstream.errors import ConfigError


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_WEBHOOK", " https://hooks.example.org/x \n")
    assert secret("MY_WEBHOOK") == "https://hooks.example.org/x"
    monkeypatch.setenv("MY_WEBHOOK", " ")
    with pytest.raises(ConfigError, match="MY_WEBHOOK is not set"):
        secret("MY_WEBHOOK")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-5", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("nan", 0.0),
    ],
)
def test_how_long_a_server_wants_us_to_wait(header: str | None, seconds: float) -> None:
    assert _seconds(header) == seconds


@pytest.mark.parametrize("address", ["https://me:key@hooks.example.org:8443/key?key=1", "key"])
def test_an_address_is_told_by_its_host_alone(address: str) -> None:
    assert "key" not in _host(address)


def test_nobody_listens() -> None:
    with pytest.raises(OSError):
        post("http://127.0.0.1:1/key", {})
    assert RefusedError("said 503", 5.0).wait == 5.0
