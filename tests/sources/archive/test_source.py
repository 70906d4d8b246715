"""Entries and bytes of an archive, while it comes by and afterwards."""

import re
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Damaged, EntryNotFound, IsADirectory, Stale
from hubfs.hubs.hub import label_of
from hubfs.model_id import ModelId, model_name
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.source import ROOT, Entry, EntryKind, Form
from tests.support.archives import END_MARKER, gzipped, member, model_files, tar_of
from tests.support.streams import HANDLE, HUB, MIB, URL, Desk, NoCache, archive_source, read, source_from_index
from tests.support.waiting import eventually

FILES = model_files(variables_bytes=2 * MIB + 345)
WEIGHTS = "variables/variables.data-00000-of-00001"
DIRECTORIES = ["assets", "variables"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def end_of(archive: bytes, path: str) -> int:
    """Where the bytes of a file end in a plain tar."""
    return archive.index(FILES[path]) + len(FILES[path])


def still_waits(future: Future[Any]) -> bool:
    return not eventually(future.done, 0.3)


@pytest.mark.parametrize("archive", [tar_of(FILES), gzipped(tar_of(FILES))], ids=["tar", "tar.gz"])
def test_every_byte_is_right(desk: Desk, archive: bytes) -> None:
    stream = desk.stream(archive)
    source = desk.source(stream)
    assert {path: read(source, path) for path in FILES} == FILES
    assert [entry.path for entry in source.entries()] == sorted([*FILES, *DIRECTORIES])
    assert source.find("variables") == Entry("variables", EntryKind.DIRECTORY)
    assert source.find("") == ROOT
    assert stream.transfers == 1


def test_it_says_what_it_is_without_a_transfer(desk: Desk) -> None:
    stream = desk.stream(tar_of(FILES))
    source = desk.source(stream)
    assert (source.handle, source.url, source.form, source.identity) == (HANDLE, URL, Form.COMPRESSED, "v1")
    assert (source.model, source.complete, source.failure) == (model_name(label_of(HUB), HANDLE, "v1"), False, None)
    assert source.find("") == ROOT
    assert stream.transfers == 0


def test_a_reader_waits_only_until_its_bytes_came_by(desk: Desk, pool: ThreadPoolExecutor) -> None:
    archive = tar_of(FILES)
    stream = desk.stream(archive)
    source = desk.source(stream)
    stream.pause_at(end_of(archive, WEIGHTS))
    assert pool.submit(read, source, WEIGHTS).result(60) == FILES[WEIGHTS]
    assert pool.submit(read, source, "assets/vocab.txt").result(60) == FILES["assets/vocab.txt"]
    later = pool.submit(read, source, "saved_model.pb")
    listing = pool.submit(source.entries)
    assert still_waits(later)
    assert stream.pulled_bytes == end_of(archive, WEIGHTS)
    stream.pause_at(end_of(archive, "saved_model.pb"))
    assert later.result(60) == FILES["saved_model.pb"]
    assert still_waits(listing)
    assert not source.complete
    assert not desk.completed
    stream.resume()
    assert len(listing.result(60)) == len(FILES) + len(DIRECTORIES)
    assert source.complete
    assert desk.completed == [source]


def test_an_archive_that_is_here_is_read_by_who_asks_and_waits_for_no_reader(desk: Desk) -> None:
    """Though the cache keeps nothing, and the files are larger than a pass may run ahead."""
    stream = desk.stream(tar_of(FILES))
    source = desk.source(stream, NoCache(), 1, is_here=lambda: stream.transfers == 0)
    before = threading.active_count()
    assert source.find(WEIGHTS).size_bytes == len(FILES[WEIGHTS])
    assert threading.active_count() == before
    assert source.complete
    assert stream.transfers == 1
    assert read(source, "assets/vocab.txt") == FILES["assets/vocab.txt"]
    assert stream.transfers == 2


def test_what_is_wrong_with_an_archive_that_is_here_is_told_to_who_asks(desk: Desk) -> None:
    stream = desk.stream(gzipped(tar_of(FILES))[:-1])
    source = desk.source(stream, is_here=lambda: True)
    with pytest.raises(Damaged, match="ended early"):
        source.entries()
    assert isinstance(source.failure, Damaged)


def test_a_first_block_is_there_before_its_file_ended(desk: Desk, pool: ThreadPoolExecutor) -> None:
    archive = tar_of(FILES)
    stream = desk.stream(archive)
    source = desk.source(stream)
    stream.pause_at(archive.index(FILES[WEIGHTS]) + MIB)
    entry = pool.submit(source.find, WEIGHTS).result(60)
    assert pool.submit(source.open(entry).read_at, 5, 1000).result(60) == FILES[WEIGHTS][5:1005]
    assert still_waits(pool.submit(source.open(entry).read_at, MIB - 1, 2))
    stream.resume()


def test_bytes_are_inflated_as_far_as_they_came(desk: Desk, pool: ThreadPoolExecutor) -> None:
    archive = tar_of(FILES)
    deflate = zlib.compressobj(wbits=31)
    cut = end_of(archive, "assets/vocab.txt")
    head = deflate.compress(archive[:cut]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    stream = desk.stream(head + deflate.compress(archive[cut:]) + deflate.flush())
    stream.pause_at(len(head))
    source = desk.source(stream)
    assert pool.submit(read, source, "assets/vocab.txt").result(60) == FILES["assets/vocab.txt"]
    stream.resume()
    assert len(pool.submit(source.entries).result(60)) == len(FILES) + len(DIRECTORIES)


def test_a_missing_entry_is_known_to_be_missing_only_at_the_end(desk: Desk, pool: ThreadPoolExecutor) -> None:
    archive = tar_of(FILES)
    stream = desk.stream(archive)
    stream.pause_at(len(archive) - 1)
    source = desk.source(stream)
    missing = pool.submit(source.find, "tfhub_module.pb")
    assert still_waits(missing)
    stream.resume()
    with pytest.raises(EntryNotFound, match=r"google/spice/2.*tfhub_module\.pb"):
        missing.result(60)
    with pytest.raises(EntryNotFound):
        source.find("variables/nothing")
    assert stream.transfers == 1


def test_sixteen_readers_make_one_transfer(desk: Desk, pool: ThreadPoolExecutor) -> None:
    stream = desk.stream(gzipped(tar_of(FILES)))
    source = desk.source(stream)
    results = [pool.submit(read, source, path) for path in [*FILES, WEIGHTS, "saved_model.pb"] * 2]
    listings = [pool.submit(source.entries) for _ in range(4)]
    assert [result.result(60) for result in results] == [
        FILES[path] for path in [*FILES, WEIGHTS, "saved_model.pb"] * 2
    ]
    assert len({tuple(listing.result(60)) for listing in listings}) == 1
    assert stream.transfers == 1


def test_a_file_has_one_blob(desk: Desk) -> None:
    source = desk.source(desk.stream(tar_of(FILES)))
    blob = source.open(source.find(WEIGHTS))
    assert source.open(source.find(WEIGHTS)) is blob
    assert blob.key == f"{source.model}/{WEIGHTS}"
    assert blob.size_bytes == len(FILES[WEIGHTS])


def test_a_directory_has_no_bytes(desk: Desk) -> None:
    source = desk.source(desk.stream(tar_of(FILES)))
    with pytest.raises(IsADirectory, match="variables"):
        source.open(source.find("variables"))


DEEP = "/".join("abcdefghij" * 4) + "/file"


@pytest.mark.parametrize(
    ("archive", "files", "directories"),
    [
        (member(b"./", kind=b"5") + END_MARKER, {}, []),
        (tar_of({"empty": b""}), {"empty": b""}, []),
        (tar_of({"a/empty": b"", "b": b"x"}), {"a/empty": b"", "b": b"x"}, ["a"]),
        (tar_of({DEEP: b"deep"}), {DEEP: b"deep"}, [DEEP[: 2 * depth + 1] for depth in range(40)]),
        (tar_of({DEEP: b"deep"}, directories=False), {DEEP: b"deep"}, [DEEP[: 2 * depth + 1] for depth in range(40)]),
        (tar_of({"a/b": b"x"}, prefix="./"), {"a/b": b"x"}, ["a"]),
        (
            member(b"a/b/c", b"x") + member(b"a/b/", kind=b"5") + member(b"a/", kind=b"5") + END_MARKER,
            {"a/b/c": b"x"},
            ["a", "a/b"],
        ),
        (tar_of({"x": bytes(MIB), "y": bytes(MIB + 1)}), {"x": bytes(MIB), "y": bytes(MIB + 1)}, []),
    ],
    ids=["root", "empty", "empty-below", "deep", "deep-bare", "dot", "directories-last", "blocks"],
)
def test_archives_of_odd_shapes(desk: Desk, archive: bytes, files: dict[str, bytes], directories: list[str]) -> None:
    source = desk.source(desk.stream(gzipped(archive)))
    expected = [Entry(path, EntryKind.FILE, len(data)) for path, data in files.items()]
    expected += [Entry(path, EntryKind.DIRECTORY) for path in directories]
    assert source.entries() == sorted(expected, key=lambda entry: entry.path)
    assert {path: read(source, path) for path in files} == files


def test_a_directory_is_there_as_soon_as_a_file_in_it(desk: Desk, pool: ThreadPoolExecutor) -> None:
    archive = tar_of({"a/b/c": b"x", "z": bytes(4096)}, directories=False)
    stream = desk.stream(archive)
    stream.pause_at(512)
    source = desk.source(stream)
    assert pool.submit(source.find, "a/b").result(60).kind is EntryKind.DIRECTORY
    stream.resume()


def test_an_index_says_everything_without_a_transfer(desk: Desk) -> None:
    cache = MemoryTier(64 * MIB)
    first = desk.source(desk.stream(tar_of(FILES)), cache)
    entries = first.entries()
    stream = desk.stream(tar_of(FILES))
    again = source_from_index(
        first.model, ArchiveIndex.from_json(HANDLE, first.to_index()), **desk.collaborators(stream, cache)
    )
    assert again.complete
    assert (again.url, again.identity, again.form) == (first.url, first.identity, first.form)
    assert again.entries() == entries
    assert again.to_index() == first.to_index()
    assert {path: read(again, path) for path in FILES} == FILES
    with pytest.raises(EntryNotFound):
        again.find("nothing")
    assert stream.transfers == 0


class MissesOnce(MemoryTier):
    """Every block comes in just after a reader looked for it."""

    def __init__(self) -> None:
        super().__init__(64 * MIB)
        self._looked: set[tuple[CacheKey, int]] = set()

    def get(self, key: CacheKey, index: int) -> bytes | None:
        if (key, index) in self._looked:
            return super().get(key, index)
        self._looked.add((key, index))
        return None


def test_a_block_that_comes_in_while_a_reader_looks_is_not_missed(desk: Desk) -> None:
    cache = MissesOnce()
    first = desk.source(desk.stream(tar_of(FILES)), cache)
    first.entries()
    stream = desk.stream(tar_of(FILES))
    again = source_from_index(
        first.model, ArchiveIndex.from_json(HANDLE, first.to_index()), **desk.collaborators(stream, cache)
    )
    assert {path: read(again, path) for path in FILES} == FILES
    assert stream.transfers == 0


def loaded(desk: Desk, archive: bytes = b"", identity: str = "v1") -> ArchiveSource:
    """A source that was complete before, of whose bytes the cache has lost everything; its stream is now this."""
    first = desk.source(desk.stream(tar_of(FILES)))
    first.entries()
    stream = desk.stream(archive or tar_of(FILES), identity=identity)
    return source_from_index(
        first.model, ArchiveIndex.from_json(HANDLE, first.to_index()), **desk.collaborators(stream)
    )


def test_a_lost_block_costs_one_pass(desk: Desk) -> None:
    source = loaded(desk)
    assert read(source, "fingerprint.pb") == FILES["fingerprint.pb"]
    assert {path: read(source, path) for path in FILES} == FILES
    assert source._archive.open_stream().transfers == 1  # type: ignore[attr-defined]


def test_another_archive_at_the_origin_is_stale(desk: Desk) -> None:
    source = loaded(desk, identity="v2")
    for _ in range(2):
        with pytest.raises(Stale, match=re.escape(URL)):
            read(source, "fingerprint.pb")
    assert isinstance(source.failure, Stale)
    assert source._archive.open_stream().transfers == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "files",
    [
        {path: data for path, data in FILES.items() if path != "fingerprint.pb"},
        FILES | {"fingerprint.pb": b"longer" * 100},
        {"new": b""} | FILES,
        {"fingerprint.pb/x": b""} | {path: data for path, data in FILES.items() if path != "fingerprint.pb"},
    ],
    ids=["less", "longer", "more", "another-kind"],
)
def test_an_archive_that_changed_under_the_same_identity_is_damaged(desk: Desk, files: dict[str, bytes]) -> None:
    source = loaded(desk, tar_of(files))
    for path in ("fingerprint.pb", "saved_model.pb"):
        with pytest.raises(Damaged, match=re.escape(URL)):
            read(source, path)
    assert isinstance(source.failure, Damaged)


def test_nobody_waits_for_ever_for_a_file_that_the_archive_lost(desk: Desk) -> None:
    source = loaded(desk, tar_of({path: data for path, data in FILES.items() if path != "saved_model.pb"}))
    with pytest.raises(Damaged, match=re.escape(URL)):
        read(source, "saved_model.pb")
    assert source._archive.open_stream().transfers == 2  # type: ignore[attr-defined]
    assert read(source, "fingerprint.pb") == FILES["fingerprint.pb"]


def test_what_an_eviction_took_is_kept_and_told_again(desk: Desk, tmp_path: Path) -> None:
    layout = CacheLayout(tmp_path)
    layout.prepare()
    cache = DiskTier(DiskStore(layout), DiskSettings(64 * MIB, 0))
    stream = desk.stream(tar_of(FILES))
    source = desk.source(stream, cache)
    source.entries()
    cache.drop(source.model)
    assert read(source, "saved_model.pb") == FILES["saved_model.pb"]
    assert eventually(lambda: len(desk.completed) == 2)
    assert cache.get(CacheKey(source.model, "fingerprint.pb"), 0) == FILES["fingerprint.pb"]
    assert stream.transfers == 2


def spoiled(change: dict[str, Any], **entry: Any) -> dict[str, Any]:
    file = {"path": "a", "kind": "file", "size_bytes": 3, "offset_bytes": 512} | entry
    index = {"handle": str(HANDLE), "form": "compressed", "url": URL, "identity": "v1", "entries": [file]}
    return index | change


@pytest.mark.parametrize("checksums", [{}, {"crc32c": [5]}])
def test_a_well_formed_index_is_taken(desk: Desk, checksums: dict[str, Any]) -> None:
    index = spoiled({}, **checksums)
    assert ArchiveIndex.from_json(HANDLE, index).to_json() == index
    assert checksums or (
        source_from_index("m", ArchiveIndex.from_json(HANDLE, index), **desk.collaborators(desk.stream(b""))).to_index()
        == index
    )


@pytest.mark.parametrize(
    "index",
    [
        {},
        [],
        {"url": URL, "identity": "v1"},
        spoiled({"url": None}),
        spoiled({"identity": 5}),
        spoiled({"handle": "google/spice/3"}),
        spoiled({"form": "uncompressed"}),
        spoiled({"entries": None}),
        spoiled({"entries": ["a"]}),
        spoiled({"entries": {"a": 1}}),
        spoiled({"entries": [{"path": "a"}]}),
        spoiled({}, kind="symlink"),
        spoiled({}, size_bytes="many"),
        spoiled({}, size_bytes="3"),
        spoiled({}, size_bytes=None),
        spoiled({}, size_bytes=float("inf")),
        spoiled({}, size_bytes=-1),
        spoiled({}, offset_bytes=-1),
        spoiled({}, path=7),
        spoiled({}, path=""),
        spoiled({"entries": 2 * spoiled({})["entries"]}),
        *(spoiled({}, crc32c=crcs) for crcs in ([], [1, 2], [1.0], [-1], [1 << 32], ["1"], "1", {"1": 1}, 1, [True])),
        spoiled({}, crc32c=[1], kind="directory"),
        spoiled({"entries": [*spoiled({}, crc32c=[1])["entries"], *spoiled({}, path="b")["entries"]]}),
    ],
    ids=lambda index: str(index)[-90:],
)
def test_a_malformed_index_is_damaged(desk: Desk, index: Any) -> None:
    with pytest.raises(Damaged, match="index of google/spice/2"):
        source_from_index("m", ArchiveIndex.from_json(HANDLE, index), **desk.collaborators(desk.stream(b"")))


def test_files_begin_where_the_index_says(desk: Desk) -> None:
    archive = tar_of(FILES)
    source = desk.source(desk.stream(archive))
    source.entries()
    starts = {item["path"]: item["offset_bytes"] for item in source.to_index()["entries"]}
    assert {path: archive[starts[path] : starts[path] + len(data)] for path, data in FILES.items()} == FILES
    assert {path: source.find(path).place for path in FILES} == {path: starts[path] // 512 for path in FILES}


def test_other_handles_do_not_share_blocks(desk: Desk) -> None:
    cache = MemoryTier(64 * MIB)
    streams = {version: desk.stream(tar_of({"a": version.encode()})) for version in ("1", "2")}
    for version, stream in streams.items():
        handle = ModelId("google/spice", version)
        source = archive_source(handle, URL, f"h/{handle}@v1", "v1", **desk.collaborators(stream, cache))
        assert read(source, "a") == version.encode()


def test_a_cache_that_keeps_nothing_costs_transfers_only(desk: Desk) -> None:
    stream = desk.stream(tar_of(FILES))
    source = desk.source(stream, NoCache(), ahead_bytes=0)
    for _ in range(2):
        assert {path: read(source, path) for path in FILES} == FILES
    assert stream.transfers == 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("limit", ["hubfs.formats.tar.walk.MAX_TRAILING_BYTES", "hubfs.formats.limits.HOLLOW_BYTES"])
def test_an_archive_without_an_end_is_hostile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: str, workers: int
) -> None:
    monkeypatch.setattr(limit, 1 * MIB)
    tar = tar_of({"a": b"here"})
    endless = gzipped(tar + bytes(40 * MIB)) if "tar" in limit else gzipped(tar) + bytes(40 * MIB)
    settings = ArchiveSettings(8 * MIB, inflate_workers=workers)
    collaborators = {**desk.collaborators(desk.stream(endless, chunk_bytes=1 << 18)), "settings": settings}
    source = archive_source(HANDLE, URL, model_name(label_of(HUB), HANDLE, "v1"), "v1", **collaborators)
    with pytest.raises(Damaged, match="hostile"):
        source.entries()


class _HeldEnd:
    """Holds a pass at its end: all of the archive came, and was verified, and nobody was told so yet."""

    def __init__(self) -> None:
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self, _: ArchiveSource) -> None:
        self.reached.set()
        assert self.released.wait(60), "the test left the pass at its end"


