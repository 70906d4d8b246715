"""The pure policies: what they plan lies within what there is, within its bounds, and in order."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.streaming.ramp import FIRST_PIECE_BYTES, LARGEST_ALONE_BYTES, Pace, Round
from hubfs.cache.ahead import GROWTH, LIMIT_BYTES, SLACK_BYTES, START, STREAMS, ReadAheadPolicy, refused
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, block_size_at, blocks_of, runs_of, slice_blocks
from hubfs.cache.disk.store import CachedModel
from hubfs.cache.disk.tier import plan_eviction
from hubfs.formats.limits import DEFLATE_RATIO, FREE_BYTES, MAX_FILE_SIZE_BYTES, MAX_RATIO, most_output_bytes
from hubfs.sources.prefetch.plan import SPECULATION_BYTES, Stage, Want, Wants
from hubfs.sources.prefetch.saved_model import SavedModel
from hubfs.sources.prefetch.tfjs import Tfjs
from hubfs.sources.source import Entry, EntryKind
from tests.properties.kit import examples

HUGE = 1 << 63
NEAR_BLOCKS = st.builds(
    lambda block, beside: max(0, block * BLOCK_SIZE_BYTES + beside), st.integers(0, 300), st.integers(-2, 2)
)
PLACES = st.one_of(NEAR_BLOCKS, st.integers(0, 300 << 20), st.sampled_from([0, HUGE, HUGE - 1]))
SIZES = st.one_of(st.sampled_from([0, 1, 4096, 131_072, BLOCK_SIZE_BYTES, 94 << 20, HUGE]), st.integers(0, 8 << 20))
LIMITS = st.sampled_from([0, 1, BLOCK_SIZE_BYTES, 5 * BLOCK_SIZE_BYTES + 1, LIMIT_BYTES])


@examples(3)
@given(reads=st.lists(st.tuples(PLACES, SIZES, st.booleans()), max_size=20), file_size_bytes=PLACES, limit_bytes=LIMITS)
def test_read_ahead_plans_within_the_file_and_its_window(
    reads: Sequence[tuple[int, int, bool]], file_size_bytes: int, limit_bytes: int
) -> None:
    policy, streams = ReadAheadPolicy(limit_bytes), START
    read_bytes = 0
    for offset_bytes, size_bytes, is_refused in reads:
        end_bytes = min(offset_bytes + size_bytes, file_size_bytes)
        read_bytes += max(0, end_bytes - offset_bytes)
        streams, ahead = policy.plan(streams, offset_bytes, size_bytes, file_size_bytes)
        assert 1 <= len(streams) <= STREAMS
        if ahead is None:
            continue
        assert end_bytes <= ahead.start < ahead.stop <= file_size_bytes
        assert ahead.start % BLOCK_SIZE_BYTES == 0
        assert ahead.stop % BLOCK_SIZE_BYTES == 0 or ahead.stop == file_size_bytes
        assert ahead.stop - end_bytes <= min(limit_bytes, GROWTH * read_bytes) + BLOCK_SIZE_BYTES
        if is_refused:
            streams = refused(streams, ahead, ahead.start)


@examples(2)
@given(sizes=st.lists(st.integers(1, 4 << 20), max_size=60), file_size_bytes=st.integers(0, 128 << 20))
def test_a_sequential_reader_has_nothing_fetched_twice_and_nothing_left_out(
    sizes: Sequence[int], file_size_bytes: int
) -> None:
    policy, streams, offset_bytes, aheads = ReadAheadPolicy(), START, 0, []
    for size_bytes in sizes:
        streams, ahead = policy.plan(streams, offset_bytes, size_bytes, file_size_bytes)
        offset_bytes = min(offset_bytes + size_bytes, file_size_bytes)
        aheads += [] if ahead is None else [ahead]
    for before, after in pairwise(aheads):
        assert before.stop <= after.start
    assert sum(map(len, aheads)) <= (GROWTH + 1) * offset_bytes + BLOCK_SIZE_BYTES


@examples(2)
@given(places=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30, unique=True))
def test_who_jumps_about_has_nothing_fetched_ahead(places: Sequence[int]) -> None:
    policy, streams, expected = ReadAheadPolicy(), START, [0]
    for place in places:
        if all(abs(place - other) > SLACK_BYTES for other in expected):
            streams, ahead = policy.plan(streams, place, 4096, 1 << 41)
            assert ahead is None
            expected.append(place + 4096)


FILES = st.dictionaries(
    st.sampled_from(
        ["saved_model.pb", "variables/variables.index", "fingerprint.pb", "assets/vocab.txt", "model.json", "other"]
        + [f"variables/variables.data-{number:05d}-of-00003" for number in range(3)]
        + [f"group1-shard{number}of12.bin" for number in range(1, 13)]
    ),
    st.one_of(
        st.integers(0, 5 << 20), st.integers(0, 1 << 40), st.sampled_from([0, SPECULATION_BYTES, MAX_FILE_SIZE_BYTES])
    ),
    max_size=12,
)


@examples(3)
@given(files=FILES, opened=st.sampled_from(["saved_model.pb", "model.json"]), size_bytes=st.integers(0, 1 << 40))
def test_what_a_loader_wants_is_there_once_and_the_speculation_is_bounded(
    files: dict[str, int], opened: str, size_bytes: int
) -> None:
    files.setdefault(opened, size_bytes)
    plan = (SavedModel if opened == "saved_model.pb" else Tfjs)(opened)
    plan.learn([Entry(path, EntryKind.FILE, size_bytes) for path, size_bytes in files.items()])
    wants = plan.wants.left
    certain = [want for want in wants if want.stage is Stage.CERTAIN]
    assert wants[: len(certain)] == tuple(certain)
    assert sum(want.size_bytes for want in certain) <= SPECULATION_BYTES
    for want in wants:
        assert 0 < want.size_bytes <= files[want.path] - want.offset_bytes
        assert want.offset_bytes % BLOCK_SIZE_BYTES == 0
        assert want.end_bytes % BLOCK_SIZE_BYTES == 0 or want.end_bytes == files[want.path]
    for path, whole_bytes in files.items():
        mine = sorted((want.offset_bytes, want.end_bytes) for want in wants if want.path == path)
        assert all(end_bytes <= start_bytes for (_, end_bytes), (start_bytes, _) in pairwise(mine)), "no overlap"
        if path == opened and wants:
            assert sum(end_bytes - start_bytes for start_bytes, end_bytes in mine) == whole_bytes


MODELS = st.lists(
    st.builds(
        lambda name, size, used, index: CachedModel(f"m{name}", size + index, used, index),
        st.integers(0, 10**6),
        st.integers(0, 1 << 40),
        st.floats(0, 1e9),
        st.one_of(st.just(0), st.integers(1, 1 << 20)),
    ),
    max_size=12,
    unique_by=lambda model: model.model,
)


@examples(3)
@given(models=MODELS, free_bytes=st.integers(0, 1 << 42))
def test_eviction_frees_enough_and_no_more_than_it_must_the_oldest_first(
    models: list[CachedModel], free_bytes: int
) -> None:
    plan = plan_eviction(models, free_bytes)
    assert max(Counter(eviction.model.model for eviction in plan).values(), default=1) == 1
    freed_bytes = sum(eviction.freed_bytes for eviction in plan)
    assert freed_bytes >= min(free_bytes, sum(model.size_bytes for model in models))
    if plan:
        last = plan[-1]
        index_bytes = sum(eviction.model.index_bytes for eviction in plan if eviction.whole)
        assert freed_bytes - last.freed_bytes - index_bytes < free_bytes, "one less would not have been enough"
    if not any(eviction.whole and eviction.model.index_bytes for eviction in plan):
        gone = {eviction.model.model for eviction in plan}
        newest_gone_s = max((eviction.model.used_at_s for eviction in plan), default=0.0)
        kept = [model for model in models if model.model not in gone and model.size_bytes > model.index_bytes]
        assert all(model.used_at_s >= newest_gone_s for model in kept)


ROUNDS = st.builds(
    Round,
    received_bytes=st.integers(0, 1 << 34),
    took_s=st.floats(1e-9, 1e6),
    waited_s=st.floats(0, 1e6),
    latency_s=st.floats(0, 1e3),
    refused=st.booleans(),
)


@examples(3)
@given(rounds=st.lists(ROUNDS, max_size=40), most_connections=st.integers(1, 16), held=st.integers(0, 40))
def test_a_stream_keeps_within_its_connections_and_its_pieces(
    rounds: Sequence[Round], most_connections: int, held: int
) -> None:
    pace = Pace()
    for passed in rounds:
        before, pace = pace, pace.after(passed, most_connections)
        assert 1 <= pace.connections <= most_connections
        assert FIRST_PIECE_BYTES <= pace.piece_bytes <= LARGEST_ALONE_BYTES
        assert pace.connections <= 2 * before.connections
        for under_way in range(held + 1):
            room = pace.room(under_way, held)
            assert room >= 0
            assert under_way + room <= max(pace.connections, under_way)


@examples(3)
@given(offset_bytes=PLACES, size_bytes=SIZES, file_size_bytes=st.integers(0, 5 << 20))
def test_blocks_cover_a_read_and_no_more(offset_bytes: int, size_bytes: int, file_size_bytes: int) -> None:
    indexes = blocks_of(offset_bytes, size_bytes, file_size_bytes)
    data = bytes(range(251)) * (file_size_bytes // 251 + 1)
    wanted = data[:file_size_bytes][offset_bytes : offset_bytes + size_bytes]
    assert bool(indexes) == bool(wanted)
    if indexes:
        blocks = [data[index * BLOCK_SIZE_BYTES :][: block_size_at(index, file_size_bytes)] for index in indexes]
        assert all(blocks)
        assert slice_blocks(blocks, indexes.start, offset_bytes, size_bytes) == wanted


@examples(2)
@given(indexes=st.sets(st.integers(0, 60)).map(sorted), longest=st.integers(1, 16), cut_every=st.integers(1, 16))
def test_runs_are_neighbours_in_order_and_each_block_is_in_one(
    indexes: list[int], longest: int, cut_every: int
) -> None:
    for runs in (list(runs_of(indexes, longest)), list(runs_of(indexes, longest, cut_every=cut_every))):
        assert [index for run in runs for index in run] == indexes
        assert all(1 <= len(run) <= longest for run in runs)
    assert all(run.start // cut_every == (run.stop - 1) // cut_every for run in runs)


@examples(2)
@given(attempt=st.integers(1, 10**9), chance=st.floats(0, 1, exclude_max=True), cap_s=st.floats(0, 1e3))
def test_waits_between_attempts_have_a_bound(attempt: int, chance: float, cap_s: float) -> None:
    assert 0 <= RetryPolicy(cap_s=cap_s).delay_s(attempt, lambda: chance) <= cap_s


@examples(2)
@given(size_bytes=st.integers(0, 1 << 50), more_bytes=st.integers(0, 1 << 40))
def test_what_an_archive_may_inflate_to_grows_with_it_and_is_bounded(size_bytes: int, more_bytes: int) -> None:
    most_bytes = most_output_bytes(size_bytes)
    assert most_bytes <= most_output_bytes(size_bytes + more_bytes)
    assert size_bytes <= most_bytes <= min(size_bytes * DEFLATE_RATIO, FREE_BYTES + size_bytes * MAX_RATIO)


FILE_BLOCKS = st.lists(st.integers(1, 40), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 4), st.integers(0, 40)),
        st.tuples(st.just("ask"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


@examples(3)
@given(blocks=FILE_BLOCKS, steps=STEPS, rest_bytes=st.integers(0, BLOCK_SIZE_BYTES - 1))
def test_readers_that_jump_and_blobs_that_refuse_leave_each_block_to_be_asked_for_once(
    blocks: list[int], steps: list[tuple[str, int, int]], rest_bytes: int
) -> None:
    files = {f"{number}": count * BLOCK_SIZE_BYTES + rest_bytes for number, count in enumerate(blocks)}
    wants = Wants((), (Want(path, 0, size_bytes, Stage.FOLLOWED) for path, size_bytes in files.items()))
    asked: list[tuple[str, int]] = []
    ended: list[str] = []

    def ask(most_blocks: int) -> bool:
        want = wants.next(Stage.FOLLOWED, ())
        if want is None:
            return False
        end_bytes = min(want.end_bytes, want.offset_bytes + most_blocks * BLOCK_SIZE_BYTES)
        asked.extend((want.path, start) for start in range(want.offset_bytes, end_bytes, BLOCK_SIZE_BYTES))
        if wants.asked(want, end_bytes):
            ended.append(want.path)
        return True

    for what, first, second in steps:
        if what == "ask":
            ask(first)
        else:
            wants.come(str(first), second * BLOCK_SIZE_BYTES)
    while ask(1 << 20):
        pass
    everything = [(path, at) for path, size in files.items() for at in range(0, size, BLOCK_SIZE_BYTES)]
    assert sorted(asked) == sorted(everything)
    assert sorted(ended) == sorted(files)
    assert wants.over
