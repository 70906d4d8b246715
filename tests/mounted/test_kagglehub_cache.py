"""`/.hubfs/kagglehub` of a mount, as the cache of an unmodified kagglehub.

The mount and the client have a stand-in each: what the client's was asked, the client asked.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.kaggle import KaggleStandIn
from tests.support.kagglehub_client import DIALECTS, Downloaded, model_download
from tests.support.mount import Machine, Mount, mounted

pytestmark = pytest.mark.mounted

HANDLE = "google/spice/tensorFlow2/spice/1"
FILES = {
    "saved_model.pb": b"graph " * 50_000,
    "variables/variables.index": random.Random(1).randbytes(700),
    "assets/a name+é.txt": b"words\n",
}


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    """The mount's."""
    with KaggleStandIn() as kaggle:
        kaggle.put(HANDLE, FILES)
        yield kaggle


@pytest.fixture
def asked() -> Iterator[KaggleStandIn]:
    """The client's, which has the model, too."""
    with KaggleStandIn() as asked:
        asked.put(HANDLE, FILES)
        yield asked


@pytest.fixture
def hub(machine: Machine, tmp_path: Path, kaggle: KaggleStandIn) -> Iterator[Mount]:
    with mounted(machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url), tmp_path / "kaggle", "kaggle:") as hub:
        yield hub


@pytest.fixture
def cache(hub: Mount) -> Path:
    return hub.path / ".hubfs/kagglehub"


