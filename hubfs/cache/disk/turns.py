"""Turns of daemons that share a cache directory: one fetches under a lease, the others read from the disk."""

import contextlib
import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from hashlib import blake2b
from pathlib import Path

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.files import open_to_read, open_to_write, pwrite_all
from hubfs.cache.disk.indexes import Index, IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.members_told import MembersTold
from hubfs.cache.turns import PATIENCE_S, Arrived, Beats, Member, Turn, Turns
from hubfs.waiting import Cancellation

_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""

_BEAT = struct.Struct("<q")
"""What a heartbeat writes for each unit: nanoseconds of the holder's clock. Others see only whether it changes."""

_ATTEMPTS = 10
"""The file may be taken away between the open and the lock, with its model, and made anew."""


class DiskLease:
    """The units `units` of the lease file `path`: blocks of a file, or the one unit of an archive's pass.

    A lock of an open file description (F_OFD_SETLK) excludes other holders of the same units, in this process as in
    others, and ends with the process. For one thread, but for `beat`.
    """

    def __init__(self, path: Path, below: Path, units: range) -> None:
        self._path = path
        self._below = below
        self._units = units
        self._fd: int | None = None
        self.beat_seen = b""
        """What the holder's heartbeat was when `acquire` last failed."""

    def __str__(self) -> str:
        return f"{self._path}[{self._units.start}:{self._units.stop}]"

    def acquire(self) -> bool:
        """Takes the lease if nobody has any of its units. Does not wait. Raises OSError if nothing can be locked."""
        for _ in range(_ATTEMPTS):
            fd = open_to_write(self._path, self._below)
            try:
                if not _lock(fd, self._units):
                    self.beat_seen = os.pread(fd, len(self._units) * _BEAT.size, self._units.start * _BEAT.size)
                    return False
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), self._path.stat()):
                        self._fd, fd = fd, -1
                        return True
            finally:
                if fd >= 0:
                    os.close(fd)
        return False

    def beat(self) -> None:
        """Says that the holder lives. May be called by another thread, and after the release. Raises OSError."""
        fd = open_to_read(self._path, os.O_RDWR)  # a descriptor that `release` closes might be another file's by now
        try:
            pwrite_all(fd, _BEAT.pack(time.time_ns()) * len(self._units), self._units.start * _BEAT.size)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Gives the lease back; does nothing if it is not held."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _lock(fd: int, units: range) -> bool:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, units.start * _BEAT.size, len(units) * _BEAT.size, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that somebody else has
        return False
    return True


_log = logging.getLogger(__name__)

_TTL_S = 10.0
"""A holder that shows no heartbeat for so long is stopped (SIGSTOP, a frozen container): others fetch, too."""

_POLL_S = 0.03
"""Far below what a block takes on most links, and a wait costs 0.3 % of a processor."""


class _Outcome(Enum):
    HELD = auto()
    ARRIVED = auto()
    NOT_AGREED = auto()


