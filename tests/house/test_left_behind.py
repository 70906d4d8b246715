"""The check at the end of every run."""

import socket
from pathlib import Path

import pytest

from tests.support.left_behind import left_behind
from tests.support.waiting import eventually


def test_servers_and_open_files_are_seen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "open").open("wb"):
        port = server.getsockname()[1]
        assert {f"port {port}", f"open file {tmp_path}/open"} <= {*left_behind(tmp_path, within_s=0)}
    assert not {f"port {port}", f"open file {tmp_path}/open"} & {*left_behind(tmp_path, within_s=0)}


@pytest.mark.parametrize("first", ["server", "client"])
def test_a_connection_that_both_ends_have_closed_is_no_port(tmp_path: Path, first: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted = server.accept()[0]
        if first == "client":
            client.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
        accepted.close()
        assert client.recv(1) == b""  # the kernel may deliver the end late
        if first == "server":
            client.shutdown(socket.SHUT_WR)
        port = f"port {client.getsockname()[1]}"  # which is free from now on: another process may have it for a moment
        assert eventually(lambda: port not in left_behind(tmp_path, within_s=0), 60)
