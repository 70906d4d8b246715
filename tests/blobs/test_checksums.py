import hashlib
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.blob import MemoryBlob
from hubfs.blobs.checksums import Checksum, ChecksummedBlob, Failure, contribution, crc32c
from hubfs.errors import Damaged, HubfsError, Stale
from hubfs.testing import ScriptedBlob

BLOCK = 1000
DATA = random.Random(3).randbytes(7 * BLOCK + 123)


def crc32c_of(data: bytes) -> Checksum:
    return Checksum("crc32c", f"{crc32c(data):08x}")


def md5_of(data: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(data).hexdigest())


def sha256_of(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


def git_sha1_of(data: bytes) -> Checksum:
    return Checksum("git-sha1", hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())


CHECKSUMS = pytest.mark.parametrize("of", [crc32c_of, md5_of, sha256_of, git_sha1_of])
ORDERED = pytest.mark.parametrize("of", [md5_of, sha256_of, git_sha1_of])


def checksummed(data: bytes, announced: bytes | None = None) -> ChecksummedBlob:
    whole = crc32c_of(data if announced is None else announced)
    return ChecksummedBlob(MemoryBlob("gs://b/o#1", data), whole, BLOCK)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@given(st.permutations(range(8)))
def test_right_bytes_are_verified_in_whatever_order_they_are_read(order: list[int]) -> None:
    blob = checksummed(DATA)
    for index in order:
        assert blob.read_at(index * BLOCK, BLOCK) == DATA[index * BLOCK : (index + 1) * BLOCK]
    assert blob.read_at(0, len(DATA)) == DATA


@given(st.permutations(range(8)), st.integers(0, len(DATA) - 1))
def test_one_wrong_bit_is_found_by_the_read_that_completes_the_whole(order: list[int], position: int) -> None:
    blob = checksummed(flipped(DATA, position), announced=DATA)
    for index in order[:-1]:
        blob.read_at(index * BLOCK, BLOCK)
    with pytest.raises(Damaged, match="gs://b/o#1 is damaged: its crc32c is"):
        blob.read_at(order[-1] * BLOCK, BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(order[0] * BLOCK, BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(5, 5)


def test_reads_of_several_blocks_count_as_each_of_them() -> None:
    blob = checksummed(flipped(DATA, 77), announced=DATA)
    blob.read_at(0, 3 * BLOCK)
    blob.read_at(6 * BLOCK, 2 * BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(2 * BLOCK, 4 * BLOCK)


def test_one_read_of_everything_is_verified_before_it_returns() -> None:
    with pytest.raises(Damaged):
        checksummed(flipped(DATA, 77), announced=DATA).read_at(0, len(DATA))


def test_a_blob_of_one_block_is_verified_before_any_of_it_is_returned() -> None:
    assert checksummed(b"x" * BLOCK).read_at(0, BLOCK) == b"x" * BLOCK
    with pytest.raises(Damaged):
        checksummed(b"x" * BLOCK, announced=b"y" * BLOCK).read_at(0, BLOCK)
    with pytest.raises(Damaged):
        checksummed(b"short", announced=b"shirt").read_at(0, BLOCK)


def test_reads_that_are_no_whole_blocks_pass_unrecorded() -> None:
    blob = checksummed(flipped(DATA, 77), announced=DATA)
    for offset in range(0, len(DATA), 500):
        assert len(blob.read_at(offset, 500)) == min(500, len(DATA) - offset)
    assert blob.read_at(1, len(DATA)) == flipped(DATA, 77)[1:]


def test_a_block_has_to_be_whole_that_must_be_the_same_as_before() -> None:
    blob = checksummed(DATA)
    blob.read_at(2 * BLOCK, BLOCK)
    blob.read_at(4 * BLOCK, BLOCK - 1)
    assert [index for index in range(8) if blob.needs_block(index)] == [2]
    assert all(map(ChecksummedBlob(MemoryBlob("k", DATA), None, BLOCK, pinned=False).needs_block, range(8)))


def test_an_empty_blob_is_verified_from_the_start() -> None:
    assert checksummed(b"").read_at(0, 10) == b""


def test_an_empty_blob_that_should_not_be_empty_is_damaged() -> None:
    with pytest.raises(Damaged):
        checksummed(b"", announced=b"something").read_at(0, 10)


class Changing(MemoryBlob):
    """Its bytes are other ones from some moment on."""

    def change(self, data: bytes) -> None:
        self._data = data


def test_a_block_that_differs_from_its_first_reading_is_refused_after_the_whole_was_right() -> None:
    inner = Changing("k", DATA)
    blob = ChecksummedBlob(inner, crc32c_of(DATA), BLOCK)
    blob.read_at(0, len(DATA))
    inner.change(flipped(DATA, 2 * BLOCK))
    assert blob.read_at(0, 2 * BLOCK) == DATA[: 2 * BLOCK]
    with pytest.raises(Damaged, match="block 2 was read twice, and differed"):
        blob.read_at(2 * BLOCK, BLOCK)


def test_a_block_of_no_named_version_is_stale_once_it_is_another_one() -> None:
    inner = Changing("k", DATA)
    blob = ChecksummedBlob(inner, None, BLOCK, pinned=False)
    blob.read_at(0, 2 * BLOCK)
    inner.change(flipped(DATA, 2 * BLOCK))
    assert blob.read_at(0, 2 * BLOCK) == DATA[: 2 * BLOCK]
    assert blob.read_at(2 * BLOCK, BLOCK) == flipped(DATA, 2 * BLOCK)[2 * BLOCK : 3 * BLOCK], (
        "nobody has seen it before"
    )
    inner.change(flipped(DATA, 5))
    with pytest.raises(Stale, match="MiB 0 of it is not what it was"):
        blob.read_at(0, BLOCK)


def test_where_a_version_is_named_and_no_checksum_nothing_is_compared() -> None:
    inner = Changing("k", DATA)
    blob = ChecksummedBlob(inner, None, BLOCK)
    blob.read_at(0, len(DATA))
    inner.change(flipped(DATA, 5))
    assert blob.read_at(0, BLOCK) == flipped(DATA, 5)[:BLOCK]


def test_one_wrong_file_fails_all_files_of_its_model_and_that_is_told_once() -> None:
    told: list[HubfsError] = []
    failure = Failure(told.append)
    wrong = ChecksummedBlob(MemoryBlob("wrong", b"x"), crc32c_of(b"y"), BLOCK, failure=failure)
    other = ChecksummedBlob(MemoryBlob("other", DATA), crc32c_of(DATA), BLOCK, failure=failure)
    assert other.read_at(0, BLOCK) == DATA[:BLOCK]
    assert not other.failed()
    for blob in (wrong, wrong, other):
        with pytest.raises(Damaged, match="wrong is damaged"):
            blob.read_at(0, BLOCK)
    assert other.failed()
    assert len(told) == 1


def test_a_read_that_ends_after_its_model_failed_gives_out_nothing() -> None:
    failure = Failure()
    inner = ScriptedBlob(DATA)

    def late(_offset_bytes: int, _size_bytes: int) -> bytes:
        failure.fail(Stale("another file changed"))
        return DATA

    inner.answer = late
    with pytest.raises(Stale, match="another file changed"):
        ChecksummedBlob(inner, None, BLOCK, failure=failure).read_at(0, BLOCK)


@CHECKSUMS
def test_of_many_readers_at_once_none_gets_the_only_block_when_it_is_wrong(of: Callable[[bytes], Checksum]) -> None:
    barrier = threading.Barrier(8)

    def together(_offset_bytes: int, _size_bytes: int) -> bytes:
        barrier.wait(60)
        return b"wrong"

    inner = ScriptedBlob(b"wrong")
    inner.answer = together
    blob = ChecksummedBlob(inner, of(b"right"), BLOCK)

    def refused(_: int) -> bool:
        with pytest.raises(Damaged):
            blob.read_at(0, BLOCK)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refused, range(8)))


def test_many_readers_at_once_verify_the_whole_once_each_block_was_read() -> None:
    data = random.Random(5).randbytes(300 * BLOCK + 5)
    blob = ChecksummedBlob(MemoryBlob("k", data), crc32c_of(data), BLOCK)
    places = [index * BLOCK for index in range(301)] * 2
    random.Random(6).shuffle(places)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda at: blob.read_at(at, BLOCK) == data[at : at + BLOCK], places))


