"""An archive whose host names no version of it: what came before is what tells that it is still the same."""

import re
from contextlib import suppress

import pytest

from hubfs.cache.block_checksums import BlockChecksums
from hubfs.errors import Damaged, Stale, Unavailable
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.source import ArchiveSource
from tests.support.archives import END_MARKER, gzipped, member, model_files, tar_of
from tests.support.streams import HANDLE, MIB, URL, Desk, NoCache, ScriptedStream, read, source_from_index

FILES = model_files(variables_bytes=3 * MIB + 345)
WEIGHTS = "variables/variables.data-00000-of-00001"


def with_another_byte(path: str, offset_bytes: int) -> dict[str, bytes]:
    data = bytearray(FILES[path])
    data[offset_bytes] ^= 1
    return FILES | {path: bytes(data)}


SWAPS = {
    "bytes": with_another_byte(WEIGHTS, 0),
    "less": {path: data for path, data in FILES.items() if path != "fingerprint.pb"},
    "longer": FILES | {"fingerprint.pb": b"longer" * 100},
    "more": {"new": b""} | FILES,
    "another kind": {"fingerprint.pb/x": b""} | {path: FILES[path] for path in FILES if path != "fingerprint.pb"},
}


def first(desk: Desk, stream: ScriptedStream) -> ArchiveSource:
    return desk.source(stream, NoCache(), checksums=BlockChecksums(URL))


def after_a_remount(desk: Desk, source: ArchiveSource, stream: ScriptedStream) -> ArchiveSource:
    known = ArchiveIndex.from_json(HANDLE, source.to_index())
    assert known.checksums is not None
    checksums = BlockChecksums(URL)
    checksums.adopt(known.checksums)
    return source_from_index(source.model, known, **desk.collaborators(stream, NoCache()), checksums=checksums)


@pytest.mark.parametrize("archive", [tar_of(FILES), gzipped(tar_of(FILES))], ids=["tar", "tar.gz"])
def test_a_block_that_was_lost_comes_by_again_though_the_identity_is_another(desk: Desk, archive: bytes) -> None:
    source = first(desk, desk.stream(archive))
    assert {path: read(source, path) for path in FILES} == FILES
    assert {path: read(source, path) for path in reversed(FILES)} == FILES
    again = after_a_remount(desk, source, desk.stream(archive, identity="v2"))
    assert {path: read(again, path) for path in reversed(FILES)} == FILES
    assert again.failure is None


@pytest.mark.parametrize("remount", [False, True], ids=["same mount", "remount"])
@pytest.mark.parametrize("swapped", SWAPS.values(), ids=SWAPS)
def test_a_swapped_archive_is_stale(desk: Desk, swapped: dict[str, bytes], remount: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stream = desk.stream(tar_of(FILES))
    source = first(desk, stream)
    assert len(source.entries()) == len(FILES) + 2
    if remount:
        source = after_a_remount(desk, source, desk.stream(tar_of(swapped)))
    else:
        stream.data = tar_of(swapped)
        stream.resume()
    with pytest.raises((Stale, Damaged)):
        {path: read(source, path) for path in reversed(FILES)}
    with pytest.raises(Stale, match=re.escape(URL)):
        source.entries()
    assert isinstance(source.failure, Stale)


def test_of_a_name_that_comes_twice_what_counts_is_what_counts_after_a_remount(desk: Desk) -> None:
    first_bytes, last_bytes = FILES[WEIGHTS], with_another_byte(WEIGHTS, 2 * MIB)[WEIGHTS]
    head = member(b"a", first_bytes) + member(b"b", b"between")
    archive = head + member(b"a", last_bytes) + END_MARKER
    source = first(desk, desk.stream(archive))
    assert len(source.entries()) == 2
    for one in (source, after_a_remount(desk, source, desk.stream(archive))):
        for _ in range(2):
            assert read(one, "a") == last_bytes
            assert read(one, "b") == b"between"
        assert one.failure is None
    swapped = after_a_remount(desk, source, desk.stream(head + member(b"a", first_bytes) + END_MARKER))
    with pytest.raises((Stale, Damaged)):
        read(swapped, "a")


def test_a_pass_that_broke_off_vouches_for_what_it_brought(desk: Desk) -> None:
    archive = tar_of(FILES)
    stream = desk.stream(archive)
    behind = archive.index(FILES[WEIGHTS]) + 2 * MIB + 100
    stream.fail_at(behind, *99 * [Unavailable("gone")])  # passes may have ended before they are waited for
    source = first(desk, stream)
    entry = source.find(WEIGHTS)
    blob = source.open(entry)
    read_bytes = b""
    for _ in range(50):
        with suppress(Unavailable):  # of a pass that had brought the block before the reader asked
            read_bytes = read_bytes or blob.read_at(0, MIB)
    assert read_bytes == FILES[WEIGHTS][:MIB]
    with pytest.raises(Unavailable):
        source.entries()
    stream.data = tar_of(with_another_byte(WEIGHTS, MIB + 5))
    with pytest.raises(Stale, match="MiB 1 of"):
        blob.read_at(2 * MIB, MIB)


def test_a_pass_that_broke_off_is_made_again_where_nothing_changed(desk: Desk) -> None:
    stream = desk.stream(tar_of(FILES))
    stream.fail_at(2 * MIB, *3 * [Unavailable("gone")])
    source = first(desk, stream)
    while not source.complete:
        with suppress(Unavailable):
            source.entries()
    assert stream.transfers == 4
    assert {path: read(source, path) for path in FILES} == FILES
