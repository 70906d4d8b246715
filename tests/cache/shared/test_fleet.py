"""A fleet: several daemons, each with a cache of its own, one bucket, and an origin that counts its bytes."""

import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.store import STORE_SETTINGS, open_store
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, OverShared, TieredCache
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.cache.shared.indexes import CombinedIndexes, SharedIndexes
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedSettings, SharedTier
from hubfs.cache.shared.turns import SharedTurns
from hubfs.hubs.hub import label_of
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.model_id import model_name
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.archives import gzipped, model_files, tar_of
from tests.support.gcs_server import Fault, GcsServer, _store, gcs_server
from tests.support.http_origin import DeadPort, HttpOrigin, paced
from tests.support.streams import archive_source, source_from_index, wrap_by
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

HANDLE = parse_handle("google/fleet/1")
FILES = model_files(variables_bytes=20 * BLOCK_SIZE_BYTES + 12345)
ARCHIVE = gzipped(tar_of(FILES))
PATH = f"/{HANDLE}"


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("fleet")
        yield server


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put(PATH, ARCHIVE, etag='"1"')
        yield origin


class Daemon:
    """What a mount is made of, without the mount."""

    def __init__(
        self, home: Path, origin_url: str, store_url: str, endpoint_url: str, *, ttl_s: float, disk: bool
    ) -> None:
        self.hub = origin_url
        self.cancellation = Cancellation()
        self.pool = ThreadPoolExecutor(2)
        self.raw = open_store(store_url, replace(STORE_SETTINGS, endpoint_url=endpoint_url), self.cancellation)
        store = RestingStore(self.raw, self.cancellation)
        layout = CacheLayout(home)
        layout.prepare()
        memory = MemoryTier(64 << 20)
        local = DiskTier(DiskStore(layout), DiskSettings(1 << 30, reserve_bytes=0)) if disk else None
        # With a disk, a queue that is too small for the model: the rest is written from there.
        settings = SharedSettings(queue_bytes=(8 if disk else 64) * BLOCK_SIZE_BYTES)
        self.shared = SharedTier(store, self.cancellation, settings, local=local)
        self.cache: BlockCache = OverShared(memory, self.shared)
        if local is not None:
            self.cache = TieredCache(memory, OverShared(local, self.shared))
        indexes = SharedIndexes(store, self.shared.afterwards)
        self.indexes = CombinedIndexes(IndexStore(layout) if disk else IndexStore(None), indexes)
        self.turns = SharedTurns(store, self.shared, indexes, self.cancellation, ttl_s=ttl_s, poll_s=0.1)
        self.http = HttpClient(HttpSettings(), self.cancellation)

    def source(self) -> ArchiveSource:
        collaborators = {
            "cache": self.cache,
            "wrap": wrap_by(self.cache, self.pool, self.cancellation),
            "cancellation": self.cancellation,
            "settings": ArchiveSettings(32 << 20),
            "on_complete": lambda source: self.indexes.save(source.model, source.to_index()),
            "turns": self.turns,
        }
        index = self.indexes.load(f"{label_of(self.hub)}/{HANDLE}")
        if index is not None:
            return source_from_index(
                model_name(label_of(self.hub), HANDLE, str(index["identity"])),
                ArchiveIndex.from_json(HANDLE, index),
                open_stream=lambda: HttpStream(self.http, self.hub + PATH),
                **collaborators,
            )
        stream = HttpStream(self.http, self.hub + PATH)
        model = model_name(label_of(self.hub), HANDLE, stream.identity)
        return archive_source(HANDLE, stream.url, model, stream.identity, open_stream=lambda: stream, **collaborators)

    def read_all(self) -> dict[str, bytes]:
        source = self.source()
        return {path: source.open(source.find(path)).read_at(0, len(FILES[path])) for path in FILES}

    def close(self) -> None:
        self.cancellation.cancel()
        self.pool.shutdown(wait=False)
        self.http.close()
        self.raw.close()


class Fleet:
    def __init__(self, home: Path, origin: HttpOrigin, server: GcsServer) -> None:
        self.home, self.origin, self.endpoint_url = home, origin, server.url
        self.store_url = f"gs://fleet/{uuid.uuid4().hex}"
        self.daemons: list[Daemon] = []

    def daemon(self, *, ttl_s: float = 15.0, disk: bool = True) -> Daemon:
        home = self.home / str(len(self.daemons))
        self.daemons.append(Daemon(home, self.origin.url, self.store_url, self.endpoint_url, ttl_s=ttl_s, disk=disk))
        return self.daemons[-1]

    def ratio(self) -> float:
        """Bytes that the origin sent, per byte of the archive."""
        return self.origin.body_bytes_sent(PATH) / len(ARCHIVE)


