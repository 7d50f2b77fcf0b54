"""Dates of a `defs.yaml`, which Dagster reads as texts and `millstream run` as dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def restore_dates(attributes: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Attributes whose MongoDB filters hold the dates that the file holds.

    A date and the same text in quotes find different documents; Dagster's reader makes one of both.

    Args:
        attributes: of a component, as Dagster read them.
        text: of its file, which may describe several components.
    """
    restored = dict(attributes)
    source = attributes.get("source")
    if not isinstance(source, Mapping) or not isinstance(source.get("settings"), Mapping):
        return restored
    for document in yaml.safe_load_all(text):
        written = document.get("attributes") if isinstance(document, Mapping) else None
        if isinstance(written, Mapping) and written.get("name") == attributes.get("name"):
            settings = {
                stream: {**found, "filter": written["source"]["settings"][stream]["filter"]}
                if isinstance(found, Mapping) and "filter" in found
                else found
                for stream, found in source["settings"].items()
            }
            restored["source"] = {**source, "settings": settings}
    return restored
