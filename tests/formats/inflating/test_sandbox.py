"""What a confined process cannot do any more, tried by a program that confines itself as the inflating process does."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hubfs.formats.inflating.parallel import ParallelInflater
from hubfs.mounts.processes import is_running
from hubfs.waiting import Cancellation
from tests.support.archives import gzipped
from tests.support.inflating import inflating_processes, noise_and_text
from tests.support.programs import output_of, ran
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PROGRAM = r"""
import ctypes, errno, json, mmap, os, signal, socket, sys, threading
from hubfs.formats.inflating.sandbox import confine
libc = ctypes.CDLL(None, use_errno=True)
parent, writable = os.getppid(), sys.argv[1]
mine = os.open(writable, os.O_RDWR | os.O_CREAT)
folder = os.open("/", os.O_PATH)
if sys.argv[2] != "0":
    os.setgroups([])
    os.setresgid(*[int(sys.argv[2])] * 3)
    os.setresuid(*[int(sys.argv[2])] * 3)

def called(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)

def thread():
    done = []
    worker = threading.Thread(target=lambda: done.append(1))
    worker.start()
    worker.join()
    if not done:
        raise OSError(errno.EIO, "thread")

tries = {
    "read /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read from an open folder": lambda: os.open("etc/passwd", os.O_RDONLY, dir_fd=folder),
    "write": lambda: os.open(writable, os.O_WRONLY),
    "list": lambda: os.listdir("/"),
    "stat": lambda: os.stat("/etc/passwd"),
    "unlink": lambda: os.unlink(writable),
    "rename": lambda: os.rename(writable, writable + "2"),
    "tcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "udp": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "unix": lambda: socket.socketpair(),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "fork": os.fork,
    "clone": lambda: called("syscall", {"x86_64": 56, "aarch64": 220}[os.uname().machine], 17, 0, 0, 0, 0),
    "kill the parent": lambda: os.kill(parent, signal.SIGTERM),
    "kill the parent's thread": lambda: called(
        "syscall", {"x86_64": 234, "aarch64": 131}[os.uname().machine], parent, parent, 15
    ),
    "ptrace": lambda: called("ptrace", 16, parent, 0, 0),
    "read the parent's memory": lambda: called("process_vm_readv", parent, 0, 0, 0, 0, 0),
    "unshare": lambda: called("unshare", 0x10000000),
    "mount": lambda: called("mount", b"none", b"/", b"tmpfs", 0, None),
    "chroot": lambda: os.chroot("/"),
    "become root": lambda: os.setresuid(0, 0, 0),
    "change limits": lambda: called("setrlimit", 7, ctypes.create_string_buffer(16)),
    "map code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "memfd": lambda: os.memfd_create("x"),
    "io_uring": lambda: called("syscall", 425, 1, ctypes.create_string_buffer(120)),
    "read what is open": lambda: os.pread(mine, 1, 0),
    "memory": lambda: bytearray(64 << 20),
    "thread": thread,
    "clock": lambda: __import__("time").monotonic(),
}
taken = confine()
said = {}
for name, attempt in tries.items():
    try:
        attempt()
        said[name] = None
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
os.write(1, json.dumps({"taken": taken, "said": said}).encode())
os._exit(0)
"""
NEEDED = {"read what is open", "memory", "thread", "clock"}
UNREACHABLE = {"EPERM", "EACCES"}


@pytest.fixture(params=[0, 12345], ids=["root", "user"])
def uid(request: pytest.FixtureRequest) -> int:
    """Who the process is before it is confined."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    return int(request.param)


@pytest.fixture
def confined(tmp_path: Path, uid: int) -> dict[str, dict[str, str | None]]:
    command = [sys.executable, "-c", PROGRAM, tmp_path / "file", str(uid)]
    return dict(json.loads(output_of(command, timeout=30)))


def test_a_confined_process_reaches_no_file_no_network_and_no_other_process(confined) -> None:
    refused = {name: answer for name, answer in confined["said"].items() if name not in NEEDED}
    assert {name: answer for name, answer in refused.items() if answer not in UNREACHABLE} == {}
    assert len(refused) > 20