@pytest.fixture
def fleet(tmp_path: Path, origin: HttpOrigin, server: GcsServer) -> Iterator[Fleet]:
    server.reset()
    fleet = Fleet(tmp_path, origin, server)
    with ExitStack() as closing:
        yield fleet
        for daemon in fleet.daemons:
            closing.callback(daemon.close)


def test_three_daemons_one_after_the_other_make_one_transfer(fleet: Fleet) -> None:
    for _ in range(3):
        daemon = fleet.daemon()
        assert daemon.read_all() == FILES
        assert daemon.shared.flush(30)
    print(f"origin bytes / archive bytes, one after the other: {fleet.ratio():.3f}")
    assert fleet.ratio() <= 1.05


@pytest.mark.parametrize("disk", [True, False], ids=["disk", "no disk"])
@pytest.mark.parametrize("bytes_per_s", [None, 8e6], ids=["fast origin", "slow origin"])
def test_three_daemons_that_start_at_once_make_one_transfer(
    fleet: Fleet, bytes_per_s: float | None, *, disk: bool
) -> None:
    if bytes_per_s is not None:
        fleet.origin.always(PATH, paced(bytes_per_s))
    daemons = [fleet.daemon(disk=disk) for _ in range(3)]
    start = threading.Barrier(3)

    def run(daemon: Daemon) -> dict[str, bytes]:
        start.wait(60)
        return daemon.read_all()

    with ThreadPoolExecutor(3) as pool:
        for read in pool.map(run, daemons):
            assert read == FILES
    print(f"origin bytes / archive bytes, at once: {fleet.ratio():.3f}")
    assert fleet.ratio() <= 1.05


def test_who_waits_takes_over_from_a_daemon_that_died(fleet: Fleet) -> None:
    fleet.origin.always(PATH, paced(1e6))  # a connection
    dying, waiting = fleet.daemon(), fleet.daemon(ttl_s=1.5)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(dying.read_all)
        assert eventually(lambda: bool(waiting.raw.list("leases/")))
        second = pool.submit(waiting.read_all)
        time.sleep(0.5)
        dying.close()  # its lease stays
        assert first.exception(10) is not None
        assert second.result(60) == FILES


def test_without_the_bucket_every_daemon_reads_from_the_origin(fleet: Fleet) -> None:
    with DeadPort() as dead:
        fleet.endpoint_url = dead.url
        for _ in range(2):
            assert fleet.daemon().read_all() == FILES
    assert 1.9 < fleet.ratio() < 2.1


def test_a_bucket_that_dies_in_the_middle_fails_nobody(fleet: Fleet) -> None:
    fleet.origin.always(PATH, paced(8e6))
    with ThreadPoolExecutor(2) as pool:
        with _store(None, "http://127.0.0.1") as url:  # without the counting proxy: the process itself ends
            GcsServer(url).create_bucket("fleet")
            fleet.endpoint_url = url
            daemons = [fleet.daemon(), fleet.daemon()]
            results = [pool.submit(daemon.read_all) for daemon in daemons]
            assert eventually(lambda: bool(daemons[0].raw.list("blocks/")))
            assert not results[0].done()
        assert all(result.result(60) == FILES for result in results)


def test_a_bucket_that_comes_to_nothing_but_errors_fails_nobody(fleet: Fleet, server: GcsServer) -> None:
    daemon = fleet.daemon()
    assert daemon.read_all() == FILES
    assert daemon.shared.flush(30)
    server.spoil(*[Fault(status=503)] * 4, *[Fault(flip_byte=5000)] * 4, *[Fault(cut_after_bytes=5000)] * 4)
    assert fleet.daemon().read_all() == FILES


def test_a_fleet_reads_each_block_of_an_object_once(fleet: Fleet) -> None:
    data = random.Random(5).randbytes(30 * BLOCK_SIZE_BYTES + 77)
    origin = ScriptedBlob(data, delay_s=0.05)
    start = threading.Barrier(3)
    key = CacheKey("hub/a/b/1@x", "variables/variables.data")

    def run(number: int, daemon: Daemon) -> bool:
        with ThreadPoolExecutor(4) as fetches:
            blob = CachedBlob(
                origin, daemon.cache, key, pool=fetches, cancellation=daemon.cancellation, turns=daemon.turns
            )
            start.wait(60)
            # Each begins elsewhere, and none at a run's boundary.
            places = [(number * 9 + 3 + step * 5) % 30 * BLOCK_SIZE_BYTES + 11 for step in range(6)]
            right = all(blob.read_at(at, 5 << 20) == data[at : at + (5 << 20)] for at in places)
            return right and blob.read_at(0, len(data)) == data

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(run, range(3), [fleet.daemon() for _ in range(3)]))
    print(f"origin bytes / object bytes, at once: {origin.read_bytes / len(data):.3f}")
    assert origin.read_bytes / len(data) <= 1.05
