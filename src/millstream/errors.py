"""Every error that Millstream raises on purpose.

    MillstreamError
    ├── ConfigError                 a file, an option or an environment variable is wrong
    │   └── MissingDependencyError  an extra is not installed
    ├── SourceError                 the place that data comes from
    │   ├── SourceAuthError         no, bad or too weak credentials
    │   ├── SourceNotFoundError     no such repository, database, collection, file
    │   ├── SourceUnavailableError  unreachable, or still failing after retries
    │   └── SourceDataError         it answered with something that can't be read
    │       └── SchemaTooLargeError too many tables or columns
    ├── DestinationError            the place that data goes to
    │   ├── DestinationAuthError
    │   ├── DestinationNotFoundError
    │   └── DestinationUnavailableError
    └── RunError                    one step of a run failed; names the stream and the step
        ├── DamagedPackageError     what an earlier run extracted is not as it was written
        ├── SchemaHeldError         the policy holds a change until someone accepts it
        └── QuarantineLimitError    too many rows can't be loaded

Each message says what is wrong and where, then, after a blank line, `hint: ` and the fix.

`RunInterrupted`, a KeyboardInterrupt, is no error: someone stopped a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MillstreamError(Exception):
    """The base of all of Millstream's errors.

    Attributes:
        loaded: the report of what the run had loaded before it failed, such as what an earlier run
            had extracted; None where that is nothing.

    >>> print(MillstreamError("no such stream: 'isues'", hint="did you mean 'issues'?"))
    no such stream: 'isues'
    <BLANKLINE>
    hint: did you mean 'issues'?
    """

    loaded: Any | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # keyword-only arguments do not survive the default pickling between processes
        return _rebuild, (type(self), self.__dict__)


def _rebuild(cls: type[MillstreamError], state: dict[str, object]) -> MillstreamError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


class ConfigError(MillstreamError):
    """A file, an option or an environment variable is wrong."""


class MissingDependencyError(ConfigError):
    """A package that this feature needs is not installed."""


class SourceError(MillstreamError):
    """Something is wrong with the place that data comes from."""


class SourceAuthError(SourceError):
    """The source wants credentials, or better ones."""


class SourceNotFoundError(SourceError):
    """The source has no such repository, database, collection or file."""


class SourceUnavailableError(SourceError):
    """The source can't be reached, or still failed after the last retry."""


class SourceDataError(SourceError):
    """The source answered with something that can't be read."""


class SchemaTooLargeError(SourceDataError):
    """Rows need more tables or columns than a stream may have; what was extracted is dropped."""


class DestinationError(MillstreamError):
    """Something is wrong with the place that data goes to."""


class DestinationAuthError(DestinationError):
    """The destination refused the credentials, or none were found."""


class DestinationNotFoundError(DestinationError):
    """The destination has no such database, project or bucket."""


class DestinationUnavailableError(DestinationError):
    """The destination can't be reached."""


class RunError(MillstreamError):
    """One step of one stream's run failed.

    Attributes:
        stream: the stream that was being loaded.
        step: `extract`, `normalize`, `govern` or `load`.
    """

    def __init__(self, message: str, *, stream: str, step: str, hint: str | None = None) -> None:
        self.stream = stream
        self.step = step
        super().__init__(message, hint=hint)


class SchemaHeldError(RunError):
    """A run stopped before it sent anything: the policy holds changes that nobody accepted yet.

    The package is kept, no cursor moved; the next run goes on with it once all are accepted.

    Attributes:
        decisions: what the policy said of each change of the run (`millstream.model.Decision`).
        rows: rows that wait in the package, by table.
        row_count: those of tables without a parent.
    """

    def __init__(
        self,
        message: str,
        *,
        stream: str,
        decisions: Sequence[Any],
        rows: Mapping[str, int],
        row_count: int,
        hint: str | None = None,
    ) -> None:
        self.decisions = tuple(decisions)
        self.rows = dict(rows)
        self.row_count = row_count
        super().__init__(message, stream=stream, step="govern", hint=hint)


class DamagedPackageError(RunError):
    """A package lost a file, or has other bytes than were written; nothing of it was loaded.

    Attributes:
        damage: what is wrong, each with its file.
    """

    def __init__(
        self, message: str, *, stream: str, damage: Sequence[str], hint: str | None = None
    ) -> None:
        self.damage = tuple(damage)
        super().__init__(message, stream=stream, step="load", hint=hint)


class QuarantineLimitError(RunError):
    """A run stopped before it sent anything: more rows than allowed would go to quarantine.

    The package is kept, no cursor moved; the next run goes on with it once the limit allows.

    Attributes:
        quarantined: by table and reason (`millstream.model.QuarantinedRows`).
    """

    def __init__(
        self, message: str, *, stream: str, quarantined: Sequence[Any], hint: str | None = None
    ) -> None:
        self.quarantined = tuple(quarantined)
        super().__init__(message, stream=stream, step="govern", hint=hint)


class RunInterrupted(KeyboardInterrupt):
    """A run was stopped by Ctrl-C or SIGTERM; the message says what is saved.

    Attributes:
        stream: the stream that was being loaded.
        step: the step that was under way, such as `extract`; None before the first.
        report: the run's report where its load was complete by then.
        loaded: the report of what it had loaded before, as of an error.
    """

    loaded: Any | None = None

    def __init__(
        self, message: str, *, stream: str, step: str | None, report: Any | None = None
    ) -> None:
        self.message = message
        self.stream = stream
        self.step = step
        self.report = report
        super().__init__(message)
