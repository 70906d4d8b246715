import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.stamp import Stamp
from hubfs.tree.times import (
    BASE_S,
    EARLIEST_S,
    LATEST_S,
    RESIDUES,
    UNDATED_RESIDUES,
    time_ns,
)

NS = 10**9
dates = st.integers(EARLIEST_S, LATEST_S - 1)
any_date = st.one_of(st.none(), dates, st.integers())
tags = st.text(max_size=8)


def second(version: str, made_s: int | None, tag: str = "") -> int:
    return time_ns(version, Stamp(made_s, tag)) // NS


@given(dates, dates, st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_versions_never_share_a_second_whatever_their_dates(one_s: int, other_s: int, one: int, other: int) -> None:
    if (one - other) % RESIDUES:
        assert second(str(one), one_s) != second(str(other), other_s)


@given(st.integers(0, UNDATED_RESIDUES - 1), st.integers(0, UNDATED_RESIDUES - 1))
def test_the_larger_of_two_undated_versions_is_later(one: int, other: int) -> None:
    assert (second(str(one), None) < second(str(other), None)) is (one < other)


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param(range(1, RESIDUES), id="numbers"),
        pytest.param(range(1_700_000_000, 1_700_000_000 + 200 * 86_400, 86_400), id="daily exports"),
        pytest.param(range(1_700_000_000, 1_700_000_000 + 200 * 3600, 3600), id="hourly exports"),
        pytest.param(range(20240101, 20240132), id="dates"),
        pytest.param(range(0, 200_000, 1000), id="steps"),
    ],
)
@pytest.mark.parametrize("made_s", [None, 1_600_000_000])
def test_versions_that_were_packed_at_once_all_have_a_second_of_their_own(versions: range, made_s: int | None) -> None:
    assert len({second(str(version), made_s) for version in versions}) == len(versions)


@given(dates, st.integers(0, 10**9), tags)
def test_a_time_is_never_before_the_origins_date_and_hardly_after(made_s: int, version: int, tag: str) -> None:
    assert made_s * NS < time_ns(str(version), Stamp(made_s, tag)) < (made_s + 2 * RESIDUES) * NS


@given(dates, dates, st.integers(1, RESIDUES - 1), st.integers(1, RESIDUES - 1))
def test_what_was_made_later_with_a_larger_version_is_later(one_s: int, other_s: int, one: int, other: int) -> None:
    if one_s <= other_s and one < other:
        assert second(str(one), one_s) < second(str(other), other_s)


@pytest.mark.parametrize("made_s", [None, 0, -1, EARLIEST_S - 1, LATEST_S, 1 << 63, -(1 << 200), 10**400])
def test_what_is_no_date_is_none(made_s: int | None) -> None:
    assert second("3", made_s) == BASE_S + 3


@given(any_date, st.integers(0, 10**255 - 1), tags)
def test_every_time_fits_into_what_programs_keep_it_in(made_s: int | None, version: int, tag: str) -> None:
    found_ns = time_ns(str(version), Stamp(made_s, tag))
    assert EARLIEST_S * NS <= found_ns < (LATEST_S + 2 * RESIDUES) * NS < (1 << 32) * NS  # zip, and cpio
    assert found_ns == time_ns(str(version), Stamp(made_s, tag))


def test_other_bytes_of_one_version_and_date_and_other_spellings_of_a_version_differ_in_nanoseconds() -> None:
    places = itertools.product(("1", "01"), (None, 1_600_000_000), ("", '"a"', '"b"', "\udcff", "\ud800"))
    times = {time_ns(version, Stamp(made_s, tag)) for version, made_s, tag in places}
    assert len(times) == 2 * 2 * 5


def test_times_are_the_same_in_every_version_of_the_program() -> None:
    assert time_ns("2", Stamp(1_600_000_000, '"v1"')) == 1_600_000_019_407_055_178
    assert time_ns("2", Stamp()) == 946_684_802_728_290_877
