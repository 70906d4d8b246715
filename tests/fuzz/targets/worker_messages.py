"""What a process that inflates may say, should an archive have taken it over: each message after a byte of its length.

Output comes of it that cannot be verified, which is refused as `WorkerLost`; nothing else.
"""

import os
import socket
from types import SimpleNamespace
from typing import Any

from hubfs.errors import HubfsError
from hubfs.formats.byte_reader import Wanted
from hubfs.formats.gzip.recorder import IndexRecorder
from hubfs.formats.inflating.parallel import ParallelInflater
from hubfs.formats.inflating.process import WorkerLost
from hubfs.formats.inflating.protocol import _FORMAT, SLOT_BYTES, SLOTS, Kind, Ring, anonymous_memory
from hubfs.waiting import Cancellation

WORDS = (*(bytes([_FORMAT.size]) + _FORMAT.pack(kind.value, 3, 5) for kind in Kind), b"\xff" * 8, b"\0\0\x10\0\0\0\0\0")
MAX_BYTES = 600
_SIZE_BYTES = 64 << 20


def fuzz(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = anonymous_memory("output", SLOTS * SLOT_BYTES)
    ring = Ring(memory, SLOTS * SLOT_BYTES)
    recorder = IndexRecorder()
    told, yielded, wanted = [-1], [0], Wanted()
    wanted.size_bytes = SLOT_BYTES * (len(data) % 2)
    process: Any = SimpleNamespace(pid=0, output=ours, output_ring=ring, how_it_ended=lambda: "it was fuzzed")
    feed: Any = SimpleNamespace(
        finished=SimpleNamespace(wait=lambda _: True), is_waiting=False, error=None, trailer=bytes(8)
    )
    try:
        with theirs:
            theirs.setblocking(False)  # what does not fit is not said
            _say(theirs, data)
        inflater = ParallelInflater(_SIZE_BYTES, workers=1, cancellation=Cancellation())

        def on_checkpoint(bit: int, offset_bytes: int) -> None:
            assert told[-1] < bit <= 8 * _SIZE_BYTES
            # A slot ahead of what was said to be filled; of that, less than is wanted waits to be yielded.
            assert offset_bytes <= sum(yielded) + SLOT_BYTES + wanted.size_bytes
            told.append(bit)
            recorder.checkpoint(bit, offset_bytes)

        for output in inflater._output(process, feed, on_checkpoint, wanted):
            yielded.append(len(output))
            assert len(output) <= SLOT_BYTES
            recorder.output(output)
        raise AssertionError("a worker that inflated nothing was believed")
    except WorkerLost:
        pass
    finally:
        ours.close()
        ring.close()
        os.close(memory)
    try:
        recorder.finish(_SIZE_BYTES, bytes(8))
    except HubfsError:
        return


def _say(connection: socket.socket, data: bytes) -> None:
    while data:
        size, data = data[0], data[1:]
        try:
            connection.send(data[:size])
        except OSError:
            return
        data = data[size:]
