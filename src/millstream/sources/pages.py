"""Read the first pages of a source alone, as a preview does."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import wraps
from typing import TYPE_CHECKING, Any

from millstream.dlt_compat.pipes import pipe_of

if TYPE_CHECKING:
    import dlt


def limit_pages(resource: dlt.sources.DltResource, pages: int) -> None:
    """Let a resource yield so many pages at most.

    dlt's own limit is a step behind the source, which sees nothing of a part that is handed on as a
    file and drops it: where a function makes a generator, that is stopped itself.
    """
    pipe = pipe_of(resource)
    if callable(pipe.gen):
        pipe.replace_gen(_limited(pipe.gen, pages))
    else:
        resource.add_limit(pages)


def _limited(pages_of: Callable[..., Any], count: int) -> Callable[..., Any]:
    @wraps(pages_of)
    def limited(*arguments: Any, **named: Any) -> Any:
        found = pages_of(*arguments, **named)
        return _first(found, count) if isinstance(found, Generator) else found

    return limited


def _first(found: Generator[Any, None, None], count: int) -> Iterator[Any]:
    from dlt.extract.items import DataItemWithMeta

    with closing(found):
        for item in found:
            yield item
            # what its columns are comes before the first page
            count -= not (isinstance(item, DataItemWithMeta) and item.data == [])
            if count <= 0:
                return
