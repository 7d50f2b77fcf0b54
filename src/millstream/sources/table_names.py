"""Root tables of streams that a server names, by the stream's name alone.

The table is dlt's form of the name (`userProfiles` -> `user_profiles`, `shop.orders` ->
`shop_orders`); since that form never holds two underscores in a row, no stream's table can be
another's child table. Where two names share a form, the one that is not written in it gets a
digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from hashlib import sha1

_RESERVED = ("_dlt", "_millstream_")

# what dlt's snake case leaves as it is, but for dots
_PLAIN = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*")


def table_name(stream: str, streams: Iterable[str]) -> str:
    """The root table of a stream, apart from those of all other streams.

    >>> table_name("fs.files", ["fs.files", "users"])
    'fs_files'
    >>> table_name("_dlt_loads", ["_dlt_loads"])
    'dlt_loads_xb88d20'
    """
    name = normalized(stream)
    if name.startswith(_RESERVED):  # tables of dlt's and of Millstream's
        return f"{name[1:]}_x{sha1(stream.encode(), usedforsecurity=False).hexdigest()[:6]}"
    rivals = [each for each in streams if each != stream and normalized(each) == name]
    if rivals and stream != name:
        return f"{name}_x{sha1(stream.encode(), usedforsecurity=False).hexdigest()[:6]}"
    return name


@cache
def normalized(name: str) -> str:
    """dlt's name for a table, in snake case."""
    if _PLAIN.fullmatch(name):
        return name.replace(".", "_")
    # rare, and needs dlt, which takes a second to import
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    return NamingConvention().normalize_table_identifier(name)


def plain(name: str, others: Iterable[str]) -> str:
    """A database or a collection, as Dagster can name assets and jobs after it.

    >>> plain("userProfiles", []), plain("fs.files", []), plain("orders__items", [])
    ('userProfiles', 'fs_files', 'orders_items')
    """
    if re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name):
        return name
    return table_name(name, others)


def is_pattern(name: str) -> bool:
    """Whether a name in the configuration stands for several."""
    return any(character in name for character in "*?[")


def did_you_mean(name: str, known: Iterable[str], none: str = "this user sees none") -> str:
    """The hint where there is no such database, collection or table: what there is."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - 20:,} more" if len(known) > 20 else ""
    return f"there are: {', '.join(known[:20])}{more}" if known else none
