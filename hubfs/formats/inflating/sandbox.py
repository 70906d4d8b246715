"""What a process gives up for good before it meets what strangers sent: rights, files, the network, other programs.

Each step is taken where the kernel offers it, none needs root, and nothing here can be undone. Only what a started
program needs beside its arithmetic is left: memory, its threads, its clock, and the descriptors that it was given.
(A network namespace of its own would add nothing: there is no call left that makes a socket.)
"""

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

NOBODY = 65534
"""The user and group that a process becomes that was root."""

# Of <linux/prctl.h>, <linux/seccomp.h>, <linux/audit.h>, <linux/capability.h>, <sched.h> and <sys/mman.h>.
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_MODE_FILTER = 2
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CAPABILITY_VERSION = 0x20080522
_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7
_CLONE_THREAD = 0x10000
_PROT_EXEC = 4

# Landlock's calls have the same numbers on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1
# How many rights over files, and over TCP ports, and how many scopes, each version of its interface handles.
_LANDLOCK_RIGHTS = ((1, 13, 0, 0), (2, 14, 0, 0), (3, 15, 0, 0), (4, 15, 2, 0), (5, 16, 2, 0), (6, 16, 2, 2))

# A classic BPF instruction, and where the call's number, architecture and arguments lie in `struct seccomp_data`.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4


_NO_PRIVILEGES, _NO_FILES, _FEW_CALLS = (
    "no new privileges",
    "no files (Landlock)",
    "few system calls (seccomp)",
)
_NEEDED = (_NO_PRIVILEGES, _NO_FILES, _FEW_CALLS)
"""Without one of these steps, an archive that takes the process over can do what its user can."""


@dataclass(frozen=True)
class _Calls:
    """The numbers of system calls on one architecture: `audit` is its own, `plain` those that are allowed as they are.

    The others are allowed for some arguments only.
    """

    audit: int
    plain: Mapping[str, int]
    mmap: int
    mprotect: int
    clone: int
    clone3: int
    tgkill: int


# fmt: off
_BY_MACHINE = {
    "x86_64": _Calls(
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "munmap": 11, "brk": 12,
            "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20,
            "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "sendto": 44,
            "recvfrom": 45, "exit": 60, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "sigaltstack": 131,
            "gettid": 186, "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228,
            "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "ppoll": 271, "set_robust_list": 273,
            "getcpu": 309, "getrandom": 318, "membarrier": 324, "rseq": 334,
        },
        mmap=9, mprotect=10, clone=56, clone3=435, tgkill=234,
    ),
    "aarch64": _Calls(
        0xC00000B7,
        {
            "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "ppoll": 73,
            "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
            "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123,
            "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134,
            "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrusage": 165, "getcpu": 168, "gettimeofday": 169,
            "getpid": 172, "gettid": 178, "sysinfo": 179, "sendto": 206, "recvfrom": 207, "brk": 214, "munmap": 215,
            "mremap": 216, "madvise": 233, "getrandom": 278, "membarrier": 283, "rseq": 293,
        },
        mmap=222, mprotect=226, clone=220, clone3=435, tgkill=131,
    ),
}
# fmt: on


def confine() -> Sequence[str]:
    """Gives up all of it, and returns what took effect, in words.

    To be called once, in the only thread, with everything imported: no file can be opened afterwards. Calls that are
    not allowed fail with EPERM, new files with EACCES, so that a library which can do without goes on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    # The others need it, unless root calls.
    steps = {
        _NO_PRIVILEGES: libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0,
        f"user {NOBODY}": _become_nobody(libc),
        "no capabilities": _drop_capabilities(libc),
        # A process that becomes another user loses it, so not before. A process that was stopped would never see that
        # the daemon is gone; this kills it as soon as the thread ends that started it.
        "no life without who started it": libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0,
        _NO_FILES: _forbid_files(libc),
        _FEW_CALLS: _forbid_calls(libc),
    }
    return [name for name, taken in steps.items() if taken]


def missing(taken: Collection[str]) -> Sequence[str]:
    """The steps that a confined process must have taken, and that `taken`, from `confine`, lacks."""
    return [step for step in _NEEDED if step not in taken]


def _capability_header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)


def _become_nobody(libc: ctypes.CDLL) -> bool:
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the upper halves
    libc.capget(_capability_header(), sets)
    # The daemon has the same capabilities, and must be able to end this process.
    if not all(sets[0] >> capability & 1 for capability in (_CAP_KILL, _CAP_SETGID, _CAP_SETUID)):
        return False
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:  # a user namespace need not have that user
        return False
    return True


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    return bool(libc.capset(_capability_header(), (ctypes.c_uint32 * 6)()) == 0)


def _forbid_files(libc: ctypes.CDLL) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    known = [rights for rights in _LANDLOCK_RIGHTS if rights[0] <= version]
    if not known:
        return False
    attributes = struct.pack("=QQQ", *((1 << count) - 1 for count in known[-1][1:]))
    # An older kernel takes a longer structure as long as what it does not know is zero.
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    # Without a single rule, it allows nothing.
    taken = libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return bool(taken)


def _forbid_calls(libc: ctypes.CDLL) -> bool:
    calls = _BY_MACHINE.get(platform.machine())
    if calls is None or struct.calcsize("P") != 8:  # noqa: PLR2004 - a 32-bit process has other numbers
        return False
    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in _program(calls, os.getpid()))
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(code))
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0) == 0)


def _program(calls: _Calls, pid: int) -> Iterator[tuple[int, int, int, int]]:
    """The filter, for the process `pid`: instructions with how many to skip if true, and if false."""
    failed = _FAIL | errno.EPERM
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _IF_EQUAL, 1, 0, calls.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    for number in calls.plain.values():
        yield _IF_EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _ALLOW
    # Its flags are in memory, where no filter looks: libraries fall back to `clone`.
    yield _IF_EQUAL, 0, 1, calls.clone3
    yield _RETURN, 0, 0, _FAIL | errno.ENOSYS
    for number, argument, test, value, if_so, if_not in (
        (calls.clone, 0, _IF_ANY, _CLONE_THREAD, _ALLOW, failed),  # threads, but no processes
        (calls.tgkill, 0, _IF_EQUAL, pid, _ALLOW, failed),  # abort()
        (calls.mmap, 2, _IF_ANY, _PROT_EXEC, failed, _ALLOW),  # no code but that which is there
        (calls.mprotect, 2, _IF_ANY, _PROT_EXEC, failed, _ALLOW),
    ):
        yield _IF_EQUAL, 0, 4, number
        yield _LOAD, 0, 0, 16 + 8 * argument
        yield test, 0, 1, value
        yield _RETURN, 0, 0, if_so
        yield _RETURN, 0, 0, if_not
    yield _RETURN, 0, 0, failed
