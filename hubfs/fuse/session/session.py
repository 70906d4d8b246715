"""A session with the kernel: requests are read from a descriptor of /dev/fuse, and answered there, by many threads."""

import errno
import logging
import os
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter

from hubfs.fuse.answers import Answers
from hubfs.fuse.errnos import told
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.passthrough import Passthrough
from hubfs.fuse.session import init, protocol
from hubfs.fuse.session.handlers import Handlers, Malformed
from hubfs.fuse.session.interrupts import Interrupts
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Init, Notify, Opcode

_log = logging.getLogger(__name__)

THREADS = init.BACKGROUND + 32
"""Enough that readers who wait for an archive do not keep others from the cache (libfuse 3's default: 10), and more
than there are background reads: no signal ends one of those, and a mount whose threads all wait does not even tell its
status."""

_MOST_IDLE = 10
"""A thread that is done while so many wait for a request ends (libfuse 3's default): a burst of readers leaves none."""

_MOST_ABANDONED = 64
"""So many threads more may be there, while others wait on for readers that were killed."""

_REQUEST_BYTES = 2 * protocol.MIN_READ_BUFFER

_NAMES: Mapping[int, str] = {opcode: opcode.name.lower() for opcode in Opcode}
"""Of operations, for those who count and log them."""

_WITHOUT_REPLY = (Opcode.FORGET, Opcode.BATCH_FORGET)

_ENDED = (errno.ENODEV, errno.ECONNABORTED)
_AGAIN = (errno.EINTR, errno.EAGAIN, errno.ENOENT)
"""Of reading a request: ENOENT is one that was taken back."""


