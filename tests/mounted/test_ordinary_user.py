"""Who is not root mounts, too: through fusermount3, with a daemon that only root may look into."""

import hashlib
import json
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FORMS, SMALL
from tests.support.another_user import NAMELESS, NOBODY, as_user, ordinary_machine, run
from tests.support.mount import HUBFS, Machine
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted


@pytest.fixture
def user(tmp_path: Path, binding: str, servers: Origin) -> Iterator[Machine]:
    """An ordinary user, with an empty directory `hub` to mount at."""
    environment = {"HUBFS_FUSE_LIBRARY": binding, "HUBFS_HUB": servers.url, **servers.environment}
    with ordinary_machine(tmp_path / "machine", environment) as machine:
        assert run(machine, "mkdir", "hub").returncode == 0
        yield machine


def mount(user: Machine, *options: str, at: str = "hub") -> dict[str, Any]:
    """Mounts there, and returns the status of the mount."""
    done = user.hubfs("mount", *options, at)
    assert (done.returncode, done.stderr) == (0, "")
    return status(user, at)


def status(user: Machine, at: str = "hub") -> dict[str, Any]:
    done = user.hubfs("status", "--json", at)
    assert done.returncode == 0, done.stdout
    return dict(json.loads(done.stdout))


def ends(pid: int) -> bool:
    return eventually(lambda: not Path(f"/proc/{pid}/exe").is_symlink())


@pytest.mark.both_libfuses
@pytest.mark.parametrize("form", FORMS)
def test_a_model_is_read_by_who_mounted_alone(user: Machine, small: Path, form: str) -> None:
    pid = mount(user, "--format", form)["pid"]
    files = [path.relative_to(small) for path in small.rglob("*") if path.is_file()]
    read = run(user, "md5sum", *(f"hub/{SMALL}/{path}" for path in files))
    assert [line[:32] for line in read.stdout.splitlines()] == [
        hashlib.md5((small / path).read_bytes()).hexdigest() for path in files
    ]
    told = run(user, "stat", "-c", "%u %a", f"hub/{SMALL}/saved_model.pb")
    assert (told.stdout, told.stderr) == (f"{NOBODY} 444\n", "")
    modes = run(user, "find", "home/.cache/hubfs", "home/.local", "-type", "f", "-printf", "%m %U\n").stdout
    assert set(modes.splitlines()) == {f"600 {NOBODY}"}
    assert set(run(user, "find", "home/.cache/hubfs", "-type", "d", "-printf", "%m\n").stdout.split()) == {"700"}
    for somebody in (as_user(user, NAMELESS), as_user(user, 0)):
        assert "Permission denied" in run(somebody, "cat", "hub/.hubfs/version").stderr
        assert "another user" in somebody.hubfs("status").stdout
    done = user.hubfs("unmount", "hub")
    assert (done.returncode, done.stderr) == (0, "")
    assert ends(pid)


@pytest.mark.parametrize("copy", ["cp -r", "cp -a", "rsync -a"])
def test_a_copy_can_be_changed_and_deleted_and_the_mount_cannot(user: Machine, copy: str) -> None:
    mount(user)
    assert run(user, *copy.split(), f"hub/{SMALL}", "copy").returncode == 0
    assert run(user, "rm", "-r", "copy").returncode == 0
    for write in (["touch", "new"], ["mkdir", "new"], ["rm", "-r", "variables"], ["mv", "assets", "others"]):
        done = run(user, "env", "-C", f"{user.root}/hub/{SMALL}", *write)
        assert "Read-only file system" in done.stderr
    assert run(user, "test", "-w", f"hub/{SMALL}").returncode == 1
    assert user.hubfs("unmount", "hub").returncode == 0


def test_another_user_is_told_whose_mount_it_is_and_cannot_end_it(user: Machine) -> None:
    pid = mount(user)["pid"]
    somebody = as_user(user, NAMELESS)
    assert f"another user's (user {NOBODY})" in somebody.hubfs("unmount", user.root / "hub").stderr
    assert "another user's to end" in somebody.hubfs("unmount", "--force", user.root / "hub").stderr
    assert status(user)["pid"] == pid
    found = {one["subject"]: one for one in json.loads(somebody.hubfs("doctor", "--json").stdout)}
    assert found[f"mount {user.root / 'hub'}"]["verdict"] == "ok", "it is none of his business"
    assert "has no name" in found["fusermount"]["said"]
    assert user.hubfs("unmount", "hub").returncode == 0


