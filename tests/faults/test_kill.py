"""The daemon is killed at any instant: the same command mounts again, and every byte is right."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FORMS, SMALL, MountHub
from tests.support.files import files
from tests.support.models import pack, small_model
from tests.support.mount import DEAD, eventually
from tests.support.origin import Origin, running_origin

pytestmark = pytest.mark.mounted

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


def test_every_byte_is_right_after_any_number_of_kills_in_mid_load(
    mount: MountHub, origin: Origin, small: Path
) -> None:
    original = (small / VARIABLES).read_bytes()
    with contextlib.ExitStack() as mounts:
        for reads in (0, 3, 40, 90):
            hub = mounts.enter_context(mount(origin))  # over the dead one of the last round
            with (hub.path / SMALL / VARIABLES).open("rb", buffering=0) as file:
                for offset in range(0, reads * READ_BYTES, READ_BYTES):
                    assert os.pread(file.fileno(), READ_BYTES, offset) == original[offset : offset + READ_BYTES]
                hub.kill()
            with pytest.raises(OSError, match=DEAD):
                os.listdir(hub.path)
        hub = mounts.enter_context(mount(origin))
        assert files(hub.path / SMALL) == files(small)


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
        reader.join(30)
        assert failed.is_set()
        assert bytes(got) == original[: len(got)]
        assert len(got) < len(original)
