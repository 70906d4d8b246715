"""https://tfhub.dev as a mount, by each of its three ways: the public bucket, its own redirect, Kaggle."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET
from tests.support.files import files
from tests.support.gcs_server import Fault, gcs_server
from tests.support.kaggle import KaggleStandIn
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import nginx_hub
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAMES = {"bucket": "the public bucket", "redirect": "the hub's redirect", "Kaggle": "Kaggle"}
"""The ways in their order, and what hubfs calls them."""

BUCKET, _, PREFIX = PUBLIC_BUCKET.removeprefix("gs://").partition("/")

FILES: Mapping[str, bytes] = {"saved_model.pb": b"graph" * 50_000, "variables/variables.index": os.urandom(1 << 20)}
"""Some bytes differ each time: no cache of another run has them."""

SPICE, YAMNET = "google/spice/2", "google/yamnet/1"
"""The catalogue has their names at Kaggle."""
EUPHONIA, LITE = "google/euphonia_spice/classification/1", "google/lite-model/spice/1"
"""The catalogue has them without such a name."""
ABSENT = "google/absent/1"
AT_KAGGLE = {
    SPICE: "google/spice/tensorFlow1/spice/2",
    YAMNET: "google/yamnet/tensorFlow2/yamnet/1",
    EUPHONIA: "google/euphonia-spice/tensorFlow2/classification/1",
}


class World:
    """The hosts of the three ways. Each can have models, and go away."""

    def __init__(self, tmp_path: Path, open_hosts: ExitStack) -> None:
        self._hosts = {way: open_hosts.enter_context(ExitStack()) for way in NAMES}
        self.store = self._hosts["bucket"].enter_context(gcs_server())
        self.nginx = self._hosts["redirect"].enter_context(nginx_hub(tmp_path / "nginx", versions=2))
        self.kaggle = self._hosts["Kaggle"].enter_context(KaggleStandIn(page_sizes=2))
        self._tmp_path = tmp_path
        self.store.create_bucket(BUCKET)

    def goes_away(self, way: str) -> None:
        """Nobody answers at its address any more."""
        self._hosts[way].close()

    def put(self, handle: str, *ways: str) -> None:
        """`FILES` as the model `handle`, by these ways."""
        if "bucket" in ways:
            for path, data in FILES.items():
                self.store.upload(BUCKET, f"{PREFIX}/{handle}/uncompressed/{path}", data)
        if "redirect" in ways:
            model = self._tmp_path / "models" / handle
            for path, data in FILES.items():
                (model / path).parent.mkdir(parents=True, exist_ok=True)
                (model / path).write_bytes(data)
            self.nginx.host_archive(handle, pack(model, model.with_suffix(".tar.gz")))
        if "Kaggle" in ways:
            self.kaggle.put(AT_KAGGLE[handle], FILES)

    def machine(self, machine: Machine) -> Machine:
        """A machine that knows the hosts."""
        return machine.with_environment(
            STORAGE_EMULATOR_HOST=self.store.url,
            HUBFS_TFHUB_ENDPOINT=self.nginx.url,
            HUBFS_KAGGLE_ENDPOINT=self.kaggle.url,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as open_hosts:
        yield World(tmp_path, open_hosts)


def url_of(model: Path) -> str:
    return os.getxattr(model, "user.hubfs.url").decode()


def resting(mount: Mount) -> list[str]:
    return [way["way"] for way in mount.status()["ways"] if way["rests"]]


def ways_of(mount: Mount) -> dict[str, str | None]:
    """Which models the ways answered of last, in the order of the status."""
    return {way["way"]: way["answered"] for way in mount.status()["ways"]}


@pytest.mark.parametrize("way", NAMES)
def test_a_model_is_read_by_each_way_alone(machine: Machine, world: World, tmp_path: Path, way: str) -> None:
    world.put(SPICE, way)
    there = world.machine(machine)
    for other in NAMES.keys() - {way}:
        world.goes_away(other)
    with mounted(there, hub := tmp_path / "hub", "tfhub:") as mount:
        assert files(hub / SPICE) == FILES
        assert (hub / "google/spice/latest").readlink() == Path("2")
        assert "2" in os.listdir(hub / "google/spice")
        assert f"Version 2 is read by {NAMES[way]}." in (hub / "google/spice/README.md").read_text()
        assert {name for name, answered in ways_of(mount).items() if answered} == {NAMES[way]}
    world.goes_away(way)
    with mounted(there, hub, "https://tfhub.dev"):
        assert files(hub / SPICE) == FILES, "it is cached as a model of the hub, and nobody is asked"
        assert f"Version 2 is read by {NAMES[way]}." in (hub / "google/spice/README.md").read_text()


def test_what_is_left_is_asked_when_one_way_after_the_other_goes_away(
    machine: Machine, world: World, tmp_path: Path
) -> None:
    for handle in (SPICE, YAMNET):
        world.put(handle, *NAMES)
    world.put(EUPHONIA, "Kaggle")
    world.kaggle.put("google/spice/tfLite/spice/1", {"1.tflite": b"\0\0\0\0TFL3"})
    with mounted(world.machine(machine), hub := tmp_path / "hub", "tfhub:") as mount:
        assert files(hub / SPICE) == FILES
        assert url_of(hub / SPICE).startswith(PUBLIC_BUCKET)

        world.goes_away("bucket")
        assert files(hub / YAMNET) == FILES
        assert url_of(hub / YAMNET).startswith(world.nginx.url)
        assert resting(mount) == ["the public bucket"]
        with pytest.raises(OSError, match="No route to host"):  # it may be in the bucket
            (hub / ABSENT).stat()
        assert re.search("1: the public bucket: .*redirect: .*Kaggle: ", mount.error_of((hub / ABSENT).parent))

        world.goes_away("redirect")
        assert files(hub / EUPHONIA) == FILES
        assert url_of(hub / EUPHONIA).startswith("https://www.kaggle.com/models/google/euphonia-spice/")
        assert "the hub's redirect" in resting(mount)
        assert files(hub / LITE) == {"model.tflite": b"\0\0\0\0TFL3"}
        assert [*ways_of(mount)] == [*NAMES.values()]

        world.goes_away("Kaggle")
        with pytest.raises(OSError, match="No route to host"):
            (hub / ABSENT).stat()
        for handle in (SPICE, YAMNET, EUPHONIA):
            assert files(hub / handle) == FILES, "what was read stays readable"


def test_a_model_is_read_on_by_another_way_when_its_own_goes_away(
    machine: Machine, world: World, tmp_path: Path
) -> None:
    world.put(SPICE, "bucket", "Kaggle")
    there = world.machine(machine).with_environment(HUBFS_FAILURE_TTL="1s")
    with mounted(there, hub := tmp_path / "hub", "tfhub:", "--prefetch", "none") as mount:
        assert (hub / SPICE / "saved_model.pb").read_bytes() == FILES["saved_model.pb"]
        world.goes_away("bucket")
        with pytest.raises(OSError, match="Stale"):
            (hub / SPICE / "variables/variables.index").read_bytes()

        def is_read() -> bool:
            try:
                return files(hub / SPICE) == FILES
            except OSError:
                return False

        assert eventually(is_read)
        assert url_of(hub / SPICE).startswith("https://www.kaggle.com/models/google/spice/")
        assert mount.is_sound(hub / SPICE)
    with mounted(there, hub, "tfhub:"):
        world.goes_away("Kaggle")
        assert files(hub / SPICE) == FILES


def test_a_handle_that_no_way_has_does_not_exist_and_an_attribute_says_what_was_tried(
    machine: Machine, world: World, tmp_path: Path
) -> None:
    with mounted(world.machine(machine), hub := tmp_path / "hub", "tfhub:") as mount:
        with pytest.raises(FileNotFoundError):
            (hub / ABSENT).stat()
        tried = os.getxattr((hub / ABSENT).parent, "user.hubfs.denied").decode()
        assert re.fullmatch("1: the public bucket: .*; the hub's redirect: .*; Kaggle: .*", tried)
        assert not resting(mount)
        text = machine.hubfs("status", hub).stdout
        order = ["  1 the public bucket", "  2 the hub's redirect", "  3 Kaggle"]
        assert re.search(".*\n.*".join(order), text)


def test_a_bucket_that_is_public_no_more_does_not_make_every_unknown_handle_one_that_may_be_there(
    machine: Machine, world: World, tmp_path: Path
) -> None:
    world.put(YAMNET, "Kaggle")
    world.store.spoil(*[Fault(status=403)] * 100)
    with mounted(world.machine(machine), hub := tmp_path / "hub", "tfhub:") as mount:
        with pytest.raises(FileNotFoundError):
            (hub / ABSENT).stat()
        assert files(hub / YAMNET) == FILES
        assert resting(mount) == ["the public bucket"]
        assert re.search(rf"\({PUBLIC_BUCKET}\) +is left alone: ", machine.hubfs("status", hub).stdout)
