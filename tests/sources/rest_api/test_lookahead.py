"""Which pages are to come, as far as links tell."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.sources.rest_api.lookahead import _counted, _numbered

HERE = "http://api/list"


@pytest.mark.parametrize(
    ("url", "last", "pages"),
    [
        ("?page=2", "?page=4", ["2", "3", "4"]),
        ("?size=5&page=2", "?page=3&size=5", ["2", "3"]),
        ("?page=2&q=a", "?page=4&q=b", []),
        ("?page=2&after=x", "?page=4&after=y", []),
        ("?after=x", "?after=y", []),
        ("?page=2", "?page=2", []),
        ("?page=2", "?page=99999999999999", []),
    ],
)
def test_links_to_a_next_and_a_last_page(url: str, last: str, pages: list[str]) -> None:
    found = _numbered(HERE + url, HERE + last)
    assert [each.partition("page=")[2] for each in found] == pages


@pytest.mark.parametrize(
    ("url", "following", "document", "rows", "ends"),
    [
        ("", "?offset=20", {"count": 64}, 20, ["offset=20", "offset=40", "offset=60"]),
        ("?n=20", "?n=20&start=20", {"total": 60}, 20, ["n=20&start=20", "n=20&start=40"]),
        ("", "?page=2", {"count": 11}, 5, ["page=2", "page=3"]),
        ("?page=2", "?page=3", {"total_count": 20}, 5, ["page=3", "page=4"]),
        ("", "?offset=20", {"count": 64}, 19, []),
        ("", "?offset=20", {"count": "64"}, 20, []),
        ("", "?offset=20", {}, 20, []),
        ("", "?cursor=abc", {"count": 64}, 20, []),
    ],
)
def test_a_link_to_the_next_page_and_a_total(
    url: str, following: str, document: Any, rows: int, ends: list[str]
) -> None:
    found = _counted(HERE + url, HERE + following, document, rows)
    assert [each.partition("?")[2] for each in found] == ends
