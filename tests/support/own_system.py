"""A system of its own on this machine: with its own mounts, and copies of /etc and /usr/sbin that only it sees changed.

systemd can be its first process: a real one, which knows no units but those that it is given.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.another_user import OPEN_UP
from tests.support.namespace import end_all_that_see
from tests.support.programs import ran
from tests.support.waiting import eventually

OWN_DIRECTORIES = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
for changed in /etc /usr/sbin; do
    mkdir -p "/run/changed$changed" "/run/work$changed"
    mount -t overlay -o "lowerdir=$changed,upperdir=/run/changed$changed,workdir=/run/work$changed" overlay "$changed"
done
mount -t tmpfs -o mode=755 tmpfs /var/cache
# Other tests' mounts: theirs to take off.
{ grep ' fuse.hubfs ' /proc/self/mounts || true; } | cut -d ' ' -f 2 | while read -r place; do
    umount --lazy "$(printf %b "$place")" || true  # it is below another one
done
"""
_WAITING = "echo ready; exec cat"

# Its cgroup is the root of all that it sees: what it makes there is below the one of the test.
_OWN_GROUP = r"""
set -e
mkdir "$1"
echo $$ >"$1/cgroup.procs"
shift
exec unshare --cgroup --mount --uts --ipc --pid --fork --mount-proc --kill-child sh -c "$@"
"""
_FIRST_PROCESS = r"""
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /dev/null /dev/console
mkdir -p /run/systemd/system /run/generators
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
{ cat "$0/fstab" || true; } >/etc/fstab 2>/dev/null
echo ready
exec env -i container=hubfs-test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH="$0:/run/systemd/generator" \
    SYSTEMD_GENERATOR_PATH="$generators" SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/generators \
    /lib/systemd/systemd --system --log-target=null
"""


@dataclass(frozen=True)
class OwnSystem:
    """Commands that run there, by a process that is there."""

    pid: int
    namespaces: tuple[str, ...] = ("--mount",)
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """What a command prints; raises if it fails."""
        done = self.tried(*command, environment=environment)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def tried(
        self, *command: str | Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command that may fail."""
        return ran(
            [*self._enter(), *command], env={**os.environ, **self.environment, **(environment or {})}, timeout=120
        )

    def started(self, *command: str | Path) -> "subprocess.Popen[bytes]":
        """A command that goes on, for a with statement."""
        return subprocess.Popen(
            [*self._enter(), *command],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def seen(self, path: Path) -> Path:
        """A path there, for this process."""
        return Path(f"/proc/{self.pid}/root", *path.parts[1:])

    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", f"--target={self.pid}", *self.namespaces, "--")


@contextlib.contextmanager
def own_system(environment: Mapping[str, str] | None = None) -> Iterator[OwnSystem]:
    """A system without a first process, for commands with this environment, too. Skips where that cannot be."""
    with _started(["unshare", "--mount", "sh", "-c", OWN_DIRECTORIES + _WAITING]) as process:
        mounts = Path(f"/proc/{process.pid}/ns/mnt")
        try:
            yield OwnSystem(process.pid, environment=environment or {})
        finally:
            end_all_that_see(mounts)


@contextlib.contextmanager
def booted(units: Path, generators: Path | None = None, opened: Sequence[Path] = ()) -> Iterator[OwnSystem]:
    """A system that systemd was booted on, with the units of this directory. Skips where that cannot be.

    There, ordinary users reach what is `opened`, and /dev/fuse.
    """
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = [Path(where) for _, where, kind, *_ in lines if kind == "cgroup2"]
    if not groups or not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd cannot be booted here: it is not installed, or there is no cgroup2")
    group = groups[0] / f"hubfs-test-{os.getpid()}"
    script = f"generators=$1; shift\n{OPEN_UP if opened else ''}{OWN_DIRECTORIES}{_FIRST_PROCESS}"
    arguments = [str(units), str(generators or "/run/generators"), *map(str, opened)]
    try:
        with _started(["sh", "-c", _OWN_GROUP, "sh", str(group), script, *arguments]) as process:
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            system = OwnSystem(int(first), ("--mount", "--uts", "--ipc", "--pid", "--cgroup"))
            assert eventually(lambda: system.tried("systemctl", "is-system-running").stdout.strip() == "running")
            yield system
    finally:
        assert eventually(lambda: _removed(group))


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):  # the last process is still on its way out
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()
    return not group.exists()


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    if os.geteuid() != 0:
        pytest.skip("only root can have a system of its own")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if process.stdout.readline() != "ready\n":
                reason = process.stderr.read().strip()
                assert any(word in reason for word in ("not permitted", "denied", "Read-only file system")), reason
                pytest.skip(f"no system of its own here: {reason}")
            yield process
        finally:
            process.kill()
