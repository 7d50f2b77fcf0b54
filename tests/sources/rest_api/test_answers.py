"""What counts as a page of a list, read without a load."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count, cycle
from typing import Any

import pytest

from millstream.config import RestApiConfig
from millstream.errors import SourceDataError
from millstream.sources.rest_api import RestApiSource
from sources.api_server import SIZE, ApiServer, Reply, serving

BY_CURSOR = {"type": "cursor", "cursor_path": "cursor", "cursor_param": "page"}
BY_NUMBER = {"type": "page_number", "base_page": 1, "total_path": None}
BY_TOTAL = {"type": "page_number", "base_page": 1, "total_path": "total_pages"}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        server.lists["orders"] = [{"id": n} for n in range(4 * SIZE)]
        yield server


def ids(server: ApiServer, **endpoint: Any) -> list[int]:
    """Of the rows of a list, read as a run reads it."""
    config = RestApiConfig(
        client={"base_url": server.url},
        resources=({"name": "orders", "endpoint": endpoint},),
        parallel=1,
        etags=False,
    )
    try:
        return [row["id"] for row in RestApiSource(config).open("orders")]
    except Exception as error:
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, SourceDataError):
            inner = inner.__cause__ or inner.__context__
        raise inner or error from None


def answer(server: ApiServer, page: int, body: str) -> None:
    asked = count(1)
    server.fault = lambda *_: Reply(200, body.encode()) if next(asked) == page else None


@pytest.mark.parametrize("selector", ["items", None])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{}", "but an empty object"),
        ("null", "but null"),
        ('{"items": null}', "but null"),
        ('{"items": "Ann"}', "but a text"),
        ('{"items": {"id": 5, "a": 1, "b": 2}}', "but an object with `id`, `a`, `b`"),
        ('{"message": "closed", "x": "Ann"}', '`message`, `x`, which says {"message": "closed"}'),
        ('{"items": {"error": "closed"}}', 'tells of an error alone: {"error": "closed"}'),
    ],
)
def test_what_is_no_page(api: ApiServer, selector: str | None, body: str, said: str) -> None:
    answer(api, 2, body)
    selected = {"data_selector": selector} if selector else {}
    with pytest.raises(SourceDataError) as caught:
        ids(api, path="cursor/orders", paginator=BY_CURSOR, **selected)
    assert said in caught.value.message
    assert f"{api.url}/cursor/orders?page=2" in caught.value.message
    assert "alone" in said or "`items`, where the page before had one" in caught.value.message
    is_empty = selector and body in ("{}", "null")
    assert ("items[*]" if is_empty else "response_actions") in str(caught.value.hint)
    assert "Ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "endpoint", "body"),
    [
        ("cursor", {"paginator": BY_CURSOR, "data_selector": "items"}, "[]"),
        ("cursor", {"paginator": BY_CURSOR, "data_selector": "items"}, '{"items": []}'),
        ("cursor", {"paginator": BY_CURSOR}, '{"items": null, "cursor": null}'),
        ("cursor", {"paginator": BY_CURSOR, "data_selector": "items"}, '{"cursor": ""}'),
        ("cursor", {"paginator": BY_CURSOR, "data_selector": "items[*]"}, "{}"),
        # the end is a page without rows
        (
            "page",
            {"paginator": BY_NUMBER, "data_selector": "data.items"},
            '{"data":{"items":null}}',
        ),
        ("page", {"paginator": BY_NUMBER}, '{"data": {"items": []}}'),
        ("page", {"paginator": BY_TOTAL}, '{"data": {"items": []}, "total_pages": 4}'),
        ("page", {"paginator": BY_TOTAL}, '{"total_pages": 0}'),
        ("link", {}, "[]"),
        ("link", {}, ""),
        ("next", {}, '{"results": null, "next": null}'),
    ],
)
def test_what_is_an_empty_page(
    api: ApiServer, kind: str, endpoint: dict[str, Any], body: str
) -> None:
    answer(api, 2, body)
    assert ids(api, path=f"{kind}/orders", **endpoint) == list(range(SIZE))


def test_a_list_that_may_be_left_out_is_no_message(api: ApiServer) -> None:
    answer(api, 2, '{"message": "closed"}')
    with pytest.raises(SourceDataError, match="where the page before had one"):
        ids(api, path="cursor/orders", paginator=BY_CURSOR, data_selector="items[*]")


def test_a_link_whose_name_has_a_dot(api: ApiServer) -> None:
    paginator = {"type": "json_link", "next_url_path": "['@odata.nextLink']"}
    for path in ("['@odata.nextLink']", "$.next"):
        following = {"@odata.nextLink": "/x?page=2", "next": "/x?page=2"}
        pages = iter([json.dumps({"value": [{"id": 1}], **following}), '{"value": null}'])
        api.fault = lambda *_, pages=pages: Reply(200, next(pages).encode())
        with pytest.raises(SourceDataError, match="where the page before had one, but null"):
            ids(api, path="x", paginator={**paginator, "next_url_path": path})


def test_a_row_without_a_list_around_it(api: ApiServer) -> None:
    answer(api, 2, '{"items": {"id": 77}, "cursor": null}')
    endpoint = {"path": "cursor/orders", "data_selector": "items", "paginator": BY_CURSOR}
    assert ids(api, **endpoint) == [*range(SIZE), 77]


@pytest.mark.parametrize("path", ["_links.next.href", "$._links.next.href"])
def test_a_link_that_is_left_out(api: ApiServer, path: str) -> None:
    pages = iter(
        [
            b'{"_embedded": {"x": [{"id": 1}]}, "_links": {"next": {"href": "/x?page=2"}}}',
            b'{"_links": {"self": {"href": "/x?page=2"}}}',
        ]
    )
    api.fault = lambda *_: Reply(200, next(pages))
    paginator = {"type": "json_link", "next_url_path": path}
    assert ids(api, path="x", data_selector="_embedded.x", paginator=paginator) == [1]


def test_rows_behind_an_empty_page(api: ApiServer) -> None:
    answer(api, 2, '{"cursor": "3"}')
    endpoint = {"path": "cursor/orders", "data_selector": "items", "paginator": BY_CURSOR}
    assert ids(api, **endpoint) == [*range(SIZE), *range(2 * SIZE, 4 * SIZE)]


def test_the_end_that_a_total_does_not_tell(api: ApiServer) -> None:
    """Of four pages, the second one lacks the list."""
    for body in ('{"total_pages": 4}', '{"data": {"items": null}, "total_pages": 4}'):
        answer(api, 2, body)
        with pytest.raises(SourceDataError, match="where the page before had one"):
            ids(api, path="page/orders", paginator=BY_TOTAL)


@pytest.mark.parametrize(
    ("document", "endpoint"),
    [
        ({"id": 1, "error": "late"}, {}),
        ({"data": {"id": 1, "message": "x"}}, {"data_selector": "data"}),
        ({"id": 1, "status": "error"}, {"paginator": "single_page"}),
        ([{"id": 1}], {"data_selector": "$"}),
        ({"items": [{"id": 1}]}, {"data_selector": "items[*]"}),
        ({"a": [{"b": {"id": 1}}]}, {"data_selector": "a[*].b"}),
        ({"a": [{"id": 1, "k": "x"}, {"id": 2}]}, {"data_selector": "a[?(@.k=='x')]"}),
    ],
)
def test_what_is_a_row(api: ApiServer, document: Any, endpoint: dict[str, Any]) -> None:
    api.fault = lambda *_: Reply(200, json.dumps(document).encode())
    assert ids(api, path="x", **endpoint) == [1]


def test_a_pattern_may_match_nothing(api: ApiServer) -> None:
    api.fault = lambda *_: Reply(200, b'{"a": [{"id": 1, "k": "y"}]}')
    for selector in ("a[?(@.k=='x')]", "$..x", "*.b"):
        assert ids(api, path="x", paginator="single_page", data_selector=selector) == []


def test_how_the_service_is_may_be_a_row(api: ApiServer) -> None:
    api.fault = lambda *_: Reply(200, b'{"status": "failed", "code": 5}')
    with pytest.raises(SourceDataError, match="tells of an error alone"):
        ids(api, path="x")
    with pytest.raises(KeyError):  # a row, without an id
        ids(api, path="x", data_selector="$")


@pytest.mark.parametrize("selector", ["items", None])
def test_an_error_beside_the_list(
    api: ApiServer, selector: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    selected = {"data_selector": selector} if selector else {}
    endpoint = {"path": "x", "paginator": "single_page", **selected}
    body = '{"items": [{"id": 1}], "errors": ["shard 2 is down"], "ok": true, "name": "Ann"}'
    answer(api, 1, body)
    assert ids(api, **endpoint) == [1]
    said = '{"errors": ["shard 2 is down"], "ok": true}'
    assert f"rows were loaded, and the answer tells of an error beside the list: {said}" in (
        caplog.text
    )
    if selector:
        answer(api, 1, body.replace('{"id": 1}', ""))
        with pytest.raises(SourceDataError, match="the list is empty, and the answer tells") as got:
            ids(api, **endpoint)
        assert "Ann" not in str(got.value)
    answer(api, 1, '{"items": [], "errors": [], "error": null, "success": true, "status": "error"}')
    assert ids(api, **endpoint) == []


@pytest.mark.parametrize(
    ("answers", "paginator", "said"),
    [
        # the API calls the parameter `p`
        ([b'[{"id": 1}]'], BY_NUMBER, "the page is the same as the one before"),
        (
            [b'{"n": 1, "items": [{"id": 1}], "next": "/x?page=2"}',
             b'{"n": 2, "items": [{"id": 1}], "next": "/x?page=2"}'],
            {"type": "json_link", "next_url_path": "next"},
            "x?page=2 was read before",
        ),
        (
            [b'{"n": 1, "items": [{"id": 1}], "cursor": "a"}',
             b'{"n": 2, "items": [{"id": 1}], "cursor": "a"}'],
            BY_CURSOR,
            "pagination loop: ",
        ),
    ],
)  # fmt: skip
def test_pages_without_end(
    api: ApiServer, answers: list[bytes], paginator: dict[str, str], said: str
) -> None:
    pages = cycle(answers)
    api.fault = lambda *_: Reply(200, next(pages))
    with pytest.raises(SourceDataError, match=re.escape(said)):
        ids(api, path="x", paginator=paginator)
    assert len(api.requests) <= 4


def test_one_token_for_all_pages(api: ApiServer) -> None:
    """As that of a scroll: what comes next is the server's business."""
    pages = iter([f'{{"items": [{{"id": {n}}}], "cursor": "s"}}' for n in range(4)])
    last = '{"items": [], "cursor": "s"}'
    api.fault = lambda *_: Reply(200, next(pages, last).encode())
    paginator = {**BY_CURSOR, "stop_after_empty_page": True}
    assert ids(api, path="x", paginator=paginator) == [0, 1, 2, 3]


def test_paginators_are_those_that_dlt_takes(api: ApiServer) -> None:
    """`auto` is the client's, and a path that ends with a field of another row is one page."""
    config = RestApiConfig(
        client={"base_url": api.url, "paginator": {**BY_NUMBER, "maximum_page": 3}},
        resources=(
            {"name": "orders", "endpoint": {"path": "page/orders", "paginator": "auto"}},
            {
                "name": "each",
                "endpoint": {"path": "one/{resources.orders.id}", "data_selector": "items"},
            },
        ),
        etags=False,
    )
    one = json.dumps({"items": [{"id": -1}], "next": f"{api.url}/one/other"}).encode()
    api.fault = lambda path, _: Reply(200, one) if path.startswith("/one") else None
    assert len(list(RestApiSource(config).open("orders"))) == 2 * SIZE
    assert len(list(RestApiSource(config).open("each"))) == 2 * SIZE
    assert sum(path.startswith("/one") for path in api.requests) == 2 * SIZE
