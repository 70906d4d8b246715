"""How the daemon's process treats memory and threads; everything works without it, and slower."""

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # of <linux/prctl.h>

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # as glibc's malloc.h has them

_ARENAS = 1
"""A block takes the place of one that gave way. Another thread brought that one, as a pass does and then a reader: with
an arena each, the hole of the one is no room for the other. A model of 440 MB in an archive, read to its end: the
daemon has 316 MiB at a memory tier of 256 MiB, and had 406 with two arenas; with 16 readers 315, and 381. It is no
slower: Python's own small objects take no arena. (To map every block by itself costs a third of the speed.)"""

_LARGEST_BYTES = 32 << 20
"""Only what is larger is mapped by itself, and faulted in page by page each time; glibc's own limit for this."""

_KEPT_BYTES = 32 << 20
"""So much free memory at the top of each arena stays with the process. Each read of 1 MiB takes a block's bytes and
libfuse's buffer: kept, reading 445 MB from the disk tier takes 0.48 s of processor time instead of 0.56."""

_SWITCH_INTERVAL_S = 0.001
"""ISA-L inflates a chunk in 3 ms without the interpreter's lock, and then waits for it as long as another thread is
allowed to hold it. With Python's 5 ms a cold read of an archive took a tenth longer."""


def tune_process() -> None:
    """To be called once, before threads are started."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in (
            (_M_ARENA_MAX, _ARENAS),
            (_M_MMAP_THRESHOLD, _LARGEST_BYTES),
            (_M_TRIM_THRESHOLD, _KEPT_BYTES),
        ):
            mallopt(name, value)


def give_back_memory() -> None:
    """Gives free memory back to the kernel, also from between blocks that are in use. To be called now and then.

    Blocks come in pieces of all sizes and leave holes: eight readers of a bucket that a cache of 32 MiB is too small
    for had the daemon grow by 2 MiB a second, with 40 MiB in use. This takes 10 ms, without the interpreter's lock.
    """
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(_KEPT_BYTES)


def keep_memory_private() -> None:
    """No core is written, and only root may look into the process: its memory holds tokens.

    A user can no longer attach a debugger or a profiler to a daemon of his own; root can.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(AttributeError, OSError):  # Linux alone has it
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
