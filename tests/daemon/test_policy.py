"""What follows a daemon's death. What the supervisor does then is shown in tests/mounted."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.daemon.policy import (
    HEALTHY_S,
    LONGEST_DELAY_S,
    MOST_FAILURES,
    Death,
    Patience,
    Plan,
    Row,
    after,
    delay_s,
    successor_delay_s,
)

KILLED, CRASHED = -signal.SIGKILL, -signal.SIGSEGV


def plans(*deaths: Death, held: bool = True) -> list[Plan]:
    row, found = Row(), []
    for death in deaths:
        row, plan = after(row, death, held=held)
        found.append(plan)
    return found


def test_the_delay_doubles_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    assert [delay_s(deaths) for deaths in range(1, 12)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@given(st.integers(1, 10**9))
def test_the_delay_is_never_longer_than_that(deaths: int) -> None:
    assert 0 < delay_s(deaths) <= LONGEST_DELAY_S


def test_a_mount_that_cannot_be_taken_over_comes_back_later_each_time_until_it_was_healthy() -> None:
    brief, healthy = Death(KILLED, 0.1, 0.05), Death(KILLED, HEALTHY_S, HEALTHY_S)
    assert [plan.delay_s for plan in plans(brief, brief, brief, healthy, brief, held=False)] == [
        0.1,
        0.2,
        0.4,
        0.1,
        0.2,
    ]
    assert not any(plan.takes_over for plan in plans(brief, healthy, held=False))


def test_a_daemon_that_answered_and_is_killed_has_a_successor_at_once_however_often() -> None:
    assert plans(*[Death(KILLED, 0.2, 0.1)] * 200) == [Plan(0.0, takes_over=True)] * 200


@pytest.mark.parametrize("death", [Death(KILLED, 0.1), Death(CRASHED, 0.1), Death(1, 5.0), Death(CRASHED, 5.0, 4.9)])
def test_successors_that_fail_are_followed_a_few_times_and_then_the_hub_is_mounted_anew(death: Death) -> None:
    found = plans(*[death] * (2 * MOST_FAILURES + 2))
    row = [True] * MOST_FAILURES + [False]
    assert [plan.takes_over for plan in found] == row + row
    assert [plan.delay_s for plan in found[: MOST_FAILURES + 1]] == [0.0, 0.0, 0.1, 0.2, 0.4, 0.1]
    assert found[-1].delay_s == 0.2, "the second mount in a row that died"


def test_a_daemon_that_hangs_fails_sooner() -> None:
    hung = Death(KILLED, 70.0, 10.0, hung=True)
    assert [plan.takes_over for plan in plans(hung, hung, hung)] == [True, True, False]
    assert all(plan.takes_over for plan in plans(*[Death(KILLED, 200.0, HEALTHY_S, hung=True)] * 9))


@given(st.lists(st.builds(Death, st.sampled_from([KILLED, CRASHED, 1]), st.floats(0, 30), st.none(), st.booleans())))
def test_nobody_waits_long_for_daemons_that_never_answer(deaths: list[Death]) -> None:
    found = plans(*deaths)
    for first in range(max(0, len(found) - MOST_FAILURES)):
        assert not all(plan.takes_over for plan in found[first : first + MOST_FAILURES + 1])
    assert all(plan.delay_s <= successor_delay_s(MOST_FAILURES) for plan in found if plan.takes_over)


def test_a_machine_that_stands_still_makes_nobody_late() -> None:
    time_s = [100.0]
    patience = Patience(lambda: time_s[0])
    for step_s in (1.0, 1.0, 20.0, 1.0):
        time_s[0] += step_s
        patience.waited_s()
    assert patience.waited_s() == 5.0
    patience.renew()
    assert patience.waited_s() == 0.0