@pytest.mark.parametrize("supervised", [(), ("--supervise",)])
def test_force_ends_a_daemon_that_was_stopped(user: Machine, supervised: tuple[str, ...]) -> None:
    run(user, "ln", "-s", "hub", "link")
    pid = mount(user, *supervised, at="link")["pid"]
    os.kill(pid, signal.SIGSTOP)
    if not supervised:
        assert "does not answer" in user.hubfs("status").stdout
    done = user.hubfs("unmount", "--force", "hub")
    assert (done.returncode, done.stderr) == (0, "")
    assert ends(pid)
    assert user.hubfs("status").stdout == "No hub is mounted.\n"


def test_a_dead_mount_is_replaced_and_a_signal_ends_the_new_one(user: Machine) -> None:
    os.kill(mount(user)["pid"], signal.SIGKILL)
    assert eventually(lambda: "dead" in user.hubfs("status").stdout)
    pid = mount(user)["pid"]
    os.kill(pid, signal.SIGTERM)
    assert ends(pid)
    assert eventually(lambda: user.hubfs("status").stdout == "No hub is mounted.\n")


def test_a_supervised_mount_is_named_from_where_the_user_is(user: Machine) -> None:
    pid = mount(user, "--supervise", "--cache-dir", "here", "--log-file", "hub.log")["pid"]
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: "restarted 1 times" in user.hubfs("status").stdout)
    assert "another one takes its mount over" in (user.root / "hub.log").read_text()
    again = status(user)
    assert again["cache_dir"] == str(user.root / "here")
    assert run(user, "cat", "hub/.hubfs/version").returncode == 0
    assert user.hubfs("unmount", "hub").returncode == 0
    assert ends(again["pid"])


def test_what_fusermount_has_to_say_is_said(user: Machine) -> None:
    (user.root / "roots").mkdir()
    nameless = as_user(user, NAMELESS)
    run(user, "chmod", "777", "home", "temp", "hub")
    for somebody, arguments, reason in (
        (user, ("roots",), "user has no write access to mountpoint"),
        (user, ("hub", "-o", "frobnicate"), "frobnicate"),
        (user, ("hub", "--allow-other"), "user_allow_other"),
        (nameless, ("hub", "--no-disk-cache"), "could not determine username"),
    ):
        done = somebody.hubfs("mount", *arguments)
        assert done.returncode == 1, arguments
        assert reason in done.stderr, arguments
        assert len(done.stderr.splitlines()) == 1
    assert user.hubfs("status").stdout == "No hub is mounted.\n"


def test_a_mount_point_after_two_dashes_may_look_like_an_option(user: Machine) -> None:
    assert run(user, "mkdir", "./--hub").returncode == 0
    done = user.hubfs("mount", "--", "--hub")
    assert (done.returncode, done.stderr) == (0, "")
    assert run(user, "cat", "./--hub/.hubfs/version").returncode == 0
    assert user.hubfs("unmount", "--", "--hub").returncode == 0


@pytest.mark.parametrize("supervised", [(), ("--supervise",)])
def test_nobody_needs_standard_files(user: Machine, supervised: tuple[str, ...]) -> None:
    inside = " ".join(map(shlex.quote, [str(HUBFS), "mount", "hub", *supervised]))
    closing = Machine(user.root, user.environment, (*user.wrapper, "sh", "-c", f"exec {inside} <&- >&- 2>&-"))
    assert closing.hubfs(timeout_s=30).returncode == 0
    assert run(user, "cat", "hub/.hubfs/version").returncode == 0
    assert user.hubfs("unmount", "hub").returncode == 0


@pytest.mark.parametrize("supervised", ["", "--supervise"])
def test_there_is_no_mount_for_who_gave_up_waiting_for_it(user: Machine, supervised: str) -> None:
    command = f"{shlex.quote(str(HUBFS))} mount hub --foreground {supervised} --ready-fd 1 | :"
    waiting = Machine(user.root, user.environment, (*user.wrapper, "sh", "-c", command))
    assert "Traceback" not in waiting.hubfs(timeout_s=30).stderr
    assert user.hubfs("status").stdout == "No hub is mounted.\n"


def test_a_mount_in_the_foreground_needs_no_standard_files_either(user: Machine) -> None:
    hubfs = shlex.quote(str(HUBFS))
    command = f"""{hubfs} mount hub --foreground <&- >&- 2>&- &
        for _ in $(seq 500); do cat hub/.hubfs/version 2>/dev/null && break; sleep 0.1; done
        {hubfs} unmount hub && wait $!"""
    done = Machine(user.root, user.environment, (*user.wrapper, "sh", "-c", command)).hubfs(timeout_s=90)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
