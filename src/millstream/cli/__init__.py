"""The command line: parse, call, print. Every command is one file; `commands.py` lists them."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

__all__ = ["entry", "main"]

FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def entry() -> NoReturn:
    """The command `millstream`: `main`, and then out, as mypy's `hard_exit` does it.

    Python takes what the libraries made apart, object by object, which takes half a second.
    """
    code = main()
    # logging, worker pools and the like have their say
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the shell closed them
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name.

    Returns:
        The exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted, 141 nobody reads on.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # the libraries make a million objects that live to the end: a tenth of a short run went into
    # looking through them for garbage, again and again
    gc.set_threshold(50_000, 20, 50)
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader left (`| head`). Python flushes stdout once more on exit and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(arguments: list[str]) -> int:
    from millstream.cli.commands import ROOT
    from millstream.cli.error_output import complain
    from millstream.cli.parser import UsageError, parse

    debug = False
    try:
        options = parse(ROOT, arguments)
        debug = options.debug
        code: int = options.run(options)
    except SystemExit as done:  # --help and --version print and leave
        return done.code if isinstance(done.code, int) else FAILED
    except UsageError as error:
        complain(error, debug=False)
        return error.code
    except BrokenPipeError:
        raise
    except Exception as error:
        complain(error, debug=debug)
        return FAILED
    return code
