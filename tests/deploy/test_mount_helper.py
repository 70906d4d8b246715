"""`mount -t hubfs`, `mount -a`, and fstab as systemd reads it: really, on systems of their own."""

import hashlib
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.support.another_user import NOBODY, ordinary_machine, run
from tests.support.files import files
from tests.support.mount import HUBFS, Machine
from tests.support.origin import Origin
from tests.support.own_system import OWN_DIRECTORIES, OwnSystem, booted, own_system
from tests.support.waiting import eventually

HELPER = Path(sysconfig.get_path("scripts"), "mount.hubfs")
HUB = Path("/run/hub")
OTHERS = "# by hand\nproc /proc proc noauto 0 0\n"
UNKNOWN, FAILED = 1, 32

pytestmark = [pytest.mark.mounted, pytest.mark.slow]


@pytest.fixture
def system(tmp_path: Path, machine: Machine, servers: Origin) -> Iterator[OwnSystem]:
    """A system with a hub's directory, and an fstab that says nothing of it."""
    environment = {**machine.environment, **servers.environment, "HOME": str(machine.home), "HUBFS_LOG_LEVEL": "debug"}
    machine.home.mkdir(parents=True)
    with own_system(environment) as system:
        system.run("mkdir", HUB)
        (system.seen(Path("/etc/fstab"))).write_text(OTHERS)
        yield system


def mounts(system: OwnSystem) -> list[tuple[str, str, str]]:
    lines = Path(f"/proc/{system.pid}/mounts")
    return [
        (source, where, options)
        for source, where, kind, options, *_ in map(str.split, lines.read_text().splitlines())
        if kind == "fuse.hubfs"
    ]


def link(system: OwnSystem) -> None:
    system.run("ln", "-s", HELPER, "/usr/sbin/mount.hubfs")


def test_mount_knows_the_type(system: OwnSystem, servers: Origin, small: Path, tmp_path: Path) -> None:
    link(system)
    options = f"allow_other,cache_dir={tmp_path}/cache,profile=serving,noexec"
    system.run("mount", "-t", "hubfs", servers.url, HUB, "-o", options)
    ((source, where, shown),) = mounts(system)
    assert (source, where) == (servers.url, str(HUB))
    assert {"ro", "noexec", "nosuid", "nodev", "allow_other"} <= {*shown.split(",")}
    assert files(system.seen(HUB) / SMALL) == files(small)
    assert (tmp_path / "cache/models").exists()
    system.run("umount", HUB)
    assert not mounts(system)


@pytest.mark.parametrize("asked", [["fuse.hubfs", "{}"], ["fuse", "hubfs#{}"]], ids=["type", "source"])
def test_mount_fuse_finds_the_command(
    system: OwnSystem, servers: Origin, small: Path, tmp_path: Path, asked: list[str]
) -> None:
    """As with sshfs: nothing is linked, and `hubfs` is where programs are."""
    system.run("ln", "-s", HUBFS, "/usr/sbin/hubfs")
    kind, spec = (text.format(servers.url) for text in asked)
    system.run("mount", "-t", kind, spec, HUB, "-o", f"allow_other,cache_dir={tmp_path}/cache,noexec,nofail")
    ((source, where, shown),) = mounts(system)
    assert (source, where) == (servers.url, str(HUB))
    assert {"ro", "noexec", "nosuid", "nodev", "allow_other"} <= {*shown.split(",")}
    assert files(system.seen(HUB) / SMALL) == files(small)
    assert (tmp_path / "cache/models").exists()
    done = system.tried("mount", "-t", kind, spec, HUB, "-o", "nonsense=1")
    assert done.returncode == UNKNOWN
    assert "unknown option 'nonsense'; there are " in done.stderr
    system.run("umount", HUB)
    assert not mounts(system)


def test_what_cannot_be_mounted_has_the_status_of_mount(system: OwnSystem, servers: Origin) -> None:
    link(system)
    done = system.tried("mount", "-t", "hubfs", servers.url, HUB, "-o", "nonsense=1")
    assert done.returncode == UNKNOWN
    assert done.stderr.startswith("mount.hubfs: unknown option 'nonsense'; there are ")
    assert len(done.stderr.splitlines()) == 1
    done = system.tried("mount", "-t", "hubfs", "nonsense:", HUB)
    assert (done.returncode, len(done.stderr.splitlines())) == (FAILED, 1)
    assert "must be the http(s) URL of a hub" in done.stderr
    system.run("mount", "-s", "-t", "hubfs", servers.url, HUB, "-o", "nonsense=1")
    done = system.tried("mount", "-t", "hubfs", servers.url, HUB)
    assert done.returncode == FAILED
    assert f"A hub is mounted at {HUB} already" in done.stderr
    system.run("umount", HUB)


def test_lines_of_fstab_are_mounted(system: OwnSystem, servers: Origin, small: Path) -> None:
    link(system)
    system.run("ln", "-s", HELPER, "/usr/sbin/mount.fuse.hubfs")
    fstab = system.seen(Path("/etc/fstab"))
    fstab.write_text(
        f"{OTHERS}{servers.url} {HUB} hubfs _netdev,nofail,x-systemd.mount-timeout=30,ro 0 0\n"
        f"one={servers.url} /run/named\\040hub hubfs noauto,user,X-mount.mkdir\n"
        f"{servers.url} /run/fuse fuse.hubfs noauto,X-mount.mkdir\n"
    )
    for _ in "again":
        system.run("mount", "-a")
        assert [(source, where) for source, where, _ in mounts(system)] == [(servers.url, str(HUB))]
    system.run("mount", "/run/named hub")
    system.run("mount", "/run/fuse")
    for place in (HUB, Path("/run/named hub/one"), Path("/run/fuse")):
        assert files(system.seen(place) / SMALL) == files(small)
    for place in (HUB, "/run/named hub", "/run/fuse"):
        system.run("umount", place)
    assert not mounts(system)


