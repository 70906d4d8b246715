import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.ahead import (
    ALIGNED_BYTES,
    GROWTH,
    LIMIT_BYTES,
    SLACK_BYTES,
    START,
    STREAMS,
    ReadAheadPolicy,
    Stream,
    Streams,
    refused,
)
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES

KIB = 1 << 10
MIB = 1 << 20
HUGE = 1 << 40

POLICIES = st.builds(ReadAheadPolicy, limit_bytes=st.sampled_from([0, MIB, 3 * MIB, 20 * MIB, LIMIT_BYTES]))
READS = st.lists(st.tuples(st.integers(0, 130 * MIB), st.integers(0, 4 * MIB)), max_size=40)

Read = tuple[int, int]


def planned(
    policy: ReadAheadPolicy, reads: Iterable[Read], file_size_bytes: int, streams: Streams = START
) -> list[range]:
    """What the policy fetches ahead, read by read; an empty range for nothing."""
    plans = []
    for offset_bytes, size_bytes in reads:
        streams, ahead = policy.plan(streams, offset_bytes, size_bytes, file_size_bytes)
        assert ahead is None or ahead
        plans.append(ahead or range(0))
    return plans


def sequential(start_bytes: int, stop_bytes: int, size_bytes: int) -> list[Read]:
    return [(offset, size_bytes) for offset in range(start_bytes, stop_bytes, size_bytes)]