class Kept:
    """The blocks of a file in a cache."""

    def __init__(self, data: bytes, *indexes: int) -> None:
        self.blocks = {index: data[index * BLOCK : (index + 1) * BLOCK] for index in indexes}
        self.recalled = 0

    def recall(self, index: int) -> bytes | None:
        self.recalled += 1
        return self.blocks.get(index)

    def around(
        self, data: bytes, announced: Checksum, behind: Callable[[Callable[[], None]], None] | None = None
    ) -> ChecksummedBlob:
        blob = MemoryBlob("k", data)
        has, recall = self.blocks.__contains__, self.recall
        return ChecksummedBlob(blob, announced, BLOCK, has=has, recall=recall, behind=behind)


@CHECKSUMS
def test_blocks_that_were_kept_before_count(of: Callable[[bytes], Checksum]) -> None:
    kept = Kept(DATA, 0, 1, 2, 5)
    blob = kept.around(flipped(DATA, 7 * BLOCK), of(DATA))
    for index in (6, 3, 4):
        assert blob.read_at(index * BLOCK, BLOCK) == DATA[index * BLOCK : (index + 1) * BLOCK]
        kept.blocks[index] = DATA[index * BLOCK : (index + 1) * BLOCK]
        if of is crc32c_of:
            assert not kept.recalled, "the file is not whole yet: nothing is summed again"
    assert kept.recalled <= 5, "a hash goes over each block once"
    with pytest.raises(Damaged, match=f"its {of(b'').algorithm} is .*, and the store announced {of(DATA).value}"):
        blob.read_at(7 * BLOCK, BLOCK)


