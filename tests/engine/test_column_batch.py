"""Column sets are written in a thread; what goes wrong there is not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import Event, Timer, current_thread, main_thread

import pytest

from millstream.engine.column_batch import BackgroundWorker


def test_a_thread_does_the_work() -> None:
    aside, seen = BackgroundWorker(), []
    for _ in range(2):
        aside.start(lambda: seen.append(current_thread()))
    aside.wait()
    assert len(seen) == 2
    assert seen[0] is seen[1]
    aside.close()
    assert seen[0] not in threading.enumerate()
    assert seen[0] is not main_thread()


def test_one_thing_waits_for_the_other() -> None:
    aside, done, begun = BackgroundWorker(), Event(), Event()
    aside.start(done.wait)
    Timer(0.05, done.set).start()
    aside.start(lambda: begun.set() if done.is_set() else None)
    aside.close()
    assert begun.is_set()


@pytest.mark.parametrize(
    "wait", [BackgroundWorker.wait, BackgroundWorker.close, lambda aside: aside.start(list)]
)
def test_an_error_comes_back(wait: Callable[[BackgroundWorker], None]) -> None:
    def fail() -> None:
        raise OSError("No space left on device")

    aside = BackgroundWorker()
    aside.start(fail)
    with pytest.raises(OSError, match="No space"):
        wait(aside)
    aside.close()
