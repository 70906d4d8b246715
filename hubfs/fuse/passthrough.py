"""Files that the kernel reads itself: who is opened so, and why that may not be to be had (FUSE passthrough).

The kernel's rules (fs/fuse/iomode.c, fs/fuse/backing.c): an inode that is open has one mode, and one backing file; an
open that breaks this fails with EIO, and so does FOPEN_KEEP_CACHE beside FOPEN_PASSTHROUGH. A mode ends when the last
opener has gone.
"""

import errno
import fcntl
import logging
import os
import struct
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hubfs.errors import Stale
from hubfs.fuse.mounting import linux_version
from hubfs.mounts import table as mount_table
from hubfs.tree.open_file import Backing, OpenFile

_log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""So long an open waits for the checksums of a whole file. A disk that reads 2 GB/s has 2 GB verified meanwhile, and
read into the page cache, where the reader finds them. Of a larger file, or on a slower disk, this open is an ordinary
one, and the next passes through."""

_BACKING_OPEN = 0x4010E501  # FUSE_DEV_IOC_BACKING_OPEN, _IOW(229, 1, struct fuse_backing_map)
_BACKING_CLOSE = 0x4004E502  # FUSE_DEV_IOC_BACKING_CLOSE, _IOW(229, 2, uint32_t)
_BACKING_MAP = struct.Struct("=iIQ")  # fd, flags, padding

_SINCE = (6, 9)
_SYS_ADMIN = 21  # CAP_SYS_ADMIN of capabilities(7)
_ALL_USERS = ["0", "0", str((1 << 32) - 1)]
"""The map of user ids in the first user namespace: user_namespaces(7)."""

_FOR_GOOD = {
    errno.EPERM: "the kernel refuses it to this process, which needs CAP_SYS_ADMIN in the first user namespace",
    errno.ENOTTY: "the kernel does not know it",
    errno.EOPNOTSUPP: "the kernel was built without it, or the mount did not agree on it",
    errno.ELOOP: "the cache lies on a file system that is stacked too deeply (overlayfs on overlayfs, say)",
}
"""What the kernel says of every file alike, and how to put it."""


class _Place(NamedTuple):
    """Which file of the disk it is: device and inode."""

    device: int
    inode: int


@dataclass
class _Inode:
    """An inode that is open, by so many openers; `backing_id` is 0 for one that is read through the daemon.

    `place` is the backing file's; None if another process registered it.
    """

    openers: int
    backing_id: int
    place: _Place | None = None
    backing: Backing | None = None


class Passthrough:
    """Decides for each inode how it is opened, and keeps to that until its last opener has gone.

    Off with a reason until `begin`, and off for good where `refusal` says why, or the kernel does. Where something goes
    wrong, the open is an ordinary one, and never an error; but an inode that is passed through is opened again in no
    other way, so one whose file was replaced meanwhile is `Stale`: the session then gives the path a new node.

    `_lock` guards `_inodes` with what they hold, `_opens`, `_off` and `_refusal`; neither kernel nor disk is asked
    under it.
    """

    def __init__(self, refusal: str | None, stack_depth: int = 1) -> None:
        """`stack_depth`: how deeply the file system of the backing files is stacked."""
        self._refusal = refusal
        self._stack_depth = stack_depth
        self._device = -1
        self._lock = threading.Lock()
        self._off: str | None = refusal or "nothing is mounted yet"
        self._inodes: dict[Hashable, _Inode] = {}
        self._opens = 0

    @classmethod
    def on_this_machine(cls, cache_dir: Path | None, *, verify_each_read: bool) -> "Passthrough":
        """As far as this machine and these settings have it."""
        refusal = why_off(cache_dir, verify_each_read=verify_each_read)
        return cls(refusal, 1 if cache_dir is None else stack_depth(cache_dir))

    @property
    def refusal(self) -> str | None:
        """Why the mount does not ask the kernel for it; None if it does."""
        return self._refusal

    @property
    def stack_depth(self) -> int:
        """What the mount is to ask the kernel for: 0 for no passthrough."""
        return 0 if self._refusal is not None else self._stack_depth

    def begin(self, device: int, known: Mapping[int, tuple[int, int]] | None = None) -> None:
        """The kernel has agreed, on the connection with the descriptor `device`.

        `known`: what an earlier process left open: by node id the number of openers, and the backing id (0: none).
        """
        with self._lock:
            self._device = device
            self._inodes = {node: _Inode(*left) for node, left in (known or {}).items() if left[0]}
            self._off = self._refusal
        _log.info("Whole files of the disk cache are read by the kernel itself (FUSE passthrough)")

    def refuse(self, reason: str) -> None:
        """The way of mounting, or the kernel, does not have it. An earlier refusal stays."""
        with self._lock:
            self._off = self._refusal = self._refusal or reason
        _log.info("The kernel reads no file of the disk cache itself: %s", self._off)

    def describe(self) -> dict[str, Any]:
        """For the status: whether it is on, why not, how many files are open so, and were opened so. JSON-able."""
        with self._lock:
            passed = sum(bool(inode.backing_id) for inode in self._inodes.values())
            return {"on": self._off is None, "off_because": self._off, "open_files": passed, "opens": self._opens}

    def opened(self, node: Hashable, file: OpenFile) -> int:
        """An opener more of the inode that `node` stands for: the backing id to answer with, 0 for an ordinary open.

        Waits for the file's checksums, at most `PATIENCE_S`. Raises `Stale` for an inode that is passed through, and
        whose file is another one now: then there is no opener more.
        """
        with self._lock:
            inode = self._inodes.get(node)
            ordinary = not self._passes(file) if inode is None else not inode.backing_id
            if ordinary:
                self._count_ordinary(node, file)
                return 0
        registered = self._registered(file)
        superfluous = 0
        try:
            with self._lock:
                inode = self._inodes.get(node)
                if inode is not None and inode.backing_id:
                    superfluous = registered.backing_id
                    if registered.place is None or registered.place != inode.place:
                        raise Stale(f"{file.blob.key} is open, and its file is another one now: open it again")
                    inode.openers += 1
                    self._opens += 1
                    return inode.backing_id
                if inode is not None or not registered.backing_id:
                    superfluous = registered.backing_id
                    self._count_ordinary(node, file)
                    return 0
                self._inodes[node] = registered
                self._opens += 1
                return registered.backing_id
        finally:
            self._forget(superfluous)

    def released(self, node: Hashable) -> None:
        """An opener less. The last one of an ordinary file has it verified, so that the next open passes through."""
        with self._lock:
            inode = self._inodes.get(node)
            if inode is None:
                return
            inode.openers -= 1
            if inode.openers > 0:
                return
            del self._inodes[node]
        self._forget(inode.backing_id)
        if inode.backing is not None:
            _close(inode.backing(0.0))

    def forgotten(self, node: Hashable) -> None:
        """The kernel has forgotten the inode: of openers that an earlier process counted, and died, none is there."""
        with self._lock:
            inode = self._inodes.pop(node, None)
        if inode is not None:
            self._forget(inode.backing_id)

    def _passes(self, file: OpenFile) -> bool:
        """Whether it is to be tried: not of control files, which have no pages. Held: `_lock`."""
        return self._off is None and file.pages_of is not None

    def _count_ordinary(self, node: Hashable, file: OpenFile) -> None:
        """Held: `_lock`."""
        inode = self._inodes.setdefault(node, _Inode(0, 0))
        inode.openers += 1
        inode.backing = file.backing if self._passes(file) else None

    def _registered(self, file: OpenFile) -> _Inode:
        """The backing file with the kernel's number for it, and one opener; 0 if there is none. Raises nothing."""
        fd = file.backing(PATIENCE_S)
        if fd is None:
            return _Inode(1, 0)
        try:
            found = os.fstat(fd)
            backing_id = fcntl.ioctl(self._device, _BACKING_OPEN, bytearray(_BACKING_MAP.pack(fd, 0, 0)))
        except OSError as error:
            self._failed(error)
            return _Inode(1, 0)
        finally:
            os.close(fd)
        return _Inode(1, backing_id, _Place(found.st_dev, found.st_ino))

    def _failed(self, error: OSError) -> None:
        why = _FOR_GOOD.get(error.errno or 0)
        if why is None:
            _log.debug("The kernel takes no backing file just now: %s", error)
            return
        with self._lock:
            known, self._off = self._off, why
        if known is None:
            _log.warning("The kernel reads no file of the disk cache itself any more: %s", why)

    def _forget(self, backing_id: int) -> None:
        if not backing_id:
            return
        try:
            fcntl.ioctl(self._device, _BACKING_CLOSE, struct.pack("=I", backing_id))
        except OSError as error:  # the connection is gone, and its backing files with it
            _log.debug("The kernel keeps backing file %d: %s", backing_id, error)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def why_off(
    cache_dir: Path | None,
    *,
    verify_each_read: bool,
    release: str | None = None,
    has_rights: Callable[[], bool] | None = None,
) -> str | None:
    """Why no file is passed through on this machine, with these settings; None: as far as can be told, files are."""
    if cache_dir is None:
        return "there is no disk cache"
    if verify_each_read:
        return "--verify always has every read of the disk cache verified"
    if linux_version(release) < _SINCE:
        return f"Linux {release or os.uname().release} does not have it; 6.9 has"
    if not (has_rights or _has_rights)():
        return "it needs CAP_SYS_ADMIN in the first user namespace (root has that, outside of most containers)"
    return None


def stack_depth(cache_dir: Path) -> int:
    """What INIT says of how deeply the backing files' file system is stacked: a container's own layer is overlayfs."""
    try:
        return 2 if mount_table.type_of(cache_dir.stat().st_dev) == "overlay" else 1
    except OSError:
        return 1


def _has_rights() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        users = Path("/proc/self/uid_map").read_text(encoding="ascii").split()[:3]
        rights = int(status.partition("\nCapEff:")[2].split("\n")[0], 16)
    except (OSError, ValueError):
        return False
    return bool(rights >> _SYS_ADMIN & 1) and users == _ALL_USERS
