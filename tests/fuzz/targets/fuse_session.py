"""What the kernel may ask, or anybody who has its end of the connection: each request after two bytes of its length.

No request ends the session. Each one that has a reply gets one, of the right length, with an errno or without; and the
table of nodes has exactly the lookups that replies told of, and that were not given back.
"""

import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.session import protocol
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Opcode
from hubfs.fuse.session.replies import told_of
from hubfs.fuse.session.session import Session
from tests.support.fuse_kernel import OFFERED
from tests.support.one_model import Cache, OneModel, answers_of

MAX_BYTES = 6000
WORDS = (b"google\0", b"spice\0", b"2\0", b"saved_model.pb\0", b"variables\0", b"latest\0", b"user.hubfs.handle\0")

_SILENT = {Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.NOTIFY_REPLY}
_KNOWN = {opcode.value for opcode in Opcode}
_HEADER = protocol.IN_HEADER


def framed(requests: list[bytes]) -> bytes:
    """An input of these requests."""
    return b"".join(len(request).to_bytes(2, "little") + request for request in requests)


def request(opcode: int, node_id: int = 1, body: bytes = b"", *, unique: int = 2) -> bytes:
    """A request, as the kernel makes it."""
    return _HEADER.pack(_HEADER.size + len(body), opcode, unique, node_id, 0, 0, 0, 0) + body


def _requests(data: bytes) -> list[bytes]:
    found = []
    while len(data) >= 2:
        end = 2 + int.from_bytes(data[:2], "little")
        found.append(data[2:end])
        data = data[end:]
    return found


def fuzz(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        answers = answers_of(OneModel(), Cache(), Path(directory))
        table = NodeTable()
        session: Any = Session(-1, table, answers, Timeouts())
        replies: list[tuple[int, int, bytes]] = []

        def write(unique: int, error: int, body: bytes) -> bool:
            replies.append((unique, error, bytes(body)))
            return True

        session._write = write
        session._interrupts = SimpleNamespace(watch=lambda _: None)
        told: Counter[int] = Counter()
        for message in _requests(data):
            replies.clear()
            session.handle(memoryview(message))
            if len(message) < _HEADER.size:
                assert not replies
                continue
            _, opcode, unique, node_id, *_ = _HEADER.unpack_from(message)
            answered = [reply for reply in replies if reply[0] == unique and reply[1] <= 0]
            if opcode == Opcode.INTERRUPT:
                continue
            # No request of a kernel has the number 0. What one that has it is told counts all the same.
            assert not unique or len(answered) == (opcode not in _SILENT), (opcode, replies)
            if answered:
                ((_, error, body),) = answered
                assert -4095 <= error <= 0
                assert not (error and body)
                if not error:
                    _count(told, opcode, body, message)
            _forget(told, opcode, node_id, message[_HEADER.size :])
        known = {number: node.lookups for number, node in table.items() if number != protocol.ROOT_ID}
        assert known == {number: lookups for number, lookups in told.items() if lookups}
        table.close()


def _count(told: Counter[int], opcode: int, body: bytes, message: bytes) -> None:
    if opcode == Opcode.LOOKUP:
        node_id = protocol.ENTRY_OUT.unpack(body)[0]
        if node_id:
            told[node_id] += 1
    elif opcode in {Opcode.READDIR, Opcode.READDIRPLUS}:
        assert len(body) <= protocol.READ_IN.unpack_from(message, _HEADER.size)[2]
        assert len(body) % 8 == 0
        if opcode == Opcode.READDIRPLUS:
            told.update(told_of(body))
    elif opcode == Opcode.READ:
        assert len(body) <= protocol.READ_IN.unpack_from(message, _HEADER.size)[2]
    elif opcode == Opcode.OPEN:
        assert len(body) == protocol.OPEN_OUT.size


def _forget(told: Counter[int], opcode: int, node_id: int, body: bytes) -> None:
    given_back: list[tuple[int, int]] = []
    if opcode == Opcode.FORGET and len(body) >= 8:
        given_back = [(node_id, protocol.FORGET_IN.unpack_from(body)[0])]
    elif opcode == Opcode.BATCH_FORGET and len(body) >= 8:
        number = protocol.BATCH_FORGET_IN.unpack_from(body)[0]
        whole = range(8, len(body) - protocol.FORGET_ONE.size + 1, protocol.FORGET_ONE.size)
        given_back = [protocol.FORGET_ONE.unpack_from(body, at) for at in whole[:number]]
    for forgotten, lookups in given_back:
        told[forgotten] = max(0, told[forgotten] - lookups)


def repair(data: bytes) -> bytes:
    """With lengths, opcodes and nodes that are there."""
    requests = []
    for message in _requests(data):
        if len(message) >= _HEADER.size:
            _, opcode, unique, node_id, *rest = _HEADER.unpack_from(message)
            opcode = opcode if opcode in _KNOWN else sorted(_KNOWN)[opcode % len(_KNOWN)]
            head = _HEADER.pack(len(message), opcode, unique or 2, 1 + (node_id - 1) % 8, *rest)
            requests.append(head + message[_HEADER.size :])
    return framed(requests)


def seed_session() -> list[bytes]:
    """As a kernel asks: it looks a model up, lists it, reads a file, and forgets."""
    read = protocol.READ_IN.pack(1, 0, 4096, 0, 0, 0, 0)
    ext = protocol.INIT_IN_EXT.pack(7, 45, 1 << 17, OFFERED & 0xFFFF_FFFF, OFFERED >> 32)
    names = ((1, b"google"), (2, b"spice"), (3, b"2"), (4, b"saved_model.pb"), (3, b"latest"), (3, b"nothing"))
    return [
        request(Opcode.INIT, 0, ext),
        *(request(Opcode.LOOKUP, node_id, name + b"\0") for node_id, name in names),
        request(Opcode.GETATTR, 5, bytes(16)),
        request(Opcode.STATX, 5, bytes(24)),
        request(Opcode.OPENDIR, 4, bytes(8)),
        request(Opcode.READDIRPLUS, 4, read),
        request(Opcode.READDIR, 3, read),
        request(Opcode.OPEN, 5, bytes(8)),
        request(Opcode.READ, 5, read),
        request(Opcode.READLINK, 6),
        request(Opcode.GETXATTR, 4, protocol.GETXATTR_IN.pack(100, 0) + b"user.hubfs.handle\0"),
        request(Opcode.STATFS),
        request(Opcode.ACCESS, 5, protocol.ACCESS_IN.pack(1, 0)),
        request(Opcode.RELEASE, 5, protocol.RELEASE_IN.pack(1, 0, 0, 0)),
        request(Opcode.RELEASEDIR, 4, protocol.RELEASE_IN.pack(1, 0, 0, 0)),
        request(Opcode.INTERRUPT, 0, protocol.INTERRUPT_IN.pack(2), unique=3),
        request(Opcode.FORGET, 5, protocol.FORGET_IN.pack(1)),
        request(Opcode.BATCH_FORGET, 0, protocol.BATCH_FORGET_IN.pack(2, 0) + protocol.FORGET_ONE.pack(4, 1) * 2),
        request(Opcode.SETXATTR, 5, b"\4\0\0\0" + bytes(4) + b"user.a\0data"),
        request(Opcode.DESTROY),
    ]
