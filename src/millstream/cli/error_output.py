"""Errors, as they reach people: on stderr, without secrets, a traceback only if asked for."""

from __future__ import annotations

import sys


def complain(error: BaseException, *, debug: bool, what: str = "") -> None:
    """Print an error; `what` failed, where a command does several things."""
    from millstream.cli.terminal import paint
    from millstream.common.redact import redact

    text = redact(_traceback(error) if debug else _message(error)).rstrip()
    prefix = paint(f"{what} failed:" if what else "error:", "red", "bold", stream=sys.stderr)
    print(prefix, text, file=sys.stderr, flush=True)


def _message(error: BaseException) -> str:
    from millstream.common.redact import redact_foreign
    from millstream.errors import MillstreamError

    if isinstance(error, MillstreamError):
        return str(error)
    return (
        f"unexpected {type(error).__name__}: {redact_foreign(str(error))}\n\n"
        "hint: this is a bug in Millstream or in a source of yours; --debug shows the traceback"
    )


def _traceback(error: BaseException) -> str:
    import traceback

    from millstream.common.redact import redact_foreign

    return redact_foreign("".join(traceback.format_exception(error)))
