"""The dlt resources: issues of a GitHub repository, and collections of MongoDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests
from pymongo import MongoClient

API = os.environ.get("GITHUB_API", "https://api.github.com")
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "dlt-hub/dlt")


@dlt.resource(write_disposition="merge", primary_key="id")
def github_issues_resource(
    api_secret_key: str = dlt.secrets.value,
    updated_at: Any = dlt.sources.incremental("updated_at", initial_value="1970-01-01T00:00:00Z"),  # noqa: B008
) -> Iterator[Any]:
    """All issues that changed since the last load, a page at a time."""
    url: str | None = f"{API}/repos/{REPOSITORY}/issues"
    query: Any = {"state": "all", "sort": "updated", "direction": "asc", "per_page": 100}
    query["since"] = updated_at.last_value
    while url:
        answer = requests.get(
            url, params=query, headers={"Authorization": f"Bearer {api_secret_key}"}
        )
        yield answer.json()
        url, query = answer.links.get("next", {}).get("url"), None


def mongodb_collection(database: str, collection: str) -> Any:
    """All documents of a collection, replaced at each load."""

    @dlt.resource(name=collection, write_disposition="replace", primary_key="_id")
    def documents() -> Iterator[Any]:
        with MongoClient(os.environ["SOURCES__MONGODB__CONNECTION__URL"]) as client:
            for document in client[database][collection].find():
                yield {**document, "_id": str(document["_id"])}

    return documents
