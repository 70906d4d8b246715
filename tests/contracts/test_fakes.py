"""What `hubfs.testing` gives out keeps the promises of the interfaces that it stands for."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hubfs.blobs.blob import Blob
from hubfs.errors import TimedOut, Unavailable
from hubfs.sources.source import Form, Source
from hubfs.testing import Clock, MemorySource, ScriptedBlob
from tests.contracts.blob_contract import BlobContract
from tests.contracts.source_contract import HANDLE, SourceContract


class TestScriptedBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        yield ScriptedBlob(payload)


class TestMemorySource(SourceContract):
    form = Form.UNCOMPRESSED
    test_its_index_survives_json = None  # it has none: it is in memory, whole

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        identity = hashlib.sha256(b"".join(files.values())).hexdigest()
        yield MemorySource(files, handle=HANDLE, identity=identity)


def test_a_blob_fails_as_often_as_it_was_told_and_notes_all_reads() -> None:
    blob = ScriptedBlob(b"0123456789")
    blob.fail(TimedOut("slow"), None)
    blob.error = Unavailable("gone")
    with pytest.raises(TimedOut, match="slow"):
        blob.read_at(0, 4)
    assert blob.read_at(8, 4) == b"89"
    with pytest.raises(Unavailable, match="gone"):
        blob.read_at(2, 3)
    assert blob.reads == [(0, 4), (8, 4), (2, 3)]
    assert (blob.asked_bytes, blob.read_bytes) == (11, 2)


def test_a_paused_blob_answers_once_it_is_resumed() -> None:
    blob = ScriptedBlob(b"0123456789")
    blob.pause()
    with ThreadPoolExecutor(2) as readers:
        reads = [readers.submit(blob.read_at, place, 1) for place in (3, 4)]
        assert blob.wait_for_reads(2)
        assert not blob.wait_for_reads(3, timeout_s=0.01)
        assert not any(read.done() for read in reads)
        blob.resume()
        assert [read.result(60) for read in reads] == [b"3", b"4"]


def test_a_blob_is_as_slow_as_it_was_told_and_slow_for_each_reader_alone() -> None:
    blob = ScriptedBlob(b"0123456789", delay_s=0.05)
    together = threading.Barrier(4)

    def read(place: int) -> bytes:
        together.wait(60)
        return blob.read_at(place, 1)

    began_s = time.monotonic()
    with ThreadPoolExecutor(4) as readers:
        assert [*readers.map(read, range(4))] == [b"0", b"1", b"2", b"3"]
    assert time.monotonic() - began_s >= 0.05


def test_a_clock_moves_when_it_is_moved() -> None:
    clock = Clock(7.0)
    assert clock() == clock() == 7.0
    clock.now_s += 0.5
    assert clock() == 7.5


def test_a_source_that_was_failed_says_so() -> None:
    source = MemorySource({"saved_model.pb": b"graph"})
    source.fail(Unavailable("gone"))
    with pytest.raises(Unavailable, match="gone"):
        source.find("saved_model.pb")
