"""The kernel session on the real kernel: what a libfuse binding does not have."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubfs.fuse.session import device
from tests.conftest import SMALL, MountHub
from tests.support.gcs_server import Fault
from tests.support.http_origin import HttpOrigin, stall, stall_first
from tests.support.models import pack
from tests.support.mount import Machine, Mount, is_mounted, mounted
from tests.support.origin import Origin, running_origin
from tests.support.programs import output_of, ran
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

VARIABLES = "variables/variables.data-00000-of-00001"
GONE_S = 0.5

READ = "import sys; open(sys.argv[1], 'rb', buffering=0).read()"
MAP = "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096])"
LOOK_UP = "import os, sys; os.stat(sys.argv[1])"
LIST = "import os, sys; os.listdir(os.path.dirname(sys.argv[1]))"
LOOK_UP_WITH_ALARMS = """
import os, signal, sys, time
told = []
signal.signal(signal.SIGALRM, lambda *_: told.append(1))
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
began_s = time.monotonic()
libc = __import__("ctypes").CDLL(None, use_errno=True)
assert libc.access(os.fsencode(sys.argv[1]), os.R_OK) == 0, "interrupted"
assert told and time.monotonic() - began_s > 0.5, "it did not wait"
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.fixture
def stores(tmp_path: Path, small: Path) -> Iterator[Origin]:
    """Servers whose faults are not those of others."""
    home = tmp_path / "stalling"
    home.mkdir()
    with running_origin(home, {SMALL: small}, {SMALL: pack(small, home / "small.tar.gz")}) as origin:
        yield origin
        origin.store.reset()


@contextlib.contextmanager
def a_hub_that_stalls(machine: Machine, tmp_path: Path) -> Iterator[Mount]:
    with HttpOrigin() as origin:
        origin.always(f"/{SMALL}", stall_first())
        with mounted(machine, tmp_path / "hub", origin.url) as hub:
            yield hub


