import random

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.crc32c import combine, contribution, crc32c


def test_the_check_value_of_the_standard_comes_out() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combining_two_parts_gives_the_crc_of_both(first: bytes, second: bytes) -> None:
    assert combine(crc32c(first), crc32c(second), len(second)) == google_crc32c.value(first + second)


@given(st.binary(max_size=2000), st.integers(1, 64), st.randoms(use_true_random=False))
def test_contributions_add_up_in_any_order(data: bytes, size: int, order: random.Random) -> None:
    starts = list(range(0, len(data), size))
    order.shuffle(starts)
    whole = 0
    for start in starts:
        part = data[start : start + size]
        whole ^= contribution(crc32c(part), len(data) - start - len(part))
    assert whole == google_crc32c.value(data)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_what_follows_may_be_followed_further(crc: int, near_bytes: int, far_bytes: int) -> None:
    assert contribution(contribution(crc, near_bytes), far_bytes) == contribution(crc, near_bytes + far_bytes)


def test_megabytes_combine_as_well() -> None:
    first, second = random.Random(1).randbytes(3 << 20), random.Random(2).randbytes((2 << 20) + 77)
    assert combine(crc32c(first), crc32c(second), len(second)) == google_crc32c.value(first + second)