class DiskTurns:
    """`Turns` by leases in the model's directory of the cache: the kernel frees the leases of a process that dies.

    A lease is asked for here first, and then in `beyond` (the turns of a fleet): one daemon of each machine waits for
    the other machines. Where nothing can be locked, and while the disk `keeps` nothing, `beyond` alone is asked. A
    holder that lets go, or is seen without a heartbeat for `ttl_s`, is waited for no longer.

    There is no lock here: each turn has its own lease, and `Beats` has a lock of its own.
    """

    def __init__(
        self,
        layout: CacheLayout,
        beyond: Turns,
        cancellation: Cancellation,
        *,
        keeps: Callable[[], bool],
        ttl_s: float = _TTL_S,
        poll_s: float = _POLL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._layout = layout
        self._indexes = IndexStore(layout)
        self._beyond = beyond
        self._cancellation = cancellation
        self._keeps = keeps
        self._ttl_s = ttl_s
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._beats: Beats[DiskLease] = Beats(_beat, ttl_s / 3, cancellation)

    @property
    def others_wait(self) -> bool:
        """Whether daemons of other machines wait. Those of this machine find nothing but what the disk keeps."""
        return self._beyond.others_wait

    def index(self, model: str) -> Index | None:
        """The index of a model that another daemon completed meanwhile."""
        return self._indexes.of(model) or self._beyond.index(model)

    @contextmanager
    def pass_turn(self, model: str, arrived: Arrived) -> Iterator[Turn]:
        """Waits until it is this daemon's turn to make a pass over the model's archive, or `arrived`.

        Daemons that wait are told each member as it begins, and read blocks as they are kept.
        """
        folder = self._folder(model)
        if folder is None:
            with self._beyond.pass_turn(model, arrived) as turn:
                yield turn
            return
        lease = DiskLease(folder / "pass", self._layout.models_root, range(1))
        told = MembersTold(folder / "members", self._layout.models_root, model)
        outcome = self._wait(lease, told.news, arrived)
        if outcome is _Outcome.ARRIVED:
            yield Turn(mine=False)
            return
        try:
            if outcome is _Outcome.HELD:
                told.begin()
            with self._beyond.pass_turn(model, arrived) as turn:
                yield Turn(turn.mine, told.tell, lambda: self._let_go(lease))
        finally:
            told.end()
            self._let_go(lease)

    @contextmanager
    def run_turn(self, key: CacheKey, run: range, arrived: Callable[[], bool]) -> Iterator[None]:
        """Waits until it is this daemon's turn to fetch these blocks of a file, or `arrived()`.

        The blocks of a run are kept together, so they are looked for when the lease is free.
        """
        folder = self._folder(key.model)
        lease = None
        if folder is not None:
            file = blake2b(key.path.encode(errors="surrogateescape"), digest_size=12).hexdigest()
            lease = DiskLease(folder / file, self._layout.models_root, run)
            self._wait(lease, tuple, lambda _: False)
        try:
            with self._beyond.run_turn(key, run, arrived):
                yield
        finally:
            if lease is not None:
                self._let_go(lease)

    def _folder(self, model: str) -> Path | None:
        """Where the leases of a model are; None where there are none."""
        try:
            return self._layout.turns(model) if self._keeps() else None
        except OSError as error:
            _log.debug("No turns are taken on the disk: %s", error)
            return None

    def _wait(self, lease: DiskLease, news: Callable[[], Sequence[Member]], arrived: Arrived) -> _Outcome:
        beat, beaten_s, heard_s = b"", time.monotonic(), time.monotonic()
        while self._keeps():
            try:
                if lease.acquire():
                    return self._acquired(lease, arrived)
            except OSError as error:  # read-only, full, or a file system without locks
                _log.debug("No turns are taken on the disk: %s", error)
                break
            members = news()
            if arrived(members):
                return _Outcome.ARRIVED
            now_s = time.monotonic()
            if lease.beat_seen != beat:
                beat, beaten_s = lease.beat_seen, now_s
            if members:
                heard_s = now_s
            if now_s - beaten_s >= self._ttl_s or now_s - heard_s >= self._patience_s:
                _log.debug("%s is held, but its holder does not go on: it is not waited for", lease)
                break
            self._cancellation.sleep(self._poll_s)
        return _Outcome.NOT_AGREED

    def _acquired(self, lease: DiskLease, arrived: Arrived) -> _Outcome:
        try:
            has_arrived = arrived(None)
        except BaseException:
            lease.release()
            raise
        if has_arrived:
            lease.release()
            return _Outcome.ARRIVED
        self._beats.add(lease)
        return _Outcome.HELD

    def _let_go(self, lease: DiskLease) -> None:
        self._beats.discard(lease)
        lease.release()


def _beat(lease: DiskLease) -> None:
    try:
        lease.beat()
    except OSError as error:
        _log.debug("A lease in the cache directory cannot be refreshed: %s", error)