def blocks(plan: range) -> set[int]:
    return {index for index in range(plan.start // BLOCK_SIZE_BYTES, -(-plan.stop // BLOCK_SIZE_BYTES)) if plan}


def shuffled_a_little(reads: list[Read], seed: int, places: int) -> list[Read]:
    """As the kernel's read-ahead arrives: each read at most about `places` early or late."""
    chance = random.Random(seed)
    keyed = [(place + chance.uniform(0, places), read) for place, read in enumerate(reads)]
    return [read for _, read in sorted(keyed)]


@given(policy=POLICIES, reads=READS, file_size_bytes=st.integers(0, 128 * MIB))
def test_never_fetches_past_the_end_nor_more_than_the_limit(
    policy: ReadAheadPolicy, reads: list[Read], file_size_bytes: int
) -> None:
    for (offset, size), plan in zip(reads, planned(policy, reads, file_size_bytes), strict=True):
        if plan:
            assert plan.stop <= file_size_bytes
            assert plan.start % BLOCK_SIZE_BYTES == 0
            assert plan.stop <= offset + size + policy.limit_bytes + BLOCK_SIZE_BYTES


@given(reads=READS, file_size_bytes=st.integers(0, 128 * MIB))
def test_all_that_is_fetched_ahead_is_at_most_a_few_times_what_was_read(
    reads: list[Read], file_size_bytes: int
) -> None:
    read_bytes = ahead_bytes = 0
    for (offset, size), plan in zip(reads, planned(ReadAheadPolicy(), reads, file_size_bytes), strict=True):
        read_bytes += max(0, min(offset + size, file_size_bytes) - offset)
        ahead_bytes += len(plan)
        assert ahead_bytes <= (GROWTH + 1) * read_bytes + STREAMS * BLOCK_SIZE_BYTES


@given(
    steps=st.lists(st.tuples(st.integers(-SLACK_BYTES, SLACK_BYTES), st.integers(1, 2 * MIB)), max_size=60),
    file_size_bytes=st.integers(0, 128 * MIB),
)
def test_never_asks_twice_for_a_block_while_a_reader_goes_on(steps: list[Read], file_size_bytes: int) -> None:
    policy, streams, asked = ReadAheadPolicy(), START, set[int]()
    for jitter_bytes, size_bytes in steps:
        offset_bytes = max(0, streams[0].expected_bytes + jitter_bytes)
        streams, ahead = policy.plan(streams, offset_bytes, size_bytes, file_size_bytes)
        new = blocks(ahead or range(0))
        assert not new & asked
        asked |= new


@given(
    places=st.lists(st.integers(1, 10_000), min_size=1, max_size=40, unique=True),
    size_bytes=st.integers(1, BLOCK_SIZE_BYTES),
)
def test_random_reads_fetch_nothing_ahead(places: list[int], size_bytes: int) -> None:
    reads = [(place * 3 * SLACK_BYTES, size_bytes) for place in places]
    assert not any(planned(ReadAheadPolicy(), reads, HUGE))


@pytest.mark.parametrize("size_bytes", [128 * KIB, MIB])
def test_backwards_reading_fetches_nothing_ahead(size_bytes: int) -> None:
    reads = sequential(0, 60 * MIB, size_bytes)[::-1]
    assert not any(planned(ReadAheadPolicy(), reads, 100 * MIB))


@pytest.mark.parametrize("stride_bytes", [MIB, 2 * MIB, 4 * MIB, 16 * MIB, 100 * MIB])
def test_strides_fetch_ahead_a_few_times_what_they_read_at_most(stride_bytes: int) -> None:
    reads = [(offset, 4 * KIB) for offset in range(0, 1000 * stride_bytes, stride_bytes)]
    ahead_bytes = sum(map(len, planned(ReadAheadPolicy(), reads, HUGE)))
    assert ahead_bytes <= (GROWTH + 1) * 1000 * 4 * KIB


@pytest.mark.parametrize("size_bytes", [128 * KIB, MIB])
@pytest.mark.parametrize("start_bytes", [0, 300 * MIB])
def test_a_big_read_has_all_fetches_busy_before_a_third_of_the_window_was_read(
    size_bytes: int, start_bytes: int
) -> None:
    streams, policy = START, ReadAheadPolicy()
    ahead_bytes = {}
    for offset, size in sequential(start_bytes, start_bytes + 24 * MIB, size_bytes):
        streams, _ = policy.plan(streams, offset, size, HUGE)
        ahead_bytes[offset + size - start_bytes] = streams[0].fetched_bytes - (offset + size)
    assert ahead_bytes[4 * MIB] >= 11 * MIB
    assert ahead_bytes[20 * MIB] >= LIMIT_BYTES - ALIGNED_BYTES


@pytest.mark.parametrize("size_bytes", [128 * KIB, MIB])
def test_a_reader_in_full_swing_keeps_all_fetches_busy_with_large_requests(size_bytes: int) -> None:
    streams, policy = START, ReadAheadPolicy()
    for offset, size in sequential(0, 400 * MIB, size_bytes):
        streams, ahead = policy.plan(streams, offset, size, HUGE)
        if offset > 100 * MIB:
            assert ahead is None or len(ahead) == ALIGNED_BYTES
            assert streams[0].fetched_bytes - (offset + size) >= LIMIT_BYTES - 2 * ALIGNED_BYTES


@given(seed=st.integers(0, 50), places=st.integers(0, 3))
def test_the_kernels_slightly_disordered_reads_are_one_sequence(seed: int, places: int) -> None:
    reads = shuffled_a_little(sequential(0, 300 * MIB, MIB), seed, places)
    plans = planned(ReadAheadPolicy(), reads, 300 * MIB)
    asked = [index for plan in plans for index in blocks(plan)]
    assert len(asked) == len(set(asked))
    assert set(asked) >= set(range(4, 300))
    assert sum(map(bool, plans)) <= 60


def test_tensorflow_reads_the_tail_without_fetching_ahead_and_the_rest_with_few_requests() -> None:
    size_bytes = 100 * MIB
    tail = (size_bytes - 100 * KIB, 100 * KIB)
    # Tensor-sized reads, which the kernel cuts into its own, alternating with 1 MiB fills that overlap them.
    ascending = []
    for start in range(0, size_bytes, 4 * MIB):
        ascending += [*sequential(start, start + 4 * MIB, MIB), (start + 3 * MIB + 512 * KIB, MIB)]
    (after_tail, *plans) = planned(ReadAheadPolicy(), [tail, *ascending], size_bytes)
    assert not after_tail
    asked = [index for plan in plans for index in blocks(plan)]
    assert len(asked) == len(set(asked))
    assert set(asked) >= set(range(2, 100))
    assert sum(map(bool, plans)) <= 16


def test_a_look_at_the_tail_in_between_does_not_lose_the_window() -> None:
    tail = (500 * MIB - 64 * KIB, 64 * KIB)
    steady = sequential(0, 100 * MIB, MIB)
    with_looks = [read for place, one in enumerate(steady) for read in ([tail, one] if place % 10 == 5 else [one])]
    policy = ReadAheadPolicy()
    asked = [plan for plan in planned(policy, steady, 500 * MIB) if plan]
    assert [plan for plan in planned(policy, with_looks, 500 * MIB) if plan] == asked


def test_two_readers_in_turns_on_one_handle_each_have_a_window() -> None:
    one, other = sequential(0, 60 * MIB, MIB), sequential(200 * MIB, 260 * MIB, MIB)
    policy = ReadAheadPolicy()
    plans = planned(policy, [read for pair in zip(one, other, strict=True) for read in pair], HUGE)
    assert plans[0::2] == planned(policy, one, HUGE)
    assert plans[1::2] == planned(policy, other, HUGE)
    assert any(plans[1::2])


def test_a_sequential_reader_finds_everything_asked_for_before_it_gets_there() -> None:
    reads = sequential(0, 100 * MIB, 128 * KIB)
    asked = {0}
    for (offset, size), plan in zip(reads, planned(ReadAheadPolicy(), reads, 100 * MIB), strict=True):
        if offset >= BLOCK_SIZE_BYTES:
            assert blocks(range(offset, offset + size)) <= asked
        asked |= blocks(plan)
    assert asked == set(range(100))


def test_a_limit_of_zero_never_fetches_ahead() -> None:
    assert not any(planned(ReadAheadPolicy(limit_bytes=0), sequential(0, 64 * MIB, MIB), 64 * MIB))


def test_one_small_read_of_a_large_file_fetches_nothing_ahead() -> None:
    assert not any(planned(ReadAheadPolicy(), [(0, 128 * KIB)], 1 << 30))


def test_a_jump_fetches_what_it_reads_and_the_next_sequence_opens_a_small_window() -> None:
    policy = ReadAheadPolicy()
    first = planned(policy, sequential(0, 8 * MIB, MIB), 1 << 30)
    jumped = planned(policy, [*sequential(0, 8 * MIB, MIB), (500 * MIB, MIB), (501 * MIB, MIB)], 1 << 30)
    assert jumped[:8] == first
    assert not jumped[8]
    assert jumped[9] == range(502 * MIB, 510 * MIB)


def test_what_was_refused_is_asked_for_again() -> None:
    policy = ReadAheadPolicy()
    streams, ahead = policy.plan(START, 0, 4 * MIB, HUGE)
    assert ahead == range(4 * MIB, 16 * MIB)
    streams = refused(streams, ahead, 6 * MIB)
    streams, again = policy.plan(streams, 4 * MIB, MIB, HUGE)
    assert again is not None
    assert again.start == 6 * MIB


def test_a_refusal_concerns_the_stream_that_asked() -> None:
    streams = (Stream(10, 10, 50), Stream(100, 10, 700))
    assert refused(streams, range(20, 50), 30) == (Stream(10, 10, 30), Stream(100, 10, 700))
