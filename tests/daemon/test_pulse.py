"""What a keeper hears of a daemon whose mount answers, or does not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hubfs.daemon.keeper import WATCHDOG, channel_to_child, heard
from hubfs.daemon.pulse import Pulse
from hubfs.mounts import table as mount_table

WELL, LATE = mount_table.Answer(0), mount_table.Answer(None)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[mount_table.Answer], list[int]], list[bool]]:
    """Has a daemon look at its mount, once for each answer; returns after which looks its keeper was told."""

    def look(answers: list[mount_table.Answer], handled: list[int]) -> list[bool]:
        ours, keeper = channel_to_child(0.004)
        told: list[bool] = []

        def sleep(_seconds: float) -> None:
            try:
                message = heard(ours)
                told.append(message is not None and WATCHDOG.partition("=")[0] in message[0])
            except BlockingIOError:
                told.append(False)
            if len(told) == len(answers):
                raise StopIteration

        monkeypatch.setattr(mount_table, "where_is", lambda _: Path("/nowhere"))
        monkeypatch.setattr(mount_table, "look", lambda *_: answers[len(told)])
        monkeypatch.setattr("hubfs.daemon.pulse.time.sleep", sleep)
        with ours:
            ours.setblocking(False)
            with pytest.raises(StopIteration):
                Pulse(keeper, os.makedev(0, 4711), lambda: handled[len(told)]).run()
            keeper.close()
        return told

    return look


def test_a_daemon_whose_mount_answers_is_well(looks: Callable[..., list[bool]]) -> None:
    assert looks([WELL, WELL], [0, 0]) == [True, True]


def test_a_daemon_whose_mount_does_not_answer_is_not(looks: Callable[..., list[bool]]) -> None:
    assert looks([WELL, LATE, LATE], [0, 0, 0]) == [True, False, False]


def test_a_daemon_all_of_whose_threads_wait_is_well_as_long_as_it_handles_one_request_after_another(
    looks: Callable[..., list[bool]],
) -> None:
    assert looks([LATE, LATE, LATE, LATE], [64, 65, 65, 70]) == [True, True, False, True]
