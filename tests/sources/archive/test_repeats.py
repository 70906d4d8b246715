"""Members that come more than once: one file if their bytes are the same, else the last one, unless it is too late."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.commands.indexing import index_of
from hubfs.errors import Damaged
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.hubs.hub import label_of
from hubfs.model_id import model_name
from hubfs.sources.archive.contents import ArchiveContents
from hubfs.sources.archive.index import ArchiveIndex, entry_of
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.source import Entry, EntryKind
from tests.support.archives import END_MARKER, gzipped, member
from tests.support.streams import HANDLE, HUB, MIB, Desk, NoCache, read, source_from_index
from tests.support.waiting import eventually

MODEL = model_name(label_of(HUB), HANDLE, "v1")
LARGE = random.Random(1).randbytes(3 * MIB + 17)
OTHER_END = LARGE[: 2 * MIB] + random.Random(2).randbytes(MIB + 17)
GIGABYTE = 1 << 30

TWICE = {
    "the same bytes": [(b"a", LARGE), (b"b", b"other"), (b"a", LARGE)],
    "the same by another spelling": [(b"a", b"data"), (b"b", b"other"), (b"./a", b"data")],
    "empty both times": [(b"a", b""), (b"a", b""), (b"b", b"1")],
    "longer": [(b"a", b"short"), (b"a", LARGE)],
    "shorter": [(b"a", LARGE), (b"b", b"other"), (b"a", b"short")],
    "empty at last": [(b"a", LARGE), (b"a", b"")],
    "other bytes from the start": [(b"a", b"one"), (b"b", b"other"), (b"a", b"two")],
    "other bytes in a later block": [(b"a", LARGE), (b"b", b"other"), (b"a", OTHER_END)],
    "three, all different": [(b"a", b"one"), (b"a", b"two"), (b"a", b"six"), (b"b", b"1")],
    "three, the last as the first": [(b"a", LARGE), (b"a", OTHER_END), (b"a", LARGE)],
    "three, the last as the second": [(b"a", LARGE), (b"a", OTHER_END), (b"a", OTHER_END), (b"b", b"1")],
    "a name that the cache gives": [(b"a", b"one"), (b".hubfs-replaced/2048", b"mine"), (b"x", b""), (b"a", b"two")],
    "a file of the name of that folder": [(b"a", b"one"), (b".hubfs-replaced", b"mine"), (b"a", b"two")],
}


def archive_of(members: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(member(name, data) for name, data in members) + END_MARKER


def extracted(packed: bytes, folder: Path) -> dict[str, bytes]:
    """What GNU tar makes of it."""
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def content(source: ArchiveSource) -> dict[str, bytes]:
    files = [entry for entry in source.entries() if entry.kind is EntryKind.FILE]
    return {entry.path: source.open(entry).read_at(0, entry.size_bytes) for entry in files}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("members", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("pack", [bytes, gzipped], ids=["tar", "tar.gz"])
def test_a_model_that_is_listed_first_is_what_gnu_tar_extracts(
    desk: Desk, tmp_path: Path, members: list[tuple[bytes, bytes]], pack: type[bytes]
) -> None:
    packed = archive_of(members)
    expected = extracted(packed, tmp_path / "model")
    layout = CacheLayout(tmp_path / "cache")
    disk = DiskTier(DiskStore(layout), DiskSettings(GIGABYTE, 0))
    disk.start()
    stream = desk.stream(pack(packed))
    source = desk.source(stream, disk)
    assert content(source) == expected
    assert (source.extent.files, source.extent.size_bytes) == (len(expected), sum(map(len, expected.values())))
    assert content(source) == expected  # out of the cache, by now
    assert stream.transfers == 1  # blocks that were compared, and that both begin with, are there, too
    index = json.loads(json.dumps(source.to_index()))
    restarted = source_from_index(MODEL, ArchiveIndex.from_json(HANDLE, index), **desk.collaborators(stream, disk))
    transfers = stream.transfers
    assert content(restarted) == expected  # out of the cache
    assert stream.transfers == transfers
    disk.drop(MODEL)
    assert content(restarted) == expected  # by another pass, which meets all of them again
    assert sorted(restarted.entries(), key=lambda entry: entry.path) == source.entries()
    archive = tmp_path / "archive"
    archive.write_bytes(pack(packed))
    indexed = index_of(archive, workers=1)
    assert indexed is not None
    assert indexed.members == IndexFile.from_bytes(indexed.to_bytes()).members
    known = ArchiveIndex.from_json(HANDLE, index).members
    assert {one.path: (entry_of(one), one.offset_bytes) for one in indexed.members} == {
        one.path: (entry_of(one), one.offset_bytes) for one in known
    }
    for one in (one for one in indexed.members if not one.is_directory):
        assert packed[one.offset_bytes : one.offset_bytes + one.size_bytes] == expected[one.path]


def test_a_cache_that_keeps_nothing_is_no_hindrance(desk: Desk) -> None:
    for members in TWICE.values():
        source = desk.source(desk.stream(archive_of(members)), NoCache())
        source.entries()
        assert read(source, "a") == members[-1 if members[-1][0] != b"b" else -2][1]


@pytest.mark.parametrize("name", [name for name in TWICE if "same" in name or "empty both" in name])
def test_what_was_served_before_the_same_bytes_come_again_stays(desk: Desk, name: str) -> None:
    members = TWICE[name]
    packed = archive_of(members)
    stream = desk.stream(packed)
    stream.pause_at(packed.index(b"b") if b"b" in packed else 1024)
    source = desk.source(stream)
    entry = source.find("a")
    blob = source.open(entry)
    stream.resume()
    source.entries()
    assert blob.read_at(0, entry.size_bytes) == members[0][1]
    assert source.failure is None
    assert source.find("a") == entry


@pytest.mark.parametrize(
    "name", [name for name in TWICE if not ("same" in name or "empty both" in name or "folder" in name)]
)
@pytest.mark.parametrize("reads", [True, False], ids=["read", "looked up"])
def test_what_was_served_is_not_replaced(desk: Desk, name: str, *, reads: bool) -> None:
    packed = archive_of(TWICE[name])
    stream = desk.stream(packed)
    first_ends = 512 + -(-len(TWICE[name][0][1]) // 512) * 512
    stream.pause_at(first_ends)
    source = desk.source(stream)
    entry = source.find("a")
    if reads:
        assert source.open(entry).read_at(0, entry.size_bytes) == TWICE[name][0][1]
    stream.resume()
    with pytest.raises(Damaged, match="'a' comes twice, with other bytes, and the first was served already"):
        source.entries()
    with pytest.raises(Damaged):
        source.open(entry).read_at(0, 1)


def test_what_is_replaced_was_never_there_for_who_asks_later(desk: Desk, pool: ThreadPoolExecutor) -> None:
    packed = archive_of([(b"a", b"one"), (b"a", b"longer"), (b"b", b"1"), (b"c", b"2")])
    stream = desk.stream(packed)
    stream.pause_at(packed.index(b"c" + bytes(99)))
    source = desk.source(stream)
    assert pool.submit(read, source, "b").result(60) == b"1"
    assert read(source, "a") == b"longer"
    stream.resume()
    assert content(source) == {"a": b"longer", "b": b"1", "c": b"2"}


def test_a_pass_that_ends_early_leaves_nothing_that_is_mixed_up_later(desk: Desk) -> None:
    first, last = LARGE, OTHER_END
    packed = archive_of([(b"a", first), (b"b", b"1"), (b"a", last), (b"c", b"2")])
    cache = MemoryTier(64 * MIB)
    stream = desk.stream(packed)
    stream.fail_at(packed.rindex(last[-100:]), OSError("cut"))
    source = desk.source(stream, cache)
    with pytest.raises(Exception, match="cut"):
        source.find("c")
    again = desk.source(stream, cache)  # as after a restart: it knows nothing of the first pass
    stream.pause_at(packed.index(b"b" + bytes(99)))
    entry = again.find("a")
    assert again.open(entry).read_at(0, len(first)) == first
    stream.resume()
    with pytest.raises(Damaged, match="comes twice"):
        again.entries()


def test_daemons_that_share_a_cache_never_mix_the_two(desk: Desk, tmp_path: Path) -> None:
    packed = archive_of([(b"a", LARGE), (b"b", b"1"), (b"a", OTHER_END)])
    disks = [DiskTier(DiskStore(CacheLayout(tmp_path / "cache")), DiskSettings(GIGABYTE, 0)) for _ in range(2)]
    for disk in disks:
        disk.start()
    slow, fast = desk.stream(packed), desk.stream(packed)
    slow.pause_at(packed.index(b"b" + bytes(99)))
    early = desk.source(slow, disks[0])
    entry = early.find("a")
    late = desk.source(fast, disks[1])
    assert content(late) == {"a": OTHER_END, "b": b"1"}
    assert early.open(entry).read_at(0, entry.size_bytes) == LARGE
    assert content(late) == {"a": OTHER_END, "b": b"1"}
    slow.resume()


def test_what_changed_behind_a_complete_model_is_noticed(desk: Desk) -> None:
    stream = desk.stream(archive_of([(b"a", b"one"), (b"b", b"1"), (b"a", b"one")]))
    source = desk.source(stream, NoCache())
    assert len(source.entries()) == 2
    assert eventually(lambda: stream.closed == 1)
    stream.data = archive_of([(b"a", b"one"), (b"b", b"1"), (b"a", b"two")])
    with suppress(Damaged):  # the pass that brings it may have gone further by the time it is noted
        source.open(source.find("b")).read_at(0, 1)
    assert eventually(lambda: source.failure is not None)
    assert "'a' comes again, with other bytes" in str(source.failure)


def test_an_index_that_lies_about_what_replaces_is_malformed(desk: Desk) -> None:
    source = desk.source(desk.stream(archive_of([(b"a", b"one"), (b"a", b"two")])))
    source.entries()
    index = json.loads(json.dumps(source.to_index()))
    (entry,) = index["entries"]
    assert entry["replaces"] is True
    for replaces in (False, 1, "yes"):
        with pytest.raises(Damaged, match="contradicts itself"):
            ArchiveIndex.from_json(HANDLE, {**index, "entries": [{**entry, "replaces": replaces}]})
    ordinary = {key: value for key, value in entry.items() if key != "replaces"}
    (member,) = ArchiveIndex.from_json(HANDLE, {**index, "entries": [ordinary]}).members
    assert entry_of(member) == Entry("a", EntryKind.FILE, 3)


def test_an_archive_that_tar_appended_to_is_read(desk: Desk, tmp_path: Path) -> None:
    archive, folder = tmp_path / "model.tar", tmp_path / "model"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(os.urandom(5000))
    subprocess.run(["tar", "-cf", archive, "-C", folder, "saved_model.pb"], check=True)
    (folder / "saved_model.pb").write_bytes(newer := os.urandom(5000))
    subprocess.run(["tar", "-rf", archive, "-C", folder, "saved_model.pb"], check=True)
    assert content(desk.source(desk.stream(archive.read_bytes()))) == {"saved_model.pb": newer}


def test_what_another_pass_found_in_its_place_is_taken_over_unless_somebody_knows_the_first() -> None:
    first = IndexedMember("a", False, 3, 512)
    later = IndexedMember("a", False, 4, 2048, replaces=True)
    elsewhere = IndexedMember("a", False, 4, 2048)
    contents = ArchiveContents()
    assert contents.adopt([first])
    assert not contents.adopt([elsewhere])
    told = ArchiveContents()
    assert told.adopt([first])
    assert told.tell("a") == first
    assert not told.adopt([later])
    assert told.all() == (first,)
    assert contents.adopt([later])
    assert contents.all() == (later,)
    assert contents.add(first) is None
    assert contents.add(elsewhere) == later
    assert not contents.adopt([first])
