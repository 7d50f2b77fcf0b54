"""How types, keys and shares are said, the same everywhere."""

from __future__ import annotations

from shlex import quote

from millstream.model import Column


def type_words(column: Column) -> str:
    """A column's type as DDL would say it.

    >>> type_words(Column("n", "decimal", precision=38, scale=9))
    'decimal(38,9)'
    >>> type_words(Column("t", "timestamp", timezone=False))
    'timestamp without time zone'
    """
    words = column.data_type
    if column.precision is not None:
        scale = f",{column.scale}" if column.scale is not None else ""
        words += f"({column.precision}{scale})"
    elif column.scale is not None:
        words += f"(,{column.scale})"
    if column.timezone is not None:
        words += f" {'with' if column.timezone else 'without'} time zone"
    return words


def key_words(column: Column) -> str:
    """The keys that a column is part of, comma-separated; empty where none."""
    flags = (
        (column.primary_key, "primary key"),
        (column.merge_key, "merge key"),
        (column.cursor, "cursor"),
    )
    return ", ".join(words for is_set, words in flags if is_set)


def origin_words(column: Column) -> str:
    """Where a column's values lie in the JSON, where its name alone does not say so.

    >>> origin_words(Column("sku", "text", path="lines[].sku")), origin_words(Column("id", "text"))
    (', from lines[].sku', '')
    """
    return f", from {column.origin}" if column.origin not in ("", column.name) else ""


def percent(share: float) -> str:
    """A share of 0 to 1 for people; never 0% of something, nor 100% of less than all.

    >>> percent(0.003), percent(0.5), percent(0), percent(0.00001), percent(0.9999)
    ('0.3%', '50%', '0%', 'under 0.1%', 'over 99.9%')
    """
    if 0 < share < 0.001:
        return "under 0.1%"
    if 0.999 < share < 1:
        return "over 99.9%"
    text = f"{share * 100:.1f}".removesuffix(".0")
    return f"{text}%"


def accept_command(stream: str) -> str:
    """What people type, or paste, into a shell: a stream may be called anything.

    >>> accept_command("issues"), accept_command("x; reboot")
    ('millstream schema accept --stream issues', "millstream schema accept --stream 'x; reboot'")
    """
    return f"millstream schema accept --stream {quote(stream)}"


def reject_command(stream: str) -> str:
    """What people type to drop what is held of a stream.

    >>> reject_command("issues")
    'millstream schema reject --stream issues'
    """
    return f"millstream schema reject --stream {quote(stream)}"
