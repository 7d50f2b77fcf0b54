"""`type: rest_api`: dlt's configuration as it is, each row loaded, several requests at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from millstream.cli import main
from services.places import Place
from sources.api_server import SIZE, ApiServer, Reply, Row, serving

PAGES = 12


def rows(count: int = PAGES * SIZE - 2) -> list[Row]:
    return [
        {"id": n, "at": f"2024-01-01T00:{n // 60:02d}:{n % 60:02d}Z", "tags": [{"t": f"t{n}"}]}
        for n in range(count)
    ]


@dataclass
class ApiProject:
    """A project that reads an API."""

    server: ApiServer
    place: Place
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def configure(
        self, *resources: Any, client: dict[str, Any] | None = None, **source: Any
    ) -> None:
        destination = dict(self.place.destination)
        if self.place.kind == "duckdb":
            destination["database"] = str(self.place.extra["file"])
        attributes = {
            "name": "shop",
            "source": {
                "type": "rest_api",
                "client": {"base_url": self.server.url, **(client or {})},
                "resources": list(resources),
                **source,
            },
            "destination": destination,
        }
        self.place.project.mkdir(parents=True, exist_ok=True)
        (self.place.project / "defs.yaml").write_text(
            json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
        )

    def partition(self, partitions: dict[str, Any]) -> None:
        file = self.place.project / "defs.yaml"
        document = json.loads(file.read_text())
        document["attributes"]["partitions"] = partitions
        file.write_text(json.dumps(document))

    def command(self, *arguments: str) -> int:
        self.server.requests.clear()
        self.server.unchanged.clear()
        name, *more = arguments
        code = main([name, str(self.place.project / "defs.yaml"), *more])
        self.out, self.err = self.capsys.readouterr()
        return code

    def load(self) -> None:
        assert self.command("run") == 0, self.out + self.err

    def ids(self, table: str = "orders") -> list[int]:
        return self.place.column(table, "id")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as server:
        server.lists["orders"] = rows()
        yield server


@pytest.fixture
def project(api: ApiServer, duckdb_place: Place, capsys: pytest.CaptureFixture[str]) -> ApiProject:
    return ApiProject(api, duckdb_place, capsys)


def orders(kind: str, paginator: Any = None, **more: Any) -> dict[str, Any]:
    endpoint = {"path": f"{kind}/orders"} | ({"paginator": paginator} if paginator else {})
    return {
        "name": "orders",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {**endpoint, **more},
    }


PAGINATORS: dict[str, tuple[dict[str, Any], bool]] = {
    "number": (
        orders("page", {"type": "page_number", "base_page": 1, "total_path": "total_pages"}),
        True,
    ),
    "offset": (orders("page", {"type": "offset", "limit": SIZE, "total_path": "total"}), True),
    "header_link": (orders("link", "header_link"), True),
    "header_link_detected": (orders("link"), True),
    "json_link": (orders("next", {"type": "json_link", "next_url_path": "next"}), True),
    "json_link_detected": (orders("next"), True),
    "cursor": (
        orders("cursor", {"type": "cursor", "cursor_path": "cursor", "cursor_param": "page"}),
        False,
    ),
    "one_page": (orders("bare", "single_page"), False),
}
"""By name: a resource, and whether its pages are known beforehand."""


@pytest.mark.parametrize("name", PAGINATORS)
def test_every_row_of_every_kind_of_list(project: ApiProject, name: str) -> None:
    resource, is_known = PAGINATORS[name]
    project.configure(resource)
    project.load()
    assert project.ids() == list(range(len(rows())))
    joined = project.place.query(
        f"""SELECT o.id, t.t FROM {project.place.from_clause("orders")} o
        JOIN {project.place.from_clause("orders__tags")} t ON t._dlt_parent_id = o._dlt_id
        ORDER BY 1"""
    )
    assert joined == [(n, f"t{n}") for n in range(len(rows()))]
    pages = 1 if name == "one_page" else PAGES
    # the first page and the last again: nothing moved
    assert len(project.server.requests) == pages + 2 * is_known


def test_a_list_that_moves_is_read_as_dlt_does(project: ApiProject) -> None:
    seen: list[str] = []

    def moves(_: str, query: dict[str, str]) -> None:
        seen.append(query.get("page", "1"))
        if len(seen) == 5:  # while pages are read ahead
            project.server.lists["orders"].insert(0, {"id": 1000, "at": "2024-01-02", "tags": []})

    project.server.fault = moves
    project.configure(PAGINATORS["number"][0])
    project.load()
    # what entered behind the reader's back comes with the next run
    assert project.ids() == list(range(len(rows())))
    project.load()
    assert project.ids() == [*range(len(rows())), 1000]


def test_many_pages_are_read_window_by_window(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.sources.rest_api.session._AHEAD_PAGES", 4)
    project.configure(PAGINATORS["number"][0], parallel=2)
    project.load()
    assert project.ids() == list(range(len(rows())))


@pytest.mark.parametrize("name", ["number", "header_link", "one_page"])
def test_pages_that_did_not_change_come_from_here(project: ApiProject, name: str) -> None:
    """And each row is loaded as if they had come whole."""
    resource, is_known = PAGINATORS[name]
    project.server.etags = True
    project.configure({**resource, "write_disposition": "append"})
    project.load()
    pages = 1 if name == "one_page" else PAGES
    checked = 2 * is_known  # nothing moved: the same pages, twice in one run
    assert len(project.server.unchanged) == checked
    project.server.lists["orders"][-1]["tags"] = [{"t": "new"}]
    project.load()
    assert len(project.server.requests) == pages + checked
    assert len(project.server.unchanged) == pages - 1 + checked
    assert project.ids() == sorted([*range(len(rows()))] * 2)
    assert project.place.column("orders__tags", "t", "t").count("new") == 1


def test_what_is_kept_stands_for_no_load(project: ApiProject) -> None:
    """Not for rows that somebody deleted, nor for what is loaded otherwise."""
    project.server.etags = True
    replaced = {**orders("link"), "write_disposition": "replace"}
    project.configure(replaced)
    project.load()
    project.place.query(f"DELETE FROM {project.place.from_clause('orders')}")
    project.configure(replaced, {**orders("link"), "name": "again"})
    for command in (["run"], ["run", "--full-refresh"]):
        assert project.command(*command) == 0, project.err
        assert len(project.server.unchanged) == 2 * (PAGES + 2)
        assert project.ids() == project.ids("again") == list(range(len(rows())))
    project.configure({**replaced, "name": "whole"}, etags=False)
    project.load()
    assert not project.server.unchanged


@pytest.mark.parametrize("has_headers", [True, False])
def test_a_page_behind_one_that_did_not_change(project: ApiProject, has_headers: bool) -> None:
    """Which only a header tells, that 304 may leave out."""
    project.server.etags, project.server.headers_of_304 = True, has_headers
    project.server.lists["orders"] = rows(2 * SIZE)
    project.configure(orders("link"))
    project.load()
    project.server.lists["orders"] = rows(3 * SIZE)
    # the first page is asked for whole where 304 has no link; once, and then at once
    for requests in (3 if has_headers else 4, 3):
        project.load()
        assert project.ids() == list(range(3 * SIZE))
        assert len(project.server.requests) == requests


def test_what_was_read_is_asked_for_again_once(project: ApiProject) -> None:
    """Whether 304 has a link is nothing to pages whose rows are compared."""
    project.server.etags, project.server.headers_of_304 = True, False
    project.configure(orders("link"))
    project.load()
    assert len(project.server.requests) == PAGES + 2
    assert len(project.server.unchanged) == 2


def test_an_answer_that_nobody_has(project: ApiProject) -> None:
    project.configure(orders("bare"))
    project.server.fault = lambda *_: Reply(304, b"")
    assert project.command("run") == 1
    assert "the answer is 304, unchanged, and has no rows" in project.err
    ignored = [{"status_code": 304, "action": "ignore"}]
    project.configure(orders("bare", response_actions=ignored))
    project.load()


def test_refusals_and_failures_are_waited_out(project: ApiProject) -> None:
    faults = {
        "3": [Reply(429, b"{}", {"Retry-After": "0"})],
        "4": [Reply(503, b"down"), Reply(200, b'{"data": {"items": [{"id": ')],
        "7": [Reply(429, b"{}", {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"})],
    }

    def fault(_: str, query: dict[str, str]) -> Reply | None:
        waiting = faults.get(query.get("page", ""))
        return waiting.pop(0) if waiting else None

    project.server.fault = fault
    project.configure(PAGINATORS["number"][0])
    project.load()
    assert project.ids() == list(range(len(rows())))
    assert not any(faults.values())


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, b'{"message": "bad key s3cr3t-tok3n"}'), "does not let this run read"),
        (Reply(404, b'{"message": "gone"}'), "has no"),
        (Reply(422, b'{"error": "per_page too large"}'), "per_page too large"),
        (Reply(200, b'[{"id": 1, "id": 2}]'), "duplicate key"),
        (Reply(302, b"", {"Location": "http://localhost:9/x"}), "redirects to another host"),
        (
            Reply(200, b'[{"id": 1}]', {"Link": '<http://localhost:9/x>; rel="next"'}),
            "links to another host",
        ),
    ],
)
def test_what_an_api_refuses_is_named(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch, reply: Reply, said: str
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cr3t-tok3n")
    project.server.fault = lambda *_: reply
    auth = {"auth": {"type": "bearer", "token": "{{ env.SHOP_TOKEN }}"}}
    project.configure(orders("link"), client=auth)
    assert project.command("run") == 1
    assert said in project.err
    assert "hint:" in project.err
    assert "s3cr3t" not in project.out + project.err


def test_an_answer_that_may_be_absent(project: ApiProject) -> None:
    ignored = orders("link", response_actions=[{"status_code": 404, "action": "ignore"}])
    ignored["endpoint"]["path"] = "link/nothing"
    project.configure({**ignored, "name": "nothing"}, orders("link"))
    project.load()
    assert len(project.ids()) == len(rows())


def test_credentials_come_from_the_environment(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.server.token = "s3cr3t-tok3n"
    project.configure(orders("link"), client={"auth": {"type": "bearer"}})
    assert project.command("run") == 1
    assert "SOURCES__REST_API__CREDENTIALS__TOKEN" in project.err

    monkeypatch.setenv("SOURCES__REST_API__CREDENTIALS__TOKEN", "s3cr3t-tok3n")
    project.load()
    assert len(project.ids()) == len(rows())

    project.configure(orders("link"), client={"auth": {"type": "bearer", "token": "in-the-file"}})
    assert project.command("run") == 1
    assert "credentials do not belong in a file" in project.err
    assert "in-the-file" not in project.err


def test_only_what_is_new_is_asked_for(project: ApiProject) -> None:
    by_time = {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"}
    project.configure(
        orders("link", params={"since": "{incremental.start_value}"}, incremental=by_time)
    )
    project.load()
    changed = {"id": 3, "at": "2024-01-02T00:00:00Z", "tags": [{"t": "new"}]}
    project.server.lists["orders"].append(changed)
    project.load()
    assert len(project.server.requests) == 1
    assert project.ids() == list(range(len(rows())))
    tags = project.place.query(
        f"""SELECT t.t FROM {project.place.from_clause("orders")} o
        JOIN {project.place.from_clause("orders__tags")} t ON t._dlt_parent_id = o._dlt_id
        WHERE o.id = 3"""
    )
    assert tags == [("new",)]


def in_order(**more: Any) -> dict[str, Any]:
    by_time = {"cursor_path": "at", "initial_value": "2024-01-01", "row_order": "asc"}
    asked = orders("link", params={"since": "{incremental.start_value}"}, incremental=by_time)
    return {**asked, "write_disposition": "append", **more}


def test_a_list_in_order_goes_on_where_it_broke_off(project: ApiProject) -> None:
    def expired(_: str, query: dict[str, str]) -> Reply | None:
        is_over = query.get("page") == "4" and query["since"] == "2024-01-01"
        return Reply(401, b'{"message": "expired"}') if is_over else None

    project.server.fault = expired
    project.configure(in_order(), parallel=1)
    assert project.command("run") == 1
    # the last value of what was read may be on the next page, too
    last = rows()[3 * SIZE - 2]
    assert f"orders: rows up to {last['at']} were loaded, then: " in project.err
    assert "the next run goes on from there" in project.err
    assert f"{last['id'] + 1} rows in " in project.out, "and reports what it loaded"
    assert project.ids() == list(range(last["id"] + 1))
    project.load()
    assert quote(last["at"]) in project.server.requests[0]
    assert project.ids() == list(range(len(rows())))
    # a full refresh is read whole, or not at all
    assert project.command("run", "--full-refresh") == 1
    assert "were loaded" not in project.err
    assert project.ids() == list(range(len(rows())))


def test_a_long_list_in_order_is_loaded_in_parts(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows with one value are on several pages, and the API leaves those of `since` out."""
    monkeypatch.setattr("millstream.sources.rest_api.ascending._PART_SECONDS", 0.0)
    listed = [{**row, "at": f"2024-01-01T00:{row['id'] // 8:02d}"} for row in rows(30)]

    def later(_: str, query: dict[str, str]) -> None:
        project.server.lists["orders"] = [row for row in listed if row["at"] > query["since"]]

    project.server.fault = later
    project.configure(in_order(), parallel=1)
    project.load()
    assert project.ids() == list(range(len(listed)))
    starts = {each.partition("since=")[2].partition("&")[0] for each in project.server.requests}
    assert len(starts) > 2
    tables = project.out.splitlines()
    assert any("30" in line and "orders" in line for line in tables), project.out
    project.load()
    assert project.ids() == list(range(len(listed)))


