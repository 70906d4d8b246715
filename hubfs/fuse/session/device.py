"""A descriptor of /dev/fuse with a mount point in front of it: by mount(2), by fusermount3, or as somebody gives it."""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hubfs.errors import MountFailed
from hubfs.fuse.mounting import Timeouts, check_openness
from hubfs.mounts import table as mount_table

DEVICE = Path("/dev/fuse")
_HELPERS = ("fusermount3", "fusermount")
_HELPER_S = 30.0
_LONGEST_S = 1e9

_FLAGS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
}
"""MS_* of mount(2), by the names that mount(8) has for them."""
_FOR_THE_KERNEL = ("allow_other", "default_permissions")
_FOR_THE_KERNEL_WITH_VALUE = ("max_read",)
_NAMES = ("fsname", "subtype")
_TIMEOUTS = {"entry_timeout": "entry_s", "attr_timeout": "attr_s", "negative_timeout": "negative_s"}
"""In seconds: as libfuse has them."""
KNOWN_OPTIONS = frozenset((*_FLAGS, *_FOR_THE_KERNEL, *_FOR_THE_KERNEL_WITH_VALUE, *_NAMES, *_TIMEOUTS))
"""Options of a mount that mean something to the session."""

_IGNORED = ("defaults", "user", "nouser", "users", "auto", "noauto", "_netdev", "nofail")
"""Of fstab, for mount(8) itself."""


class MountOptions:
    """What is asked of a mount: as flags and data of mount(2), and as the option string of fusermount3."""

    def __init__(self, options: Mapping[str, str | bool]) -> None:
        """Raises `MountFailed` for an option that is not known, and where others may not be let in."""
        check_openness(options, os.geteuid())
        self.fsname = self.subtype = "hubfs"
        self._flags = {"ro", "nosuid", "nodev"}
        self._data = {"default_permissions": True}
        self._values: dict[str, str] = {}
        self._timeouts: dict[str, float] = {}
        for name, value in options.items():
            if value is not False:
                self._take(name, None if value is True else value)

    def _take(self, name: str, value: str | None) -> None:
        has_value = value is not None
        if name in _FLAGS and not has_value:
            self._flags.add(name)
        elif name in _FOR_THE_KERNEL and not has_value:
            self._data[name] = True
        elif name in _FOR_THE_KERNEL_WITH_VALUE and has_value and str(value).isdecimal():
            self._values[name] = str(value)
        elif name in _NAMES and has_value:
            setattr(self, name, str(value))
        elif name in _TIMEOUTS and (seconds := _seconds(value)) is not None:
            self._timeouts[_TIMEOUTS[name]] = seconds
        elif name not in _IGNORED or has_value:
            known = ", ".join(sorted(KNOWN_OPTIONS))
            said = name if not has_value else f"{name}={value}"
            raise MountFailed(
                f"-o {said} is no option of the kernel session, which knows {known}; libfuse may know it: "
                "--fuse-library libfuse3"
            )

    def timeouts(self, usual: Timeouts) -> Timeouts:
        """The time-outs that are asked for, the usual ones else. None is longer than that of the attributes."""
        asked = replace(usual, **self._timeouts)
        return replace(asked, changing_s=min(asked.changing_s, asked.attr_s))

    @property
    def flags(self) -> int:
        """For mount(2)."""
        return sum(_FLAGS[name] for name in self._flags)

    def data(self, descriptor: int) -> str:
        """For mount(2)."""
        own = (f"fd={descriptor}", "rootmode=40000", f"user_id={os.getuid()}", f"group_id={os.getgid()}")
        return ",".join((*own, *self._data, *(f"{name}={value}" for name, value in self._values.items())))

    def text(self) -> str:
        """For fusermount3, for which a backslash escapes what follows."""
        names = (f"{name}={str(getattr(self, name)).replace(_ESCAPE, 2 * _ESCAPE)}" for name in _NAMES)
        values = (f"{name}={value}" for name, value in self._values.items())
        return ",".join((*sorted(self._flags), *self._data, *values, *names))


_ESCAPE = "\\"


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < _LONGEST_S else None


def can_mount() -> bool:
    """Whether this process can mount, as far as that can be told beforehand."""
    return os.access(DEVICE, os.R_OK | os.W_OK) and (os.geteuid() == 0 or _helper() is not None)


def _helper() -> str | None:
    return next(filter(None, map(shutil.which, _HELPERS)), None)


def mounted(mountpoint: Path, asked: MountOptions) -> int:
    """The descriptor from which the requests for the mount at `mountpoint` are read. Raises `MountFailed`."""
    descriptor = mount_table.given(mountpoint)
    if descriptor is not None:
        return _checked(descriptor)
    if os.geteuid() == 0:
        try:
            return _mounted_by_root(mountpoint, asked)
        except PermissionError:  # no CAP_SYS_ADMIN: what is set-uid root has no more, but says why
            pass
        except OSError as error:
            raise MountFailed(f"{mountpoint} cannot be mounted: {_reason(error)} (see `hubfs doctor`)") from error
    return _mounted_by_helper(mountpoint, asked)


def _checked(descriptor: int) -> int:
    try:
        found = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        raise MountFailed(f"/dev/fd/{descriptor}: no such descriptor was handed over") from None
    if found != str(DEVICE):
        raise MountFailed(f"/dev/fd/{descriptor} is {found}, and no descriptor of {DEVICE}")
    os.set_inheritable(descriptor, False)
    return descriptor


def _reason(error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return "this kernel has no FUSE (modprobe fuse)"
    return error.strerror or str(error)


def _mounted_by_root(mountpoint: Path, asked: MountOptions) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mount.argtypes = (*(ctypes.c_char_p,) * 3, ctypes.c_ulong, ctypes.c_char_p)
        source, where, kind = asked.fsname, os.fsencode(mountpoint), f"fuse.{asked.subtype}"
        data = asked.data(descriptor).encode()
        failed = libc.mount(source.encode(), where, kind.encode(), asked.flags, data)
    except BaseException:
        os.close(descriptor)
        raise
    if failed:
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def _mounted_by_helper(mountpoint: Path, asked: MountOptions) -> int:
    helper = _helper()
    if helper is None:
        raise MountFailed(
            "only root can mount without fusermount3, which is not installed; on Debian and Ubuntu: "
            "apt-get install fuse3"
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program
                [helper, "-o", asked.text(), "--", os.path.realpath(mountpoint)],
                env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                timeout=_HELPER_S,
            )
        except subprocess.TimeoutExpired:
            raise MountFailed(f"{helper} did not end within {_HELPER_S:g} s") from None
        theirs.close()
        descriptors = _received(ours) if done.returncode == 0 else []
    if not descriptors:
        said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise MountFailed(f"{mountpoint} cannot be mounted: {said} (see `hubfs doctor`)")
    return descriptors[0]


def _received(connection: socket.socket) -> list[int]:
    """The descriptors that came with one message."""
    _, found, _, _ = socket.recv_fds(connection, 1, 1)
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return found
