"""A daemon that is alive and answers nothing."""

import os
import signal

import pytest

from tests.conftest import MountHub
from tests.support.mount import eventually, is_mounted
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted


@pytest.fixture
def binding() -> str:
    return "libfuse3"


def test_unmount_does_not_wait_for_ever_and_takes_the_mount_off(mount: MountHub, servers: Origin) -> None:
    with mount(servers) as hub:
        (daemon,) = hub.pids()
        os.kill(daemon, signal.SIGSTOP)
        try:
            done = hub.machine.hubfs("unmount", hub.path, timeout_s=30)
            assert done.returncode == 1
            assert "did not answer" in done.stderr
            assert not is_mounted(hub.path)
        finally:
            os.kill(daemon, signal.SIGCONT)
        assert eventually(lambda: not hub.pids()), "the daemon did not end once it went on"
