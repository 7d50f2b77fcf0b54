"""Documents of any shape and bytes: each is a row, waits in quarantine, or an error names it.

What the real server takes, it may hold, even if no driver would write it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.errors import MillstreamError
from services.mongod import Mongod
from sources.mongodb_kit import Shop, raw, text
from sources.test_mongodb_values import keys, values

pytestmark = pytest.mark.xdist_group("mongodb")

EXAMPLES = 300 if os.environ.get("MILLSTREAM_NIGHTLY") else 6

names = st.binary(max_size=6).map(lambda name: name.replace(b"\0", b"") + b"\0")
odd_texts = st.binary(max_size=12).map(text)  # not UTF-8, as a rule
kinds = {
    0x01: st.binary(min_size=8, max_size=8),
    0x02: odd_texts,
    0x05: st.tuples(st.integers(0, 255), st.binary(max_size=20)).map(
        lambda made: len(made[1]).to_bytes(4, "little") + bytes([made[0]]) + made[1]
    ),
    0x06: st.just(b""),
    0x09: st.binary(min_size=8, max_size=8),
    0x0B: st.tuples(names, names).map(b"".join),
    0x0C: st.tuples(odd_texts, st.binary(min_size=12, max_size=12)).map(b"".join),
    0x0D: odd_texts,
    0x0E: odd_texts,
    0x11: st.binary(min_size=8, max_size=8),
    0x13: st.binary(min_size=16, max_size=16),
}
elements = st.sampled_from(sorted(kinds)).flatmap(
    lambda kind: st.tuples(names, kinds[kind]).map(lambda made: bytes([kind]) + b"".join(made))
)
odd = st.lists(elements, max_size=4).map(b"".join)
plain = st.dictionaries(keys.filter(lambda key: key != "_id"), values, max_size=6).map(
    lambda made: bson.encode(made)[4:-1]
)
documents = st.lists(st.one_of(plain, plain, odd), min_size=1, max_size=12)


@pytest.fixture
def server(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        yield mongodb_server, client


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
@given(made=documents)
@pytest.mark.nightly
def test_a_document_is_a_row_an_entry_or_an_error(
    server: Any, tmp_path_factory: pytest.TempPathFactory, made: list[bytes]
) -> None:
    from pymongo.errors import PyMongoError

    mongod, client = server
    folder: Path = tmp_path_factory.mktemp("fuzz")
    shop = Shop(mongod, client[f"fuzz_{uuid4().hex[:8]}"], folder)
    there = set()
    try:
        for number, body in enumerate(made):
            head = b"\x10_id\0" + number.to_bytes(4, "little")
            try:
                shop.db.things.insert_one(raw(head, body))
            except PyMongoError:
                continue  # the server does not take it either
            there.add(number)
        if not there:
            return
        try:
            shop.load("things")
        except MillstreamError as error:
            assert "things" in error.message, error  # noqa: PT017
            assert not shop.query(
                "SELECT 1 FROM information_schema.tables WHERE table_name = 'things'"
            )
            return
        loaded = [number for (number,) in shop.rows("things", "_id")]
        waiting = shop.query(
            "SELECT 1 FROM information_schema.tables WHERE table_name = '_millstream_quarantine'"
        )
        aside = (
            shop.query("SELECT count(*) FROM shop._millstream_quarantine")[0][0] if waiting else 0
        )
        assert len(set(loaded)) == len(loaded)
        assert len(loaded) + aside == len(there)
    finally:
        client.drop_database(shop.db.name)
