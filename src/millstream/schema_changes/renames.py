"""Fields that came back under another name, by the values that they share with what is gone."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from millstream.model import Column, ColumnProfile, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.messages import percent
from millstream.schema_changes.sketch import SIZE, matching
from millstream.schema_changes.snapshot import Profile

SEPARATOR = "__"
SHARE = 0.5
"""The share of the new column's values that the old one must have had."""
COMMON = 8
"""Values that must be common; two where the names are alike."""
ALIKE = 0.6
"""`SequenceMatcher.ratio` of names that are alike."""
MANY = 64
"""Distinct values from which on a column is not a list of states, however often each comes."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A likely rename.

    Attributes:
        old, new: the columns, or the objects or lists that hold them.
        share: of the values of a column of `new`, those that a column of `old` had.
        columns: the columns that are gone with it.
        is_exact: whether all values were compared, and not a sample of them.
        is_back: whether `new` was loaded before, though not of late.
    """

    old: str
    new: str
    share: float
    columns: frozenset[str]
    is_exact: bool = True
    is_back: bool = False


def column_renames(
    gone: Sequence[Column],
    was: Table,
    now: Table,
    *,
    kept: Container[str] = (),
    seen: Sequence[Profile] = (),
) -> list[Rename]:
    """Which columns of a table, or objects of several, came back under another name.

    Args:
        gone: columns as they were, of which this load has no value.
        kept: columns that are no new name of anything.
        seen: what each recent load saw: two columns that one of them had are two fields.
    """
    known = was.column
    added = [
        column
        for column in now.columns
        if (column.name not in known or _rests(known[column.name]))
        and column.name not in kept
        and column.variant_of is None
        and column.profile
    ]
    names = {column.name for column in gone}
    renames: dict[str, Rename] = {}
    loads = [load.get(now.name, {}) for load in seen]
    for old, new, share, is_exact in _pairs(gone, added, loads):
        objects, is_back = _objects(old, new), new in known
        if objects is None or _still_arrives(objects[0], now):
            renames[old] = Rename(old, new, share, frozenset({old}), is_exact, is_back)
            continue
        before, after = (prefix.removesuffix(SEPARATOR) for prefix in objects)
        fields = frozenset(name for name in names if name.startswith(objects[0]))
        # the best pair comes first; further ones of the same objects add nothing
        renames.setdefault(before, Rename(before, after, share, fields, is_exact, is_back))
    return [
        rename
        for rename in renames.values()
        # the rename of an object around it says it
        if not any(rename.old.startswith(f"{around}{SEPARATOR}") for around in renames)
    ]


def list_rename(
    was: Table, old: SchemaVersion, new: SchemaVersion, seen: Sequence[Profile] = ()
) -> Rename | None:
    """The list that came in place of one whose table has no rows in this load.

    Args:
        seen: what each recent load saw: two lists that one of them had are two fields.
    """
    best: Rename | None = None
    prefix = f"{was.parent}{SEPARATOR}"
    for table in new.tables:
        known = old.table.get(table.name)
        if table.parent != was.parent or (known and any(map(_arrived, known.columns))):
            continue
        if any(_has_rows(load, was.name) and _has_rows(load, table.name) for load in seen):
            continue
        names = was.name.removeprefix(prefix), table.name.removeprefix(prefix)
        for before, after, share, is_exact in _pairs(was.columns, table.columns, lists=names):
            if before == after and (best is None or best.share < share):
                best = Rename(*names, share, frozenset(), is_exact, known is not None)
    return best


def describe(table: str, rename: Rename, what: str = "") -> SchemaChange:
    """The change that tells of a rename; `what` is said of both names, such as `the list`."""
    fields = f" with its {len(rename.columns)} fields" if len(rename.columns) > 1 else ""
    share = percent(rename.share) if rename.is_exact else f"about {rename.share:.0%}"
    return SchemaChange(
        kind="column_renamed",
        table=table,
        column=rename.old,
        old=rename.old,
        new=rename.new,
        severity="breaking",
        message=f"{what}`{rename.old}`{fields} is gone and `{rename.new}` "
        f"{'came back' if rename.is_back else 'came'}, a likely rename: "
        f"{share} of its values were in `{rename.old}` before",
    )


def _has(load: Mapping[str, ColumnProfile], name: str) -> bool:
    return name in load and load[name].present > 0


def _has_rows(load: Profile, table: str) -> bool:
    return any(column.present for column in load.get(table, {}).values())


