"""A home that cannot be written, or that there is none of: a service account, a container, a read-only file system.

A mount refuses nothing for want of a log.
"""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.support.another_user import as_user, ordinary_machine, run
from tests.support.mount import HUBFS, Machine
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted


@pytest.fixture
def user(tmp_path: Path, servers: Origin) -> Iterator[Machine]:
    """An ordinary user whose home belongs to root, with an empty directory `hub` to mount at."""
    environment = {"HUBFS_HUB": servers.url, **servers.environment}
    with ordinary_machine(tmp_path / "machine", environment) as machine:
        assert run(machine, "mkdir", "hub").returncode == 0
        os.chown(machine.home, 0, 0)
        machine.home.chmod(0o755)
        yield machine


def read_only(user: Machine) -> Machine:
    return user


def shut(user: Machine) -> Machine:
    user.home.chmod(0o700)
    return user


def nonexistent(user: Machine) -> Machine:
    return user.with_environment(HOME="/nonexistent")


def no_directory(user: Machine) -> Machine:
    return user.with_environment(HOME="/dev/null")


def unset(user: Machine) -> Machine:
    return Machine(user.root, user.environment, (*user.wrapper, "env", "-u", "HOME"))


def read_only_file_system(user: Machine) -> Machine:
    root = as_user(user, 0)
    assert run(root, "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "home").returncode == 0
    return root


@pytest.mark.parametrize("home", [read_only, shut, nonexistent, no_directory, unset, read_only_file_system])
def test_a_hub_is_mounted_and_a_warning_says_that_nothing_is_logged(user: Machine, small: Path, home) -> None:
    user = home(user)
    done = user.hubfs("mount", "hub")
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("hubfs: WARNING: The log file ")
    assert "--log-file" in said
    read = run(user, "md5sum", f"hub/{SMALL}/saved_model.pb")
    assert read.stdout[:32] == hashlib.md5((small / "saved_model.pb").read_bytes()).hexdigest()
    status = json.loads(user.hubfs("status", "--json", "hub").stdout)
    assert said.endswith(status["log_problem"])
    assert status["log_file"] is None
    assert any(status["log_problem"] in problem for problem in status["recent_problems"])
    assert status["log_problem"] in user.hubfs("status", "hub").stdout
    done = user.hubfs("unmount", "hub")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_that_is_named_elsewhere_is_written_without_a_word(user: Machine) -> None:
    done = user.hubfs("mount", "hub", "--log-file", "logs/hub.log")
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(user.hubfs("status", "--json", "hub").stdout)
    assert (status["log_file"], status["log_problem"]) == (str(user.root / "logs" / "hub.log"), None)
    assert "is mounted at" in (user.root / "logs" / "hub.log").read_text()
    assert "log file" not in user.hubfs("status", "hub").stdout
    assert user.hubfs("unmount", "hub").returncode == 0


def test_a_named_log_that_cannot_be_opened_refuses_no_mount_either(user: Machine) -> None:
    done = user.hubfs("mount", "hub", "--no-disk-cache", "--log-file", "/proc/hub.log")
    assert done.returncode == 0
    assert "The log file /proc/hub.log cannot be written (No such file or directory)" in done.stderr
    assert user.hubfs("unmount", "hub").returncode == 0


@pytest.mark.parametrize("supervised", ["", "--supervise"])
def test_in_the_foreground_stderr_stands_in(user: Machine, supervised: str) -> None:
    command = f"""{HUBFS} mount hub --foreground {supervised} --log-file /proc/hub.log &
        for _ in $(seq 100); do cat hub/.hubfs/version 2>/dev/null && break; sleep 0.1; done
        {HUBFS} unmount hub && wait $!"""
    done = Machine(user.root, user.environment, (*user.wrapper, "sh", "-c", command)).hubfs(timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("The log file /proc/hub.log cannot be written") == 1
    assert "is mounted at" in done.stderr


def test_a_supervisor_starts_a_daemon_again_without_a_log(user: Machine) -> None:
    done = user.hubfs("mount", "hub", "--supervise")
    assert done.returncode == 0, done.stderr
    os.kill(json.loads(user.hubfs("status", "--json", "hub").stdout)["pid"], signal.SIGKILL)
    assert eventually(lambda: "restarted 1 times" in user.hubfs("status").stdout)
    assert "cannot be written" in user.hubfs("status", "hub").stdout
    assert user.hubfs("unmount", "hub").returncode == 0


def test_what_a_mount_failed_with_is_said_beside_the_log_it_lacks(user: Machine) -> None:
    done = user.hubfs("mount", "hub", "-o", "frobnicate")
    assert done.returncode == 1
    assert "-o frobnicate is no option of the kernel session" in done.stderr
    assert "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_doctor_looks_at_the_log_that_would_be_used(user: Machine) -> None:
    def log(*options: str) -> tuple[str, str]:
        done = user.hubfs("doctor", "--json", "--format", "compressed", *options)
        found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
        assert "bucket" not in found, "models are asked for as archives"
        return found["log"]["verdict"], found["log"]["said"]

    verdict, said = log()
    assert verdict == "warning"
    assert f"{user.home}/.local/state/hubfs/log cannot be written" in said
    assert log("--log-file", "new/hub.log") == ("ok", str(user.root / "new" / "hub.log"))
    assert log("--log-file", "/proc/hub.log")[0] == "warning"