@CHECKSUMS
def test_a_wrong_block_that_was_kept_before_is_found(of: Callable[[bytes], Checksum]) -> None:
    blob = Kept(flipped(DATA, 77), *range(7)).around(DATA, of(DATA))
    with pytest.raises(Damaged):
        blob.read_at(7 * BLOCK, BLOCK)
    good = Kept(DATA, *range(7))
    blob = good.around(DATA, of(DATA))
    assert blob.read_at(7 * BLOCK, BLOCK) == DATA[7 * BLOCK :]
    recalled = good.recalled
    assert blob.read_at(0, BLOCK) == DATA[:BLOCK]
    assert good.recalled == recalled, "what was verified is not summed again"


@CHECKSUMS
def test_what_the_cache_loses_meanwhile_is_no_damage(of: Callable[[bytes], Checksum]) -> None:
    kept = Kept(DATA, *range(7))
    blob = ChecksummedBlob(
        MemoryBlob("k", DATA), of(DATA), BLOCK, has=lambda index: index < 7, recall=lambda index: kept.recall(index + 9)
    )
    assert blob.read_at(7 * BLOCK, BLOCK) == DATA[7 * BLOCK :]


def test_an_md5_is_summed_in_order_over_what_was_read_in_another() -> None:
    kept = Kept(DATA)
    blob = kept.around(flipped(DATA, 5 * BLOCK), md5_of(DATA))
    for index in (3, 7, 0, 1, 6, 4, 2):
        kept.blocks[index] = blob.read_at(index * BLOCK, BLOCK)
    with pytest.raises(Damaged, match="its md5 is"):
        blob.read_at(5 * BLOCK, BLOCK)


@ORDERED
def test_a_hash_of_blocks_that_come_in_order_reads_none_again(of: Callable[[bytes], Checksum]) -> None:
    kept = Kept(DATA)
    blob = kept.around(DATA, of(DATA))
    for index in range(0, 8, 2):
        data = blob.read_at(index * BLOCK, 2 * BLOCK)
        kept.blocks.update({index: data[:BLOCK], index + 1: data[BLOCK:]})
    assert not kept.recalled


@ORDERED
@given(order=st.permutations(range(8)), position=st.none() | st.integers(0, len(DATA) - 1))
def test_a_hash_is_of_the_whole_in_whatever_order_blocks_come(
    of: Callable[[bytes], Checksum], order: list[int], position: int | None
) -> None:
    kept = Kept(DATA)
    sent = DATA if position is None else flipped(DATA, position)
    blob = kept.around(sent, of(DATA))
    for index in order[:-1]:
        kept.blocks[index] = blob.read_at(index * BLOCK, BLOCK)
    if position is None:
        assert blob.read_at(order[-1] * BLOCK, BLOCK) == DATA[order[-1] * BLOCK : (order[-1] + 1) * BLOCK]
    else:
        with pytest.raises(Damaged, match=f"its {of(b'').algorithm} is"):
            blob.read_at(order[-1] * BLOCK, BLOCK)


