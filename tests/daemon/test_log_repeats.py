import logging
from collections.abc import Iterator

import pytest

from hubfs.daemon.log_repeats import Repeats
from hubfs.testing import Clock


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(kept: Kept, clock: Clock) -> Iterator[logging.Logger]:
    logger = logging.getLogger("hubfs.test_log_repeats")
    handler = Repeats([kept], timer=clock)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.removeHandler(handler)


def test_the_same_warning_is_let_through_once_and_counted(log: logging.Logger, kept: Kept, clock: Clock) -> None:
    for _ in range(38):
        log.warning("read %s: no route", "/a")
        log.warning("read %s: no route", "/b")
    assert kept.lines == ["WARNING read /a: no route", "WARNING read /b: no route"]
    clock.now_s += 60
    log.info("something else")
    assert kept.lines[2:] == [
        "WARNING read /a: no route (37 times more)",
        "WARNING read /b: no route (37 times more)",
        "INFO something else",
    ]
    log.warning("read %s: no route", "/a")
    assert kept.lines[-1] == "WARNING read /a: no route"


def test_what_is_no_warning_is_never_left_out(log: logging.Logger, kept: Kept) -> None:
    for _ in range(3):
        log.info("the same")
    assert kept.lines == 3 * ["INFO the same"]


def test_at_the_end_the_counts_are_told(kept: Kept, log: logging.Logger) -> None:
    for _ in range(3):
        log.error("the same")
    log.handlers[0].close()
    assert kept.lines == ["ERROR the same", "ERROR the same (2 times more)"]


def test_a_target_gets_what_it_is_for(clock: Clock) -> None:
    everything, errors = Kept(), Kept()
    errors.setLevel(logging.ERROR)
    repeats = Repeats([everything, errors], timer=clock)
    for level, text in ((logging.WARNING, "w"), (logging.ERROR, "e")):
        repeats.handle(logging.LogRecord("x", level, "", 0, text, None, None))
    assert (everything.lines, errors.lines) == (["WARNING w", "ERROR e"], ["ERROR e"])


def test_the_number_of_lines_that_are_remembered_is_bounded(log: logging.Logger, kept: Kept) -> None:
    for number in range(1500):
        log.warning("line %d", number)
    for number in range(1500):
        log.warning("line %d", number)
    assert len(kept.lines) == 1500 + 500
