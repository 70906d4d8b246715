"""What every way of serving the kernel needs: for how long answers hold, who may look, how far the kernel reads ahead.

No libfuse is known here.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hubfs.errors import MountFailed

_log = logging.getLogger(__name__)

_FUSE_CONF = Path("/etc/fuse.conf")


READ_AHEAD_KIB = 1024
"""The kernel's own read-ahead. With its default of 128 KiB a read of 1 MiB arrives as eight, and the throughput is 0.7
of that with 1024. More gains nothing: 2048 and 4096 had 0.75, 8192 had 0.9 of it, with more processor time, since two
such requests are under way at once in any case."""


class FuseLibrary(Enum):
    """How to serve the kernel: by a session of our own, or by a libfuse.

    AUTO takes the session where this process can mount, else a libfuse, of which it prefers 3: that reads 1 MiB at a
    time where libfuse 2 reads 128 KiB.
    """

    AUTO = "auto"
    SESSION = "session"
    LIBFUSE3 = "libfuse3"
    LIBFUSE2 = "libfuse2"


_RESENDS_SINCE = (6, 9)
"""The Linux that sends a request again which a dead daemon has not answered (FUSE_NOTIFY_RESEND)."""


def linux_version(release: str | None = None) -> tuple[int, ...]:
    """The first two numbers of a release of Linux, as uname(2) has it; of the one that runs."""
    text = os.uname().release if release is None else release
    return tuple(int(part) for part in text.replace("-", ".").split(".")[:2] if part.isdecimal())


def can_be_taken_over(library: FuseLibrary, release: str | None = None) -> bool:
    """Whether a mount that is served so outlives its daemon, if somebody holds its descriptors."""
    return library in (FuseLibrary.AUTO, FuseLibrary.SESSION) and linux_version(release) >= _RESENDS_SINCE


@dataclass(frozen=True)
class Timeouts:
    """For how long the kernel believes what it was told, in seconds.

    Names and attributes may be believed for long, since what exists is immutable; that something does not exist, not.
    `changing_s` is for attributes that may change (of aliases and control files), where nodes have their own time-outs.
    """

    entry_s: float = 86_400.0
    attr_s: float = 86_400.0
    negative_s: float = 5.0
    changing_s: float = 1.0


def lets_others_in(fuse_conf: Path) -> bool:
    """Whether users may open their mounts to others."""
    try:
        lines = fuse_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def check_openness(options: Mapping[str, str | bool], uid: int, fuse_conf: Path = _FUSE_CONF) -> None:
    """Raises `MountFailed` if the user `uid` may not open a mount to others, which `options` ask for.

    fusermount3 would say so on the stderr of the daemon, where nobody looks.
    """
    asked = [name for name in ("allow_other", "allow_root") if options.get(name)]
    if asked and uid != 0 and not lets_others_in(fuse_conf):
        raise MountFailed(
            f"{asked[0]} is for root, unless {fuse_conf} has the line user_allow_other: have root add it, "
            "or mount for yourself alone"
        )


def raise_read_ahead(device: int, devices: Path = Path("/sys/class/bdi")) -> int | None:
    """Lets the kernel read ahead further in the mount whose files have this `st_dev`, which needs root; logs how far it
    does, and returns that, in KiB.

    Nothing else raises it: the kernel takes `max_readahead` of FUSE's handshake only to lower it, and a large read is
    cut to the same size. None if it is not known.
    """
    setting = devices / f"{os.major(device)}:{os.minor(device)}" / "read_ahead_kb"
    try:
        ahead_kib = int(setting.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        _log.info("How far the kernel reads ahead is not known: %s", error)
        return None
    if ahead_kib >= READ_AHEAD_KIB:
        _log.info("The kernel reads %d KiB ahead, as somebody set it", ahead_kib)
        return ahead_kib
    try:
        setting.write_text(str(READ_AHEAD_KIB), encoding="ascii")
    except OSError as error:
        _log.info(
            "The kernel reads %d KiB ahead: large reads come in pieces of that size, a third slower. "
            "%d are better, but %s cannot be written (%s); root can do that at any time",
            *(ahead_kib, READ_AHEAD_KIB, setting, error.strerror),
        )
        return ahead_kib
    _log.info("The kernel reads %d KiB ahead (its default is %d)", READ_AHEAD_KIB, ahead_kib)
    return READ_AHEAD_KIB
