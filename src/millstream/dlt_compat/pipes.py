"""What a dlt resource is made of: a generator, and the steps behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

from millstream.dlt_compat import contract

if TYPE_CHECKING:
    from dlt.sources import DltResource


def pipe_of(resource: DltResource) -> Any:
    """A resource's pipe: `gen` is its generator, or what makes one; `len` counts its steps.

    Raises:
        MillstreamError: the installed dlt has something else.
    """
    contract.require("resources")
    return resource._pipe


def names_above(resources: Iterable[DltResource]) -> set[str]:
    """The names of the resources whose rows these transform, and of those above them."""
    found = set()
    for resource in resources:
        pipe = pipe_of(resource).parent
        while pipe is not None:
            found.add(str(pipe.name))
            pipe = pipe.parent
    return found


def is_import(meta: Any) -> bool:
    """Whether an item is a file that is loaded as it is: `dlt.mark.with_file_import`."""
    from dlt.extract.extractors import ImportFileMeta

    return isinstance(meta, ImportFileMeta)


def handed_on(item: Any, meta: Any) -> Any:
    """What a step returns that changes nothing.

    dlt goes no further with None, which is the item of most files that are imported.
    """
    return [] if item is None and is_import(meta) else item


def wrap_pages(resource: DltResource, wrapper: Callable[[Iterator[Any]], Iterator[Any]]) -> None:
    """Have the pages of a resource pass through a generator.

    Raises:
        MillstreamError: the installed dlt has something else.
    """
    pipe = pipe_of(resource)
    generate = pipe.gen
    if not callable(generate):
        pipe.replace_gen(wrapper(generate))
        return

    @wraps(generate)
    def pages(*arguments: Any, **named: Any) -> Iterator[Any]:
        return wrapper(generate(*arguments, **named))

    pipe.replace_gen(pages)
