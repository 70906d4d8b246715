"""What a pass notes down, so that the next reader of a lost block needs none."""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import Bytes
from hubfs.formats.gzip.index import TRAILER_BYTES
from hubfs.formats.gzip.recorder import IndexRecorder
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.formats.limits import is_hollow

_MAGIC = b"\x1f\x8b"

_log = logging.getLogger(__name__)


class ArchiveRecording:
    """Watches one pass: the archive as it comes in, and what it inflates to. For one pass.

    `name` is the archive's, for messages. Unless it is `useful`, nothing is noted down. All of an archive is kept that
    `is_small`. The two sides may be watched by two threads; `index_file` is asked when both have ended.
    """

    def __init__(self, name: str, *, useful: bool, is_small: bool = False) -> None:
        self._name = name
        self._recorder = IndexRecorder() if useful else None
        self.why_none = ""
        """Why there is no index, if there should be one."""

        self._parts: list[bytes] | None = [] if is_small else None
        self._head = self._tail = b""
        self._size_bytes = self._output_bytes = 0

    @property
    def read_bytes(self) -> int:
        """How much of the archive came in so far."""
        return self._size_bytes

    @property
    def whole(self) -> bytes | None:
        """All that came in, if the archive is small."""
        return None if self._parts is None else b"".join(self._parts)

    @property
    def is_gzip(self) -> bool:
        """Whether what came in so far is gzip: the inflater verifies its checksum and length."""
        return self._head.startswith(_MAGIC)

    def compressed(self, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """The same chunks; they are closed with it. Raises `Damaged` once nothing seems to come of them."""
        try:
            for chunk in chunks:
                self._size_bytes += len(chunk)
                if is_hollow(self._size_bytes, self._output_bytes):
                    raise Damaged(
                        f"the archive is hostile: {self._size_bytes} bytes of it inflate to {self._output_bytes}"
                    )
                if self._parts is not None:
                    self._parts.append(chunk)
                if len(self._head) < len(_MAGIC):
                    self._head += chunk[: len(_MAGIC)]
                self._tail = (self._tail + chunk[-TRAILER_BYTES:])[-TRAILER_BYTES:]
                yield chunk
        finally:
            if isinstance(chunks, Generator):
                chunks.close()  # ends the transfer

    def inflated(self, chunks: Iterable[Bytes]) -> Generator[Bytes, None, None]:
        """The same chunks."""
        for chunk in chunks:
            self._output_bytes += len(chunk)
            if self._recorder is not None:
                self._recorder.output(chunk)
            yield chunk

    def checkpoint(self, bit_offset: int, output_offset_bytes: int) -> None:
        """Notes that a deflate block begins at `bit_offset` of the file, and its output at `output_offset_bytes`."""
        if self._recorder is not None:
            self._recorder.checkpoint(bit_offset, output_offset_bytes)

    def void(self, why: str) -> None:
        """The notes are not to be trusted: the process that inflates was lost, and `why`."""
        _log.warning("%s is inflated on one core, from the start: %s", self._name, why)
        if self._recorder is not None:
            self._recorder = None
            self.why_none = f"{why} (as happens with several gzip members, and with fixed Huffman codes)"

    def index_file(self, members: Sequence[IndexedMember]) -> IndexFile | None:
        """The index of the archive, which holds `members`; None where there is none, or reading by it is not worth it.

        Raises `Damaged` for what no archive could be.
        """
        if self._recorder is None:
            return None
        gzip = None
        if self.is_gzip:
            gzip = self._recorder.finish(self._size_bytes, self._tail)
            if gzip is None:
                self.why_none = (
                    "there is no place to start inflating but its beginning, as in gzip data of fixed Huffman codes, "
                    "of several members, or of one block, or where --inflate-workers is 0"
                )
                return None
        return IndexFile(self._size_bytes, tuple(members), gzip)
