"""`hubfs.resolve` and `hubfs.open_hub`, of stand-ins for hubs. What `hubfs.load` loads is in tests/tensorflow."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hubfs
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import disk_usage_bytes
from hubfs.cache.disk.store import DiskStore
from hubfs.errors import InvalidConfig, InvalidHandle, ModelNotFound
from hubfs.library import local
from hubfs.mounts import table as mount_table
from tests.support.archives import gzipped, tar_of
from tests.support.files import files
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.paths import ROOT

NAME = "BAAI/tiny"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": random.Random(1).randbytes((3 << 20) + 17),
    "1_Pooling/a b+é": random.Random(2).randbytes(3000),
    "empty": b"",
}
ARCHIVED = {"saved_model.pb": random.Random(3).randbytes(1 << 21), "variables/variables.index": b"index"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheLayout]:
    """The cache of this test's user, on a machine without mounts."""
    table = tmp_path / "mountinfo"
    table.touch()
    monkeypatch.setattr(mount_table, "_TABLE", table)
    monkeypatch.setattr(local, "_held", [])
    monkeypatch.setenv("HUBFS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HUBFS_HUB", raising=False)
    yield CacheLayout(tmp_path / "cache")
    for release in local._held:
        release()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, FILES)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpOrigin]:
    """A hub of one model, in an archive."""
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(ARCHIVED)))
        monkeypatch.setenv("HUBFS_HUB", origin.url)
        yield origin


def only_model(cache: CacheLayout) -> str:
    (model,) = (model for model in DiskStore(cache).models() if not model.startswith("+"))
    return model


def test_a_handle_becomes_a_directory_and_the_hub_is_asked_no_more_than_which_version_it_is(
    hub: HuggingFaceStandIn,
) -> None:
    path = hubfs.resolve(f"hf:{NAME}")
    assert files(Path(path)) == FILES
    calls = {**hub.calls}
    assert hubfs.resolve(f"hf:{NAME}") == path
    assert {**hub.calls, "info": calls["info"]} == calls


def test_the_directory_takes_no_room_of_its_own(hub: HuggingFaceStandIn, cache: CacheLayout) -> None:
    path = Path(hubfs.resolve(f"hf:{NAME}"))
    kept = {found.stat().st_ino for found in cache.root.rglob("data/**/*") if found.is_file()}
    assert {name for name in FILES if (path / name).stat().st_ino in kept} == FILES.keys() - {"empty"}
    size_bytes = sum(map(len, FILES.values()))
    assert size_bytes <= disk_usage_bytes(cache.models_root) < 1.2 * size_bytes
    facts = [DiskStore(cache).facts(model) for model in DiskStore(cache).models()]
    assert sum(one.size_bytes for one in facts if one) == disk_usage_bytes(cache.models_root)


def test_a_model_in_an_archive_is_fetched_once(origin: HttpOrigin) -> None:
    path = hubfs.resolve("google/spice/2")
    assert files(Path(path)) == ARCHIVED
    count = len(origin.requests)
    assert hubfs.resolve(f"{origin.url}/google/spice/2") == path
    assert len(origin.requests) == count


def test_many_that_ask_at_once_fetch_each_byte_once(hub: HuggingFaceStandIn) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = {*pool.map(hubfs.resolve, [f"hf:{NAME}"] * 8)}
    assert len(paths) == 1
    assert files(Path(paths.pop())) == FILES
    assert hub.cdn.body_bytes == len(FILES["model.safetensors"])


def test_what_a_flipped_bit_damaged_is_fetched_again(origin: HttpOrigin, cache: CacheLayout) -> None:
    path = Path(hubfs.resolve("google/spice/2"))
    with (path / "saved_model.pb").open("r+b") as file:
        file.seek(1 << 20)
        file.write(bytes([ARCHIVED["saved_model.pb"][1 << 20] ^ 1]))
    assert hubfs.resolve("google/spice/2") == str(path)
    assert files(path) == ARCHIVED


def test_what_somebody_took_away_is_put_back(hub: HuggingFaceStandIn) -> None:
    path = Path(hubfs.resolve(f"hf:{NAME}"))
    (path / "config.json").unlink()
    (path / "model.safetensors").write_bytes(b"short")
    calls = hub.calls["resolve"]
    assert hubfs.resolve(f"hf:{NAME}") == str(path)
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert hub.calls["resolve"] <= calls + 1, "one file was overwritten in the cache"


@pytest.mark.parametrize("inside", ["", "variables", ".."])
@pytest.mark.parametrize("what", ["symlink", "file"])
def test_what_lies_in_the_way_of_a_directory_is_replaced_and_never_written_through(
    origin: HttpOrigin, tmp_path: Path, inside: str, what: str
) -> None:
    path = Path(hubfs.resolve("google/spice/2"))
    foreign, there = tmp_path / "foreign", Path(os.path.normpath(path / inside))
    foreign.mkdir()
    shutil.rmtree(there)
    if what == "symlink":
        there.symlink_to(foreign)
    else:
        there.write_bytes(b"in the way")
    assert hubfs.resolve("google/spice/2") == str(path)
    assert files(path) == ARCHIVED
    assert not there.is_symlink()
    assert os.listdir(foreign) == []


