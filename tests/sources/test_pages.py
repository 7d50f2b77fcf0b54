"""The first pages of a source: no page more is asked for, and what it holds is closed."""

from __future__ import annotations

from collections.abc import Iterator

import dlt
import pytest

from millstream.sources.pages import limit_pages


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_a_generator_yields_no_further_page(pages: int) -> None:
    log: list[object] = []

    @dlt.resource(name="orders")
    def orders(count: int = 3) -> Iterator[list[int]]:
        try:
            for number in range(count):
                log.append(number)
                yield [number]
        finally:
            log.append("closed")

    resource = orders()
    limit_pages(resource, pages)
    assert list(resource) == list(range(min(pages, 3)))
    assert log == [*range(min(pages, 3)), "closed"]


def test_a_list_is_limited_too() -> None:
    resource = dlt.resource([[1], [2], [3]], name="orders")
    limit_pages(resource, 2)
    assert list(resource) == [1, 2]


def test_a_function_that_returns_rows_is_left_as_it_is() -> None:
    resource = dlt.resource(lambda: [1, 2], name="orders")
    limit_pages(resource, 1)
    assert list(resource) == [1, 2]