def test_a_cursor_at_another_address_is_told_once(project: ApiProject) -> None:
    by_time = {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"}
    resource = orders("link", params={"since": "{incremental.start_value}"}, incremental=by_time)
    project.configure(resource)
    project.load()
    project.configure(
        resource, client={"base_url": project.server.url.replace("127.0.0.1", "localhost")}
    )
    for is_told in (True, False):
        project.load()
        assert ("orders: `base_url` was" in project.out + project.err) is is_told
    assert project.ids() == list(range(len(rows())))


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_lists_below_each_row_keep_their_order(
    request: pytest.FixtureRequest,
    api: ApiServer,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """The newest rows come first: dlt alone would go on from them, and lose all others."""
    project = ApiProject(api, request.getfixturevalue(f"{kind}_place"), capsys)
    count = len(rows())
    for n in range(count):
        at = f"2024-02-01T00:{(count - n) // 60:02d}:{(count - n) % 60:02d}Z"
        # `who` is in each list: what was read last is loaded
        api.lists[f"notes-{n}"] = [{"id": n, "at": at}, {"id": 9999, "at": at}]
    project.configure(
        orders("link"),
        {
            "name": "notes",
            "primary_key": "id",
            "write_disposition": "merge",
            "include_from_parent": ["id"],
            "endpoint": {
                "path": "link/notes-{resources.orders.id}",
                "params": {"since": "{incremental.start_value}"},
                "incremental": {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"},
            },
        },
    )
    project.load()
    found = project.place.query(
        f"SELECT id, _orders_id FROM {project.place.from_clause('notes')} ORDER BY 1"
    )
    assert found == [*((n, n) for n in range(count)), (9999, count - 1)]


def test_a_function_is_named_in_the_file(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.place.project.mkdir(parents=True, exist_ok=True)
    (project.place.project / "rest_api_steps.py").write_text(
        "def is_even(row):\n    row['seen'] = True\n    return row['id'] % 2 == 0\n"
    )
    monkeypatch.chdir(project.place.project)
    project.configure(
        {**orders("link"), "processing_steps": [{"filter": "rest_api_steps:is_even"}]}
    )
    project.load()
    assert project.ids() == list(range(0, len(rows()), 2))
    # what it does to rows is no reason to read page after page
    assert len(project.server.requests) == PAGES + 2


def test_doctor_and_preview(project: ApiProject) -> None:
    project.configure(orders("link"))
    assert project.command("doctor") == 0, project.out + project.err
    assert f"{project.server.url} gives orders" in project.out
    assert len(project.server.requests) == 1
    assert main(["preview", "orders", str(project.place.project)]) == 0
    assert "orders__tags" in project.capsys.readouterr().out


@pytest.mark.parametrize(
    ("resource", "client", "said"),
    [
        ({"endpoint": {"pth": "x"}}, {}, "received unexpected fields `{'pth'}`"),
        ({"endpoint": 5}, {}, "source: "),
        ({"endpoint": {"paginator": {"type": "pagenumber"}}}, {}, "'page_number'"),
        ({"endpoint": {"paginator": {"type": "offset", "limt": 4}}}, {}, "limt"),
        ({}, {"auth": {"type": "bearr"}}, "'bearer'"),
        ({}, {"auth": {"type": "api_key", "location": "cookie"}}, "client.headers"),
        ({"name": ""}, {}, "`resources[0]` has no `name`"),
        ({"selected": False}, {}, "none would be loaded"),
        ({"endpoint": {"path": "bare/{resources.orders.id}"}}, {}, "refer to each other"),
        ({"endpoint": {"params": {"n": "{}"}}}, {}, "orders.endpoint.params.n: `{}`"),
        ({"endpoint": {"path": "{incremental.end_value}"}}, {}, "the resource has no `incremental"),
        (
            {
                "endpoint": {
                    "params": {"since": "{incremental.start_valu}"},
                    "incremental": {"cursor_path": "at"},
                }
            },
            {},
            "did you mean `{incremental.start_value}`?",
        ),
    ],
)
def test_what_dlt_does_not_accept_is_named(
    project: ApiProject, resource: dict[str, Any], client: dict[str, Any], said: str
) -> None:
    project.configure({"name": "orders", **resource}, client=client)
    assert project.command("run") == 1
    assert said in project.err
    assert "hint:" in project.err
    assert len(project.err) < 700


@pytest.mark.parametrize(("location", "status"), [("query", 422), ("header", 403)])
def test_a_secret_of_any_name_is_never_shown(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch, location: str, status: int
) -> None:
    secret = "s3cr3t/+k=y&x"
    monkeypatch.setenv("SHOP_KEY", secret)  # the name does not say that it is one
    echo = {"message": f"bad key {secret}, {quote(secret)}, {quote_plus(secret)}"}
    project.server.fault = lambda *_: Reply(status, json.dumps(echo).encode())
    auth = {"type": "api_key", "name": "X-Key", "location": location}
    project.configure(orders("link"), client={"auth": {**auth, "api_key": "{{ env.SHOP_KEY }}"}})
    assert project.command("run") == 1
    assert project.server.requests
    assert "bad key ***, ***, ***" in project.err
    assert "s3cr3t" not in project.out + project.err


def test_a_token_that_is_refused_is_named(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_ID", "s3cr3t-tok3n")
    project.server.fault = lambda *_: Reply(401, b'{"error_description": "not s3cr3t-tok3n"}')
    auth = {"type": "oauth2_client_credentials", "client_id": "shop"}
    auth |= {"access_token_url": f"{project.server.url}/token"}
    auth |= {"client_secret": "{{ env.SHOP_ID }}"}
    project.configure(orders("link"), client={"auth": auth})
    assert project.command("run") == 1
    assert f"does not let this run read {project.server.url}/token (401 not ***)" in project.err


def test_an_answer_without_rows(project: ApiProject) -> None:
    replies = {"/no": Reply(204, b""), "/empty": Reply(200, b"")}
    project.server.fault = lambda path, _: replies.get(path)
    project.configure({"name": "no", "endpoint": "no"}, "empty", orders("link"))
    project.load()
    assert len(project.ids()) == len(rows())


def test_a_number_beyond_doubles_is_not_infinity(project: ApiProject) -> None:
    body = b'[{"id": 1, "v": 1.5}, {"id": 2, "v": 1e400}, {"id": 3, "v": 2e300}]'
    project.server.fault = lambda *_: Reply(200, body, {"Content-Type": "application/json"})
    project.configure("large")
    project.load()
    assert project.place.column("large", "v") == [1.5, 2e300]
    assert "1 row in quarantine" in project.out


def test_json_that_is_not_as_it_should_be(project: ApiProject) -> None:
    """What Python's servers send loads; what is lost by an encoding is told, and only that."""
    replies = {
        "/nan": b'[{"id": 1, "v": NaN}, {"id": 2, "v": -Infinity}]',
        "/wide": '[{"id": 1, "v": "é"}]'.encode("utf-16"),
        "/latin": '[{"id": 1, "v": "é"}]'.encode("latin-1"),
    }
    kind = {"Content-Type": "application/json"}
    project.server.fault = lambda path, _: Reply(200, replies[path], kind)
    project.configure(*(path[1:] for path in replies))
    project.load()
    assert [str(each) for each in project.place.column("nan", "v")] == ["nan", "-inf"]
    assert project.place.column("wide", "v") == ["é"]
    assert project.place.column("latin", "v") == ["\ufffd"]
    warnings = [line for line in project.out.splitlines() if "U+FFFD" in line]
    assert len(warnings) == 1
    assert "/latin: the answer has bytes that are not utf-8" in warnings[0]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<html>log in</html>", "text/html", "not JSON (text/html)"),
        (b'{"items": [{"name": "Ann"}]}', "application/json", "Total `pages` not found"),
    ],
)
def test_an_answer_that_is_another(project: ApiProject, body: bytes, kind: str, said: str) -> None:
    project.server.fault = lambda *_: Reply(200, body, {"Content-Type": kind})
    project.configure(PAGINATORS["number"][0])
    assert project.command("run") == 1
    assert said in project.err
    assert "hint:" in project.err
    assert "Ann" not in project.err


@pytest.mark.parametrize("page", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_an_error_that_calls_itself_a_success(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Of a list that replaces its table, on any page."""
    monkeypatch.setenv("SHOP_KEY", "s3cr3t-k3y")
    paginator = {"type": "cursor", "cursor_path": "cursor", "cursor_param": "page"}
    replaced = {
        **orders("cursor", paginator, data_selector="items"),
        "write_disposition": "replace",
    }
    project.configure(replaced)
    project.load()
    before = project.ids()
    assert before
    answers = {
        '{"error": {"text": "maintenance", "token": "s3cr3t-k3y"}}': 'but {"error": {"text": "main',
        '{"items": null, "errors": [1]}': 'but {"errors": [1]}',
        '{"errorMessage": "no"}': 'but {"errorMessage": "no"}',
        '{"message": "slow down", "code": 429}': 'but {"message": "slow down", "code": 429}',
        '{"Success": false}': 'but {"Success": false}',
        '{"status": "error", "row": {"name": "Ann"}}': 'but {"status": "error"}',
        '[{"error": "Ann"}]': "the answer is not an object, but a list with `error`",
        '"Ann"': "the answer is not an object, but a str",
    }
    for body, said in answers.items():
        _answer_page(project, page, body)
        assert project.command("run") == 1, body
        assert said in project.err
        assert "Ann" not in project.err
        assert "s3cr3t-k3y" not in project.err
        assert project.ids() == before


def _answer_page(project: ApiProject, page: int, body: str) -> None:
    asked = count(1)

    def fault(*_: Any) -> Reply | None:
        is_it = next(asked) == page
        headers = {"Content-Type": "application/json"}
        return Reply(200, body.encode(), headers) if is_it else None

    project.server.fault = fault


def test_answers_without_a_list_that_say_no_error(project: ApiProject) -> None:
    """APIs leave out what is empty."""
    paginator = {"type": "cursor", "cursor_path": "cursor", "cursor_param": "page"}
    none = {"response_actions": [{"content": "nothing here", "action": "ignore"}]}
    replaced = orders("cursor", paginator, data_selector="items", **none)
    project.configure({**replaced, "name": "others"})
    _answer_page(project, 1, '{"error": null, "errors": [], "ok": true, "status": "ok", "code": 0}')
    project.load()
    project.configure({**replaced, "write_disposition": "replace"})
    project.server.fault = lambda *_: None
    project.load()
    assert project.ids()
    _answer_page(project, 1, '{"error": "nothing here"}')
    project.load()
    assert not project.ids()


BY_CURSOR = {"type": "cursor", "cursor_path": "cursor", "cursor_param": "page"}


def test_an_answer_without_the_list_empties_no_table(project: ApiProject) -> None:
    replaced = {"write_disposition": "replace"}
    named = {**orders("cursor", BY_CURSOR, data_selector="items"), **replaced, "name": "named"}
    detected = {**orders("cursor", BY_CURSOR), **replaced, "name": "detected"}
    project.configure(named, detected)
    project.load()
    project.server.fault = lambda *_: Reply(200, b'{"message": "closed", "name": "Ann"}')
    assert project.command("run") == 1
    what = "there is no list at `items`, where an earlier run found one, but an object with"
    assert project.err.count(f'{what} `message`, `name`, which says {{"message": "closed"}}') == 2
    assert "Ann" not in project.err
    assert len(project.ids("named")) == len(project.ids("detected")) == len(rows())
    # an empty list does
    project.configure(named)
    project.server.fault = lambda *_: Reply(200, b'{"items": null}')
    project.load()
    assert not project.ids("named")


def test_a_full_refresh_needs_a_list(project: ApiProject) -> None:
    project.configure(orders("cursor", BY_CURSOR, data_selector="items"))
    project.load()
    _answer_page(project, 1, '{"message": "closed"}')
    assert project.command("run", "--full-refresh") == 1
    assert "no list at `items`, where a full refresh needs one" in project.err
    assert len(project.ids()) == len(rows())


def test_a_full_refresh_reads_for_all_rows_of_another(project: ApiProject) -> None:
    """Their cursor is forgotten, too: else the lists of none of them would be read."""
    for n in range(len(rows())):
        project.server.lists[f"notes-{n}"] = [{"id": n}]
    by_time = {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"}
    project.configure(
        orders("link", params={"since": "{incremental.start_value}"}, incremental=by_time),
        {"name": "notes", "endpoint": {"path": "link/notes-{resources.orders.id}"}},
    )
    project.load()
    assert project.command("run", "--full-refresh") == 0
    assert project.ids("notes") == list(range(len(rows())))


def test_paths_that_lead_nowhere_are_named(project: ApiProject) -> None:
    """dlt takes them for lists without rows, or for the end of one."""
    items = {"name": "orders", "endpoint": {"path": "page/orders", "data_selector": "data.itemz"}}
    project.configure(items)
    for command in ("run", "doctor"):
        assert project.command(command) == 1
        assert "there is no `data.itemz`, which `data_selector` names" in project.out + project.err
        assert "the answer has rows at `data.items`" in project.out + project.err

    paginator = {"type": "cursor", "cursor_path": "cursr", "cursor_param": "page"}
    page = {"path": "cursor/orders", "data_selector": "items", "paginator": paginator}
    project.configure({"name": "some", "endpoint": page})
    assert project.command("run") == 0
    assert "there is no `cursr`, where the paginator looks for the next page" in project.out
    assert "the answer has `cursor`" in project.out

    incremental = {"cursor_path": "att", "initial_value": "2024"}
    missing = {"path": "bare/orders", "incremental": incremental}
    project.configure({"name": "since", "endpoint": missing})
    for command in ("run", "doctor"):
        assert project.command(command) == 1
        assert "a row has no `att`, by which `incremental` reads on" in project.out + project.err
        assert "correct `cursor_path`; it has id, at, tags" in project.out + project.err

    # a list that is empty, or that such an answer leaves out, is no mistake
    replies = iter([b'{"items": [], "facets": [{"n": 1}]}', b'{"count": 0}'])
    project.server.fault = lambda *_: Reply(200, next(replies))
    for name in ("none", "out"):
        project.configure({"name": name, "endpoint": {**page, "paginator": "single_page"}})
        assert project.command("run") == 0, project.err
        assert "warning" not in project.out


def test_an_empty_link_is_the_end(project: ApiProject) -> None:
    def page(_: str, query: dict[str, str]) -> Reply:
        following = "" if query else "?page=2"
        return Reply(200, json.dumps({"next": following, "items": [{"id": len(query)}]}).encode())

    project.server.fault = page
    project.configure(orders("next", {"type": "json_link", "next_url_path": "next"}))
    project.load()
    assert project.ids() == [0, 1]


def test_what_an_action_writes_is_read(
    project: ApiProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.place.project.mkdir(parents=True, exist_ok=True)
    (project.place.project / "rest_api_actions.py").write_text(
        "import json\n\n\ndef unwrapped(response, *args, **kwargs):\n"
        "    rows = [{'id': row['id'] + 100} for row in response.json()]\n"
        "    response._content = json.dumps(rows).encode()\n    return response\n"
    )
    monkeypatch.chdir(project.place.project)
    project.server.lists["orders"] = rows(2)
    project.configure(orders("bare", response_actions=["rest_api_actions:unwrapped"]))
    project.load()
    assert project.ids() == [100, 101]


def linked(server: ApiServer, base: int, total: int) -> Callable[[str, dict[str, str]], Reply]:
    """Pages by links that repeat a parameter, numbered from a base; empty behind the end."""

    def page(_: str, query: dict[str, str]) -> Reply:
        number = int(query.get("page", base))
        start = (number - base) * SIZE
        found = server.lists["orders"]
        more = start + SIZE < len(found)
        following = f"{server.url}/x?tag=a&tag=b&page={number + 1}" if more else None
        answer = {"count": total, "next": following, "results": found[start : start + SIZE]}
        return Reply(200, json.dumps(answer).encode())

    return page


@pytest.mark.parametrize("base", [0, 1])
def test_links_that_repeat_a_parameter(project: ApiProject, base: int) -> None:
    project.server.fault = linked(project.server, base, len(rows()))
    resource = orders("x", params={"tag": ["a", "b"]})
    resource["endpoint"]["path"] = "x"
    project.configure(resource)
    project.load()
    assert project.ids() == list(range(len(rows())))
    assert len(project.server.requests) == PAGES + 2
    assert all("tag=a&tag=b" in each for each in project.server.requests)


def test_a_total_that_is_wrong_hides_no_move(project: ApiProject) -> None:
    answer = linked(project.server, 1, 2 * len(rows()))
    seen: list[int] = []

    def shrinks(path: str, query: dict[str, str]) -> Reply:
        seen.append(int(query.get("page", 1)))
        if len(seen) == 7:  # while pages are read ahead
            del project.server.lists["orders"][2 * SIZE]
        return answer(path, query)

    project.server.fault = shrinks
    resource = orders("x")
    resource["endpoint"]["path"] = "x"
    project.configure(resource, parallel=2)
    project.load()
    assert set(range(len(rows()))) - set(project.ids()) <= {2 * SIZE}


def test_a_partition_of_a_list_without_incremental(project: ApiProject) -> None:
    project.configure(orders("bare"))
    project.partition({"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"})
    project.server.lists["orders"].append({"id": 1000, "at": "2024-01-02T00:00:00Z", "tags": []})
    assert project.command("run", "--partition", "2024-01-02") == 0, project.err
    assert project.ids() == [1000]


@pytest.mark.parametrize(
    ("field", "initial", "asked"),
    [
        ("at", "2023-01-01T00:00:00Z", "2023-12-31T00:00:00Z"),
        ("day", "2023-01-01", "2023-12-31"),
        ("seconds", 0, "1704153600"),
        ("milliseconds", 1672531200000, "1704153600000"),
    ],
)
def test_a_window_is_asked_for_as_the_incremental_begins(
    project: ApiProject, field: str, initial: Any, asked: str
) -> None:
    project.server.lists["orders"] = [
        {"id": day, "at": f"2024-01-0{day}T00:00:00Z", "day": f"2024-01-0{day}"}
        | {"seconds": (at := 1704067200 + (day - 1) * 86400), "milliseconds": at * 1000}
        for day in (1, 2, 3)
    ]
    incremental = {"cursor_path": field, "initial_value": initial}
    project.configure(
        orders("bare", params={"since": "{incremental.start_value}"}, incremental=incremental)
    )
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": field}
    project.partition(days)
    assert project.command("run", "--partition", "2024-01-02") == 0, project.err
    assert project.ids() == [2]
    assert f"since={quote_plus(asked)}" in project.server.requests[0]
    project.partition({**days, "cursor_type": "date"})
    assert project.command("run", "--partition", "2024-01-02") == 1
    assert "hint: set `cursor_type`" in project.err
    assert project.ids() == [2]


def test_what_dlts_own_source_has_loaded_goes_on(project: ApiProject) -> None:
    """The cursor of dlt's `rest_api`, adopted: only what is new is asked for."""
    import dlt
    from dlt.sources.rest_api import rest_api_source

    by_time = {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"}
    resource = orders("link", params={"since": "{incremental.start_value}"}, incremental=by_time)
    config: Any = {"client": {"base_url": project.server.url}, "resources": [resource]}
    old = dlt.pipeline(
        "old_api",
        destination=dlt.destinations.duckdb(str(project.place.extra["file"])),
        dataset_name=project.place.dataset,
    )
    old.run(rest_api_source(config))
    old.deactivate()
    project.configure(resource)
    assert main(["adopt", "old_api", str(project.place.project / "defs.yaml")]) == 0
    changed = {"id": 3, "at": "2024-01-02T00:00:00Z", "tags": [{"t": "new"}]}
    project.server.lists["orders"].append(changed)
    project.load()
    assert [request.partition("since=")[2] for request in project.server.requests] == [
        quote("2024-01-01T00:00:57Z")
    ]
    assert project.ids() == list(range(len(rows())))
