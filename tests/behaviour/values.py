"""Rows with the values that file formats tend to change."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=timezone.utc)
EAST = timezone(timedelta(hours=5, minutes=30))
TEXTS = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "\\.\n\\.\n",
    '"',
    '""',
    '"lone"',
    "'",
    ",",
    "a,b",
    "\n",
    "\r",
    "\r\n",
    "a\tb\\n\\\\",
    "\\x00ff",
    "üñî 名前 😀",
    "\x01\x7f\x85\u2028\ufeff",
    "{}",
    "null",
    "a\0b\0",
    "\0",
    "long " * 100_000,
]
NUMBERS = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
DOUBLES = [0.1, -0.0, 1e308, 5e-324, 1e-300, float("nan"), float("inf"), float("-inf"), 1.0]
DECIMALS = ["0", "-1.5", "12345678901234567890.123456789", "0.000000001", "1E+10"]
MOMENTS = [
    MOMENT,
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
    MOMENT.astimezone(EAST),
]
BYTES = [b"", b"\x00", bytes(range(256)), b"\\x00", b'"\n,']
DOCUMENTS = [
    {},
    [],
    [[], {}],
    {"a": [1, None, {"b": ""}], "n": 1.5},
    {"q": 'a "b" \\n \n \t ü', "\\": "\\\\"},
    "text",
]
# INSERT fails for it: PostgreSQL's JSON can't hold that character either
WITH_NUL = {"nul": "a\0b\0\0", "kept": "\\u0000"}


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"body": text} for text in TEXTS]
    found += [{"n": n} for n in NUMBERS]
    found += [{"ratio": each} for each in DOUBLES]
    found += [{"price": Decimal(each)} for each in DECIMALS]
    found += [{"at": each} for each in MOMENTS]
    found += [{"raw": each} for each in BYTES]
    found += [{"doc": each} for each in DOCUMENTS]
    found += [{"day": each} for each in (date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29))]
    found += [{"clock": each} for each in (time(), time(23, 59, 59, 999999))]
    found += [{"ok": True}, {"ok": False}, {"body": None, "ok": None}, {}]
    found += [{"big": each} for each in (2**63, -(2**63) - 1, 10**50)]
    found += [{"items": [{"sku": "", "n": 1}, {"sku": "\\N"}]}, {"items": []}, {"tags": ["", "a"]}]
    return [{"id": number, **row} for number, row in enumerate(found)]
