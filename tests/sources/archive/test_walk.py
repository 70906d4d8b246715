import random
from collections.abc import Iterable

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.errors import Damaged, Unavailable
from hubfs.formats.byte_reader import Wanted
from hubfs.formats.gzip.stream import inflate
from hubfs.formats.index_file import IndexedMember
from hubfs.sources.archive.index import entry_of
from hubfs.sources.archive.walk import BlockSeen, walk
from hubfs.sources.source import Entry, EntryKind
from tests.support.archives import Feed, flipped, gzipped, in_chunks, model_files, tar_of

B = BLOCK_SIZE_BYTES


def gathered(chunks: Iterable[bytes]) -> tuple[dict[str, list[bytes]], list[str]]:
    """The blocks of every file, checked to come in order, and the directories."""
    files: dict[str, list[bytes]] = {}
    directories = []
    for seen in walk(inflate(chunks)):
        if isinstance(seen, BlockSeen):
            assert seen.index == len(files[seen.path])
            files[seen.path].append(seen.block)
        elif seen.is_directory:
            directories.append(seen.path)
        else:
            files[seen.path] = []
    return files, directories


def test_a_block_that_comes_as_it_is_wanted_is_not_put_together_again() -> None:
    data = random.Random(5).randbytes(6 * B + 7)
    tar, wanted, made = memoryview(tar_of({"before": b"x", "file": data})), Wanted(), []

    def chunks() -> Iterable[bytes]:
        begin = 0
        while begin < len(tar):
            size = wanted.size_bytes if wanted.size_bytes > B // 2 else B // 4
            made.append(bytes(tar[begin : begin + size]))
            begin += size
            yield made[-1]

    blocks = [seen.block for seen in walk(chunks(), wanted=wanted) if isinstance(seen, BlockSeen)]
    assert b"".join(blocks) == b"x" + data
    given = {id(chunk) for chunk in made}
    assert [id(block) in given for block in blocks[1:]] == [False, *[True] * 5, False]


@pytest.mark.parametrize("size", [0, 1, B - 1, B, B + 1, 3 * B, 3 * B + 7])
@pytest.mark.parametrize("chunk_sizes", [(1 << 16,), (B,), (777_777, 3), (5 * B,)])
def test_files_are_cut_at_block_boundaries(size: int, chunk_sizes: tuple[int, ...]) -> None:
    data = random.Random(size).randbytes(size)
    files, _ = gathered(in_chunks(tar_of({"before": b"x", "file": data}), *chunk_sizes))
    assert files == {"before": [b"x"], "file": [data[start : start + B] for start in range(0, size, B)]}


@pytest.mark.parametrize("pack", [bytes, gzipped])
def test_members_come_in_their_order_with_their_sizes(pack: type[bytes]) -> None:
    archive = pack(tar_of(model_files()))
    seen = walk(inflate(in_chunks(archive, 1000)))
    entries = [entry_of(one) for one in seen if isinstance(one, IndexedMember)]
    assert entries == [
        Entry("assets", EntryKind.DIRECTORY),
        Entry("variables", EntryKind.DIRECTORY),
        *(Entry(path, EntryKind.FILE, len(data)) for path, data in model_files().items()),
    ]


def test_every_block_lies_where_it_says() -> None:
    tar = tar_of(model_files())
    blocks = [seen for seen in walk([tar]) if isinstance(seen, BlockSeen)]
    assert blocks
    assert all(tar[seen.offset_bytes : seen.offset_bytes + len(seen.block)] == seen.block for seen in blocks)


def test_a_block_comes_before_the_next_byte_is_asked_for() -> None:
    archive = tar_of({"first": b"1" * 100, "second": b"2" * 100})
    feed = Feed([archive[start : start + 512] for start in range(0, len(archive), 512)])
    for seen in walk(inflate(feed)):
        if seen == BlockSeen("first", 0, b"1" * 100, 512):
            break
    assert feed.pulled == 2


def test_it_ends_only_once_the_checksum_was_verified() -> None:
    archive = gzipped(tar_of(model_files()))
    seen = []
    with pytest.raises(Damaged):  # noqa: PT012 - what came before counts
        for each in walk(inflate([archive[:-8], flipped(archive[-8:], 3)])):
            seen.append(each)  # noqa: PERF402 - a comprehension would lose it
    assert sum(isinstance(each, IndexedMember) for each in seen) == len(model_files()) + 2


def test_errors_of_the_chunks_pass_through() -> None:
    def chunks() -> Iterable[bytes]:
        yield tar_of(model_files())[:3000]
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        gathered(chunks())
