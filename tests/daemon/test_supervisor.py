"""When the supervisor starts its daemon again. What it does is shown in tests/mounted/test_lifecycle."""

from hypothesis import given
from hypothesis import strategies as st

from hubfs.daemon.supervisor import HEALTHY_S, LONGEST_DELAY_S, deaths_in_a_row, delay_s


def test_the_delay_doubles_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    assert [delay_s(deaths) for deaths in range(1, 12)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@given(st.integers(1, 10**9))
def test_the_delay_is_never_longer_than_that(deaths: int) -> None:
    assert 0 < delay_s(deaths) <= LONGEST_DELAY_S


def test_a_minute_of_health_is_a_new_beginning() -> None:
    assert deaths_in_a_row(0, 0.1) == 1
    assert deaths_in_a_row(7, HEALTHY_S - 0.1) == 8
    assert deaths_in_a_row(7, HEALTHY_S) == 1
