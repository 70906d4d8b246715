"""A bucket as a hub: `gs://bucket/prefix`, on a real object store, without any server of the protocol."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files, listed
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.programs import ran
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

TFLITE = b"\x1c\0\0\0TFL3" + bytes(200_000)
TFJS = {"model.json": b'{"weightsManifest": [{"paths": ["group1-shard1of1.bin"]}]}', "group1-shard1of1.bin": b"w" * 9}
TTL_S = 10


@pytest.fixture
def store(tmp_path: Path, small: Path) -> Iterator[GcsServer]:
    """Below gs://team/hub: every layout of a model, and the other kinds; beside the prefix, somebody else's files."""
    hub = tmp_path / "store" / "team" / "hub"
    shutil.copytree(small, hub / "noise" / "small" / "1")
    shutil.copytree(small, hub / "noise" / "small" / "2" / "uncompressed")
    shutil.copy(pack(small, tmp_path / "small.tar.gz"), hub / "noise" / "small" / "3.tar.gz")
    for path, data in {
        "noise/lite-model/ears/2/default/1/model.tflite": TFLITE,
        **{f"noise/tfjs-model/ears/1/{name}": data for name, data in TFJS.items()},
        "notes.txt": b"not a model",
        "Not A Publisher/model/1/saved_model.pb": b"x",
    }.items():
        (hub / path).parent.mkdir(parents=True, exist_ok=True)
        (hub / path).write_bytes(data)
    (hub.parent / "elsewhere.bin").write_bytes(b"x")
    with gcs_server(hub.parent.parent) as store:
        yield store


@pytest.fixture
def user(machine: Machine, store: GcsServer) -> Machine:
    return machine.with_environment(STORAGE_EMULATOR_HOST=store.url)


@pytest.fixture
def hub(user: Machine, tmp_path: Path) -> Iterator[Mount]:
    with mounted(user, tmp_path / "hub", "gs://team/hub") as mount:
        yield mount


def test_from_an_empty_start_ls_shows_what_the_bucket_has(hub: Mount, store: GcsServer) -> None:
    assert sorted(os.listdir(hub.path)) == [".hubfs", "noise"]
    assert sorted(os.listdir(hub.path / "noise")) == ["lite-model", "small", "tfjs-model"]
    assert sorted(os.listdir(hub.path / "noise" / "small")) == ["1", "2", "3", "latest"]
    assert (hub.path / "noise" / "small" / "latest").readlink() == Path("3")
    assert store.downloads == []


def test_find_meets_every_file_of_every_layout(hub: Mount, small: Path) -> None:
    done = ran(["find", hub.path, "-name", ".hubfs", "-prune", "-o", "-type", "f", "-printf", "%P %s\n"], timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    model = {name: len(data) for name, data in files(small).items()}
    expected = {f"noise/small/{version}/{name}": size for version in (1, 2, 3) for name, size in model.items()}
    expected["noise/lite-model/ears/2/default/1/model.tflite"] = len(TFLITE)
    expected |= {f"noise/tfjs-model/ears/1/{name}": len(data) for name, data in TFJS.items()}
    found = (line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert {path: int(size) for path, size in found} == expected


def test_every_layout_gives_the_files_of_the_model(hub: Mount, small: Path) -> None:
    forms = {"1": "uncompressed", "2": "uncompressed", "3": "compressed"}
    for version, form in forms.items():
        model = hub.path / "noise" / "small" / version
        assert listed(model) == listed(small)
        assert files(model) == files(small)
        assert os.getxattr(model, "user.hubfs.form").decode() == form
        assert os.getxattr(model, "user.hubfs.url").decode().startswith("gs://team/hub/noise/small/")
    assert files(hub.path / "noise" / "lite-model" / "ears" / "2" / "default" / "1") == {"model.tflite": TFLITE}
    assert files(hub.path / "noise" / "tfjs-model" / "ears" / "1") == TFJS


def test_what_the_bucket_does_not_have_does_not_exist(hub: Mount) -> None:
    for absent in ("noise/small/4", "noise/absent/1", "noise/small/1/notes.txt", "notes.txt"):
        with pytest.raises(FileNotFoundError):
            (hub.path / absent / "saved_model.pb").stat()
    with pytest.raises(FileNotFoundError):
        (hub.path / "noise" / "tfjs-model" / "ears" / "2" / "model.json").stat()
    assert os.listdir(hub.path / "noise" / "absent") == []


def test_a_second_mount_reads_without_asking_for_a_byte(
    user: Machine, tmp_path: Path, store: GcsServer, small: Path
) -> None:
    models = [Path("noise", "small", version) for version in ("1", "2", "3")]
    with mounted(user, tmp_path / "hub", "gs://team/hub") as mount:
        assert [files(mount.path / model) for model in models] == [files(small)] * len(models)
    store.reset()
    with mounted(user, tmp_path / "hub", "gs://team/hub") as mount:
        assert [files(mount.path / model) for model in models] == [files(small)] * len(models)
        assert store.requests == []


def test_a_model_that_is_cached_is_looked_at_without_a_request(hub: Mount, store: GcsServer) -> None:
    for version in ("1", "2", "3"):
        files(hub.path / "noise" / "small" / version)
    store.reset()
    for version in ("1", "2", "3"):
        for name in ("", "saved_model.pb", "variables/variables.index"):
            (hub.path / "noise" / "small" / version / name).stat()
        os.getxattr(hub.path / "noise" / "small" / version, "user.hubfs.cached_bytes")
    assert store.requests == []


def test_an_uploaded_version_shows_within_the_ttl(hub: Mount, store: GcsServer) -> None:
    model = hub.path / "noise" / "small"
    assert sorted(os.listdir(model)) == ["1", "2", "3", "latest"]
    with (model / "latest" / "saved_model.pb").open("rb") as reader:
        begun = reader.read(10)
        store.upload("team", "hub/noise/small/10/saved_model.pb", b"a new graph")
        assert eventually(lambda: sorted(os.listdir(model)) == ["1", "10", "2", "3", "latest"], TTL_S + 2)
        assert eventually(lambda: (model / "latest").readlink() == Path("10"), TTL_S + 2)
        assert (model / "latest" / "saved_model.pb").read_bytes() == b"a new graph"
        assert begun + reader.read() == (model / "3" / "saved_model.pb").read_bytes()


def test_a_bucket_alone_is_a_hub_as_well(user: Machine, tmp_path: Path, store: GcsServer) -> None:
    store.create_bucket("models")
    store.upload("models", "acme/embeddings/1/saved_model.pb", b"graph")
    with mounted(user, tmp_path / "hub", "gs://models") as mount:
        assert files(mount.path / "acme") == {"embeddings/1/saved_model.pb": b"graph"}


def test_a_bucket_that_is_not_there_is_told_from_an_empty_one(user: Machine, tmp_path: Path, store: GcsServer) -> None:
    with mounted(user, tmp_path / "hub", "gs://no-such-bucket/hub") as mount:
        with pytest.raises(OSError, match="No route to host"):
            (mount.path / "noise" / "small" / "1").stat()
        assert "gs://no-such-bucket" in mount.log()
