from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.memory import MemoryBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.cache.readahead import ReadAheadBlob, ReadAheadPolicy, Window
from hubfs.cancellation import Cancellation

KIB = 1 << 10
MIB = 1 << 20
SLACK_BYTES = 2 * BLOCK_SIZE_BYTES

POLICIES = st.builds(ReadAheadPolicy, limit_bytes=st.sampled_from([0, MIB, 3 * MIB, 32 * MIB]))
READS = st.lists(st.tuples(st.integers(0, 130 * MIB), st.integers(0, 4 * MIB)), max_size=40)


def planned(
    policy: ReadAheadPolicy, reads: Iterable[tuple[int, int]], file_size_bytes: int, window: Window | None = None
) -> list[range]:
    """What the policy fetches ahead, read by read; an empty range for nothing."""
    window = window or Window()
    plans = []
    for offset_bytes, size_bytes in reads:
        window, ahead = policy.plan(window, offset_bytes, size_bytes, file_size_bytes)
        assert ahead is None or ahead
        plans.append(ahead or range(0))
    return plans


def sequential(start_bytes: int, stop_bytes: int, size_bytes: int) -> list[tuple[int, int]]:
    return [(offset, size_bytes) for offset in range(start_bytes, stop_bytes, size_bytes)]


def blocks(plan: range) -> set[int]:
    return {index for index in range(plan.start // BLOCK_SIZE_BYTES, -(-plan.stop // BLOCK_SIZE_BYTES)) if plan}


@given(policy=POLICIES, reads=READS, file_size_bytes=st.integers(0, 128 * MIB))
def test_never_fetches_past_the_end_nor_more_than_the_limit(
    policy: ReadAheadPolicy, reads: list[tuple[int, int]], file_size_bytes: int
) -> None:
    for (offset, size), plan in zip(reads, planned(policy, reads, file_size_bytes), strict=True):
        if plan:
            assert plan.stop <= file_size_bytes
            assert plan.start % BLOCK_SIZE_BYTES == 0
            assert plan.stop <= offset + size + policy.limit_bytes + BLOCK_SIZE_BYTES


@given(
    steps=st.lists(st.tuples(st.integers(-SLACK_BYTES, SLACK_BYTES), st.integers(1, 2 * MIB)), max_size=60),
    file_size_bytes=st.integers(0, 128 * MIB),
)
def test_never_asks_twice_for_a_block_while_a_reader_goes_on(
    steps: list[tuple[int, int]], file_size_bytes: int
) -> None:
    policy, window, asked = ReadAheadPolicy(), Window(), set[int]()
    for jitter_bytes, size_bytes in steps:
        offset_bytes = max(0, window.expected_bytes + jitter_bytes)
        window, ahead = policy.plan(window, offset_bytes, size_bytes, file_size_bytes)
        new = blocks(ahead or range(0))
        assert not new & asked
        asked |= new


@given(
    offsets=st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True),
    size_bytes=st.integers(1, BLOCK_SIZE_BYTES),
)
def test_random_reads_fetch_nothing_ahead(offsets: list[int], size_bytes: int) -> None:
    far_bytes = 2 * SLACK_BYTES
    reads = [((place + 1) * far_bytes, size_bytes) for place in offsets]
    ordinary = [read for before, read in zip([(0, 0), *reads], reads, strict=False) if read[0] - before[0] != far_bytes]
    assert not any(planned(ReadAheadPolicy(), ordinary, 1 << 40))


@given(size_bytes=st.sampled_from([128 * KIB, 512 * KIB, MIB]))
def test_the_window_doubles_up_to_the_limit_however_small_the_reads_are(size_bytes: int) -> None:
    policy, window = ReadAheadPolicy(), Window()
    sizes = []
    for offset, size in sequential(0, 200 * MIB, size_bytes):
        window, plan = policy.plan(window, offset, size, 1 << 40)
        if plan is not None:
            sizes.append(window.size_bytes // MIB)
    assert sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert set(sizes[6:]) == {32}


@given(size_bytes=st.sampled_from([128 * KIB, 512 * KIB, MIB]))
def test_no_more_is_fetched_ahead_than_twice_what_was_read_and_a_little(size_bytes: int) -> None:
    policy, window = ReadAheadPolicy(), Window()
    for offset, size in sequential(0, 20 * MIB, size_bytes):
        window, _ = policy.plan(window, offset, size, 1 << 40)
        assert window.fetched_bytes - (offset + size) <= 2 * (offset + size) + 2 * MIB


def test_a_sequential_reader_finds_everything_asked_for_before_it_gets_there() -> None:
    reads = sequential(0, 100 * MIB, 128 * KIB)
    plans = planned(ReadAheadPolicy(), reads, 100 * MIB)
    asked = {0}
    for (offset, size), plan in zip(reads, plans, strict=True):
        if offset >= BLOCK_SIZE_BYTES:
            assert blocks(range(offset, offset + size)) <= asked
        asked |= blocks(plan)
    assert asked == set(range(100))
    assert sum(map(bool, plans)) <= 16  # not a request for every read


def test_a_limit_of_zero_never_fetches_ahead() -> None:
    assert not any(planned(ReadAheadPolicy(limit_bytes=0), sequential(0, 64 * MIB, MIB), 64 * MIB))


def test_one_small_read_of_a_large_file_fetches_nothing_ahead_with_128_kib_reads() -> None:
    assert not any(planned(ReadAheadPolicy(), [(0, 128 * KIB)], 1 << 30))


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


def test_a_jump_closes_the_window_and_the_next_sequence_opens_a_small_one() -> None:
    policy = ReadAheadPolicy()
    first = planned(policy, sequential(0, 8 * MIB, MIB), 1 << 30)
    jumped = planned(policy, [*sequential(0, 8 * MIB, MIB), (500 * MIB, MIB), (501 * MIB, MIB)], 1 << 30)
    assert jumped[:8] == first
    assert not jumped[8]
    assert jumped[9] == range(502 * MIB, 503 * MIB)


def test_a_reader_of_an_open_file_gets_the_right_bytes_and_each_block_is_fetched_once() -> None:
    payload = bytes(range(256)) * (12 * 4096 + 5)
    fetched: list[tuple[int, int]] = []

    class Origin(MemoryBlob):
        def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
            fetched.append((offset_bytes, size_bytes))
            return super().read_at(offset_bytes, size_bytes)

    with ThreadPoolExecutor(4) as pool:
        cached = CachedBlob(
            Origin("k", payload),
            MemoryTier(1 << 30),
            CacheKey("hub/a/b/1@x", "f"),
            pool=pool,
            cancellation=Cancellation(),
        )
        readers = [ReadAheadBlob(cached, ReadAheadPolicy()) for _ in range(3)]
        for offset, size in sequential(0, len(payload), 128 * KIB):
            for reader in readers:
                assert reader.read_at(offset, size) == payload[offset : offset + size]
    assert sum(size for _, size in fetched) == len(payload)