def waits(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the process waits for the daemon: in a request, or for a page."""
    with contextlib.suppress(OSError):
        where = Path(f"/proc/{process.pid}/wchan").read_text()
        return "fuse" in where or "folio" in where or "request_wait" in where
    return False


def killed_in(program: str, path: Path, number: signal.Signals = signal.SIGKILL) -> float:
    """How long a process lives on that waits for the mount, and is killed."""
    with subprocess.Popen([sys.executable, "-c", program, path], stderr=subprocess.DEVNULL) as process:
        assert eventually(lambda: waits(process)), "it does not wait"
        watch = Stopwatch()
        process.send_signal(number)
        process.wait(60)
        return watch.took_s()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_while_a_name_is_looked_up_is_gone(
    machine: Machine, tmp_path: Path, number: signal.Signals
) -> None:
    with a_hub_that_stalls(machine, tmp_path) as hub:
        assert killed_in(LOOK_UP, hub.path / SMALL / VARIABLES, number) < GONE_S


@pytest.mark.parametrize("program", [READ, MAP, LIST], ids=["read", "mmap", "listdir"])
def test_who_is_killed_in_a_stalled_archive_is_gone(
    machine: Machine, tmp_path: Path, small: Path, program: str
) -> None:
    archive = pack(small, tmp_path / "small.tar.gz").read_bytes()
    with HttpOrigin() as origin:
        origin.put(f"/{SMALL}", archive, etag='"1"')
        origin.always(f"/{SMALL}", lambda answer: stall(1 << 20)(answer) if len(answer.body) > 1000 else answer)
        with mounted(machine, tmp_path / "hub", origin.url, "--format", "compressed") as hub:
            assert killed_in(program, hub.path / SMALL / VARIABLES) < GONE_S
            assert (hub.path / ".hubfs" / "version").read_bytes(), "and others are answered"


@pytest.mark.parametrize("program", [READ, MAP], ids=["read", "mmap"])
def test_who_is_killed_in_a_stalled_bucket_is_gone(mount: MountHub, stores: Origin, program: str) -> None:
    with mount(stores.asked_for("uncompressed")) as hub:
        assert os.listdir(hub.path / SMALL)
        stores.store.spoil(*[Fault(stall_s=60)] * 20)
        assert killed_in(program, hub.path / SMALL / VARIABLES) < GONE_S


def test_a_signal_that_a_reader_lives_through_ends_no_request(machine: Machine, tmp_path: Path, small: Path) -> None:
    with HttpOrigin() as origin:
        origin.put(f"/{SMALL}", pack(small, tmp_path / "small.tar.gz").read_bytes(), etag='"1"')
        origin.always(f"/{SMALL}", stall_first(1.0))
        with mounted(machine, tmp_path / "hub", origin.url, "--format", "compressed") as hub:
            asked = [sys.executable, "-c", LOOK_UP_WITH_ALARMS, hub.path / SMALL]
            done = ran(asked)
            assert done.returncode == 0, done.stderr


def requests_of(hub: Mount, work: Callable[[], object]) -> int:
    """How many requests the kernel makes meanwhile: lines of the daemon's own reads of /dev/fuse."""
    (daemon,) = hub.pids()
    before = _reads(daemon)
    work()
    return _reads(daemon) - before


def _reads(pid: int) -> int:
    return sum(
        int(line.partition(":")[2])
        for line in Path(f"/proc/{pid}/io").read_text().splitlines()
        if line.startswith("syscr:")
    )


def test_a_listing_brings_attributes_and_is_kept(mount: MountHub, servers: Origin) -> None:
    with mount(servers.asked_for("uncompressed")) as hub:
        model = hub.path / SMALL
        files = sorted(path for path in model.rglob("*") if path.is_file())
        assert files
        for directory, _, names in os.walk(model):  # walk makes a listing of each, in which all attributes came
            for name in names:
                assert os.lstat(Path(directory, name)).st_size >= 0
        again = requests_of(hub, lambda: [path.lstat() for path in model.rglob("*")])
        directories = sum(path.is_dir() for path in model.rglob("*")) + 1
        # To open each directory, and to close it; a listing of it is asked for no more. The daemon reads itself, too.
        assert again <= 4 * directories + 20


def test_a_walk_that_comes_again_opens_and_closes_directories_and_asks_for_the_attributes_of_links(
    mount: MountHub, servers: Origin
) -> None:
    with mount(servers.asked_for("uncompressed")) as hub:
        assert (hub.path / SMALL / "saved_model.pb").stat()
        publisher = (hub.path / SMALL).parent.parent

        def walk(*command: str | Path) -> str:
            return output_of([*command, publisher])

        found = [Path(path) for path in walk("find").splitlines()]
        walk("ls", "-lR")
        links = sum(path.is_symlink() for path in found)
        directories = sum(path.is_dir() for path in found) - links
        assert len(found) > directories > links > 0
        again = requests_of(hub, lambda: [walk("find") for _ in range(10)])
        assert again <= 10 * (2 * directories + 2) + 20  # find asks for the file system, too
        # Of a link, its attributes, and where it leads. Of the first file that ls meets, the names of three extended
        # attributes, which are not supported: ls asks for them of no other file.
        again = requests_of(hub, lambda: [walk("ls", "-lR") for _ in range(10)])
        assert again <= 10 * (2 * directories + 2 * links + 3) + 20


@pytest.mark.parametrize(
    ("option", "says"),
    [("big_writes", "big_writes"), ("entry_timeout=soon", "entry_timeout=soon"), ("allow_root", "allow_root")],
)
def test_an_option_that_the_session_does_not_know_is_refused(
    machine: Machine, tmp_path: Path, servers: Origin, option: str, says: str
) -> None:
    (tmp_path / "hub").mkdir()
    done = machine.hubfs("mount", tmp_path / "hub", "--hub", servers.url, "-o", option)
    assert done.returncode != 0
    assert says in done.stderr
    assert "libfuse" in done.stderr
    assert not is_mounted(tmp_path / "hub")


def test_options_of_the_mount_are_in_the_mount_table(mount: MountHub, servers: Origin) -> None:
    with mount(servers.asked_for("uncompressed"), "-o", "noexec,noatime,fsname=hub one,allow_other") as hub:
        (line,) = [line for line in Path("/proc/mounts").read_text().splitlines() if f" {hub.path} " in line]
        source, _, kind, options, *_ = line.split()
        assert (source, kind) == ("hub\\040one", "fuse.hubfs")
        assert {"ro", "nosuid", "nodev", "noexec", "noatime", "allow_other", "default_permissions"} <= set(
            options.split(",")
        )


WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


def test_what_somebody_else_has_mounted_is_served_without_any_rights(
    machine: Machine, tmp_path: Path, servers: Origin, small: Path
) -> None:
    """As a CSI driver does: it mounts, hands the descriptor over, and takes the mount off in the end."""
    mountpoint, log = tmp_path / "hub", tmp_path / "hub.log"
    mountpoint.mkdir()
    user = Machine(machine.root, {**machine.environment, **servers.environment}, WITHOUT_RIGHTS)
    descriptor = device.mounted(mountpoint, device.MountOptions({}))
    try:
        arguments = (f"/dev/fd/{descriptor}", "--hub", servers.url, "--format", "uncompressed", "--log-file", log)
        done = user.hubfs("mount", *arguments, pass_fds=[descriptor])
        os.close(descriptor)
        assert (done.returncode, done.stderr) == (0, "")
        assert (mountpoint / SMALL / "fingerprint.pb").read_bytes() == (small / "fingerprint.pb").read_bytes()
        pid = json.loads((mountpoint / ".hubfs" / "mount.json").read_bytes())["pid"]
        assert user.hubfs("mount", tmp_path / "hub2", "--hub", servers.url).returncode != 0, "it has rights"
        supervised = user.hubfs("mount", "/dev/fd/9", "--supervise")
        assert (supervised.returncode, "starts its daemon, too" in supervised.stderr) == (1, True)
    finally:
        subprocess.run(["umount", mountpoint], check=True)
    assert eventually(lambda: not Path(f"/proc/{pid}/exe").is_symlink())