class Session:
    """Serves one connection with the kernel, however it was mounted.

    `table` is empty for a mount that is new, and the table of an earlier process for one that this process takes over:
    then the kernel is asked to send again what that process left unanswered.

    Who takes a request out of `_waiting` answers it: the thread that handles it, or the one that finds its reader dead.
    Both do so by one `dict.pop`, which is atomic. `_lock` guards `_threads`, `_idle` and `_abandoned`.
    """

    def __init__(
        self,
        descriptor: int,
        table: NodeTable,
        answers: Answers,
        timeouts: Timeouts,
        *,
        passthrough: Passthrough | None = None,
        on_agreed: Callable[[Init], None] = lambda _: None,
    ) -> None:
        """`on_agreed` is told the flags that both sides have."""
        self._descriptor = descriptor
        self._table = table
        self._stack_depth = 0 if passthrough is None else passthrough.stack_depth
        self._on_agreed = on_agreed
        self._over = threading.Event()
        self._counts = answers.counts
        self._handlers = Handlers(
            *(answers, table, timeouts),
            passthrough=passthrough,
            forget_attributes=self.forget,
            knows=self._is_known,
            over=self._over,
        )
        self._nothing = self._handlers.nothing
        answers.watch(self._handlers.dropped)
        self._waiting: dict[int, int] = {}
        self._interrupts = Interrupts(self._waiting, self._abandon)
        self._lock = threading.Lock()
        self._threads = self._idle = self._abandoned = 0
        self._error: Exception | None = None
        self.handled = 0
        """How many requests, about: threads count without a lock, for the one that looks whether it changes."""

    @property
    def waiting(self) -> int:
        """How many requests are being handled, for readers that still wait."""
        return len(self._waiting)

    def run(self) -> None:
        """Serves until the mount is taken off and every request is answered. Raises what made it impossible."""
        if self._table.agreed:
            self._on_agreed(Init(self._table.agreed))
            self.resend()
            self._handlers.untold.take_up()
            with suppress(RuntimeError):  # no thread is left
                threading.Thread(target=self._handlers.left_open.take_up, name="left open", daemon=True).start()
        self._begin_thread()
        self._over.wait()
        self._handlers.untold.end()
        if self._error is not None:
            raise self._error

    def forget(self, node_id: int) -> None:
        """Has the kernel ask for the attributes of a node anew. Its pages stay."""
        self._notify(Notify.INVAL_INODE, protocol.NOTIFY_INVAL_INODE_OUT.pack(node_id, -1, 0))

    def _is_known(self, node_id: int) -> bool:
        """Whether the kernel knows a node. It is asked to store no bytes there, and says ENOENT if it does not."""
        body = protocol.NOTIFY_STORE_OUT.pack(node_id, 0, 0)
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(body), Notify.STORE, 0)
        try:
            os.writev(self._descriptor, (header, body))
        except OSError as error:
            return error.errno != errno.ENOENT
        return True

    def resend(self) -> None:
        """Has the kernel send every request again that has no reply."""
        if self._table.agreed & Init.HAS_RESEND:
            self._notify(Notify.RESEND, b"")

    def _notify(self, code: Notify, body: bytes) -> None:
        self._write(0, code, body)

    def _write(self, unique: int, error: int, body: bytes | bytearray | memoryview) -> bool:
        """Whether the kernel took it: not for a request that it gave up, or of a node that it has forgotten."""
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(body), error, unique)
        try:
            os.writev(self._descriptor, (header, body) if body else (header,))
        except OSError as failed:
            if failed.errno not in (errno.ENOENT, *_ENDED):
                _log.warning("The kernel does not take a reply of %d bytes (%d): %s", len(body), error, failed)
            return False
        return True

    def _begin_thread(self) -> None:
        with self._lock:
            self._threads += 1
            self._idle += 1
            number = self._threads
        try:
            threading.Thread(target=self._work, name=f"fuse-{number}", daemon=True).start()
        except RuntimeError:  # no thread left: those that there are go on
            with self._lock:
                self._threads -= 1
                self._idle -= 1
            if not self._threads:
                raise

    def _work(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - told to the thread that serves
            _log.exception("The session with the kernel failed")
            self._error = error
        with self._lock:
            self._threads -= 1
            last = not self._threads
        if last:
            self._over.set()

    def _serve(self) -> None:
        # Every page is there before the kernel writes to it: one that had to be brought while the process is killed
        # would make the request fail, and its reader with it, though a successor could answer.
        request = bytearray(b"-") * _REQUEST_BYTES
        buffers, view = [request], memoryview(request)
        while True:
            try:
                length = os.readv(self._descriptor, buffers)
            except OSError as error:
                if error.errno in _AGAIN:
                    continue
                if error.errno in _ENDED:
                    return
                raise
            if not length:
                return
            with self._lock:
                self._idle -= 1
                more = not self._idle and self._threads < THREADS + min(self._abandoned, _MOST_ABANDONED)
            if more:
                self._begin_thread()
            self.handle(view[:length])
            with self._lock:
                if self._idle >= _MOST_IDLE:
                    return
                self._idle += 1

    def handle(self, request: memoryview) -> None:
        """Answers one request. Never raises for what a request says."""
        if len(request) < protocol.IN_HEADER.size:
            return
        _, opcode, unique, node_id, _, _, thread_id, _ = protocol.IN_HEADER.unpack_from(request)
        body = request[protocol.IN_HEADER.size :]
        handler = self._handlers.table.get(opcode)
        if handler is None:
            self._handle_other(opcode, unique, body)
            return
        self._waiting[unique] = thread_id
        began_s = perf_counter()
        try:
            reply = handler(node_id, body)
        except Exception as raised:  # noqa: BLE001 - the boundary: behind it is the kernel
            reply = self._errno(raised, opcode, node_id, body)
        took_s = perf_counter() - began_s
        self.handled += 1
        mine = self._waiting.pop(unique, None) is not None
        if not mine:
            with self._lock:
                self._abandoned -= 1
        if reply is None:
            return
        if isinstance(reply, int):
            if mine and opcode not in _WITHOUT_REPLY:
                self._write(unique, -reply, b"")
            self._counts.add(_NAMES[opcode], reply, took_s)
        else:
            if not (mine and self._write(unique, 0, reply)):
                self._handlers.undo(opcode, node_id, reply)
            error = errno.ENOENT if reply is self._nothing else 0
            self._counts.add(_NAMES[opcode], error, took_s, len(reply))  # the reader goes on meanwhile

    def _errno(self, raised: Exception, opcode: int, node_id: int, body: memoryview) -> int:
        if isinstance(raised, Malformed | struct.error):
            return errno.EINVAL
        return told(raised, _NAMES[opcode], self._handlers.subject(opcode, node_id, body))

    def _handle_other(self, opcode: int, unique: int, body: memoryview) -> None:
        match opcode:
            case Opcode.INTERRUPT:
                self._interrupt(unique, body)
            case Opcode.INIT:
                self._initialize(unique, body)
            case Opcode.DESTROY:
                self._write(unique, 0, b"")
            case Opcode.NOTIFY_REPLY:  # never asked for, and has no reply
                pass
            case _:  # the kernel then does without: no holes, no flush, nothing to sync, its own locks
                self._write(unique, -errno.ENOSYS, b"")

    def _initialize(self, unique: int, body: memoryview) -> None:
        try:
            agreement = init.agree(body, stack_depth=self._stack_depth)
        except (init.TooOld, struct.error) as error:
            _log.error("The kernel's INIT is refused: %s", error)
            self._write(unique, -errno.EPROTO, b"")
            return
        if agreement.flags is not None:
            self._table.agree(agreement.flags)
            self._on_agreed(Init(agreement.flags))
        self._write(unique, 0, agreement.reply)

    def _interrupt(self, unique: int, body: memoryview) -> None:
        if len(body) < protocol.INTERRUPT_IN.size:
            return
        interrupted = protocol.INTERRUPT_IN.unpack_from(body)[0]
        if interrupted in self._waiting:
            self._interrupts.watch(interrupted)
        else:  # answered since, or read by a thread that has not got that far: then the kernel says so once more
            self._write(unique, -errno.EAGAIN, b"")

    def _abandon(self, unique: int) -> None:
        """Answers a request whose reader is gone. What handles it goes on, and its result stays in the cache."""
        with self._lock:
            if self._waiting.pop(unique, None) is None:
                return
            self._abandoned += 1
        self._write(unique, -errno.EINTR, b"")
