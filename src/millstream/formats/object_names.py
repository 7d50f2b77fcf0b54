"""Names of objects among the columns of a table: `user__login` is a field of the object `user`."""

from __future__ import annotations

from collections.abc import Iterator

SEPARATOR = "__"


def objects_around(name: str) -> Iterator[str]:
    """The objects that hold a column, by its name alone; none for one with a leading separator.

    >>> list(objects_around("a__b__c"))
    ['a', 'a__b']
    """
    parts = name.split(SEPARATOR)
    for end in range(1, len(parts)):
        if all(parts[:end]):
            yield SEPARATOR.join(parts[:end])


def profile_key(name: str) -> str:
    """Under which key the profile of a table has an object itself; no column is called so.

    >>> profile_key("user")
    'user__'
    """
    return f"{name}{SEPARATOR}"


def is_profile_key(name: str) -> bool:
    """Whether a key of a profile is an object's."""
    return name.endswith(SEPARATOR)


def is_list_index(name: str) -> bool:
    """Whether a column is dlt's place in a list; some destinations write it in capitals."""
    return name.lower().endswith("_dlt_list_idx")
