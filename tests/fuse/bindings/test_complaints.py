import os
import subprocess
import sys

from hubfs.fuse.bindings.complaints import Complaints

PROGRAM = """
import os, subprocess
from hubfs.fuse.bindings.complaints import Complaints
complaints = Complaints()
os.write(2, b"something else\\n")
subprocess.run(["sh", "-c", "echo fusermount3: no >&2"])
os.write(2, b"fuse: never")
print(complaints.release(), flush=True)
print(complaints.release(), len(os.listdir("/proc/self/fd")), flush=True)
os.write(2, b"; afterwards")
"""


def run(program: str, stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=30
    )


def test_what_libfuse_and_its_program_say_is_told_and_passed_on() -> None:
    done = run(PROGRAM)
    assert done.stdout.splitlines() == ["fusermount3: no; fuse: never", " 4"]
    assert done.stderr == "something else\nfusermount3: no\nfuse: never; afterwards"


def test_a_closed_stderr_is_none_of_its_business() -> None:
    program = "from hubfs.fuse.bindings import complaints as c; said = c.Complaints(); print([said.release()])"
    closed = f"import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-c', {program!r}])"
    assert run(closed).stdout == "['']\n"


def test_it_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Complaints().release()
    assert len(os.listdir("/proc/self/fd")) == before