def _rests(column: Column) -> bool:
    """Whether recent loads had rows, and none of them a value of the column."""
    return column.profile is not None and column.profile.rows > 0 and not column.profile.present


def _arrived(column: Column) -> bool:
    return column.profile is not None and column.profile.present > 0


def _pairs(
    gone: Sequence[Column],
    added: Sequence[Column],
    loads: Sequence[Mapping[str, ColumnProfile]] = (),
    lists: tuple[str, str] = ("", ""),
) -> Iterator[tuple[str, str, float, bool]]:
    """Old and new name, the share of common values, whether exact, best first; no name twice.

    Args:
        lists: the old and the new list whose columns these are, where they differ.
    """
    candidates = [
        (share, alike, old.name, new.name, _is_complete(old) and _is_complete(new))
        for old in gone
        for new in added
        if (
            share := _share(
                old,
                new,
                alike := _likeness(old.name, new.name),
                are_holders_alike=_are_holders_alike(old.name, new.name, lists),
            )
        )
        is not None
        and not any(_has(load, old.name) and _has(load, new.name) for load in loads)
    ]
    taken_old: set[str] = set()
    taken_new: set[str] = set()
    for share, _, old, new, is_exact in sorted(
        candidates, key=lambda each: (-each[0], -each[1], *each[2:])
    ):
        if old not in taken_old and new not in taken_new:
            taken_old.add(old)
            taken_new.add(new)
            yield old, new, share, is_exact


def _is_complete(column: Column) -> bool:
    """Whether the sketch has all values of a column."""
    return column.profile is not None and len(column.profile.sketch) < SIZE


def _share(old: Column, new: Column, likeness: float, *, are_holders_alike: bool) -> float | None:
    """The share of the new column's values that the old one had; None where it proves nothing."""
    if old.profile is None or new.profile is None or is_own(old) or is_own(new):
        return None
    share, common = matching(new.profile.sketch, old.profile.sketch)
    alike = likeness >= ALIKE
    if share < SHARE or common < (2 if alike else COMMON):
        return None
    # any two objects may have a `type`, and any two lists hold small numbers
    return share if (alike and are_holders_alike) or _is_telling(new, new.profile) else None


def _is_telling(column: Column, profile: ColumnProfile) -> bool:
    """Whether two columns hardly share values by chance, as states or small counts do."""
    values, distinct = profile.rows - profile.nulls, profile.distinct or len(profile.sketch)
    if distinct >= 0.8 * values:
        return True
    least, most = profile.minimum, profile.maximum
    if isinstance(least, (int, float)) and isinstance(most, (int, float)):
        return distinct >= MANY and most - least > 4 * distinct
    return column.data_type != "bool" and (distinct >= MANY or distinct >= 0.1 * values)


def _likeness(old: str, new: str) -> float:
    """0 to 1, of the last parts of two names: `user__login` and `author__login` differ before."""
    before, after = (name.rpartition(SEPARATOR)[2] for name in (old, new))
    return float(SequenceMatcher(None, before, after).ratio())


def _are_holders_alike(old: str, new: str, lists: tuple[str, str]) -> bool:
    """Whether the objects and lists that hold two fields are the same, or have names alike."""
    holders = [lists, (old.rpartition(SEPARATOR)[0], new.rpartition(SEPARATOR)[0])]
    return all(
        before == after or SequenceMatcher(None, before, after).ratio() >= ALIKE
        for before, after in holders
    )


def _objects(old: str, new: str) -> tuple[str, str] | None:
    """The objects, as prefixes, whose rename explains that of a field; None where the field's does.

    >>> _objects("user__plan__name", "author__plan__name"), _objects("user__a", "user__b")
    (('user__', 'author__'), None)
    """
    befores, afters = old.split(SEPARATOR), new.split(SEPARATOR)
    common = 0
    while common < min(len(befores), len(afters)) and befores[-1 - common] == afters[-1 - common]:
        common += 1
    heads = befores[: len(befores) - common], afters[: len(afters) - common]
    if not common or not all(heads):
        return None
    before, after = (SEPARATOR.join(head) + SEPARATOR for head in heads)
    return before, after


def _still_arrives(prefix: str, now: Table) -> bool:
    """Whether a load has a field of an object: that a rare one is absent proves nothing."""
    return any(
        column.name.startswith(prefix) and column.profile and column.profile.present
        for column in now.columns
    )


def is_own(column: Column) -> bool:
    """Whether a column is dlt's, such as `_dlt_id`; some destinations write it in capitals."""
    return column.name.lower().startswith("_dlt_")
