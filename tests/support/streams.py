"""A stream that stops, fails and counts as a test says, and sources that read it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.stamp import UNDATED
from hubfs.cache.block_cache import BlockCache, CacheKey, Release, TierStats
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.cache.turns import NoTurns, Turns
from hubfs.formats.inflating.parallel import PLENTY_BYTES
from hubfs.hubs.hub import label_of
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId, model_name
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.passes import Archive, ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource, Wrap
from hubfs.waiting import Cancellation

HUB = "https://hub.example"
HANDLE = parse_handle("google/spice/2")
URL = f"{HUB}/{HANDLE}"
MIB = 1 << 20


class ScriptedStream:
    """`data` as a stream. Counts over all transfers: how many began and ended, and how far any of them came."""

    url = URL
    pinned = True
    stamp = UNDATED

    def __init__(self, data: bytes, *, identity: str = "v1", chunk_bytes: int = 1 << 16) -> None:
        self.identity = identity
        self.data = data
        self.size_bytes = len(data)
        self._chunk_bytes = chunk_bytes
        self._condition = threading.Condition()
        self._gate_bytes = len(data)
        self._errors: list[tuple[int, Exception]] = []
        self.transfers = 0
        self.closed = 0
        self.pulled_bytes = 0

    def pause_at(self, offset_bytes: int) -> None:
        """No byte from `offset_bytes` on comes until it is moved on."""
        with self._condition:
            self._gate_bytes = offset_bytes
            self._condition.notify_all()

    def resume(self) -> None:
        self.pause_at(len(self.data))

    def fail_at(self, offset_bytes: int, *errors: Exception) -> None:
        """The next transfers raise these at `offset_bytes`, one each."""
        with self._condition:
            self._errors += [(offset_bytes, error) for error in errors]

    def chunks(self) -> Iterator[bytes]:
        with self._condition:
            self.transfers += 1
            end_bytes, error = self._errors.pop(0) if self._errors else (len(self.data), None)
        offset_bytes = 0
        try:
            while offset_bytes < end_bytes:
                with self._condition:
                    moved_on = self._condition.wait_for(lambda start=offset_bytes: self._gate_bytes > start, 60)
                    assert moved_on, "the test left the stream paused"
                    stop_bytes = min(offset_bytes + self._chunk_bytes, end_bytes, self._gate_bytes)
                    self.pulled_bytes = max(self.pulled_bytes, stop_bytes)
                chunk = self.data[offset_bytes:stop_bytes]
                offset_bytes = stop_bytes
                yield chunk
            if error is not None:
                raise error
        finally:
            with self._condition:
                self.closed += 1


class NoCache:
    """A BlockCache that keeps nothing."""

    def get(self, key: CacheKey, index: int) -> bytes | None:
        return None

    def has(self, key: CacheKey, index: int) -> bool:
        return False

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        return False

    def hold(self, model: str) -> Release:
        return lambda: None

    def drop(self, model: str) -> None:
        pass

    def cached_bytes(self, model: str) -> int:
        return 0

    def stats(self) -> dict[str, TierStats]:
        return {}


def wrap_by(
    cache: BlockCache,
    pool: Executor,
    cancellation: Cancellation,
    *,
    budget: MemoryBudget | None = None,
    turns: Turns | None = None,
) -> Wrap:
    """What puts `cache` around the blobs of files."""

    def wrap(key: CacheKey, blob: Blob, failed: Callable[[], bool]) -> CachedBlob:
        return CachedBlob(
            blob, cache, key, pool=pool, cancellation=cancellation, turns=turns, budget=budget, failed=failed
        )

    return wrap


class Desk:
    """Makes sources, and remembers what they told; `close` ends what they still do."""

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.pool = ThreadPoolExecutor(4)
        self.completed: list[ArchiveSource] = []
        self._streams: list[ScriptedStream] = []

    def stream(self, data: bytes, **options: Any) -> ScriptedStream:
        self._streams.append(ScriptedStream(data, **options))
        return self._streams[-1]

    def collaborators(
        self,
        stream: ScriptedStream,
        cache: BlockCache | None = None,
        ahead_bytes: int = 8 * MIB,
        budget: MemoryBudget | None = None,
    ) -> dict[str, Any]:
        cache = cache if cache is not None else MemoryTier(64 * MIB)
        return {
            "open_stream": lambda: stream,
            "cache": cache,
            "wrap": wrap_by(cache, self.pool, self.cancellation, budget=budget),
            **({"budget": budget} if budget is not None else {}),
            "cancellation": self.cancellation,
            "settings": ArchiveSettings(ahead_bytes=ahead_bytes, shared_s=0.0),
            "on_complete": self.completed.append,
        }

    def source(
        self,
        stream: ScriptedStream,
        cache: BlockCache | None = None,
        ahead_bytes: int = 8 * MIB,
        budget: MemoryBudget | None = None,
        **overrides: Callable[..., Any],
    ) -> ArchiveSource:
        collaborators = self.collaborators(stream, cache, ahead_bytes, budget) | overrides
        return archive_source(HANDLE, URL, model_name(label_of(HUB), HANDLE, "v1"), "v1", **collaborators)

    def close(self) -> None:
        self.cancellation.cancel()
        self.pool.shutdown(wait=False, cancel_futures=True)
        for stream in self._streams:
            stream.resume()


def archive_source(
    handle: ModelId,
    url: str,
    model: str,
    identity: str,
    *,
    wrap: Wrap,
    on_complete: Callable[[ArchiveSource], None],
    **collaborators: Any,
) -> ArchiveSource:
    """The source of an archive; for what it has no use for, no collaborators need be named."""
    plenty = {"budget": MemoryBudget(PLENTY_BYTES), "turns": NoTurns()}
    archive = Archive(handle=handle, url=url, model=model, identity=identity, **plenty | collaborators)
    return ArchiveSource(archive, wrap=wrap, on_complete=on_complete)


def source_from_index(model: str, known: ArchiveIndex, **collaborators: Any) -> ArchiveSource:
    """The source of an archive that was complete before."""
    source = archive_source(known.handle, known.url, model, known.identity, stamp=known.stamp, **collaborators)
    source.know(known.members)
    return source


def read(source: ArchiveSource, path: str) -> bytes:
    """All bytes of a file."""
    entry = source.find(path)
    return source.open(entry).read_at(0, entry.size_bytes)
