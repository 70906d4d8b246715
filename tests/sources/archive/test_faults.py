"""What readers of an archive learn when its transfer or its bytes fail."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from typing import Any

import pytest

from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.errors import (
    AccessDenied,
    Cancelled,
    Damaged,
    EntryNotFound,
    HubfsError,
    ModelNotFound,
    Stale,
    TimedOut,
    Unavailable,
)
from hubfs.sources.archive import progress as archive_progress
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.archive.source import ArchiveSource
from hubfs.testing import Clock
from tests.support.archives import flipped, gzipped, model_files, tar_of
from tests.support.streams import MIB, URL, Desk, NoCache, ScriptedStream, read
from tests.support.waiting import eventually

FILES = model_files(variables_bytes=3 * MIB)
WEIGHTS = "variables/variables.data-00000-of-00001"
TAR = tar_of(FILES)
PACKED = gzipped(TAR)
WITHOUT_END = TAR[: -(-len(TAR.rstrip(b"\0")) // 512) * 512]


class Dropping(MemoryTier):
    """Counts what is dropped."""

    def __init__(self) -> None:
        super().__init__(64 * MIB)
        self.dropped: list[str] = []

    def drop(self, model: str) -> None:
        self.dropped.append(model)
        super().drop(model)


@pytest.fixture
def cache() -> Dropping:
    return Dropping()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def ask_everything(pool: ThreadPoolExecutor, source: ArchiveSource) -> list[Future[Any]]:
    """Sixteen who wait: for the end, for an entry, for bytes."""
    questions: list[Callable[[], Any]] = [
        source.entries,
        lambda: source.find("nothing"),
        lambda: read(source, "saved_model.pb"),
        lambda: read(source, "fingerprint.pb"),
    ]
    return [pool.submit(question) for question in 4 * questions]


def test_damage_at_the_very_end_fails_what_was_served_before(
    desk: Desk, cache: Dropping, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    stream = desk.stream(flipped(PACKED, 8 * (len(PACKED) - 8)))
    stream.pause_at(len(PACKED) - 8)
    source = desk.source(stream, cache)
    blob = source.open(source.find(WEIGHTS))
    assert {path: read(source, path) for path in FILES} == FILES
    waiting = [pool.submit(source.entries), pool.submit(source.find, "nothing")]
    stream.resume()
    questions: list[Callable[[], Any]] = [
        *(future.result for future in waiting),
        source.entries,
        lambda: source.find("saved_model.pb"),
        lambda: source.find(""),
        lambda: source.open(source.find(WEIGHTS)),
        lambda: blob.read_at(0, 10),
        lambda: read(source, "fingerprint.pb"),
    ]
    for question in questions:
        with pytest.raises(Damaged, match=re.escape(URL) + ".*(CRC|checksum)"):
            question()
    assert isinstance(source.failure, Damaged)
    assert eventually(lambda: cache.dropped == [source.model])
    assert cache.cached_bytes(source.model) == 0
    assert not source.complete
    assert not desk.completed
    assert stream.transfers == 1
    assert [record.levelno for record in caplog.records if URL in record.message] == [logging.ERROR]


@pytest.mark.parametrize(
    "data",
    [PACKED[:-1], PACKED[: len(PACKED) // 2], WITHOUT_END, flipped(PACKED, 8 * len(PACKED) // 2), b"", b"<html>" * 200],
    ids=["a-byte-short", "half", "no-end-marker", "flipped", "empty", "html"],
)
def test_damage_is_for_good_and_says_where(desk: Desk, cache: Dropping, data: bytes) -> None:
    stream = desk.stream(data)
    source = desk.source(stream, cache)
    for _ in range(3):
        with pytest.raises(Damaged, match=re.escape(URL)):
            source.entries()
    assert stream.transfers == 1
    assert stream.closed == 1
    assert not desk.completed
    assert eventually(lambda: cache.dropped == [source.model])


def test_a_hostile_archive_is_refused_with_the_reason(desk: Desk) -> None:
    source = desk.source(desk.stream(tar_of({"../evil": b"x"}, directories=False)))
    with pytest.raises(Damaged, match=re.escape(URL) + r".*\.\./evil"):
        source.entries()


def test_an_origin_that_changed_in_mid_stream_fails_for_good(desk: Desk, cache: Dropping) -> None:
    stream = desk.stream(TAR)
    stream.fail_at(MIB, Stale(f"{URL} changed"))
    source = desk.source(stream, cache)
    for _ in range(2):
        with pytest.raises(Stale, match=f"{URL} changed"):
            source.entries()
    with pytest.raises(Stale):
        source.find("assets/vocab.txt")
    assert isinstance(source.failure, Stale)
    assert stream.transfers == 1
    assert eventually(lambda: cache.dropped == [source.model])


def test_another_identity_is_stale_before_a_byte_was_asked_for(desk: Desk, cache: Dropping) -> None:
    stream = desk.stream(TAR, identity="v2")
    source = desk.source(stream, cache)
    with pytest.raises(Stale, match=re.escape(URL)):
        source.find("saved_model.pb")
    assert stream.transfers == 0


@pytest.mark.parametrize("kind", [TimedOut, Unavailable, AccessDenied, ModelNotFound])
def test_a_transfer_that_broke_is_told_to_all_who_wait_and_the_next_question_asks_again(
    desk: Desk, cache: Dropping, pool: ThreadPoolExecutor, kind: type[HubfsError]
) -> None:
    stream = desk.stream(TAR)
    stream.pause_at(MIB)
    stream.fail_at(MIB + 1, kind(f"{URL} is out of order"))
    source = desk.source(stream, cache)
    waiting = ask_everything(pool, source)
    assert eventually(lambda: len(source._progress._questions) == 16)
    stream.resume()
    for future in waiting:
        with pytest.raises(kind, match="out of order"):
            future.result(60)
    assert source.failure is None
    assert stream.transfers == 1
    assert {path: read(source, path) for path in FILES} == FILES
    assert len(source.entries()) == len(FILES) + 2
    assert stream.transfers == 2
    assert not cache.dropped
    assert desk.completed == [source]


def test_what_came_by_before_a_transfer_broke_is_given_out(desk: Desk, pool: ThreadPoolExecutor) -> None:
    stream = desk.stream(TAR)
    stream.fail_at(MIB, *4 * [Unavailable("gone")])
    source = desk.source(stream)
    assert read(source, "assets/vocab.txt") == FILES["assets/vocab.txt"]
    for _ in range(3):
        with pytest.raises(Unavailable):
            source.entries()
    assert read(source, "assets/vocab.txt") == FILES["assets/vocab.txt"]


def test_a_reader_gets_the_block_that_came_by_just_before_the_transfer_broke(desk: Desk) -> None:
    cut = TAR.index(FILES["assets/vocab.txt"]) + len(FILES["assets/vocab.txt"])
    for _ in range(50):
        stream = desk.stream(TAR)
        stream.fail_at(cut, Unavailable("gone"), Unavailable("gone again"))
        source = desk.source(stream, NoCache(), 0)
        assert read(source, "assets/vocab.txt") == FILES["assets/vocab.txt"]


def test_a_host_that_cannot_be_asked_is_an_error_of_the_question(desk: Desk) -> None:
    answers: list[Any] = [Unavailable("no route"), desk.stream(TAR)]

    def open_stream() -> ScriptedStream:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    source = desk.source(desk.stream(TAR), open_stream=open_stream)
    with pytest.raises(Unavailable, match="no route"):
        source.entries()
    assert len(source.entries()) == len(FILES) + 2


def test_a_cancel_ends_all_waits(desk: Desk, pool: ThreadPoolExecutor) -> None:
    stream = desk.stream(TAR)
    stream.pause_at(MIB)
    source = desk.source(stream)
    waiting = ask_everything(pool, source)
    assert eventually(lambda: len(source._progress._questions) == 16)
    desk.cancellation.cancel()
    wait_for_futures(waiting, 20)
    for future in waiting:
        assert isinstance(future.exception(0), Cancelled)
    with pytest.raises(Cancelled):
        source.entries()
    assert source.failure is None


def test_a_cancel_ends_a_pass_that_waits_for_its_readers(desk: Desk) -> None:
    stream = desk.stream(TAR)
    source = desk.source(stream, NoCache(), 0)
    assert read(source, "assets/vocab.txt") == FILES["assets/vocab.txt"]
    assert stream.closed == 0
    desk.cancellation.cancel()
    assert eventually(lambda: stream.closed == 1)


def test_a_stream_that_stands_still_is_given_up(
    desk: Desk, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_progress, "_STALL_S", 0.3)
    stream = desk.stream(TAR)
    stream.pause_at(MIB)
    source = desk.source(stream)
    for future in ask_everything(pool, source):
        with pytest.raises(TimedOut, match=r"google/spice/2"):
            future.result(60)
    stream.resume()
    assert read(source, "saved_model.pb") == FILES["saved_model.pb"]
    assert stream.transfers == 1


@pytest.mark.slow
def test_a_stream_that_crawls_is_waited_for(desk: Desk, pool: ThreadPoolExecutor, monkeypatch: Any) -> None:
    monkeypatch.setattr(archive_progress, "_STALL_S", 2.0)
    stream = desk.stream(TAR)
    stream.pause_at(1)
    source = desk.source(stream)
    listing = pool.submit(source.entries)
    for offset in range(MIB // 4, 3 * MIB + 1, MIB // 4):
        stream.pause_at(offset)
        time.sleep(0.2)
    stream.resume()
    assert len(listing.result(60)) == len(FILES) + 2


class Broken(MemoryTier):
    """A cache that raises, which none may, where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__(64 * MIB)
        self.where = where

    def put(self, key: CacheKey, index: int, block: bytes) -> bool:
        self._break("put")
        return super().put(key, index, block)

    def hold(self, model: str) -> Callable[[], None]:
        self._break("hold")
        return super().hold(model)

    def _break(self, where: str) -> None:
        if where == self.where:
            self.where = ""
            raise ZeroDivisionError(f"bug in {where}")


