"""A mount whose inflating process cannot be confined says so, or is refused."""

import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.support.files import files
from tests.support.mount import Machine, is_mounted, mounted
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted

LACKING = "no files (Landlock); few system calls (seccomp)"


@pytest.fixture
def old(machine: Machine) -> Machine:
    """The machine with a kernel that knows neither Landlock nor seccomp."""
    program = Path(__file__).parents[1] / "support" / "without_sandbox.py"
    return Machine(machine.root, machine.environment, (sys.executable, str(program)))


def test_where_it_can_be_confined_nothing_is_said(mount: MountHub, servers: Origin) -> None:
    with mount(servers, "--require-sandbox") as hub:
        assert hub.status()["inflating_unconfined_by"] == ""
        assert hub.status()["recent_problems"] == []
        assert "sandbox" not in hub.machine.hubfs("doctor", "--hub", servers.url).stdout


def test_where_it_cannot_it_is_said_once_and_shown_all_the_while(
    old: Machine, servers: Origin, small: Path, tmp_path: Path
) -> None:
    user = old.with_environment(**servers.environment)
    with mounted(user, tmp_path / "hub", servers.url) as hub:
        assert files(hub.path / SMALL) == files(small)
        assert hub.status()["inflating_unconfined_by"] == LACKING
        (problem,) = hub.status()["recent_problems"]
        assert f"is not confined as it should be, for want of: {LACKING}" in problem
        assert f"not confined: {LACKING}" in hub.machine.hubfs("status", hub.path).stdout
    assert f"not confined, for want of: {LACKING}" in user.hubfs("doctor", "--hub", servers.url).stdout


@pytest.mark.parametrize("workers", ["2", "0"])
def test_it_can_be_required(old: Machine, servers: Origin, tmp_path: Path, workers: str) -> None:
    mountpoint = tmp_path / "hub"
    mountpoint.mkdir()
    done = old.hubfs("mount", mountpoint, "--hub", servers.url, "--require-sandbox", "--inflate-workers", workers)
    assert done.returncode == 1
    assert not is_mounted(mountpoint)
    (line,) = done.stderr.splitlines()
    assert "--require-sandbox: " in line
    assert (LACKING if workers == "2" else "--inflate-workers above 0") in line
