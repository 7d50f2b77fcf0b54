"""What only Dagster knows of a stream: its pages in the UI, and who reads its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import dagster as dg

from millstream.config import dagster_url

_Context = dg.AssetExecutionContext | dg.OpExecutionContext


def links_of(context: _Context, root: dg.AssetKey) -> Mapping[str, str]:
    """The pages of this run and of an asset, where MILLSTREAM_DAGSTER_URL says where the UI is."""
    base = dagster_url()
    if base is None:
        return {}
    return {
        "Run": f"{base}/runs/{context.run.run_id}",
        "Checks": f"{base}/assets/{_path(root)}?view=checks",
    }


def history_page(root: dg.AssetKey) -> dict[str, dg.UrlMetadataValue]:
    """The page of all that runs said of an asset, as metadata; empty as `links_of` is."""
    base = dagster_url()
    address = f"{base}/assets/{_path(root)}?view=events"
    return {"schema_history_page": dg.MetadataValue.url(address)} if base else {}


def downstream_of(context: _Context, keys: Iterable[dg.AssetKey]) -> Sequence[str]:
    """The assets of this code location that depend on any of these, at whatever distance."""
    keys = set(keys)
    try:
        graph = context.repository_def.asset_graph
    except Exception:  # `dg.materialize` has no repository, only the assets it was given
        graph = context.job_def.asset_layer.asset_graph
    known = keys & set(graph.get_all_asset_keys())
    found = dg.AssetSelection.assets(*known).downstream().resolve(graph) if known else set()
    return sorted(key.to_user_string() for key in found - keys)


def _path(key: dg.AssetKey) -> str:
    return "/".join(quote(part, safe="") for part in key.path)
