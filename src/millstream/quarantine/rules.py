"""What a normalizer must know to put rows aside; pickled for worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from millstream.config import QuarantineConfig
from millstream.model import Decision, SchemaChange


class RowPolicy(Protocol):
    """What the policy says of a change while rows are normalized."""

    def refuses(
        self, table: str, parent: str | None, columns: Mapping[str, Mapping[str, Any]]
    ) -> Decision | None:
        """The decision that keeps the row that needs these new columns (in dlt's form) out."""

    def name_of(self, change: SchemaChange) -> str:
        """The id that the change has in reports and in the history."""


@dataclass(frozen=True, slots=True)
class QuarantineRules:
    """How the rows of one stream are watched.

    Attributes:
        settings: the pipeline's; where they are not enabled, the rows below are all that changes:
            what comes in an envelope and can't be loaded fails the load.
        gate: asked of each change of the schema; None where no rule quarantines.
        disposition: how the table is written when it is not read anew; None for what it says.
    """

    pipeline: str
    stream: str
    settings: QuarantineConfig
    gate: RowPolicy | None = None
    disposition: str | None = None
