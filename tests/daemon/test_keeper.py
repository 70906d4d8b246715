"""What a daemon and its keeper say to each other. `systemd` here is its half of the protocol: a socket, and an exec."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.daemon.keeper import READY, Served, channel_to_child, heard, inherited, served_in, service_manager


@pytest.fixture(params=["a path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and what NOTIFY_SOCKET says."""
    address = str(tmp_path / "notify") if request.param == "a path" else f"@hubfs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listening.settimeout(60)
        yield listening, address


def test_the_service_manager_is_told_and_no_child_finds_it(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    keeper = service_manager(environment)
    assert keeper
    assert keeper.watchdog_s == 30
    assert environment == {}
    keeper.tell(READY)
    assert listening.recv(100) == b"READY=1"
    keeper.close()


def test_a_watchdog_that_is_meant_for_another_process_is_none_of_ours(manager: tuple[socket.socket, str]) -> None:
    environment = {"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    keeper = service_manager(environment)
    assert keeper.watchdog_s is None
    keeper.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    keeper = service_manager(environment)
    assert not keeper
    keeper.tell(READY)
    keeper.keep(Served(0, 1, 53))


@pytest.fixture
def served() -> Iterator[tuple[Served, int]]:
    """A mount's two descriptors, which here are pipes and closed by the tests, and the writing end of the first."""
    connection, writing = os.pipe()
    nodes = os.memfd_create("nodes")
    yield Served(connection, nodes, 53), writing
    os.close(writing)


def test_it_is_given_descriptors_and_told_to_close_them(
    manager: tuple[socket.socket, str], served: tuple[Served, int]
) -> None:
    listening, address = manager
    mount, _ = served
    keeper = service_manager({"NOTIFY_SOCKET": address})
    keeper.keep(mount)
    os.close(mount.connection)
    os.close(mount.nodes)
    said = [listening.recv(100) for _ in "ab"]  # who takes no descriptor has the kernel close its copy
    names = ["hubfs-connection-53", "hubfs-nodes-53"]
    assert said == [f"FDSTORE=1\nFDNAME={name}".encode() for name in names]
    keeper.drop(names)
    said = [listening.recv(100) for _ in "ab"]
    assert said == [f"FDSTOREREMOVE=1\nFDNAME={name}".encode() for name in names]
    keeper.close()


def test_our_own_hears_the_same_and_the_end_of_a_daemon(served: tuple[Served, int]) -> None:
    ours, keeper = channel_to_child(5.0)
    assert keeper.watchdog_s == 5
    mount, writing = served
    keeper.keep(mount)
    keeper.tell("STATUS=two words\nERRNO=5")
    os.close(mount.connection)
    os.close(mount.nodes)
    os.write(writing, b"still there")
    held = {}
    for _ in "ab":
        message = heard(ours)
        assert message is not None
        said, (descriptor,) = message
        assert said["FDSTORE"] == "1"
        held[said["FDNAME"]] = descriptor
    found = served_in(held)
    assert found is not None
    assert found.device == 53
    assert os.read(found.connection, 100) == b"still there"
    assert not any(map(os.get_inheritable, held.values()))
    assert heard(ours) == ({"STATUS": "two words", "ERRNO": "5"}, [])
    keeper.close()
    assert heard(ours) is None
    ours.close()
    for descriptor in held.values():
        os.close(descriptor)


def test_half_a_mount_is_none() -> None:
    assert served_in({}) is None
    assert served_in({"hubfs-connection-53": 5, "hubfs-nodes-54": 6, "another": 7}) is None
    assert served_in({"hubfs-connection-": 5, "hubfs-nodes-": 6}) is None
    assert served_in({"hubfs-nodes-53": 6, "hubfs-connection-53": 5}) == Served(5, 6, 53)


def test_a_connection_that_the_kernel_gave_up_is_over() -> None:
    reading, writing = os.pipe()
    mount = Served(writing, -1, 53)
    assert not mount.is_over()
    os.close(reading)  # a pipe without a reader is an error to poll, as is /dev/fuse without a mount
    assert mount.is_over()
    os.close(writing)


def test_a_keeper_that_is_gone_disturbs_no_daemon() -> None:
    ours, keeper = channel_to_child(None)
    ours.close()
    keeper.tell(READY)
    keeper.close()


_STARTED = """
import json, os, sys
from hubfs.daemon.keeper import inherited
os.environ["LISTEN_PID"] = sys.argv[1].replace("mine", str(os.getpid()))
held = inherited(os.environ)
said = {name: os.read(descriptor, 100).decode() for name, descriptor in held.items()}
print(json.dumps([said, [os.get_inheritable(each) for each in held.values()], "LISTEN_FDS" in os.environ]))
"""


def started(listen_pid: str) -> object:
    """What a process makes of two descriptors that it is started with, as systemd starts one."""
    pipes = [os.pipe() for _ in "ab"]
    for (_, writing), text in zip(pipes, ("one", "two"), strict=True):
        os.write(writing, text.encode())
    # A shell moves them to where systemd puts them.
    moved = " ".join(f"{3 + place}<&{reading}" for place, (reading, _) in enumerate(pipes))
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" "$2" {moved}', sys.executable, _STARTED, listen_pid],
        env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "first:second"},
        pass_fds=[reading for reading, _ in pipes],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for pipe in pipes:
        for descriptor in pipe:
            os.close(descriptor)
    return json.loads(done.stdout)


def test_what_a_service_manager_kept_is_found_by_name_and_goes_to_no_child() -> None:
    assert started("mine") == [{"first": "one", "second": "two"}, [False, False], False]


def test_what_is_another_process_s_is_not_taken() -> None:
    assert started("1") == [{}, [], False]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many", "LISTEN_FDNAMES": "a"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"},  # nothing is open there
    ],
)
def test_nothing_is_inherited_where_nothing_was_kept(environment: dict[str, str]) -> None:
    closed = os.dup(0)
    os.close(closed)
    assert inherited({**environment}, closed) == {}
