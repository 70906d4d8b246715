"""Sources as a mount has them made: of real servers, over a real cache directory, before and after a restart."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.blobs.checksums import Checksum
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey, TieredCache
from hubfs.cache.disk.indexes import Index, IndexStore
from hubfs.cache.memory import MemoryTier
from hubfs.cache.ranges import RangesBlob, passable
from hubfs.errors import Damaged, NotCached, Unavailable
from hubfs.hubs.bucket.hub import Bucket
from hubfs.hubs.hub import Means
from hubfs.hubs.tfhub.extracted.source import ExtractedSource
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.names.tfhub_modules import module_name
from hubfs.hubs.tfhub.questions import Location
from hubfs.model_id import ModelId
from hubfs.sources.files import FilesSource, Manifest, RemoteFile
from hubfs.sources.kit import Guest, Kit
from hubfs.sources.source import Form, Source
from hubfs.waiting import Cancellation
from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.hosted import manifest, put, put_tfjs
from tests.support.http_clients import gcs_client, http_client
from tests.support.http_origin import HttpOrigin, status
from tests.support.kits import workshop
from tests.support.saved_models import whole_model
from tests.support.sources import contents, kit_of
from tests.support.waiting import eventually

SPICE = parse_handle("google/spice/2")
LITE = parse_handle("google/lite-model/spice/1")
TFJS = parse_handle("google/tfjs-model/spice/2/default/1")
FILES = {"saved_model.pb": b"graph" * 100, "variables/variables.index": b"index" * 1000}
TFJS_FILES = {"model.json": manifest(["shard1", "shard2"]), "shard1": b"one" * 500, "shard2": b"two"}


DATE, DATE_S = "Wed, 21 Oct 2015 07:28:00 GMT", 1445412480
LATER = "Thu, 22 Oct 2015 07:28:00 GMT"


@dataclass
class Machine:
    """What a mount on one machine has, from its start on."""

    hub: TfHub
    bucket: Bucket
    kit: Kit
    indexes: IndexStore
    cache: TieredCache

    def index(self, handle: ModelId) -> Index | None:
        return self.indexes.load(f"{self.hub.label}/{handle}")

    def opened(self, handle: ModelId, location: Location) -> Source:
        return self.hub.redirect.at(handle, location, self.kit)

    def loaded(self, handle: ModelId, index: Index | None = None) -> Source:
        index = index or self.index(handle)
        assert index is not None
        return self.hub.load(handle, index, self.kit)


Start = Callable[..., AbstractContextManager[Machine]]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with gcs_server(tmp_path_factory.mktemp("buckets")) as server:
        server.create_bucket("models")
        for path, data in FILES.items():
            server.upload("models", f"google/spice/2/{path}", data)
        server.upload("models", "google/spice/2.tar.gz", gzipped(tar_of(FILES)))
        yield server


@pytest.fixture
def bucket_made_s(bucket: GcsServer) -> range:
    """When the objects of the bucket may have been made."""
    now_s = int(time.time())
    return range(now_s - 3600, now_s + 2)


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def start(tmp_path: Path, origin: HttpOrigin, bucket: GcsServer) -> Start:
    @contextmanager
    def started(extracted_dir: Path | None = None, *, offline: bool = False) -> Iterator[Machine]:
        bucket.reset()
        with (
            workshop(tmp_path / "cache", offline=offline) as tools,
            gcs_client(bucket.url, tools.cancellation, timeout_s=10) as gcs,
            http_client(tools.cancellation) as http,
        ):
            hub = TfHub(origin.url, Means(http, gcs, extracted_dir=extracted_dir))
            yield Machine(hub, Bucket("gs://models", gcs=gcs), tools.kit, tools.indexes, tools.cache)

    return started


def located(origin: HttpOrigin, form: str, **virtues: object) -> tuple[ModelId, Location, dict[str, bytes]]:
    """A model in this form: on the origin, or in the bucket."""
    if form == "archive":
        put(origin, f"/{SPICE}", "tf-hub-format=compressed", gzipped(tar_of(FILES)), **virtues)
        return SPICE, Location(f"{origin.url}/{SPICE}?tf-hub-format=compressed", Form.COMPRESSED), FILES
    if form == "archive in a bucket":
        return *located_in_the_bucket(), FILES
    if form == "bucket":
        return SPICE, Location("gs://models/google/spice/2", Form.UNCOMPRESSED), FILES
    if form == "file":
        virtues |= {"content_type": "application/octet-stream"}
        put(origin, f"/{LITE}", "lite-format=tflite", b"TFL3" * 1000, **virtues)
        return (
            LITE,
            Location(f"{origin.url}/{LITE}?lite-format=tflite", Form.FILE),
            {"model.tflite": b"TFL3" * 1000},
        )
    put_tfjs(origin, f"/{TFJS}", TFJS_FILES, **virtues)
    return TFJS, Location(f"{origin.url}/{TFJS}", Form.FILES), TFJS_FILES


def located_in_the_bucket() -> tuple[ModelId, Location]:
    return SPICE, Location("gs://models/google/spice/2.tar.gz", Form.COMPRESSED)


FORMS = ["archive", "archive in a bucket", "bucket", "file", "files"]
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_a_model_is_read_and_after_a_restart_read_without_the_network(
    start: Start, origin: HttpOrigin, bucket: GcsServer, form: str
) -> None:
    handle, location, files = located(origin, form)
    with start() as machine:
        source = machine.opened(handle, location)
        assert contents(source) == files
        assert source.form is location.form
        assert eventually(lambda: machine.index(handle))
        model = source.model
    origin.reset()
    with start() as machine:
        again = machine.loaded(handle)
        assert (again.handle, again.form, again.model) == (handle, location.form, model)
        assert contents(again) == files
        assert machine.cache.cached_bytes(model) == sum(map(len, files.values()))
    assert not origin.requests
    assert not bucket.requests


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("etag", ['"v1"', None], ids=["pinned", "unpinned"])
def test_a_small_archive_that_was_listed_is_read_later_without_the_network(
    start: Start, origin: HttpOrigin, tmp_path: Path, etag: str | None, *, offline: bool
) -> None:
    handle, location, files = located(origin, "archive", etag=etag)
    with start() as machine:
        source = machine.opened(handle, location)
        assert {entry.path for entry in source.entries()} == {*files, "variables"}
        kept = [path.name for path in (tmp_path / "cache" / "models").rglob("*") if path.is_file()]
        assert kept == ["index.json"], "a file takes as long to make as a model to read"
        index = machine.index(handle)
    assert len(origin.requests) == 1
    with start(offline=offline) as machine:
        again = machine.loaded(handle)
        assert contents(again) == files
        assert machine.cache.cached_bytes(again.model) == sum(map(len, files.values()))
        assert contents(machine.loaded(handle, index)) == files
    assert len(origin.requests) == 1


@pytest.mark.parametrize("offline", [False, True])
def test_a_small_archive_that_was_evicted_is_asked_for_again(
    start: Start, origin: HttpOrigin, *, offline: bool
) -> None:
    handle, location, files = located(origin, "archive", etag='"v1"')
    with start() as machine:
        machine.opened(handle, location).entries()
    origin.reset()
    with start(offline=offline) as machine:
        source = machine.loaded(handle)
        machine.cache.drop(source.model)
        if offline:
            with pytest.raises(NotCached):
                contents(source)
            assert not origin.requests
        else:
            assert contents(source) == files
            assert origin.requests


@every_form
def test_what_a_hub_makes_of_a_guest_is_a_model_of_the_guests_hub(start: Start, origin: HttpOrigin, form: str) -> None:
    handle, location, files = located(origin, form)
    guest = Guest("tfhub.example", ModelId("made/up", "7"), "there:")
    with start() as machine:
        source = machine.hub.redirect.at(handle, location, machine.kit.for_guest(guest))
        assert contents(source) == files
        assert (source.handle, source.model.partition("@")[0]) == (guest.model, f"tfhub.example/{guest.model}")
        eventually(lambda: machine.indexes.of(source.model))
        index = machine.indexes.of(source.model)
        assert index is not None
        assert (index["handle"], index["at"]) == (str(handle), "there:"), "the hub there can read it"
        assert machine.index(handle) is None
    origin.reset()
    with start() as machine:
        again = machine.hub.redirect.load(handle, index, machine.kit.for_guest(guest))
        assert (again.handle, again.model) == (source.handle, source.model)
        assert contents(again) == files
    assert not origin.requests


def stamps(source: Source) -> dict[str, Stamp]:
    """By path, those of the directories included."""
    return {path: source.stamp(path) for path in ("", *(entry.path for entry in source.entries()))}


@every_form
def test_what_the_origin_told_of_the_date_is_kept(
    start: Start, origin: HttpOrigin, bucket_made_s: range, form: str
) -> None:
    handle, location, _ = located(origin, form, last_modified=DATE)
    with start() as machine:
        source = machine.opened(handle, location)
        contents(source)
        found = stamps(source)
        assert {stamp.made_s for stamp in found.values()} <= {*(bucket_made_s if "bucket" in form else [DATE_S])}
        assert all(stamp.tag for stamp in found.values())
        assert eventually(lambda: machine.index(handle))
    located(origin, form, last_modified=LATER)  # as a replica does, or who copies the same bytes again
    with start() as machine:
        assert stamps(machine.loaded(handle)) == found


@every_form
def test_a_model_that_was_cached_before_dates_were_kept_is_undated(start: Start, origin: HttpOrigin, form: str) -> None:
    handle, location, files = located(origin, form, last_modified=DATE)
    with start() as machine:
        contents(machine.opened(handle, location))
        assert eventually(lambda: machine.index(handle))
        index = without_dates(machine.index(handle))
        source = machine.loaded(handle, index)
        assert {stamp.made_s for stamp in stamps(source).values()} == {None}
        assert contents(source) == files
        assert source.to_index() == index  # type: ignore[attr-defined]  # not of the protocol, but of every source


def without_dates(index: Any) -> Any:
    """As it was written before."""
    if isinstance(index, dict):
        return {key: without_dates(value) for key, value in index.items() if key not in ("made_s", "tag", "archive")}
    return [*map(without_dates, index)] if isinstance(index, list) else index


def lost(machine: Machine, handle: ModelId, location: Location) -> Index:
    """What the cache had kept of a model that was read, and is in it no longer."""
    source = machine.opened(handle, location)
    contents(source)
    assert eventually(lambda: machine.index(handle))
    index = machine.index(handle)
    assert index is not None
    machine.cache.drop(source.model)
    return index


# Not an archive in a bucket: an HTTP hub names none, so it would not be found there again.
@pytest.mark.parametrize("form", ["archive", "bucket", "file", "files"])
def test_what_the_cache_lost_is_fetched_again_from_where_it_was(start: Start, origin: HttpOrigin, form: str) -> None:
    handle, location, files = located(origin, form)
    with start() as machine:
        index = lost(machine, handle, location)
        assert machine.index(handle) is None
        assert contents(machine.loaded(handle, index)) == files


def test_these_tests_open_and_load_every_form(origin: HttpOrigin) -> None:
    assert {located(origin, form)[1].form for form in FORMS} == {*Form}


def test_an_archive_in_a_bucket_that_is_a_hub_is_fetched_again_from_there(start: Start, bucket: GcsServer) -> None:
    with start() as machine:
        source = machine.opened(*located_in_the_bucket())
        contents(source)
        eventually(lambda: machine.index(SPICE))
        index = machine.index(SPICE)
        machine.cache.drop(source.model)
        assert contents(machine.bucket.load(SPICE, index, machine.kit)) == FILES


@every_form
def test_a_mount_that_asks_nobody_reads_out_of_the_cache_and_from_nowhere_else(
    start: Start, origin: HttpOrigin, bucket: GcsServer, form: str
) -> None:
    handle, location, files = located(origin, form)
    with start() as machine:
        contents(machine.opened(handle, location))
        eventually(lambda: machine.index(handle))
    origin.reset()
    with start(offline=True) as machine:
        source, index = machine.loaded(handle), machine.index(handle)
        assert contents(source) == files
        machine.cache.drop(source.model)
        with pytest.raises(NotCached, match="--offline"):
            contents(machine.loaded(handle, index))
    assert not origin.requests
    assert not bucket.requests


@pytest.mark.parametrize("form", ["archive", "bucket", "file", "files"])
@pytest.mark.parametrize("date", [{"made_s": "1"}, {"made_s": 1.5}, {"made_s": True}, {"made_s": []}, {"made_s": {}}])
def test_an_index_whose_date_is_none_is_refused(
    start: Start, origin: HttpOrigin, form: str, date: Mapping[str, Any]
) -> None:
    handle, location, _ = located(origin, form, last_modified=DATE)
    with start() as machine:
        contents(machine.opened(handle, location))
        assert eventually(lambda: machine.index(handle))
        index: Any = machine.index(handle)
        if form == "archive":
            index |= date
        else:
            index["entries"][-1] |= date
        with pytest.raises(Damaged):
            machine.loaded(handle, index)


def test_a_damaged_index_is_refused(start: Start) -> None:
    with start() as machine:
        for form in ("", *(form.value for form in Form)):
            for index in ({"form": form}, {"form": form, "entries": 5, "identity": None, "url": 7}):
                for hub in (machine.hub, machine.bucket):
                    with pytest.raises((Damaged, KeyError, ValueError)):
                        hub.load(SPICE, index, machine.kit)


def test_what_the_library_extracted_for_this_hub_is_found(start: Start, origin: HttpOrigin, tmp_path: Path) -> None:
    url = f"{origin.url}/{SPICE}"
    directory = tmp_path / "modules" / module_name(url)
    for path, data in whole_model().items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    Path(f"{directory}.descriptor.txt").write_text(f"Module: {url}\n")
    with start(tmp_path / "modules") as machine:
        source = machine.hub.local(SPICE)
        assert isinstance(source, ExtractedSource)
        assert contents(source) == whole_model()
        dates = {path: (directory / path).stat().st_mtime_ns for path in whole_model()}
        assert {path: stamp.made_s for path, stamp in stamps(source).items() if path in dates} == {
            path: date_ns // 10**9 for path, date_ns in dates.items()
        }
        assert source.stamp("").made_s == max(dates.values()) // 10**9
        assert machine.hub.local(LITE) is None
    with start() as machine:
        assert machine.hub.local(SPICE) is None
    assert not origin.requests


@pytest.mark.parametrize("form", ["archive", "file", "files"])
def test_that_the_hub_has_a_model_no_longer_is_not_told_as_a_file_that_does_not_exist(
    start: Start, origin: HttpOrigin, form: str
) -> None:
    handle, location, _ = located(origin, form)
    with start() as machine:
        index = lost(machine, handle, location)
        origin.always(f"/{handle}/model.json" if form == "files" else f"/{handle}", status(404))
        with pytest.raises(Unavailable, match=f"what is cached of {handle} can still be read"):
            contents(machine.loaded(handle, index))


def test_what_was_on_its_way_when_a_model_turned_out_damaged_does_not_stay_in_the_cache(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start() as machine:
        source = machine.opened(SPICE, Location("gs://models/google/spice/2", Form.UNCOMPRESSED))
        assert isinstance(source, FilesSource)
        blob = source.open(source.find("variables/variables.index"))
        put = machine.cache.put

        def put_late(key: CacheKey, index: int, block: bytes) -> bool:
            source._failure.fail(Damaged("another block is not what was announced"))
            return put(key, index, block)

        monkeypatch.setattr(machine.cache, "put", put_late)
        blob.read_at(0, 10)
        assert not machine.cache.has(CacheKey(source.model, "variables/variables.index"), 0)


class Counting(ThreadPoolExecutor):
    """A pool that says which tasks it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.tasks: list[str] = []

    def submit(self, task: Any, /, *arguments: Any, **more: Any) -> Any:
        self.tasks.append(task.__qualname__)
        return super().submit(task, *arguments, **more)