@pytest.fixture
def end() -> Iterator[_HeldEnd]:
    held = _HeldEnd()
    yield held
    held.released.set()


@pytest.fixture
def ending(desk: Desk, end: _HeldEnd) -> ArchiveSource:
    """A source whose pass is held at its end."""
    archive = gzipped(tar_of(FILES))
    source = desk.source(desk.stream(archive), on_complete=end, size_bytes=len(archive))  # type: ignore[arg-type]
    read(source, [*FILES][-1])
    assert end.reached.wait(60)
    assert (source.complete, source.to_come_bytes) == (False, 0)
    return source


def test_the_end_of_an_archive_that_came_is_waited_for(
    ending: ArchiveSource, end: _HeldEnd, pool: ThreadPoolExecutor
) -> None:
    waits = pool.submit(ending.await_end, 300.0)
    assert still_waits(waits)
    end.released.set()
    waits.result(60)
    assert ending.complete


def test_who_waits_for_the_end_has_patience(ending: ArchiveSource) -> None:
    ending.await_end(0.01)
    assert not ending.complete


def test_a_wait_for_the_end_ends_with_the_mount(ending: ArchiveSource, desk: Desk, pool: ThreadPoolExecutor) -> None:
    waits = pool.submit(ending.await_end, 300.0)
    assert still_waits(waits)
    desk.cancellation.cancel()
    waits.result(60)
    assert not ending.complete


@pytest.mark.parametrize("told", [["size_bytes"], []])
def test_the_end_of_an_archive_that_is_still_to_come_is_not_waited_for(
    desk: Desk, pool: ThreadPoolExecutor, told: list[str]
) -> None:
    archive = gzipped(tar_of(FILES))
    stream = desk.stream(archive)
    source = desk.source(stream, **dict.fromkeys(told, len(archive)))  # type: ignore[arg-type]
    pool.submit(source.await_end, 300.0).result(60)  # no pass runs
    assert not stream.transfers
    stream.pause_at(len(archive) // 2)
    source.find(next(iter(FILES)))
    pool.submit(source.await_end, 300.0).result(60)
    assert not source.complete
    assert source.streams