def test_it_is_not_evicted_while_the_process_runs(origin: HttpOrigin, cache: CacheLayout) -> None:
    path = Path(hubfs.resolve("google/spice/2"))
    assert not DiskStore(cache).remove(only_model(cache))
    assert path.is_dir()
    local._held.pop()()
    assert DiskStore(cache).remove(only_model(cache), blocks_only=True)
    assert not path.exists(), "the directory goes with the blocks, whose bytes it has"
    assert files(Path(hubfs.resolve("google/spice/2"))) == ARCHIVED


def test_a_directory_that_a_kill_left_half_made_is_not_taken_for_the_model(
    origin: HttpOrigin, cache: CacheLayout
) -> None:
    program = """
import os, sys
from pathlib import Path
import hubfs
from hubfs.library import local
local._Making._put_file = lambda *_: os._exit(9)
hubfs.resolve("google/spice/2")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 9
    assert not (cache.local(only_model(cache)) / "model").exists()
    assert files(Path(hubfs.resolve("google/spice/2"))) == ARCHIVED


def test_a_mount_of_the_hub_has_it_already(origin: HttpOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def below_a_mount(text: str, hub: str) -> Path:
        asked.append((text, hub))
        return Path("/mnt/hub") / text

    monkeypatch.setattr("hubfs.library.calls.below_a_mount", below_a_mount)
    assert hubfs.resolve(f"{origin.url}/google/spice/2") == "/mnt/hub/google/spice/2"
    assert hubfs.resolve("google/spice") == "/mnt/hub/google/spice"
    assert hubfs.resolve("hf:BAAI/tiny@v1") == "/mnt/hub/BAAI/tiny@v1"
    assert asked == [("google/spice/2", origin.url), ("google/spice", origin.url), ("BAAI/tiny@v1", "hf:")]
    assert origin.requests == []


def test_a_model_that_lacks_the_file_is_refused_before_its_bytes_are_fetched(hub: HuggingFaceStandIn) -> None:
    with pytest.raises(ValueError, match=f"hf:{NAME} has no graph.pb in its root, but '?1_Pooling"):
        hubfs.resolve(f"hf:{NAME}", having=["graph.pb"])
    assert hub.calls["resolve"] == 0


def test_without_a_library_that_loads_models_nothing_is_fetched(origin: HttpOrigin) -> None:
    for call in (hubfs.load, hubfs.keras_layer):
        with pytest.raises(ModuleNotFoundError, match="is not installed in this environment: pip install"):
            call("google/spice/2")
    assert origin.requests == []


def test_a_directory_is_a_handle(tmp_path: Path) -> None:
    assert hubfs.resolve(str(tmp_path)) == str(tmp_path)
    with pytest.raises(InvalidHandle, match="is no directory"):
        hubfs.resolve(str(tmp_path / "nowhere"))


def test_what_cannot_be_kept_is_refused(
    hub: HuggingFaceStandIn, monkeypatch: pytest.MonkeyPatch, cache: CacheLayout
) -> None:
    monkeypatch.setenv("HUBFS_CACHE_SIZE", "1MiB")
    with pytest.raises(InvalidConfig, match="set a larger cache_size, or `hubfs fetch` it"):
        hubfs.resolve(f"hf:{NAME}")
    assert hub.calls["resolve"] == 0
    monkeypatch.setenv("HUBFS_CACHE_DIR", "")
    monkeypatch.setenv("HUBFS_NO_DISK_CACHE", "1")
    with pytest.raises(InvalidConfig, match="without a disk cache"):
        hubfs.resolve(f"hf:{NAME}")
    with pytest.raises(InvalidHandle):
        hubfs.resolve("no handle")


def test_a_model_that_does_not_exist_is_said_to_be_absent(origin: HttpOrigin) -> None:
    with pytest.raises(ModelNotFound):
        hubfs.resolve("google/spice/3")


def test_a_damaged_model_leaves_no_directory(hub: HuggingFaceStandIn, cache: CacheLayout) -> None:
    commit = hub.put(NAME, FILES)
    hub.rot(NAME, commit, "model.safetensors", 1 << 20)
    with pytest.raises(hubfs.errors.Damaged):  # type: ignore[attr-defined] # imported above
        hubfs.resolve(f"hf:{NAME}")
    assert not [*cache.root.rglob("local/model")]


def test_a_hub_is_listed_and_read(hub: HuggingFaceStandIn) -> None:
    opened = hubfs.open_hub("hf:")
    try:
        assert {*opened.ls(NAME, detail=False)} == {f"{NAME}/{path.split('/')[0]}" for path in FILES}
        assert opened.cat_file(f"{NAME}/config.json") == FILES["config.json"]
        assert opened.cat_ranges([f"{NAME}/model.safetensors"] * 2, [0, 1 << 20], [4, (1 << 20) + 4]) == [
            FILES["model.safetensors"][:4],
            FILES["model.safetensors"][1 << 20 : (1 << 20) + 4],
        ]
    finally:
        opened.close()


def test_what_the_package_has_is_told_without_importing_it() -> None:
    assert {"keras_layer", "load", "open_hub", "resolve"} <= {*dir(hubfs)}
    with pytest.raises(AttributeError, match="module 'hubfs' has no attribute 'nothing'"):
        _ = hubfs.nothing  # type: ignore[attr-defined] # that is the point
