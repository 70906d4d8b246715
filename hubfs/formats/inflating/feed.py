"""The thread that carries compressed chunks from the network to the inflating process."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import Bytes
from hubfs.formats.gzip.index import TRAILER_BYTES
from hubfs.formats.inflating.process import WorkerProcess
from hubfs.formats.inflating.protocol import Kind, Message, Window, receive, send


class WorkerGone(Exception):
    """The process ended while it was fed."""


def close(chunks: Iterable[Bytes]) -> None:
    """Closes what can be closed: a generator, which may hold a connection."""
    close_it = getattr(chunks, "close", None)
    if close_it is not None:
        close_it()


class WorkerFeed:
    """Feeds `chunks` to `process` in a thread of its own, as far ahead as the ring allows.

    The thread ends when all was fed and the process is gone; when `chunks` or their size fail, which ends the process;
    or when the process ends. It waits for nothing else than `chunks` and the process. `chunks` is closed by it.

    `finished` is set once `chunks` ended or failed. Before that, only `is_waiting` may be read; after it, `error` and
    `trailer` do not change any more. No field needs a lock.
    """

    def __init__(self, process: WorkerProcess, chunks: Iterable[Bytes], size_bytes: int, window: Window) -> None:
        self.finished = threading.Event()
        self.is_waiting = False
        """Whether it waits for the next chunk."""
        self.error: BaseException | None = None
        self._process, self._chunks, self._size_bytes = process, chunks, size_bytes
        self._ring_bytes = window.size_bytes
        self._limit = window.limit(0)
        self._fed_bytes = 0
        self._tail: deque[int] = deque(maxlen=TRAILER_BYTES)
        self._thread = threading.Thread(target=self._run, name="feed-inflate", daemon=True)

    @property
    def trailer(self) -> bytes:
        """The last bytes of the file."""
        return bytes(self._tail)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the end of the thread, which comes with that of the process unless `chunks` takes its time."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self._process.close_input)
            try:
                for chunk in self._pulled():
                    self._put(chunk)
                self._check_size()
            except WorkerGone:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again where the output is awaited
                self.error = error
            self.finished.set()
            if self.error is None:
                # The process is left its input until it has used all of it.
                with contextlib.suppress(WorkerGone):
                    while True:
                        self._hear()

    def _pulled(self) -> Iterator[Bytes]:
        chunks = iter(self._chunks)
        try:
            while True:
                self.is_waiting = True
                try:
                    chunk = next(chunks, None)
                finally:
                    self.is_waiting = False
                if chunk is None:
                    return
                yield chunk
        finally:
            close(chunks)

    def _put(self, chunk: Bytes) -> None:
        if self._fed_bytes + len(chunk) > self._size_bytes:
            raise Damaged(f"the archive is longer than the {self._size_bytes} bytes announced")
        self._tail.extend(chunk[-TRAILER_BYTES:])
        rest = memoryview(chunk)
        while rest:
            while self._limit <= self._fed_bytes:
                self._hear()
            part = rest[: min(self._limit - self._fed_bytes, self._ring_bytes)]  # whatever the process says
            self._process.input_ring.write(self._fed_bytes, part)
            rest = rest[len(part) :]
            self._fed_bytes += len(part)
            try:
                send(self._process.input, Message(Kind.FED, self._fed_bytes))
            except OSError as error:
                raise WorkerGone from error

    def _check_size(self) -> None:
        if self._fed_bytes < self._size_bytes:
            raise Damaged(f"the archive ended early, after {self._fed_bytes} of the {self._size_bytes} bytes announced")

    def _hear(self) -> None:
        """Waits for the process to make room. It ends: when it is done, on a cancel, or when nobody consumes it."""
        try:
            message = receive(self._process.input)
        except OSError as error:
            raise WorkerGone from error
        if message is None:
            raise WorkerGone
        self._limit = message.number
