"""Runs a program on a machine whose kernel offers no sandbox: `without_sandbox.py PROGRAM ARGUMENT…`.

A filter of this process, which its children inherit, answers ENOSYS to Landlock's system calls and EINVAL to a further
filter, as old kernels and containers do.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

INSTRUCTION = struct.Struct("=HBBI")
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
PRCTL = {"x86_64": 157, "aarch64": 167}[platform.machine()]
LANDLOCK_CREATE_RULESET = 444

PROGRAM = b"".join(
    INSTRUCTION.pack(*instruction)
    for instruction in (
        (LOAD, 0, 0, 0),  # the number of the call
        (IF_EQUAL, 0, 1, LANDLOCK_CREATE_RULESET),
        (RETURN, 0, 0, FAIL | errno.ENOSYS),
        (IF_EQUAL, 0, 3, PRCTL),
        (LOAD, 0, 0, 16),  # its first argument
        (IF_EQUAL, 0, 1, PR_SET_SECCOMP),
        (RETURN, 0, 0, FAIL | errno.EINVAL),
        (RETURN, 0, 0, ALLOW),
    )
)


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(PROGRAM, len(PROGRAM))
    header = struct.pack("@HP", len(PROGRAM) // INSTRUCTION.size, ctypes.addressof(code))
    if os.geteuid() != 0 and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
