"""Cron expressions, checked without Dagster, so that `millstream run` names a wrong one, too.

The grammar is that of the scheduler that Dagster brings along: five fields or one of `@daily` and
the like; names of months and weekdays; `L`, the last day of a month; `mon#2`, the second Monday;
`R`, a random value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ALIASES = frozenset({"@midnight", "@hourly", "@daily", "@weekly", "@monthly", "@yearly"})
_ALIASES |= {"@annually"}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_RANDOM = re.compile(r"r(\((\d+)-(\d+)\))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its values, and the names that stand for some of them."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """The value that a text stands for; None where it stands for none of this field."""
        if text in self.names:
            return self.names.index(text) + self.least
        if self.name == "day of month" and text == "l":
            return self.most
        value = int(text) if text.isdecimal() and text.isascii() else -1
        return value if self.least <= value <= self.most else None


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of week", 0, 7, tuple(_DAYS)),
)
HINT = "five fields: minute hour day month weekday; `0 6 * * *` is every day at 6:00"


def pattern() -> str:
    """A regular expression for editors and `dg check yaml`, which know no other way to look.

    It takes whatever `problem` takes, and templates; and little else.
    """
    fields = []
    for field in _FIELDS:
        numbers = [str(n) for n in range(field.most, field.least - 1, -1)]
        values = [f"0?{n}" if len(n) == 1 else n for n in numbers]
        values += ["".join(f"[{c}{c.upper()}]" for c in name) for name in field.names]
        value = f"({'|'.join(values)}{'|[lL]' if field.name == 'day of month' else ''})"
        item = rf"(\*|\?|[rR](\(\d+-\d+\))?|{value}(-{value})?)(/\d+)?"
        if field.name == "day of week":
            item = rf"({item}|{value}#[1-5]|[lL]{value})"
        fields.append(f"{item}(,{item})*")
    aliases = "|".join(
        "@" + "".join(f"[{c}{c.upper()}]" for c in alias[1:]) for alias in sorted(_ALIASES)
    )
    five = r"\s+".join(fields)
    return rf"^\s*({aliases}|{five})\s*$|\{{\{{.*\}}\}}"


def problem(expression: str) -> str | None:
    """What is wrong with a cron expression; None where it is right.

    >>> problem("0 6 * * mon-fri")
    >>> problem("61 * * * *")
    "minute: '61' is not 0 to 59"
    """
    text = expression.lower().split()
    if len(text) == 1 and text[0] in _ALIASES:
        return None
    if len(text) != len(_FIELDS):
        return f"{len(text)} fields instead of {len(_FIELDS)}"
    for field, part in zip(_FIELDS, text):
        for item in [] if _is_whole(field, part) else part.split(","):
            if not _is_valid(field, item):
                names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
                return f"{field.name}: {item!r} is not {field.least} to {field.most}{names}"
    if text[3] in ("2", "02", "feb") and text[2] in ("30", "31"):
        return f"February has no day {text[2]}"
    return None


def _is_whole(field: _Field, part: str) -> bool:
    """Whether it is what can only stand alone in its field."""
    if part == "?":
        return field.name.startswith("day")
    random = _RANDOM.fullmatch(part)
    if random is None or random[1] is None:
        return random is not None
    first, last = field.number(random[2]), field.number(random[3])
    return first is not None and last is not None and first < last


def _is_valid(field: _Field, item: str) -> bool:
    if field.name == "day of week":
        if item.startswith("l") and len(item) > 1:
            return field.number(item[1:]) is not None
        item, sharp, week = item.partition("#")
        if sharp and (week not in ("1", "2", "3", "4", "5") or field.number(item) is None):
            return False
    span, slash, step = item.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span == "*":
        return True
    ends = span.split("-")
    if len(ends) > 2 or (len(ends) == 2 and ends[0] == "l"):
        return False
    return all(field.number(end) is not None for end in ends)
