import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.lazy import LazyBlob
from hubfs.errors import Stale, Unavailable
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract


class TestLazyBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        yield LazyBlob("k", len(payload), lambda: MemoryBlob("k", payload), Cancellation())


def test_it_is_opened_once_whoever_reads() -> None:
    opened = []

    def open_blob() -> Blob:
        opened.append(threading.current_thread())
        return MemoryBlob("k", b"0123456789")

    blob = LazyBlob("k", 10, open_blob, Cancellation())
    assert (blob.key, blob.size_bytes, opened) == ("k", 10, [])
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: blob.read_at(2, 3), range(50))) == {b"234"}
    assert len(opened) == 1


def test_an_error_of_the_opening_is_the_reader_s_and_the_next_one_opens_anew() -> None:
    answers: list[Blob | None] = [None, MemoryBlob("k", b"abc")]

    def open_blob() -> Blob:
        answer = answers.pop(0)
        if answer is None:
            raise Unavailable("not now")
        return answer

    blob = LazyBlob("k", 3, open_blob, Cancellation())
    with pytest.raises(Unavailable, match="not now"):
        blob.read_at(0, 3)
    assert blob.read_at(0, 3) == b"abc"


def test_what_has_another_size_by_now_is_stale() -> None:
    blob = LazyBlob("k", 3, lambda: MemoryBlob("k", b"abcd"), Cancellation())
    with pytest.raises(Stale, match="has 4 bytes by now"):
        blob.read_at(0, 3)
