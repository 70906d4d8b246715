"""When a transfer is too slow to be one."""

from hubfs.blobs.http.transfer import SLOWEST_BYTES_PER_S, PaceFloor
from hubfs.blobs.retry import PROGRESS_BYTES


def test_a_trickle_is_too_slow_once_a_window_has_passed() -> None:
    floor = PaceFloor(10.0)
    assert not any(floor.too_slow(1.0, 1) for _ in range(9))
    assert floor.too_slow(1.0, 1)


def test_what_is_fast_enough_goes_on_for_ever() -> None:
    floor = PaceFloor(10.0)
    assert not any(floor.too_slow(1.0, SLOWEST_BYTES_PER_S) for _ in range(1000))


def test_what_is_given_up_as_too_slow_was_no_progress() -> None:
    assert PaceFloor(3600.0).window_s * SLOWEST_BYTES_PER_S <= PROGRESS_BYTES