def test_landlock_alone_keeps_every_file_away(tmp_path: Path) -> None:
    """Whatever system call seccomp lets through, by mistake or on a machine that it does not know."""
    program = (
        "import ctypes, os, sys; from hubfs.formats.inflating.sandbox import _forbid_files; libc = ctypes.CDLL(None)\n"
        "libc.syscall.restype = ctypes.c_long; libc.prctl(38, 1, 0, 0, 0)\n"
        "if not _forbid_files(libc): sys.exit('no Landlock')\n"
        "for name, flags in (('/etc/passwd', os.O_RDONLY), (sys.argv[1], os.O_WRONLY | os.O_CREAT)):\n"
        "    try: os.open(name, flags)\n"
        "    except PermissionError: print('refused')\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "new"]
    done = ran(command, timeout=30)
    if "no Landlock" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert (done.stdout, done.stderr) == ("refused\nrefused\n", "")


def test_a_confined_process_can_compute(confined) -> None:
    assert {confined["said"][name] for name in NEEDED} == {None}


def test_every_step_is_taken_where_the_kernel_has_it(confined, uid) -> None:
    wanted = [
        "no new privileges",
        "no capabilities",
        "no life without who started it",
        "no files (Landlock)",
        "few system calls (seccomp)",
    ]
    assert [step for step in confined["taken"] if not step.startswith("user")] == wanted
    assert ("user 65534" in confined["taken"]) == (uid == 0)


def test_the_inflating_process_is_confined_while_it_works() -> None:
    archive = gzipped(noise_and_text(24 << 20))
    half, goes_on = len(archive) // 2, threading.Event()

    def chunks():
        yield archive[:half]
        goes_on.wait(60)
        yield archive[half:]

    inflater = ParallelInflater(len(archive), workers=2, cancellation=Cancellation())
    output = inflater.inflate(chunks(), lambda *_: None)
    received = len(next(output))
    (pid,) = inflating_processes()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    open_files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 - no paths
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    goes_on.set()
    received += sum(len(data) for data in output)
    assert received == 24 << 20
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    if os.geteuid() == 0:
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].strip() == ""
    assert environment.strip(b"\0") == b""
    assert {name.partition(":")[0] for name in open_files} == {"/dev/null", "/memfd", f"/proc/{pid}/statm", "socket"}
    assert eventually(lambda: not inflating_processes())


DAEMON = """
import os, sys, threading, time
from hubfs.waiting import Cancellation
from hubfs.formats.inflating.parallel import ParallelInflater
archive = open(sys.argv[1], "rb").read()
half = len(archive) // 2

def chunks():
    yield archive[:half]
    time.sleep(60)

def consume():
    inflater = ParallelInflater(len(archive), workers=2, cancellation=Cancellation())
    output = inflater.inflate(chunks(), lambda *_: None)
    next(output)
    print("inflating", flush=True)
    sys.stdin.readline()

threading.Thread(target=consume).start()
"""


def test_a_stopped_inflating_process_dies_with_the_daemon_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(gzipped(noise_and_text(24 << 20)))
    command = [sys.executable, "-c", DAEMON, tmp_path / "archive"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"inflating\n"
        (pid,) = inflating_processes(daemon.pid)
        os.kill(pid, signal.SIGSTOP)
        daemon.kill()
    assert eventually(lambda: not is_running(pid))


def test_aborting_still_ends_the_process() -> None:
    """What rapidgzip's std::terminate comes down to: it must die, and not hang in a call that is forbidden."""
    program = "import os; from hubfs.formats.inflating.sandbox import confine; confine(); os.abort()"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True)
    assert done.returncode == -6


def test_a_call_of_another_architecture_ends_the_process() -> None:
    """The numbers of 32-bit calls mean other things, so none gets through: 0x80 on x86 is their door."""
    if os.uname().machine != "x86_64":
        pytest.skip("only x86 has that door")
    program = r"""
import ctypes, mmap
from hubfs.formats.inflating.sandbox import confine
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
confine()
call()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=30, capture_output=True)
    assert done.returncode == -31, done.stderr  # SIGSYS
