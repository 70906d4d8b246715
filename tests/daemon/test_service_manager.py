import os
import socket
from pathlib import Path

import pytest

from hubfs.daemon.service_manager import tell


@pytest.mark.parametrize("abstract", [False, True])
def test_the_state_is_told_to_who_waits_for_it(tmp_path: Path, *, abstract: bool) -> None:
    address = f"@hubfs-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        tell(address, "READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nonexistent/notify"])
def test_where_nobody_waits_nothing_happens(address: str | None) -> None:
    tell(address, "READY=1")