def test_a_versioned_handle_is_read_from_the_mount_without_any_request(
    kaggle: KaggleStandIn, asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    found = model_download(asked, dialect, tmp_path, HANDLE, cache=cache)
    assert found.path == cache / "models" / HANDLE
    assert kaggle.calls == {"ListModelInstanceVersionFiles": 1}, "the mount asks for the list alone"
    assert not kaggle.stored, "no bytes of any file"
    assert found.files == FILES
    kaggle.reset_counts()
    assert model_download(asked, dialect, tmp_path, HANDLE, cache=cache).files == FILES
    assert not kaggle.calls
    assert not asked.calls
    assert not [*tmp_path.rglob("*.complete")], "nothing was copied"


def test_markers_of_a_model_of_several_files_cost_its_list_alone(
    kaggle: KaggleStandIn, asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    many = {f"folder/{number:03}.bin": random.Random(number).randbytes(100) for number in range(25)}
    kaggle.put("google/many/jax/all/3", many)
    found = model_download(asked, dialect, tmp_path, "google/many/jax/all/3", cache=cache)
    assert found.path == cache / "models/google/many/jax/all/3"
    markers = cache / "models/google/many/jax/all/.complete/3"
    assert all((markers / f"{name}.complete").exists() for name in many)
    assert not (markers / "folder/064.bin.complete").exists()
    assert kaggle.calls == {"ListModelInstanceVersionFiles": 1}
    assert not kaggle.stored
    assert found.files == many
    assert not asked.calls


def test_a_model_of_many_files_costs_its_list_and_its_archive(
    kaggle: KaggleStandIn, asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    many = {f"folder/{number:03}.bin": random.Random(number).randbytes(100) for number in range(64)}
    kaggle.put("google/many/jax/all/3", many)
    found = model_download(asked, dialect, tmp_path, "google/many/jax/all/3", cache=cache)
    assert found.path == cache / "models/google/many/jax/all/3"
    markers = cache / "models/google/many/jax/all/.complete/3"
    assert all((markers / f"{name}.complete").exists() for name in many)
    assert not (markers / "folder/064.bin.complete").exists()
    assert found.files == many
    assert kaggle.calls == {"ListModelInstanceVersionFiles": 1, "DownloadModelInstanceVersion": 1}
    assert not asked.calls


@pytest.mark.parametrize("spelling", ["TensorFlow2", "tensorflow2"])
def test_the_framework_is_found_as_it_is_typed(
    asked: KaggleStandIn, cache: Path, dialect: str, spelling: str, tmp_path: Path
) -> None:
    typed = HANDLE.replace("tensorFlow2", spelling)
    found = model_download(asked, dialect, tmp_path, typed, cache=cache)
    assert found.path == cache / "models" / typed
    assert found.files == FILES
    assert not asked.calls


@pytest.mark.parametrize("name", FILES)
def test_one_file_is_read_from_the_mount(
    kaggle: KaggleStandIn, asked: KaggleStandIn, cache: Path, dialect: str, name: str, tmp_path: Path
) -> None:
    found = model_download(asked, dialect, tmp_path, HANDLE, name, cache=cache)
    assert not kaggle.stored
    assert found.path is not None
    assert found.path.read_bytes() == FILES[name]
    assert not asked.calls


def test_an_unversioned_handle_asks_kaggle_for_the_version_alone(
    asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    assert model_download(asked, dialect, tmp_path, HANDLE.removesuffix("/1"), cache=cache).files == FILES
    assert asked.calls == {"GetModelInstance": 1}
    assert not asked.stored


def test_what_does_not_exist_is_not_marked_and_left_to_kaggle(
    asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    def downloaded(handle: str, path: str | None = None) -> Downloaded:
        return model_download(asked, dialect, tmp_path, handle, path, cache=cache)

    for missing in ("google/none/tensorFlow2/none/1", HANDLE.removesuffix("1") + "2"):
        assert "404" in downloaded(missing).message
    assert "404" in downloaded(HANDLE, "tokenizer.json").message
    assert asked.calls == {"ListModelInstanceVersionFiles": 2, "DownloadModelInstanceVersion": 1}
    at = cache / "models" / HANDLE
    assert (at.with_name("1.complete").exists(), at.with_name("2.complete").exists()) == (True, False)
    assert not at.with_name(".complete").joinpath("1/tokenizer.json.complete").exists()


def test_what_only_kaggle_has_cannot_be_written_into_the_mount(
    asked: KaggleStandIn, cache: Path, dialect: str, tmp_path: Path
) -> None:
    asked.put("google/other/keras/other/1", FILES)
    refused = model_download(asked, dialect, tmp_path, "google/other/keras/other/1", cache=cache)
    assert refused.error in ("FileExistsError", "OSError")
    assert str(cache / "models/google/other/keras/other") in refused.message


def test_a_model_without_the_network_is_there_if_it_is_cached(
    machine: Machine, kaggle: KaggleStandIn, asked: KaggleStandIn, dialect: str, tmp_path: Path
) -> None:
    there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
    with mounted(there, tmp_path / "kaggle", "kaggle:") as hub:
        assert files(hub.path / HANDLE) == FILES
    with mounted(there, tmp_path / "kaggle", "kaggle:", "--offline") as hub:
        found = model_download(asked, dialect, tmp_path, HANDLE, cache=hub.path / ".hubfs/kagglehub")
        assert found.files == FILES
    assert not asked.calls


def test_of_several_hubs_the_first_of_kaggle_is_the_cache(
    machine: Machine, kaggle: KaggleStandIn, asked: KaggleStandIn, dialect: str, tmp_path: Path
) -> None:
    there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
    hubs = ("other=http://127.0.0.1:9", "--hub=all=kaggle:", "--hub=own=kaggle:google")
    with mounted(there, tmp_path / "hubs", *hubs) as hub:
        cache = hub.path / ".hubfs/kagglehub"
        assert model_download(asked, dialect, tmp_path, HANDLE, cache=cache).files == FILES
        assert os.path.realpath(cache / "models" / HANDLE) == str(hub.path / "all" / HANDLE)
        assert sorted(os.listdir(hub.path / ".hubfs")) == sorted(
            ["kagglehub", "metrics", "models.json", "mount.json", "status.json", "tfhub_modules", "version"]
        )
    assert not asked.calls
