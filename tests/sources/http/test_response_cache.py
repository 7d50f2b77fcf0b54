"""What is kept of answers: each version for the request that got it, or nothing."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
import requests

from millstream.sources.http.response_cache import ResponseCache

DATE = "Mon, 01 Jan 2024 12:00:00 GMT"


def request(url: str = "http://x/a", **headers: str) -> requests.PreparedRequest:
    return requests.Request("GET", url, headers=headers).prepare()


def answer(body: bytes = b"[1]", status: int = 200, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = status, BytesIO(body)
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


@pytest.mark.parametrize(
    ("headers", "is_kept"),
    [
        ({"ETag": '"1"'}, True),
        ({"ETag": '"1"', "Cache_Control": "private, No-Store"}, False),
        ({"ETag": '"1"', "Vary": "*"}, False),
        ({}, False),
        ({"Last_Modified": "Mon, 01 Jan 2024 11:59:00 GMT", "Date": DATE}, True),
        # it may change again within the second
        ({"Last_Modified": "Mon, 01 Jan 2024 11:59:01 GMT", "Date": DATE}, False),
        ({"Last_Modified": "Mon, 01 Jan 2024 11:00:00 GMT"}, False),
        ({"Last_Modified": "yesterday", "Date": DATE}, False),
    ],
)
def test_what_has_a_version(tmp_path: Path, headers: dict[str, str], is_kept: bool) -> None:
    cache = ResponseCache(tmp_path / "cache")
    cache.keep(request(), answer(**headers))
    kept = cache.find(request())
    assert (kept is not None) is is_kept
    if kept is not None:
        restored = kept.restored(answer(b"", 304, X_Left="3"))
        assert (restored.status_code, restored.json(), restored.headers["x-left"]) == (
            200,
            [1],
            "3",
        )
    cache.keep(request(), answer(b"{}", 500, ETag='"1"'))
    assert (cache.find(request()) is not None) is is_kept


def test_each_request_has_its_own(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    cache.keep(request(Authorization="a"), answer(ETag='"1"'))
    assert cache.find(request(Authorization="a")) is not None
    others = [request(Authorization="b"), request(), request("http://x/a?page=1")]
    others.append(request(Authorization="a", **{"If-None-Match": "mine"}))
    assert [cache.find(each) for each in others] == [None] * len(others)


def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    for damage in (lambda content: content[:-1], lambda content: b"", lambda content: b"x"):
        cache.keep(request(), answer(b"[1, 2, 3]", ETag='"1"'))
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        file.write_bytes(damage(file.read_bytes()))
        assert cache.find(request()) is None


def test_what_was_not_asked_for_makes_room(tmp_path: Path) -> None:
    most = 4000
    cache = ResponseCache(tmp_path, most)
    for n in range(20):
        cache.keep(request(f"http://x/{n}"), answer(os.urandom(500), ETag='"1"'))
        cache.find(request("http://x/0"))
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= most
    assert cache.find(request("http://x/0")) is not None
    assert cache.find(request("http://x/19")) is not None
    assert cache.find(request("http://x/5")) is None