@ORDERED
def test_a_block_that_another_reader_is_about_to_keep_is_not_fetched_again(of: Callable[[bytes], Checksum]) -> None:
    looked: list[int] = []

    def recall(index: int) -> bytes | None:
        looked.append(index)
        return None if len(looked) < 3 else DATA[BLOCK : 2 * BLOCK]

    inner = ScriptedBlob(DATA[: 2 * BLOCK])
    blob = ChecksummedBlob(inner, of(DATA[: 2 * BLOCK]), BLOCK, recall=recall)
    blob.read_at(BLOCK, BLOCK)
    assert blob.read_at(0, BLOCK) == DATA[:BLOCK]
    assert inner.reads == [(BLOCK, BLOCK), (0, BLOCK)]
    assert looked == [1, 1, 1]


@ORDERED
def test_no_file_is_too_large_for_a_hash(of: Callable[[bytes], Checksum]) -> None:
    data = random.Random(6).randbytes(3000 * 10)
    kept = {index: data[index * 10 : (index + 1) * 10] for index in range(2999)}
    for sent, right in ((data, True), (flipped(data, 29_999), False)):
        blob = ChecksummedBlob(MemoryBlob("k", sent), of(data), 10, has=kept.__contains__, recall=kept.get)
        if right:
            assert blob.read_at(29_990, 10) == data[29_990:]
        else:
            with pytest.raises(Damaged):
                blob.read_at(29_990, 10)


def test_many_readers_at_once_have_one_hash_of_the_whole() -> None:
    data = random.Random(5).randbytes(300 * BLOCK + 5)
    for sent, right in ((data, True), (flipped(data, 77), False)):
        kept: dict[int, bytes] = {}
        blob = ChecksummedBlob(MemoryBlob("k", sent), sha256_of(data), BLOCK, has=kept.__contains__, recall=kept.get)

        def read(index: int) -> bool:
            try:
                kept[index] = blob.read_at(index * BLOCK, BLOCK)  # noqa: B023 - read before the next round
            except Damaged:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            read_well = [*pool.map(read, range(301))]
        assert all(read_well) is right


def test_a_checksum_that_comes_with_the_first_reply_counts() -> None:
    inner = Telling("k", flipped(DATA, 77))
    blob = ChecksummedBlob(inner, None, BLOCK)
    blob.read_at(3 * BLOCK, 5 * BLOCK)
    with pytest.raises(Damaged, match=f"the store announced {crc32c_of(DATA).value}"):
        blob.read_at(0, 3 * BLOCK)


class Telling(MemoryBlob):
    """Says nothing of its bytes before the first read."""

    checksum: Checksum | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.checksum = crc32c_of(DATA)
        return super().read_at(offset_bytes, size_bytes)


@pytest.mark.parametrize("told", [("crc32c", "1"), ("md5", "00000000"), ("md5", "A" * 32), ("sha1", "0" * 40)])
def test_a_checksum_that_none_can_be_is_refused(told: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="no checksum"):
        Checksum(*told)


def test_the_check_value_of_the_standard_comes_out() -> None:
    assert crc32c(b"123456789") == 0xE3069283


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


LONG = random.Random(9).randbytes(200 * BLOCK)


