"""A mount namespace for each of several processes that run the tests side by side."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x0002_0000, 0x4000, 1 << 18


def leave_the_common_mounts() -> bool:
    """From here on this thread, and what it starts, sees its own mounts alone; False where only root may do that.

    `hubfs status`, `resolve` and `doctor` look at every mount there is: another process's are none of their tests'.
    """
    if os.geteuid() != 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.unshare(_CLONE_NEWNS) == 0 and libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) == 0


def end_all_that_see(mounts: Path) -> None:
    """Kills the processes of a mount namespace, which is named by a process of it: mounts go with the last of them."""
    here = mounts.readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if (process / "ns/mnt").readlink() == here:
                os.kill(int(process.name), signal.SIGKILL)
