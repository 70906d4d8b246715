import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hubfs.formats.inflating.feed import WorkerFeed
from hubfs.formats.inflating.protocol import Kind, Message, Ring, Window, anonymous_memory, receive, send

WINDOW = Window(chunk_bytes=64 << 10, workers=1)


@pytest.fixture
def worker() -> Iterator[Any]:
    """The two ends of a process that inflates: `theirs` is what it speaks through."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = anonymous_memory("input", WINDOW.size_bytes)
    ring = Ring(memory, WINDOW.size_bytes)
    with ours, theirs:
        theirs.settimeout(60)
        yield SimpleNamespace(input=ours, input_ring=ring, close_input=ours.close, theirs=theirs)
    ring.close()
    os.close(memory)


@pytest.mark.parametrize("said", [WINDOW.size_bytes + 1, 1 << 40, (1 << 64) - 1])
def test_no_more_is_written_at_once_than_the_ring_holds_whatever_the_process_asks_for(worker: Any, said: int):
    archive = os.urandom(3 * WINDOW.size_bytes + 1000)
    feed = WorkerFeed(worker, [archive], len(archive), WINDOW)
    send(worker.theirs, Message(Kind.ROOM, said))
    feed.start()
    told = 0
    while told < len(archive):
        message = receive(worker.theirs)
        assert message is not None, f"the feed ended after {told} bytes: {feed.error!r}"
        assert message.kind is Kind.FED
        assert 0 < message.number - told <= WINDOW.size_bytes
        told = message.number
        if told < len(archive):
            send(worker.theirs, Message(Kind.ROOM, max(said, told + WINDOW.size_bytes + 1)))
    assert told == len(archive)
    assert worker.input_ring.read(told - WINDOW.size_bytes, WINDOW.size_bytes) == archive[-WINDOW.size_bytes :]
    worker.theirs.close()
    feed.join(60)
    assert feed.finished.is_set()
    assert feed.error is None
    assert feed.trailer == archive[-8:]
