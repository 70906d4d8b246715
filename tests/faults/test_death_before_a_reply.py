"""A daemon dies between counting a lookup and telling the kernel of it: the table of nodes stays flat."""

import os
from pathlib import Path

import pytest

from hubfs.fuse.session.nodes import NodeTable
from tests.conftest import SMALL
from tests.mounted.test_lifecycle import told
from tests.support.figures import Figures, budget
from tests.support.files import files
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin
from tests.support.programs import ran
from tests.support.waiting import eventually

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

pytestmark = [
    pytest.mark.mounted,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access(DROP_CACHES, os.W_OK),
        reason="root has the kernel forget names, and reads the daemon's table",
    ),
]

PLANTED = """
import os, signal
from hubfs.daemon.keeper import READY, Keeper
from hubfs.fuse.session import protocol, untold
from hubfs.fuse.session.session import Session

untold.PATIENCE_S = 1.0
reply, tell, left = Session._write, Keeper.tell, {{}}

def told(self, state, *descriptors):
    tell(self, state, *descriptors)
    if state == READY:
        left[os.getpid()] = 1 + os.getpid() % {most}

def write(self, unique, error, body):
    me = os.getpid()
    if me in left and unique and not error and len(body) >= protocol.ENTRY_OUT.size and os.path.exists({flag!r}):
        left[me] -= 1
        if not left[me]:
            os.kill(me, signal.SIGKILL)
    return reply(self, unique, error, body)

Keeper.tell, Session._write = told, write
"""
"""Has each daemon that serves die before one of its first replies that tell of nodes, as long as `flag` is there."""

MOST_REPLIES = 12


def nodes_of(pid: int) -> dict[str, int]:
    """The table of a daemon: its paths, with their lookups."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        at = Path(f"/proc/{pid}/fd/{number}")
        if "hubfs-nodes" in str(at.readlink()):
            table = NodeTable(os.open(at, os.O_RDWR))
            try:
                return {node.path: node.lookups for _, node in table.items()}
            finally:
                table.close()
    raise AssertionError("the daemon has no table of nodes")


def forget_names() -> None:
    """Has the kernel drop names and nodes that nobody uses, everywhere."""
    DROP_CACHES.write_text("2")


def pid_of(hub: Mount) -> int:
    status: dict[str, int] = {}
    assert eventually(lambda: status.update(told(hub.path)) or status), "it may die while it is asked"
    return status["pid"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_table_of_nodes_is_what_the_kernel_knows(
    machine: Machine, servers: Origin, small: Path, tmp_path: Path, figures: Figures
) -> None:
    flag, site, origin = tmp_path / "deaths", tmp_path / "site", servers.asked_for("uncompressed")
    site.mkdir()
    (site / "sitecustomize.py").write_text(PLANTED.format(most=MOST_REPLIES, flag=str(flag)))
    user = machine.with_environment(**origin.environment, PYTHONPATH=str(site))
    with mounted(user, tmp_path / "hub", origin.url, "--format", origin.form, "--supervise") as hub:
        assert files(hub.path / SMALL) == files(small)
        deaths, pid = 0, pid_of(hub)
        flag.touch()
        wanted = int(budget("deaths_before_replies", boxed=20, full=100))
        while deaths < wanted:
            forget_names()
            walk = ran(["find", hub.path / SMALL, "-ls"])
            assert walk.returncode == 0, walk.stderr
            deaths, pid = (deaths + 1, now) if (now := pid_of(hub)) != pid else (deaths, pid)
        flag.unlink()
        assert files(hub.path / SMALL) == files(small)
        before = nodes_of(pid_of(hub))
        forget_names()
        assert eventually(lambda: forgotten(hub)), nodes_of(pid_of(hub))
        figures.add("nodes after deaths", deaths=deaths, before=len(before), after=len(nodes_of(pid_of(hub))))
        assert files(hub.path / SMALL) == files(small)


def forgotten(hub: Mount) -> bool:
    """Whether the table has no node of the model; the names are forgotten anew, for `told` looks some up."""
    forget_names()
    return not any(path.startswith(f"/{SMALL}") for path in nodes_of(int(told(hub.path)["pid"])))
