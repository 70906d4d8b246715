import io
import os
import socket
import threading

import pytest

from hubfs.formats.inflating import worker as inflate_worker
from hubfs.formats.inflating.protocol import (
    MIB,
    SLOT_BYTES,
    SLOTS,
    Kind,
    Message,
    Ring,
    Window,
    anonymous_memory,
    receive,
    send,
)
from hubfs.formats.inflating.worker import CompressedFile
from tests.support.archives import gzipped

WINDOW = Window(chunk_bytes=MIB, workers=1)
SIZE = 4 * WINDOW.size_bytes


class GaveUp(Exception):
    pass


class Daemon:
    """What the daemon does for the file, step by step."""

    def __init__(self):
        descriptor = anonymous_memory("test", WINDOW.size_bytes)
        self.ring = Ring(descriptor, WINDOW.size_bytes)
        os.close(descriptor)
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(60)
        self._theirs = theirs
        self.file = CompressedFile(self.ring, theirs, SIZE, WINDOW, self._give_up)
        self.listening = threading.Thread(target=self.file.listen)
        self.listening.start()

    def feed(self, end):
        send(self.connection, Message(Kind.FED, end))

    def _give_up(self, reason):
        raise GaveUp(reason)

    def close(self):
        self.connection.close()
        self.listening.join(60)
        assert not self.listening.is_alive()
        self._theirs.close()
        self.ring.close()


@pytest.fixture
def daemon():
    daemon = Daemon()
    yield daemon
    daemon.close()


def in_thread(call):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_it_is_a_seekable_file_of_known_size(daemon):
    file = daemon.file
    assert file.seekable()
    assert file.seek(0, io.SEEK_END) == SIZE
    assert file.read(10) == b""
    assert file.seek(-5, io.SEEK_CUR) == SIZE - 5
    assert file.seek(7) == file.tell() == 7


def test_a_read_waits_until_all_of_its_bytes_are_there(daemon):
    daemon.ring.write(0, b"0123456789")
    thread, answers = in_thread(lambda: daemon.file.read(8))
    daemon.feed(7)
    thread.join(0.1)
    assert thread.is_alive()
    daemon.feed(10)
    thread.join(60)
    assert answers == [b"01234567"]
    assert daemon.file.tell() == 8


def test_a_read_beyond_what_may_be_written_asks_for_room(daemon):
    first_limit = WINDOW.limit(0)
    daemon.file.seek(first_limit)
    thread, answers = in_thread(lambda: daemon.file.read(10))
    message = receive(daemon.connection)
    assert (message.kind, message.number) == (Kind.ROOM, WINDOW.limit(first_limit + 10))
    daemon.ring.write(first_limit, b"abcdefghij")
    daemon.feed(first_limit + 10)
    thread.join(60)
    assert answers == [b"abcdefghij"]


def test_bytes_that_may_have_left_the_ring_are_never_read(daemon):
    daemon.feed(SIZE)
    foremost = SIZE // 2
    daemon.file.seek(foremost - 10)
    daemon.file.read(10)
    oldest = WINDOW.begin(WINDOW.limit(foremost))
    daemon.file.seek(oldest)
    assert len(daemon.file.read(10)) == 10
    daemon.file.seek(oldest - 1)
    with pytest.raises(GaveUp, match="behind its foremost read"):
        daemon.file.read(10)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("chunk", [MIB, 2 * MIB])
def test_the_window_keeps_what_the_threads_still_need_and_room_to_read_on(workers, chunk):
    window = Window(chunk, workers)
    assert window.limit(0) == window.size_bytes
    assert window.begin(window.limit(0)) == 0
    for wanted in (window.size_bytes, 10 * window.size_bytes + 1):
        assert window.limit(wanted) >= wanted + MIB
        assert window.begin(window.limit(wanted)) <= wanted - (2 * workers + 2) * chunk


def test_an_archive_that_takes_too_much_memory_is_given_up(monkeypatch):
    monkeypatch.setattr(inflate_worker, "_RESIDENT_BYTES", 0)
    monkeypatch.setattr(inflate_worker, "_RESIDENT_PER_WORKER_BYTES", inflate_worker.resident_bytes() - 1)
    descriptor = anonymous_memory("test", SLOTS * SLOT_BYTES)
    connection, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    output = Ring(descriptor, SLOTS * SLOT_BYTES)
    os.close(descriptor)
    with connection, ours, pytest.raises(MemoryError, match="MiB are in use after 0 MiB"):
        inflate_worker.inflate(io.BytesIO(gzipped(bytes(1000))), WINDOW, output, connection)
