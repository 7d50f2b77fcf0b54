"""`millstream discover` against a real server: documents of every size, and what it then loads."""

from __future__ import annotations

import pytest
import yaml

from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")


def test_large_documents_are_sampled_and_loaded(duckdb_project: Project) -> None:
    """pymongo returns documents from 4 KB on as memoryviews, smaller ones as bytes."""
    shop = duckdb_project
    sizes = [1, 4096, 15 << 20]
    for size in sizes:
        shop.db[f"notes_{size}"].insert_one(
            {"_id": 1, "text": "x" * size, "parts": [{"text": "y" * 4200}]}
        )
    parts = [{"n": n, "text": "z" * 5000} for n in range(4)]
    shop.db.nested.insert_one({"_id": 1, "below": {"parts": parts, "text": "y" * 5000}})
    shop.db.mixed.insert_many([{"_id": n, "text": "x" * (n * 40)} for n in range(200)])
    shop.define('collections: ["*"]')
    said = shop.command("discover")
    assert f"{len(sizes) + 2} streams" in said
    catalog = yaml.safe_load((shop.place.project / "collections.yaml").read_text())
    found = catalog["databases"][shop.db.name]
    assert all(found[f"notes_{size}"]["fields"]["text"] == {"string": 1.0} for size in sizes)
    assert found["nested"]["fields"]["below.parts[].text"] == {"string": 1.0}
    shop.run()
    for size in sizes:
        assert shop.rows(f"notes_{size}", "_id", "text") == [(1, "x" * size)]
    assert shop.rows("nested__below__parts", "n", "text") == [(n, "z" * 5000) for n in range(4)]
    assert shop.rows("mixed", "_id", "text") == [(n, "x" * (n * 40)) for n in range(200)]
