"""What a pass tells daemons that wait for it in the same cache directory: which members it came by so far."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from hubfs.cache.disk.files import open_to_read, open_to_write, pwrite_all
from hubfs.cache.sealed_json import checksum_of
from hubfs.cache.turns import Member

_log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 20
"""So much is read at a time: the rest is for the next look."""

_LONGEST_BYTES = 8 << 20
"""No line is longer: a path of 4096 bytes, and a map of holes of 100,000 stretches, each of two numbers up to 2**44."""


class MembersTold:
    """The file `path`: a line of JSON for each member, in the order of the archive, each with a checksum.

    The lines belong to one identity of one model, so whatever two passes write is the same. For one thread.
    """

    def __init__(self, path: Path, below: Path, model: str) -> None:
        self._path = path
        self._below = below
        self._model = model
        self._fd: int | None = None
        self._at_bytes = 0  # written, or read, up to here

    def begin(self) -> None:
        """Begins to write, anew."""
        try:
            self._fd = open_to_write(self._path, self._below)
            os.ftruncate(self._fd, 0)
            self._at_bytes = 0
        except OSError as error:
            self._give_up(error)

    def tell(self, member: Member) -> None:
        """Writes a line. If that fails, the others learn everything at the end of the pass."""
        if self._fd is None:
            return
        text = json.dumps(member).encode()
        line = b"%08x %b\n" % (checksum_of(self._model, text), text)
        try:
            pwrite_all(self._fd, line, self._at_bytes)
            self._at_bytes += len(line)
        except OSError as error:
            self._give_up(error)

    def end(self) -> None:
        """Frees the room: from now on the model's index says it, or another pass."""
        if self._fd is not None:
            try:
                os.ftruncate(self._fd, 0)
            except OSError as error:
                self._give_up(error)
        self._close()

    def news(self) -> Sequence[Member]:
        """What was written since the last call; nothing if nobody writes."""
        try:
            fd = open_to_read(self._path)
            try:
                if os.fstat(fd).st_size < self._at_bytes:
                    self._at_bytes = 0  # another pass began
                data = os.pread(fd, _MOST_BYTES, self._at_bytes)
                if len(data) == _MOST_BYTES and b"\n" not in data:
                    data = os.pread(fd, _LONGEST_BYTES, self._at_bytes)
            finally:
                os.close(fd)
        except OSError:
            return ()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        members = []
        for line in lines:
            member = self._member(line)
            if member is None:  # half of it is another pass's
                self._at_bytes = 0
                break
            members.append(member)
            self._at_bytes += len(line)
        return members

    def _member(self, line: bytes) -> Member | None:
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if checksum != b"%08x" % checksum_of(self._model, text):
            return None
        member = json.loads(text)
        return member if isinstance(member, dict) else None

    def _give_up(self, error: OSError) -> None:
        _log.debug("What comes by of %s is not told: %s", self._model, error)
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
