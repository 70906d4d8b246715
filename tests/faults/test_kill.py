"""The daemon is killed under a reader; test_crash_loop.py has the kills at any instant."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import FORMS, SMALL, MountHub
from tests.support.models import pack, small_model
from tests.support.mount import DEAD
from tests.support.origin import Origin, running_origin
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.both_libfuses]

VARIABLES = "variables/variables.data-00000-of-00001"
READ_BYTES = 64 * 1024


@pytest.fixture(scope="module", params=FORMS)
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A hub so slow that there is time to kill in mid-load: some four seconds for the archive of SMALL."""
    home = tmp_path_factory.mktemp("slow")
    small = small_model(home / "model")
    archive = pack(small, home / "small.tar.gz")
    with running_origin(home, {SMALL: small}, {SMALL: archive}, bytes_per_s=2_000_000) as servers:
        yield servers.asked_for(request.param)


def test_a_reader_in_flight_gets_an_error_and_no_wrong_byte(mount: MountHub, origin: Origin, small: Path) -> None:
    original = (small / VARIABLES).read_bytes()
    with mount(origin) as hub:
        got = bytearray()
        failed = threading.Event()

        def read() -> None:
            try:
                with (hub.path / SMALL / VARIABLES).open("rb", buffering=0) as file:
                    while chunk := file.read(READ_BYTES):
                        got.extend(chunk)
                        time.sleep(0.01)
            except OSError:
                failed.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert eventually(lambda: len(got) > 3 * READ_BYTES)
        hub.kill()
        reader.join(60)
        assert failed.is_set()
        assert bytes(got) == original[: len(got)]
        assert len(got) < len(original)


def read_all(fd: int, offset: int) -> None:
    """Up to what the kernel does not have: pages may have come while the others were asked for."""
    while got := os.pread(fd, READ_BYTES, offset):
        offset += len(got)


@pytest.mark.parametrize("origin", ["compressed"], indirect=True)  # its bytes come slowly
def test_a_read_under_way_returns_what_the_kernel_has_and_the_next_one_fails(
    mount: MountHub, origin: Origin, small: Path
) -> None:
    original = (small / VARIABLES).read_bytes()
    with mount(origin) as hub, ThreadPoolExecutor(1) as pool:
        fd = os.open(hub.path / SMALL / VARIABLES, os.O_RDONLY)
        try:
            whole = pool.submit(os.pread, fd, len(original), 0)
            assert os.pread(fd, 1 << 20, 0) == original[: 1 << 20]
            assert not whole.done()
            hub.kill()
            got = whole.result(timeout=60)
            assert 1 << 20 <= len(got) < len(original)
            assert got == original[: len(got)]
            assert os.fstat(fd).st_size == len(original)
            with pytest.raises(OSError, match=DEAD):
                read_all(fd, len(got))
        finally:
            os.close(fd)
