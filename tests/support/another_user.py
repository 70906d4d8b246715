"""An ordinary user on this machine, for tests that run as root: what is root's alone is shut to them, as it would be.

Interpreter, libraries and temporary directory of the tests may lie below directories of mode 0700, and `/dev/fuse` may
be root's. In a mount namespace of their own, where each of those is open, nothing of the machine is changed.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import Machine
from tests.support.namespace import end_all_that_see
from tests.support.paths import ROOT
from tests.support.programs import ran

NOBODY = 65534
NAMELESS = 54321
"""A user that no /etc/passwd has, as containers are started with."""

# Opened before a directory above is covered, and then bound to the same place on top of that.
OPEN_UP = r"""
set -e
umask 022; number=3
for kept in "$@"; do eval "exec $number<\"\$kept\""; number=$((number + 1)); done
for kept in "$@"; do
    above=$kept
    while above=$(dirname "$above"); [ "$above" != / ]; do
        [ -d "$above" ] || continue
        case $(stat -c %a "$above") in *[1357]) ;; *) mount -t tmpfs -o mode=755 tmpfs "$above" ;; esac
    done
done
number=3
for kept in "$@"; do
    [ -d "$kept" ] || mkdir -p "$kept"
    mount --no-canonicalize --rbind /proc/self/fd/$number "$kept"
    eval "exec $number<&-"
    number=$((number + 1))
done
devices=$(mktemp -d /tmp/hubfs-device-XXXXXX); mount -t tmpfs -o mode=755 tmpfs "$devices"
mknod -m 666 "$devices/fuse" c 10 229
mount --bind "$devices/fuse" /dev/fuse
umount --lazy "$devices"; rmdir "$devices"
# Other tests' mounts: theirs to take off, and not this user's to see.
grep ' fuse.hubfs ' /proc/self/mounts | cut -d ' ' -f 2 | while read -r place; do
    umount --lazy "$(printf %b "$place")"
done || true
"""
_WAITING = "echo ready; exec cat"


def kept_open(root: Path) -> list[Path]:
    """What a user has to reach, `root` among it: the arguments of `OPEN_UP`."""
    needed = {Path(path).resolve() for path in (sys.base_prefix, ROOT)} | {Path(sys.prefix), root}
    return [path for path in sorted(needed) if not any(other in path.parents for other in needed)]


@contextlib.contextmanager
def ordinary_machine(root: Path, environment: dict[str, str], user: int = NOBODY) -> Iterator[Machine]:
    """A machine whose commands are run by `user`, who owns `root` and has no rights. Skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else; as an ordinary user, all mounted tests are run by one")
    for directory in (root, root / "home", root / "temp"):
        directory.mkdir(parents=True)
        os.chown(directory, user, user)
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", OPEN_UP + _WAITING, "sh", *kept_open(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as namespace:
        assert namespace.stdout is not None
        assert namespace.stderr is not None
        if namespace.stdout.readline() != "ready\n":
            reason = namespace.stderr.read().strip()
            assert "not permitted" in reason, reason
            pytest.skip(f"no mount namespace with a /dev/fuse for everybody: {reason}")
        mounts = f"/proc/{namespace.pid}/ns/mnt"
        try:
            yield as_user(Machine(root, environment, ("nsenter", f"--mount={mounts}")), user)
        finally:
            end_all_that_see(Path(mounts))


def as_user(machine: Machine, user: int) -> Machine:
    """The same machine, on which another user types the commands, in its root."""
    who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", "-C", str(machine.root))
    return Machine(machine.root, machine.environment, (*machine.wrapper[:2], *who))


def run(machine: Machine, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Runs any other command there, in the machine's root."""
    return ran([*machine.wrapper, *command], timeout=60)
