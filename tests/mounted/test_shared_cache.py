"""A bucket as the second-level cache: a fleet of daemons downloads each model once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin, running_origin

pytestmark = pytest.mark.mounted

HANDLE = "noise/small/1"
DAEMONS = 3


@pytest.fixture(params=["compressed", "uncompressed"])
def fleet_origin(request: pytest.FixtureRequest, tmp_path: Path, small: Path) -> Iterator[Origin]:
    """A paced hub, and beside its own bucket the one that the fleet shares."""
    home = tmp_path / "origin"
    archive = pack(small, home / "small.tar.gz")
    with running_origin(home, {HANDLE: small}, {HANDLE: archive}, bytes_per_s=8 << 20) as origin:
        origin.store.create_bucket("fleet")
        yield origin.asked_for(str(request.param))


@contextmanager
def fleet(
    tmp_path: Path,
    origin: Origin,
    *options: str,
    numbers: Sequence[int] = range(DAEMONS),
    daemons: int = 1,
    **environment: str,
) -> Iterator[list[Mount]]:
    """Daemons that share the bucket; so many of them have a home, and so a local cache, between them."""
    with ExitStack() as mounts:
        found = []
        for number in numbers:
            shared = {"HUBFS_FUSE_LIBRARY": "session", "TFHUB_CACHE_DIR": "gs://fleet/tfhub-modules-cache"}
            machine = Machine(tmp_path / f"machine{number // daemons}", {**shared, **origin.environment, **environment})
            hub = mounted(machine, tmp_path / f"hub{number}", origin.url, "--format", origin.form, *options)
            found.append(mounts.enter_context(hub))
        yield found


def read_all(mount: Mount) -> dict[str, bytes]:
    return files(mount.path / HANDLE)


@pytest.mark.parametrize("options", [[], ["--no-disk-cache"]], ids=["disk", "no-disk"])
def test_a_fleet_that_starts_cold_at_once_fetches_each_byte_once(
    fleet_origin: Origin, small: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet(tmp_path, fleet_origin, *options) as mounts, ThreadPoolExecutor(DAEMONS) as readers:
        assert all(read == files(small) for read in readers.map(read_all, mounts))
    ratio = fleet_origin.sent_bytes(HANDLE) / fleet_origin.hosted_bytes(small, tmp_path / "origin" / "small.tar.gz")
    with capsys.disabled():
        print(f"\n{fleet_origin.form}, {DAEMONS} daemons at once: {ratio:.4f} of the model's bytes were sent")
    assert ratio <= 1.05


def test_daemons_of_one_machine_and_of_another_fetch_each_byte_once(
    fleet_origin: Origin, small: Path, tmp_path: Path
) -> None:
    with (
        fleet(tmp_path, fleet_origin, numbers=range(4), daemons=2) as mounts,
        ThreadPoolExecutor(len(mounts)) as readers,
    ):
        assert all(read == files(small) for read in readers.map(read_all, mounts))
    assert fleet_origin.sent_bytes(HANDLE) <= 1.05 * fleet_origin.hosted_bytes(
        small, tmp_path / "origin" / "small.tar.gz"
    )


def test_who_comes_later_asks_the_origin_for_nothing(fleet_origin: Origin, small: Path, tmp_path: Path) -> None:
    with fleet(tmp_path, fleet_origin, numbers=(0,)) as (first,):
        assert read_all(first) == files(small)
    before = (fleet_origin.nginx.requests(), fleet_origin.sent_bytes(HANDLE))
    with fleet(tmp_path, fleet_origin, numbers=(1, 2)) as mounts:
        assert all(read_all(later) == files(small) for later in mounts)
    assert (fleet_origin.nginx.requests(), fleet_origin.sent_bytes(HANDLE)) == before


def test_with_the_bucket_down_everything_still_reads_right(fleet_origin: Origin, small: Path, tmp_path: Path) -> None:
    origin = fleet_origin.asked_for("compressed")
    with fleet(tmp_path, origin, STORAGE_EMULATOR_HOST="http://127.0.0.1:1") as mounts:
        assert all(read_all(mount) == files(small) for mount in mounts)
        assert any("shared cache" in mount.log() for mount in mounts)


def test_the_local_cache_is_used_when_the_bucket_is_gone(fleet_origin: Origin, small: Path, tmp_path: Path) -> None:
    with fleet(tmp_path, fleet_origin) as mounts:
        assert all(read_all(mount) == files(small) for mount in mounts)
    before = fleet_origin.sent_bytes(HANDLE)
    with fleet(tmp_path, fleet_origin, STORAGE_EMULATOR_HOST="http://127.0.0.1:1") as mounts:
        assert all(read_all(mount) == files(small) for mount in mounts)
    assert fleet_origin.sent_bytes(HANDLE) == before