def test_a_mount_gets_its_line_and_the_next_start_mounts_it(
    system: OwnSystem, servers: Origin, small: Path, tmp_path: Path
) -> None:
    fstab = system.seen(Path("/etc/fstab"))

    def mount(*options: str) -> None:
        system.run(HUBFS, "mount", HUB, "--hub", servers.url, "--update-fstab", *options)

    mount("--allow-other", "--cache-dir", f"{tmp_path}/first")
    line = f"{servers.url} {HUB} hubfs allow_other,cache_dir={tmp_path}/first,_netdev,nofail 0 0\n"
    assert fstab.read_text() == OTHERS + line
    assert system.run("readlink", "/sbin/mount.hubfs").strip() == str(HELPER)
    system.run("umount", HUB)
    mount("-o", "noexec", "--cache-dir", f"{tmp_path}/second")
    line = f"{servers.url} {HUB} hubfs cache_dir={tmp_path}/second,noexec,_netdev,nofail 0 0\n"
    assert fstab.read_text() == OTHERS + line
    system.run(HUBFS, "unmount", HUB)
    system.run("mount", "-a")
    assert files(system.seen(HUB) / SMALL) == files(small)
    assert (tmp_path / "second/models").exists()
    assert "noexec" in mounts(system)[0][2].split(",")
    system.run("umount", HUB)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda fstab: fstab.write_text(f"host:/x {HUB} nfs ro 0 0\n"), "another line for /run/hub, of type nfs"),
        (lambda fstab: None, "--foreground exclude each other"),
    ],
)
def test_where_no_line_can_be_nothing_is_mounted(
    system: OwnSystem, servers: Origin, change: Callable[[Path], object], complaint: str
) -> None:
    fstab = system.seen(Path("/etc/fstab"))
    change(fstab)
    before = fstab.read_text()
    foreground = ["--foreground"] if "foreground" in complaint else []
    done = system.tried(HUBFS, "mount", HUB, "--hub", servers.url, "--update-fstab", *foreground)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not mounts(system)
    assert fstab.read_text() == before


def test_a_user_mounts_what_fstab_has_for_users(tmp_path: Path, machine: Machine, servers: Origin, small: Path) -> None:
    with ordinary_machine(tmp_path / "theirs", {**machine.environment, **servers.environment}) as theirs:
        root = Machine(theirs.root, wrapper=theirs.wrapper[:2])
        hub = theirs.root / "hub"
        line = f"{servers.url} {hub} hubfs noauto,user,format=compressed 0 0"
        for command in (
            ("sh", "-c", OWN_DIRECTORIES),
            ("sh", "-c", "echo $0 >/etc/fstab", line),
            ("ln", "-s", HELPER, "/usr/sbin/mount.hubfs"),
            ("install", "-d", "-o", str(NOBODY), hub),
        ):
            done = run(root, *command)
            assert done.returncode == 0, done.stderr
        done = run(theirs, "mount", hub)
        assert done.returncode == 0, done.stderr
        done = run(theirs, "sha256sum", hub / SMALL / "saved_model.pb")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[0] == hashlib.sha256((small / "saved_model.pb").read_bytes()).hexdigest()
        assert f" {hub} fuse.hubfs ro,nosuid,nodev,noexec," in run(theirs, "cat", "/proc/self/mounts").stdout
        done = run(theirs, "umount", hub)
        assert done.returncode == 0, done.stderr


def test_systemd_mounts_a_line_of_fstab(tmp_path: Path, servers: Origin, small: Path) -> None:
    units, generators = tmp_path / "units", tmp_path / "generators"
    units.mkdir()
    generators.mkdir()
    (generators / "fstab").symlink_to("/lib/systemd/system-generators/systemd-fstab-generator")
    for target in ("sysinit", "basic", "shutdown", "umount", "network", "network-online", "remote-fs", "remote-fs-pre"):
        shutil.copy(f"/lib/systemd/system/{target}.target", units)
    (units / "default.target").write_text("[Unit]\nDescription=All that there is\n")
    options = f"_netdev,nofail,cache_dir={tmp_path}/cache,log_file={tmp_path}/log,format=compressed"
    (units / "fstab").write_text(f"{servers.url} {HUB} hubfs {options} 0 0\n")
    with booted(units, generators) as system:
        link(system)
        assert "remote-fs-pre.target" in system.run("systemctl", "show", "-p", "After", "run-hub.mount")
        system.run("systemctl", "start", "remote-fs.target")
        system.run("systemctl", "start", "run-hub.mount")  # nofail: nothing waits for it
        assert system.run("systemctl", "is-active", "run-hub.mount") == "active\n"
        assert files(system.seen(HUB) / SMALL) == files(small)
        system.run("systemctl", "stop", "run-hub.mount")
        assert not mounts(system)
        assert eventually(lambda: system.tried("pgrep", "-f", "hubfs mount").returncode == 1)
