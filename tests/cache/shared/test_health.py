"""How a store is treated that refuses or fails: the policy alone."""

import pytest

from hubfs.cache.shared.health import PACE, PATIENCE_S, Health


def after_refusals(count: int) -> Health:
    health = Health()
    for _ in range(count):
        health = health.refused(0.0, 0.0)
    return health


def test_a_store_that_never_refused_is_asked_at_once() -> None:
    assert Health().delay_s(0, 0.0, 0.999) == 0.0
    assert not Health().resting(0.0)


def test_each_refusal_doubles_the_longest_delay_up_to_a_cap() -> None:
    longest = [after_refusals(count).delay_s(0, 0.0, 1.0) for count in range(9)]
    assert longest == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]


def test_delays_are_anything_from_nothing_to_the_longest() -> None:
    health = after_refusals(3)
    assert [health.delay_s(0, 0.0, chance) for chance in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.25, 0.5, 1.0]


def test_a_request_that_was_refused_often_waits_longer_than_the_others() -> None:
    assert after_refusals(1).delay_s(4, 0.0, 1.0) == 2.0
    assert Health().delay_s(4, 0.0, 1.0) == 2.0


def test_each_answer_makes_it_quicker_again() -> None:
    health = after_refusals(3)
    delays = []
    for _ in range(4):
        health = health.answered(0.0)
        delays.append(health.delay_s(0, 0.0, 1.0))
    assert delays == [0.5, 0.25, 0.0, 0.0]
    assert after_refusals(1000).answered(0.0).delay_s(0, 0.0, 1.0) == 2.0  # a long jam is not remembered for long


def test_the_wish_of_a_store_is_honoured_up_to_a_bound() -> None:
    assert Health().delay_s(1, 3.0, 0.0) == 3.0
    assert after_refusals(9).delay_s(1, 1.0, 1.0) == 4.0
    assert Health().delay_s(1, 1e9, 0.0) == PACE.retry_after_cap_s


def test_a_refusal_is_no_outage_until_the_patience_ends() -> None:
    assert not Health().refused(100.0, PATIENCE_S - 0.1).failing
    left = Health().refused(100.0, PATIENCE_S)
    assert left.resting(109.9)
    assert not left.resting(110.0)
    assert left.slowness == 0


def test_another_failure_is_one_at_once_and_rests_grow() -> None:
    health, now_s, rests_s = Health(), 0.0, []
    for _ in range(7):
        health = health.failed(now_s)
        rests_s.append(health.rest_s)
        now_s = health.resting_until_s
    assert rests_s == [10, 20, 40, 80, 160, 300, 300]


def test_after_a_rest_one_refusal_is_enough_and_one_answer_ends_it() -> None:
    health = Health().failed(0.0)
    again = health.refused(10.0, 0.0)
    assert (again.failing, again.rest_s) == (True, 20.0)
    assert health.answered(10.0) == Health()
    assert health.answered(10.0).failed(20.0).rest_s == 10.0


@pytest.mark.parametrize("tell", [lambda one: one.failed(5.0), lambda one: one.refused(5.0, 99.0)])
def test_what_began_before_a_rest_changes_nothing_in_it(tell: object) -> None:
    health = Health().failed(0.0)
    assert tell(health) == health  # type: ignore[operator]
    assert health.answered(5.0) == health


@pytest.mark.parametrize("refusals", range(12))
def test_no_delay_is_longer_than_its_bound(refusals: int) -> None:
    for slowness in range(12):
        assert 0 <= after_refusals(slowness).delay_s(refusals, 1e9, 0.999) <= 4.0
