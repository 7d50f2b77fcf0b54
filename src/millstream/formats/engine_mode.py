"""Whether the engine is on in this process, and how it normalizes the rows of each run.

The mode is one value, replaced as a whole. Sources and the engine ask `current()`; `engine.enabled`
sets it for a block, and `engine/dlt/patch.py` takes it to dlt's workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from millstream.engine.coercion_rules import Coercion
    from millstream.quarantine.rules import QuarantineRules


@dataclass(frozen=True, slots=True)
class RowRules:
    """How the rows of one dlt schema are normalized; as dlt does it where nothing is set.

    Attributes:
        quarantine: which rows are kept out of the tables.
        names_keys: whether `key_names` names the columns.
        coercion: how values enter columns of another type.
    """

    quarantine: QuarantineRules | None = None
    names_keys: bool = False
    coercion: Coercion | None = None


_AS_DLT = RowRules()


@dataclass(frozen=True, slots=True)
class EngineMode:
    """What normalizes the rows of this process's dlt pipelines.

    Attributes:
        normalizer: `quarantining` is dlt's own one with Millstream's rules, row by row.
        is_run: whether runs of Millstream are normalized: rows are counted and profiled. Without
            it the result is dlt's, as for `accelerate()`.
        rules: by the name of a dlt schema.
    """

    normalizer: Literal["dlt", "quarantining", "columnar"] = "dlt"
    is_run: bool = False
    rules: Mapping[str, RowRules] = field(default_factory=dict)

    @property
    def reads_raw_parts(self) -> bool:
        """Whether what is extracted now may be a raw part."""
        return self.normalizer == "columnar"

    def rules_of(self, schema_name: str) -> RowRules:
        return self.rules.get(schema_name, _AS_DLT)


_current = EngineMode()


def current() -> EngineMode:
    """The mode of this process."""
    return _current


def replace(mode: EngineMode) -> None:
    """Set the mode, for `engine/dlt/patch.py`, which puts the normalizer in place with it."""
    global _current
    _current = mode