@pytest.mark.parametrize("where", ["put", "hold", "open_stream", "chunks"])
def test_a_bug_hangs_no_reader(
    desk: Desk, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    stream = desk.stream(TAR)
    if where == "chunks":
        stream.fail_at(MIB, ZeroDivisionError("bug in chunks"))
    cache: BlockCache = Broken(where)
    bugs = [where] if where == "open_stream" else []

    def open_stream() -> ScriptedStream:
        if bugs:
            raise ZeroDivisionError(f"bug in {bugs.pop()}")
        return stream

    source = desk.source(stream, cache, open_stream=open_stream)
    with pytest.raises(HubfsError, match=f"{re.escape(URL)}.*bug in {where}"):
        source.entries()
    assert "Traceback" in caplog.text
    assert source.failure is None
    assert {path: read(source, path) for path in FILES} == FILES


def test_an_index_that_cannot_be_kept_fails_no_reader(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def cannot(_: ArchiveSource) -> None:
        raise ValueError("bug in the store")

    stream = desk.stream(TAR)
    source = desk.source(stream, on_complete=cannot)
    assert len(source.entries()) == len(FILES) + 2
    assert source.complete
    assert {path: read(source, path) for path in FILES} == FILES
    assert stream.transfers == 1
    assert eventually(lambda: "bug in the store" in caplog.text)


def test_no_thread_left_is_an_error_of_the_question(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    source = desk.source(desk.stream(TAR))

    def cannot(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", cannot)
        with pytest.raises(RuntimeError, match="new thread"):
            source.entries()
    assert len(source.entries()) == len(FILES) + 2


def test_a_failure_that_is_raised_often_does_not_grow(desk: Desk) -> None:
    source = desk.source(desk.stream(b"no archive"))
    for _ in range(100):
        with pytest.raises(Damaged):
            source.find("x")
    frames, trace = 0, source.failure.__traceback__ if source.failure else None
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    assert 0 < frames < 10


def test_a_missing_entry_is_no_failure(desk: Desk, cache: Dropping) -> None:
    source = desk.source(desk.stream(TAR), cache)
    with pytest.raises(EntryNotFound):
        source.find("nothing")
    assert source.failure is None
    assert not cache.dropped


@pytest.mark.parametrize("error", [TimedOut, Unavailable])
def test_readers_who_ask_one_after_the_other_share_the_error_of_one_pass(
    desk, monkeypatch, error: type[HubfsError]
) -> None:
    clock = Clock()
    monkeypatch.setattr(archive_progress, "monotonic", clock)
    stream = desk.stream(gzipped(tar_of({"a": b"a"})))
    opened: list[float] = []

    def open_stream() -> ScriptedStream:
        opened.append(time.monotonic())
        if len(opened) == 1:
            raise error("the host was silent")
        return stream

    settings = ArchiveSettings(ahead_bytes=1 << 20, shared_s=0.5)
    source = desk.source(stream, open_stream=open_stream, settings=settings)
    for _ in range(3):
        with pytest.raises(error, match="the host was silent"):
            source.find("a")
    assert len(opened) == 1
    clock.now_s += 0.5
    assert source.find("a").size_bytes == 1
