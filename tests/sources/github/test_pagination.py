"""All pages of a list, through the real client: each row is read, whatever moves meanwhile."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.errors import SourceDataError
from millstream.sources.github.pagination import Page, _number, _with_page
from millstream.sources.github.state import PageTags

from .in_memory import BASE, Lists, listing, pager_of, row


def read(lists: Lists, parallel: int = 4, **options: Any) -> list[Page]:
    pager = pager_of(lists, parallel)
    try:
        return list(pager.read(listing(**options)))
    finally:
        pager.close()


def ids(pages: list[Page]) -> list[int]:
    return [each["id"] for page in pages for each in page.rows]


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.booleans())
@example(6, 3, 2, True, True)
def test_each_row_of_a_list_that_stays_is_read_once(
    rows: int, per_page: int, parallel: int, together: bool, checked: bool
) -> None:
    lists = Lists(issues=[row(n) for n in range(rows)])
    options = {"per_page": per_page, "together": together, "checked": checked}
    pages = read(lists, parallel, **options)
    assert ids(pages) == list(range(rows))
    assert [page.number for page in pages if page.rows] == list(range(1, -(-rows // per_page) + 1))


@settings(max_examples=30)
@given(st.integers(1, 14), st.sets(st.integers(0, 8)), st.integers(1, 3), st.booleans())
def test_rows_that_enter_meanwhile_hide_no_other(
    count: int, at: set[int], parallel: int, checked: bool
) -> None:
    lists = Lists(issues=[row(n) for n in range(count)])
    rows = lists.lists["/repos/a/b/issues"]
    lists.before_answer = lambda number: rows.append(row(len(rows))) if number in at else None
    found = ids(read(lists, parallel, checked=checked))
    assert {*range(count)} <= {*found}


@settings(max_examples=40)
@given(st.integers(4, 20), st.integers(0, 20), st.integers(1, 6))
@example(12, 0, 2)
def test_a_checked_list_is_read_again_where_a_row_left(count: int, which: int, at: int) -> None:
    """A row that leaves pulls others forward, from pages not read yet to pages already read."""
    lists = Lists(issues=[row(n) for n in range(count)])
    rows = lists.lists["/repos/a/b/issues"]
    pages = -(-count // 3)

    def change(number: int) -> None:
        if number == min(at, pages - 1):  # while the pages are read, before they are checked
            rows.pop(which % len(rows))

    lists.before_answer = change
    found = ids(read(lists, 3, checked=True))
    assert {each["id"] for each in rows} <= {*found}


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_list_that_github_cuts_ends_with_a_limit(parallel: int) -> None:
    lists = Lists(issues=[row(n) for n in range(20)])
    lists.most_pages = 4
    for checked in (False, True):
        pages = read(lists, parallel, checked=checked)
        assert ids(pages) == list(range(12))
        assert [bool(page.limit) for page in pages] == [False] * 4 + [True]
        assert "422" in pages[-1].limit


def test_unchanged_pages_cost_no_rows() -> None:
    lists = Lists(issues=[row(n) for n in range(10)])
    first, second = PageTags(), PageTags()
    pager = pager_of(lists, 1)
    assert ids(list(pager.read(listing(), None, first))) == list(range(10))
    lists.lists["/repos/a/b/issues"][4]["title"] = "changed"

    pages = list(pager.read(listing(), first, second))

    assert [page.changed for page in pages] == [False, True, False, False]
    assert [page.count for page in pages] == [3, 3, 3, 1]
    assert ids(pages) == [3, 4, 5]
    assert lists.unchanged == 3
    assert second.pages.keys() == first.pages.keys()
    # of a list with other pages they say nothing
    assert ids(list(pager.read(listing(per_page=5), first, None))) == list(range(10))
    pager.close()


def test_rows_behind_the_last_page_that_was_known_are_read() -> None:
    lists = Lists(issues=[row(n) for n in range(6)])
    tags = PageTags()
    pager = pager_of(lists)
    list(pager.read(listing(), None, tags))
    lists.lists["/repos/a/b/issues"] += [row(6), row(7)]
    assert ids(list(pager.read(listing(), tags, PageTags()))) == [6, 7]
    pager.close()


def test_tasks_give_their_results_in_order_and_their_errors() -> None:
    pager = pager_of(Lists(), 3)
    assert list(pager.each((lambda n=n: n) for n in range(20))) == list(range(20))

    def fail() -> None:
        raise ValueError("task 2")

    results = pager.each([lambda: 1, fail, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="task 2"):
        next(results)
    pager.close()


@pytest.mark.parametrize(
    ("link", "number"),
    [
        (None, None),
        (f"{BASE}/x?page=17&per_page=3", 17),
        (f"{BASE}/x", None),
        (f"{BASE}/x?page=2&after=abc", None),
        (f"{BASE}/x?page=-1", None),
        (f"{BASE}/x?page=²", None),
    ],
)
def test_the_number_of_a_page_in_a_link(link: str | None, number: int | None) -> None:
    assert _number(link) == number


def test_links_to_pages_that_no_list_has_are_refused() -> None:
    with pytest.raises(SourceDataError, match="a link to page 1234567"):
        _number(f"{BASE}/x?page=1234567")


@given(st.dictionaries(st.text("ab", min_size=1), st.text("c&=é ", min_size=1)), st.integers(1, 99))
def test_a_link_to_another_page_keeps_its_parameters(query: dict[str, str], number: int) -> None:
    link = _with_page(f"{BASE}/x?{urlencode({**query, 'page': '1'})}", number)
    assert dict(parse_qsl(urlsplit(link).query)) == {**query, "page": str(number)}
    assert _number(link) == number
