"""What a run has to say of its schema changes, whoever is told and however."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from shlex import quote
from typing import get_args

from millstream.common.text import quantity
from millstream.model import Decision, Severity
from millstream.schema_changes.evaluate import fingerprint
from millstream.schema_changes.messages import accept_command
from millstream.schema_changes.policy import comes_and_goes

SHOWN = 20
"""Changes that a message lists; the rest is counted."""

ROWS_OF_HELD = (
    "Rows that wait are loaded once the changes are accepted (where there is no defs.yaml, by "
    "`millstream.accept`):"
)
ROWS_OF_KEPT_OUT = "The rows that need what was kept out are in quarantine:"

_ORDER: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class Context:
    """What only the one who started the run knows.

    Attributes:
        links: addresses by label, such as the run's page in Dagster.
        downstream: assets that read the tables of this stream.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    downstream: Sequence[str] = ()


_NOTHING = Context()
_context: ContextVar[Context] = ContextVar("millstream_alert_context", default=_NOTHING)


@contextmanager
def about(
    *, links: Mapping[str, str] | None = None, downstream: Sequence[str] = ()
) -> Iterator[None]:
    """Whatever is sent inside also says this."""
    token = _context.set(Context(links or {}, tuple(downstream)))
    try:
        yield
    finally:
        _context.reset(token)


@dataclass(frozen=True, slots=True)
class Message:
    """One run's message.

    Attributes:
        held: nothing was loaded until someone accepts.
        decisions: what is worth saying, the worst first.
        rows: rows of this run by table: loaded, or waiting where it is held.
        partition: the key of the one that was loaded; None where the stream has none.
    """

    pipeline: str
    stream: str
    held: bool
    decisions: tuple[Decision, ...]
    rows: Mapping[str, int]
    context: Context = field(default_factory=Context)
    partition: str | None = None

    @property
    def severity(self) -> Severity:
        return max((d.change.severity for d in self.decisions), key=_ORDER.index)

    @property
    def title(self) -> str:
        """One line: where, what happened, how bad."""
        kept_out = sum(decision.action == "quarantine" for decision in self.decisions)
        made = len(self.decisions) - kept_out
        counts = [_changes(made)] if made else []
        if kept_out:
            counts.append(f"{kept_out} kept out" if made else f"{_changes(kept_out)} kept out")
        what = ", ".join((*counts, self.severity))
        where = f"{self.pipeline}.{self.stream}"
        if self.partition is not None:
            where += f" [{self.partition}]"
        return f"{where}: {'held' if self.held else 'loaded'}: {what}"

    @property
    def quarantine_command(self) -> str | None:
        """The command that lists the rows of changes that were kept out; None where none was."""
        if any(decision.action == "quarantine" for decision in self.decisions):
            return f"millstream quarantine list --stream {quote(self.stream)}"
        return None

    @property
    def command(self) -> str | None:
        """The command that accepts what is held; None where nothing is."""
        return accept_command(self.stream) if self.held else None

    @property
    def key(self) -> str:
        """The same for two runs that have the same to say."""
        told = {f"{fingerprint(d.change)}:{d.action}" for d in self.decisions}
        return ",".join(sorted(told))

    def tables(self) -> Iterator[tuple[str, list[Decision]]]:
        """The decisions that are listed, by table, in the order of the worst of each."""
        grouped: dict[str, list[Decision]] = {}
        for decision in self.decisions[:SHOWN]:
            grouped.setdefault(decision.change.table, []).append(decision)
        yield from grouped.items()

    @property
    def left_out(self) -> int:
        return max(0, len(self.decisions) - SHOWN)


def change_words(decision: Decision) -> str:
    """What happened, in a sentence; of a change that was kept out, that it did not."""
    message = decision.change.message
    return f"kept out of the table: {message}" if decision.action == "quarantine" else message


def _changes(count: int) -> str:
    return quantity(count, "schema change")


def compose(
    pipeline: str,
    stream: str,
    decisions: Sequence[Decision],
    rows: Mapping[str, int],
    *,
    at_least: Severity,
    partition: str | None = None,
) -> Message | None:
    """The message of a run for someone who wants to know of `at_least`; None if there is none.

    What is held is told to all. What the policy allows is silent, but for safe changes that no rule
    allows: a new column or table is news. What somebody accepted already is silent, too.
    """
    worth = [
        decision
        for decision in decisions
        if (
            decision.action == "hold"  # someone must act, however mild the change is
            or _ORDER.index(decision.change.severity) >= _ORDER.index(at_least)
        )
        and (decision.action != "allow" or _is_news(decision))
        and decision.decided_by != "people"
        and not comes_and_goes(decision)
    ]
    if not worth:
        return None
    worth.sort(key=lambda decision: -_ORDER.index(decision.change.severity))
    held = any(decision.action == "hold" for decision in decisions)
    return Message(pipeline, stream, held, tuple(worth), rows, _context.get(), partition)


def _is_news(decision: Decision) -> bool:
    """Whether a change that is allowed is told: a rule that allows it says that nobody cares."""
    return decision.change.severity == "safe" and decision.decided_by != "rule"


def plain(message: Message) -> str:
    """The message as text, for mail and the like."""
    lines = [message.title]
    for table, decisions in message.tables():
        lines += ["", f"{table} ({_rows(message, table)})"]
        lines += [f"  - {d.change.severity}, {d.action}: {change_words(d)}" for d in decisions]
    if message.left_out:
        lines += ["", f"and {message.left_out} more"]
    if message.held:
        lines += ["", ROWS_OF_HELD, f"  {message.command}"]
    if message.quarantine_command:
        lines += ["", ROWS_OF_KEPT_OUT, f"  {message.quarantine_command}"]
    if message.context.downstream:
        lines += ["", f"Downstream: {', '.join(message.context.downstream)}"]
    for label, address in message.context.links.items():
        lines.append(f"{label}: {address}")
    return "\n".join(lines) + "\n"


def _rows(message: Message, table: str) -> str:
    return (
        f"{quantity(message.rows.get(table, 0), 'row')} {'waiting' if message.held else 'loaded'}"
    )
