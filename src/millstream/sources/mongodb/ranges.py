"""A collection as ranges of `_id`, to be read side by side and, after a failure, one by one.

Bounds are positions in the index on `_id` (`min` and `max` of a find), not comparisons: those see
the type of their operand alone, and would lose the documents whose `_id` is of another type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from millstream.sources.mongodb import ids

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

PER_RANGE = 100_000
MOST = 512
_SAMPLES = 30
"""Sampled ids for each range: its size is then within a fifth or so of the others'."""


@dataclass(frozen=True, slots=True)
class Range:
    """The documents from `low` on and below `high`; None where there is no bound."""

    low: Any = None
    high: Any = None

    def to_json(self) -> list[str | None]:
        """The bounds as Extended JSON."""
        return [None if bound is None else ids.extended([bound]) for bound in (self.low, self.high)]

    @classmethod
    def from_json(cls, bounds: Sequence[str | None]) -> Range:
        low, high = (None if text is None else ids.from_extended(text)[0] for text in bounds)
        return cls(low, high)


def split(
    collection: Collection[Any],
    *,
    parallel: int,
    session: ClientSession | None = None,
    per_range: int | None = None,
) -> list[Range]:
    """Ranges of about the same size that cover every `_id`, of whatever type, once.

    The server samples the ids and sorts them in its own order of types; no document is read twice.

    Args:
        collection: with an index on `_id`, decoding dates and UUIDs losslessly.
        parallel: at least as many ranges, so that each reader has one.
    """
    per_range = per_range or PER_RANGE
    documents = collection.estimated_document_count()
    wanted = min(max(documents // per_range, parallel if documents >= per_range // 10 else 1), MOST)
    if wanted <= 1:
        return [Range()]
    sampled = collection.aggregate(
        [
            {"$sample": {"size": wanted * _SAMPLES}},
            {"$project": {"_id": 1}},
            {"$sort": {"_id": 1}},
            # sampling may return a document twice; the ids of groups keep no order
            {"$group": {"_id": "$_id"}},
            {"$sort": {"_id": 1}},
        ],
        session=session,
        allowDiskUse=True,
    )
    found = [document["_id"] for document in sampled]
    step = len(found) / wanted
    bounds = [found[int(step * n)] for n in range(1, wanted)] if step >= 1 else found
    edges = [None, *bounds, None]
    return [Range(low, high) for low, high in pairwise(edges)]
