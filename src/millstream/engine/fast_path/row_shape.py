"""What rows have looked like so far: keys, what kinds of values they hold, and where those went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["value", "object", "list"]


@dataclass(slots=True)
class Field:
    """One key of an object, or the items of a list.

    Attributes:
        name: the column that values go to.
        own: the key, normalized.
        kind: what the key has held, None for nothing but nulls.
        mixed: whether it has held more than one kind.
        null: whether it has held an explicit null.
        ragged: whether it was missing from some objects of a batch that had it in others.
        fields: an object's keys.
        item: a list's items; `table` and `own_path` say where they go.
    """

    name: str
    own: str
    kind: Kind | None = None
    mixed: bool = False
    null: bool = False
    ragged: bool = False
    fields: Shape = field(default_factory=dict)
    item: Field | None = None
    table: str = ""
    own_path: tuple[str, ...] = ()

    def saw(self, kind: Kind | None, null: bool) -> None:
        """Remember what a batch held under this key."""
        if kind is not None:
            self.mixed = self.mixed or self.kind not in (None, kind)
            self.kind = self.kind or kind
        self.null = self.null or null


Shape = dict[str, Field]