@pytest.mark.parametrize(
    ("lasting", "offline", "past"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_ranges_come_past_the_cache_where_a_hub_answers_and_names_the_version(
    *, lasting: bool, offline: bool, past: bool
) -> None:
    file = RemoteFile(
        12 * BLOCK_SIZE_BYTES, "p", lambda: MemoryBlob("p", bytes(12 * BLOCK_SIZE_BYTES)), lasting=lasting
    )
    memory = MemoryTier(64 << 20)
    with ThreadPoolExecutor(1) as pool:
        kit = kit_of(pool, Cancellation(), cache=memory, memory=memory, offline=offline)
        source = kit.kept_files("h", ModelId("a", "1"), Manifest("u", Form.FILES, {"f": file}))
        blob = source.open(source.find("f"))
        assert passable(blob)
        assert [read.past for read in RangesBlob(blob).plan([range(10, 20)])] == [past]


def test_what_readers_need_not_hash_themselves_the_pool_does() -> None:
    data = random.Random(3).randbytes(12 * BLOCK_SIZE_BYTES)
    checksum = Checksum("sha256", hashlib.sha256(data).hexdigest())
    listed = Manifest("u", Form.FILES, {"f": RemoteFile(len(data), "p", lambda: MemoryBlob("p", data), checksum)})
    memory = MemoryTier(64 << 20)
    with Counting() as pool:
        source = kit_of(pool, Cancellation(), cache=memory, memory=memory).files("h", ModelId("a", "1"), listed)
        blob = source.open(source.find("f"))
        for index in (*range(1, 11), 0, 11):
            start = index * BLOCK_SIZE_BYTES
            assert blob.read_at(start, BLOCK_SIZE_BYTES) == data[start : start + BLOCK_SIZE_BYTES]
    assert pool.tasks == ["RunningHash._catch_up"]
