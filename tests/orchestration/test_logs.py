from __future__ import annotations

import logging
import threading

import pytest

from millstream.orchestration.logs import forwarded


class Kept(logging.Logger):
    """Stands where Dagster's log manager does, which is a Logger too; keeps what arrives."""

    def __init__(self, name: str = "kept") -> None:
        super().__init__(name)
        self.lines: list[tuple[int, str]] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))


def test_records_of_both_loggers_arrive_with_their_level():
    log = Kept()

    with forwarded(log):
        logging.getLogger("millstream").info("read %d pages", 3)
        logging.getLogger("dlt").warning("a hint")
        logging.getLogger("other").warning("not ours")

    assert log.lines == [(logging.INFO, "read 3 pages"), (logging.WARNING, "a hint")]


def test_nothing_is_left_behind():
    before = {
        name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers))
        for name in ("dlt", "millstream")
    }
    log = Kept()

    with pytest.raises(ZeroDivisionError), forwarded(log):
        raise ZeroDivisionError

    logging.getLogger("millstream").warning("after")
    assert log.lines == []
    assert before == {
        name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers))
        for name in ("dlt", "millstream")
    }


def test_nested_steps_get_their_own_lines_once():
    outer, inner = Kept("outer"), Kept("inner")
    logger = logging.getLogger("millstream")

    with forwarded(outer):
        logger.info("one")
        with forwarded(inner):
            logger.info("two")
        logger.info("three")

    assert [text for _, text in outer.lines] == ["one", "three"]
    assert [text for _, text in inner.lines] == ["two"]


def test_the_same_log_may_be_opened_twice():
    log = Kept()

    with forwarded(log):
        with forwarded(log):
            logging.getLogger("millstream").info("once")
        logging.getLogger("millstream").info("again")

    assert [text for _, text in log.lines] == ["once", "again"]


def test_worker_threads_log_to_the_step_that_is_open():
    log = Kept()

    with forwarded(log):
        worker = threading.Thread(target=logging.getLogger("millstream").info, args=("page 2",))
        worker.start()
        worker.join()

    assert [text for _, text in log.lines] == ["page 2"]


def test_steps_side_by_side_keep_their_lines_apart():
    logs = [Kept(str(n)) for n in range(4)]
    together = threading.Barrier(len(logs))

    def step(log: Kept) -> None:
        with forwarded(log):
            together.wait(timeout=30)
            for n in range(50):
                logging.getLogger("millstream").info("%s: %d", log.name, n)
            together.wait(timeout=30)

    threads = [threading.Thread(target=step, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for log in logs:
        assert [text for _, text in log.lines] == [f"{log.name}: {n}" for n in range(50)]


def test_secrets_do_not_arrive():
    log = Kept()

    with forwarded(log):
        try:
            raise OSError("no route to postgresql://ann:hunter22@db/x")
        except OSError:
            logging.getLogger("dlt").exception("could not reach postgresql://ann:hunter22@db/x")

    ((level, text),) = log.lines
    assert level == logging.ERROR
    assert "hunter22" not in text
    assert "OSError: no route to postgresql://ann:***@db/x" in text


def test_a_formatter_set_by_dlt_changes_nothing():
    log = Kept()

    theirs = set(logging.getLogger("dlt").handlers)

    with forwarded(log):
        (ours,) = set(logging.getLogger("dlt").handlers) - theirs
        ours.setFormatter(logging.Formatter("json: %(nothing)s"))
        try:
            logging.getLogger("dlt").error("plain")
        finally:
            ours.setFormatter(None)

    assert [text for _, text in log.lines] == ["plain"]
