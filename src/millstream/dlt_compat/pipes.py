"""What a dlt resource is made of: a generator, and the steps behind it."""

from __future__ import annotations

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
