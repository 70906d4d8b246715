"""A mount whose proxy wants to be told something: the proxy is, and nobody reads it on the machine."""

from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.support.files import files
from tests.support.mount import Machine, mounted
from tests.support.origin import Origin
from tests.support.plain_proxy import plain_proxy

pytestmark = pytest.mark.mounted

SECRET = "dont-show-this-secret"


def test_a_mount_tells_its_proxy_and_shows_nobody(
    servers: Origin, small: Path, tmp_path: Path, machine: Machine
) -> None:
    origin = servers.asked_for("compressed")
    told = ("--proxy-headers", "X-Dragonfly-Use-P2P: true", "--proxy-headers", f"X-Key: {SECRET}")
    with plain_proxy() as proxy:
        user = machine.with_environment(**origin.environment, HTTP_PROXY=proxy.url, NO_PROXY="")
        options = ("--format", "compressed", "--log-level", "debug", *told)
        with mounted(user, tmp_path / "hub", origin.url, *options) as mount:
            assert files(mount.path / SMALL) == files(small)
            shown = [mount.log(), str(mount.status())]
            for file in (mount.path / ".hubfs").iterdir():
                shown += [file.read_text()] if file.is_file() else []
            shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in mount.pids()]
            assert mount.pids()
    assert proxy.told
    assert all((headers["x-dragonfly-use-p2p"], headers["x-key"]) == ("true", SECRET) for _, headers in proxy.told)
    assert not [text for text in shown if SECRET in text]
