"""What Prometheus reads of a mount: in the mount itself, and at a port, for as long as the mount is there."""

import json
import os
import signal
import socket
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hubfs.daemon.dump import END
from tests.conftest import SMALL, MountHub
from tests.mounted.test_lifecycle import told
from tests.support.files import files
from tests.support.mount import Mount, is_mounted
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

_PID = os.getpid()
HOST = f"127.77.{_PID >> 8 & 255}.{_PID & 255}"
"""An address of this machine that no other process of the tests uses: its ports are free."""
PORT = 9464
Samples = dict[tuple[str, ...], float]
Counts = tuple[int, int, int]


def samples(text: str) -> Samples:
    """The values of all samples, by name and the values of their labels in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(address: str) -> Samples:
    host, _, port = address.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", "/metrics")
        return samples(connection.getresponse().read().decode())
    finally:
        connection.close()


def in_the_mount(hub: Mount) -> Samples:
    return samples((hub.path / ".hubfs" / "metrics").read_text())


def counts(hub: Mount) -> Counts:
    """What the status says of requests, of bytes from the hub, and of bytes on the disk."""
    status = hub.status()
    (origin,) = status["origins"].values()
    return sum(origin["results"].values()), origin["bytes_received"], status["cache"]["disk"]["used_bytes"]


@pytest.mark.both_libfuses
def test_what_readers_did_is_counted_by_each_way_to_serve_the_kernel(
    mount: MountHub, servers: Origin, small: Path, binding: str
) -> None:
    with mount(servers.asked_for("uncompressed"), "--fuse-library", binding, "--verify", "always") as hub:
        assert files(hub.path / SMALL) == files(small)
        with pytest.raises(OSError, match="No data"):
            os.getxattr(hub.path / SMALL, "user.hubfs.none")
        found = in_the_mount(hub)
        assert found["hubfs_operations_total", "OK", "read"] >= 1
        assert found["hubfs_operations_total", "OK", "open"] >= len(files(small))
        assert found["hubfs_operations_total", "ENODATA", "getxattr"] >= 1
        assert found["hubfs_operation_duration_seconds_count", "read"] >= 1
        assert found["hubfs_read_bytes_total",] >= sum(map(len, files(small).values()))


def test_the_port_and_the_mount_say_the_same_until_the_mount_ends(
    mount: MountHub, servers: Origin, small: Path
) -> None:
    with mount(servers.asked_for("uncompressed"), "--metrics-addr", "127.0.0.1:0") as hub:
        address = str(hub.status()["metrics_addr"])
        assert files(hub.path / SMALL) == files(small)
        # The readers' bytes may still be on their way to the disk: of one moment is what is the same before and after.
        looks: list[tuple[Counts, Samples]] = []

        def nothing_happens() -> bool:
            before, at_port = counts(hub), scraped(address)
            looks.append((before, at_port))
            return before == counts(hub)

        assert eventually(nothing_happens)
        (requests, received_bytes, used_bytes), at_port = looks[-1]
        assert at_port.keys() <= in_the_mount(hub).keys()
        assert sum(value for name, value in at_port.items() if name[0] == "hubfs_origin_requests_total") == requests
        hub_label = next(name[1] for name in at_port if name[0] == "hubfs_origin_received_bytes_total")
        assert at_port["hubfs_origin_received_bytes_total", hub_label] == received_bytes > 0
        assert at_port["hubfs_cache_used_bytes", "disk"] == used_bytes
        assert at_port["hubfs_models", "found"] == 1
        assert not any(SMALL.split("/", maxsplit=1)[0] in "".join(name) for name in at_port), "a model makes no series"
        assert f"http://{address}/metrics" in hub.log()
    with pytest.raises(ConnectionRefusedError):
        scraped(address)


def test_a_port_that_is_taken_is_said_and_nothing_is_mounted(mount: MountHub, servers: Origin, tmp_path: Path) -> None:
    with (
        socket.create_server((HOST, PORT)),
        pytest.raises(AssertionError, match=rf"--metrics-addr {HOST}:{PORT}: the port cannot be opened"),
        mount(servers.asked_for("uncompressed"), "--metrics-addr", f"{HOST}:{PORT}"),
    ):
        pass
    assert not is_mounted(tmp_path / "hub")


def test_the_port_is_there_again_after_the_daemon_died(mount: MountHub, servers: Origin, small: Path) -> None:
    address = f"{HOST}:{PORT + 1}"
    with mount(servers.asked_for("uncompressed"), "--metrics-addr", address, "--supervise") as hub:
        assert scraped(address)["hubfs_daemon_restarts_total",] == 0
        for restarts, number in enumerate((signal.SIGKILL, signal.SIGUSR2), 1):
            os.kill(int(told(hub.path)["pid"]), number)
            assert eventually(partial(_has_restarted, hub.path, restarts))
            assert eventually(partial(_answers, address))
            assert scraped(address)["hubfs_daemon_restarts_total",] == restarts
        assert files(hub.path / SMALL) == files(small)


def test_a_signal_has_the_daemon_say_what_it_is_at_and_it_goes_on(
    mount: MountHub, servers: Origin, small: Path
) -> None:
    with mount(servers.asked_for("uncompressed"), "--supervise", "--log-format", "json") as hub:
        dump = hub.log_file.with_name(f"{hub.log_file.name}.dump")
        with (hub.path / SMALL / "saved_model.pb").open("rb") as open_file:
            assert open_file.read(1)
            pids = hub.pids()
            for pid in pids:  # the supervisor's own is none of those that end it
                os.kill(pid, signal.SIGUSR1)
            assert eventually(lambda: f"{END}\n" in dump.read_text())
        text = dump.read_text()
        assert "saved_model.pb" in text
        assert '"memory_budget"' in text
        assert "Thread 0x" in text
        assert files(hub.path / SMALL) == files(small)
        assert hub.pids() == pids
        records = [json.loads(line) for line in hub.log().splitlines()]
        assert any(str(dump) in record["message"] for record in records), "the log says where it is"
        assert {record["mountpoint"] for record in records} == {str(hub.path)}


def _has_restarted(path: Path, times: int) -> bool:
    return told(path).get("restarts") == times


def _answers(address: str) -> bool:
    try:
        return bool(scraped(address))
    except OSError:
        return False