class Later:
    """Tasks that are carried out when a test says so, each by somebody who is no reader."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []

    def carry_out(self) -> None:
        while self.tasks:
            self.tasks.pop(0)()


def _read(blob: ChecksummedBlob, kept: Kept, index: int) -> int:
    """Reads a block, and keeps it; how many blocks the reader took from the cache for the hash."""
    before = kept.recalled
    kept.blocks[index] = blob.read_at(index * BLOCK, BLOCK)
    return kept.recalled - before


@ORDERED
def test_the_reader_of_the_last_block_adds_what_is_left_behind_the_last_gap(of: Callable[[bytes], Checksum]) -> None:
    kept, later = Kept(LONG), Later()
    blob = kept.around(LONG, of(LONG), later.tasks.append)
    others = [*range(100, 199), *range(1, 100)]
    random.Random(1).shuffle(others)
    assert {_read(blob, kept, index) for index in others} == {0}, "nothing can be added before the first block is here"
    assert not later.tasks
    assert _read(blob, kept, 0) <= 8, "a reader adds few blocks of others, though all of them can be added"
    assert kept.recalled < 100
    later.carry_out()
    assert kept.recalled == 198
    assert _read(blob, kept, 199) == 0


@ORDERED
@given(seed=st.integers(0, 1000))
def test_no_read_but_the_last_adds_many_blocks_and_each_block_is_added_once(
    of: Callable[[bytes], Checksum], seed: int
) -> None:
    kept, later = Kept(LONG), Later()
    blob = kept.around(LONG, of(LONG), later.tasks.append)
    noise = random.Random(seed)
    order = [*range(200)]
    noise.shuffle(order)
    for index in order[:-1]:
        assert _read(blob, kept, index) <= 8
        if noise.random() < 0.2:
            later.carry_out()
    later.carry_out()
    _read(blob, kept, order[-1])
    assert kept.recalled < 200


@ORDERED
def test_a_wrong_bit_is_found_in_what_was_added_behind_the_readers_backs(of: Callable[[bytes], Checksum]) -> None:
    kept, later = Kept(LONG), Later()
    blob = kept.around(flipped(LONG, 50 * BLOCK + 7), of(LONG), later.tasks.append)
    for index in [*range(1, 199), 0]:
        _read(blob, kept, index)
    later.carry_out()
    with pytest.raises(Damaged, match=f"its {of(b'').algorithm} is"):
        blob.read_at(199 * BLOCK, BLOCK)


@ORDERED
def test_one_thread_at_a_time_goes_on_with_the_hash(of: Callable[[bytes], Checksum]) -> None:
    kept, later = Kept(LONG), Later()
    blob = kept.around(LONG, of(LONG), later.tasks.append)
    for index in range(1, 100):
        _read(blob, kept, index)
    _read(blob, kept, 0)
    (task,) = later.tasks
    assert _read(blob, kept, 100) == 0, "a task goes on already"
    assert later.tasks == [task]


@CHECKSUMS
def test_two_daemons_that_bring_the_last_two_blocks_at_once_find_that_the_whole_is_wrong(
    of: Callable[[bytes], Checksum],
) -> None:
    kept, wrong = Kept(DATA), flipped(DATA, 3 * BLOCK)
    one, other = (kept.around(wrong, of(DATA)) for _ in range(2))
    read = {index: (one if index < 4 else other).read_at(index * BLOCK, BLOCK) for index in range(8)}
    assert not one.failed()
    assert not other.failed()
    kept.blocks.update(read)
    assert one.failed()
    assert other.failed()


@CHECKSUMS
def test_two_daemons_that_bring_the_last_two_blocks_at_once_find_that_the_whole_is_right(
    of: Callable[[bytes], Checksum],
) -> None:
    kept = Kept(DATA)
    one, other = (kept.around(DATA, of(DATA)) for _ in range(2))
    kept.blocks.update({index: (one if index < 4 else other).read_at(index * BLOCK, BLOCK) for index in range(8)})
    assert not one.failed()
    recalled = kept.recalled
    assert not one.failed()
    assert kept.recalled == recalled, "what was verified is not summed again"


def _read_all(blob: ChecksummedBlob, kept: Kept) -> None:
    for index in reversed(range(200)):
        kept.blocks[index] = blob.read_at(index * BLOCK, BLOCK)


@ORDERED
def test_a_file_that_no_cache_keeps_is_not_fetched_over_and_over_to_be_verified(
    of: Callable[[bytes], Checksum],
) -> None:
    kept, inner = Kept(LONG), ScriptedBlob(flipped(LONG, 7))
    blob = ChecksummedBlob(inner, of(LONG), BLOCK, has=kept.blocks.__contains__, recall=kept.recall)
    for _ in range(3):
        for index in reversed(range(200)):
            blob.read_at(index * BLOCK, BLOCK)
    assert len(inner.reads) <= 3 * 200 + 64, "64 blocks once, when all of them had come by"
    with pytest.raises(Damaged, match=f"its {of(b'').algorithm} is"):  # from now on it is kept
        _read_all(blob, kept)


@ORDERED
def test_a_file_that_no_cache_keeps_is_verified_by_a_reading_in_order(of: Callable[[bytes], Checksum]) -> None:
    blob = ChecksummedBlob(MemoryBlob("k", flipped(LONG, 7)), of(LONG), BLOCK)
    for index in reversed(range(200)):
        blob.read_at(index * BLOCK, BLOCK)
    for index in range(199):
        blob.read_at(index * BLOCK, BLOCK)
    with pytest.raises(Damaged, match=f"its {of(b'').algorithm} is"):
        blob.read_at(199 * BLOCK, BLOCK)
