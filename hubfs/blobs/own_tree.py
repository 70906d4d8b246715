"""Files of this machine that only the mounting user or root can have put there: loading a model is running it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubfs.errors import Damaged, Stale, Untrusted
from hubfs.mounts import table as mount_table

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV)
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class OwnTree:
    """The directory `root` and all below it, of which every part that is opened is checked.

    A part is trusted if it belongs to the mounting user or root, nobody else may write to it, and it lies in the mount
    of the directory above `root`: a FUSE file system says of its files' owners what its maker likes. The check asks the
    opened descriptor (`fstat`), and no symlink is followed on the way down from `root`, so nothing can be put in the
    place of a part between the check and the use. A mount over a part is never asked anything: it might never answer.
    Stateless, so it needs no lock.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def opened(self, path: str = "") -> Iterator[int]:
        """A descriptor of the file or directory at `path` (relative, POSIX; "" is the root) for as long as it is used.

        Raises `Untrusted` for a part that others could have made, or made to lead elsewhere, and OSError.
        """
        descriptor = os.open(self.root.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount = _mount_of(descriptor)
            so_far = str(self.root.parent)
            for name in (self.root.name, *(path.split("/") if path else ())):
                so_far = f"{so_far}/{name}"
                descriptor = _replaced(descriptor, _entered(descriptor, name, so_far, mount))
                _check_own(descriptor, so_far)
            yield descriptor
        finally:
            os.close(descriptor)

    def parts(self) -> Iterator[tuple[str, os.stat_result]]:
        """Path and status of every file and directory below the root, each of them checked.

        Raises `Untrusted`, `Damaged` for anything that is neither a file nor a directory, `Stale` if a part cannot be
        read or vanishes meanwhile.
        """
        above = [""]
        try:
            while above:
                prefix = above.pop()
                with self.opened(prefix.rstrip("/")) as folder:
                    for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor
                        path = prefix + name
                        found = self._checked(folder, path)
                        if stat.S_ISDIR(found.st_mode):
                            above.append(f"{path}/")
                        yield path, found
        except OSError as error:
            raise Stale(f"{self.root} cannot be listed: {error.strerror}") from error

    def _checked(self, folder: int, path: str) -> os.stat_result:
        try:
            descriptor = _entered(folder, path.rpartition("/")[2], f"{self.root}/{path}", _mount_of(folder))
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise Damaged(_neither(self.root, path)) from error
        try:
            found = _check_own(descriptor, f"{self.root}/{path}")
        finally:
            os.close(descriptor)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise Damaged(_neither(self.root, path))
        return found


def is_there(path: str | Path, *, directory: bool = False) -> bool:
    """Whether the name exists, and is a `directory`'s where that is asked. Asks nothing of what is mounted over it."""
    try:
        os.close(os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_DIRECTORY if directory else 0)))
    except OSError:
        return False
    return True


def _entered(folder: int, name: str, shown: str, mount: int) -> int:
    """A descriptor of `name` in an open folder, to be read. Raises OSError, and `Untrusted` if it is in another mount.

    O_PATH opens without a question to the file system; what it found is opened to be read once its mount is known.
    """
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if _mount_of(found) != mount:
            raise Untrusted(f"{shown} is mounted over what was there: who did that says whose files these are")
        return os.open(f"/proc/self/fd/{found}", _FLAGS & ~os.O_NOFOLLOW)  # of a symlink: ELOOP
    finally:
        os.close(found)


def _check_own(descriptor: int, name: str) -> os.stat_result:
    """The status of what is open. Raises `Untrusted` unless it is the mounting user's or root's, and only theirs."""
    found = os.fstat(descriptor)
    if found.st_uid not in (os.geteuid(), 0):
        raise Untrusted(f"{name} belongs to user {found.st_uid}, who is neither root nor the user that mounts")
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise Untrusted(f"{name} can be written by other users ({stat.filemode(found.st_mode)})")
    return found


def check_shared_directory(path: Path) -> None:
    """Raises `Untrusted` if somebody else could rename what lies in the directory `path`, and OSError.

    A directory that everybody may write to (mode 1777) is fine if it has the sticky bit: there, only the owner of an
    entry renames it.
    """
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        owner = mount_table.owner_of_mount(_mount_of(descriptor))
    finally:
        os.close(descriptor)
    if owner not in (None, os.geteuid(), 0):
        raise Untrusted(f"{path} is mounted by user {owner}, who says whose files are in it, and may never answer")
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise Untrusted(f"{path} belongs to user {found.st_uid}, who can rename everything in it")
    if found.st_mode & _OTHERS_MAY_WRITE and not found.st_mode & stat.S_ISVTX:
        raise Untrusted(f"{path} can be written by other users and has no sticky bit: they can rename everything in it")


def _mount_of(descriptor: int) -> int:
    """The number of the mount in which an open file lies (proc_pid_fdinfo(5)). Raises OSError.

    Not `st_dev`, which overlayfs may have differ within a mount. The file system itself is not asked.
    """
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def _replaced(descriptor: int, by: int) -> int:
    os.close(descriptor)
    return by


def _neither(root: Path, path: str) -> str:
    return f"{root}/{path} is neither a file nor a directory: nothing else is extracted"
