import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.errors import ModelNotFound
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.serve.models import ModelDirectory
from hubfs.model_id import ModelId
from hubfs.testing import Clock


def put(root: Path, path: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    return file


def texts(handles: list[ModelId]) -> list[str]:
    return [str(handle) for handle in handles]


def test_a_directory_with_files_and_an_archive_are_models(tmp_path: Path):
    put(tmp_path, "google/spice/1/saved_model.pb")
    put(tmp_path, "google/spice/2.tar.gz")
    models = ModelDirectory(tmp_path)
    assert not models.find(parse_handle("google/spice/1")).packed
    packed = models.find(parse_handle("google/spice/2"))
    assert packed.packed
    assert packed.path == tmp_path / "google/spice/2.tar.gz"


def test_the_directory_is_served_where_both_exist(tmp_path: Path):
    put(tmp_path, "google/spice/1/saved_model.pb")
    put(tmp_path, "google/spice/1.tar.gz")
    models = ModelDirectory(tmp_path)
    assert not models.find(parse_handle("google/spice/1")).packed
    assert texts(models.versions("google/spice")) == ["google/spice/1"]


def test_versions_are_ordered_by_number(tmp_path: Path):
    for version in ("9", "10", "2"):
        put(tmp_path, f"google/spice/{version}/tfhub_module.pb")
    put(tmp_path, "google/spice/README")
    put(tmp_path, "google/spice/11.tar.gz.part")
    (tmp_path / "google/spice/12").mkdir()
    models = ModelDirectory(tmp_path)
    assert texts(models.versions("google/spice")) == ["google/spice/2", "google/spice/9", "google/spice/10"]
    assert models.versions("google/nothing") == []


def test_a_version_that_appears_later_is_seen(tmp_path: Path):
    put(tmp_path, "google/spice/1/saved_model.pb")
    models = ModelDirectory(tmp_path)
    assert texts(models.versions("google/spice")) == ["google/spice/1"]
    put(tmp_path, "google/spice/2/saved_model.pb")
    assert texts(models.versions("google/spice")) == ["google/spice/1", "google/spice/2"]


def test_a_missing_model_says_which_versions_there_are(tmp_path: Path):
    put(tmp_path, "google/spice/1/saved_model.pb")
    put(tmp_path, "google/spice/2/saved_model.pb")
    models = ModelDirectory(tmp_path)
    with pytest.raises(ModelNotFound, match=r"google/spice/7: it has version 1, 2$"):
        models.find(parse_handle("google/spice/7"))
    with pytest.raises(ModelNotFound, match="no version of it"):
        models.find(parse_handle("google/other/1"))


def test_an_over_long_version_is_only_missing(tmp_path: Path):
    with pytest.raises(ModelNotFound):
        ModelDirectory(tmp_path).find(ModelId("google/spice", "9" * 6000))


def test_all_models_are_found_at_any_depth(tmp_path: Path):
    put(tmp_path, "google/spice/1/saved_model.pb")
    put(tmp_path, "google/imagenet/resnet_v2/feature_vector/4/saved_model.pb")
    put(tmp_path, "google/imagenet/5.tar.gz")
    put(tmp_path, "deepmind/2/3/saved_model.pb")
    put(tmp_path, ".git/objects/1/x")
    put(tmp_path, "google/.hidden/1/x")
    put(tmp_path, "Not_A_Publisher/m/1/x")
    put(tmp_path, "google/spice/1/assets/2/x")
    models = ModelDirectory(tmp_path)
    assert texts(models.below()) == [
        "deepmind/2/3",
        "google/imagenet/5",
        "google/imagenet/resnet_v2/feature_vector/4",
        "google/spice/1",
    ]
    assert texts(models.below(["deepmind"])) == ["deepmind/2/3"]
    assert models.below(["nobody"]) == []


def test_symlinks_are_followed_inside_only(tmp_path: Path):
    root = tmp_path / "root"
    put(root, "google/spice/1/saved_model.pb")
    put(tmp_path, "outside/1/secret")
    put(tmp_path, "outside.tar.gz")
    (root / "google/alias").symlink_to("spice")
    (root / "google/out").symlink_to(tmp_path / "outside")
    (root / "google/spice/2").symlink_to(tmp_path / "outside/1")
    (root / "google/spice/3.tar.gz").symlink_to(tmp_path / "outside.tar.gz")
    (root / "google/spice/loop").symlink_to(root)
    models = ModelDirectory(root)
    assert texts(models.below()) == ["google/alias/1", "google/spice/1"]
    for handle in ("google/out/1", "google/spice/2", "google/spice/3"):
        with pytest.raises(ModelNotFound):
            models.find(parse_handle(handle))


def test_the_root_may_be_a_symlink_that_is_switched(tmp_path: Path):
    put(tmp_path, "monday/google/spice/1/saved_model.pb")
    put(tmp_path, "tuesday/google/spice/2/saved_model.pb")
    root = tmp_path / "current"
    root.symlink_to("monday")
    clock = Clock()
    models = ModelDirectory(root, timer=clock)
    assert texts(models.below()) == ["google/spice/1"]
    root.unlink()
    root.symlink_to("tuesday")
    assert texts(models.versions("google/spice")) == ["google/spice/2"]
    clock.now_s += 10
    assert texts(models.below()) == ["google/spice/2"]


def test_a_listing_is_remembered_for_seconds_and_walked_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, "google/spice/1/saved_model.pb")
    clock = Clock()
    models = ModelDirectory(tmp_path, timer=clock)
    walks = []
    walking, go_on = threading.Event(), threading.Event()
    walk = ModelDirectory._walk

    def counted(self: ModelDirectory, segments: tuple[str, ...], ancestors: frozenset[str]) -> Iterator[ModelId]:
        if not segments:
            walks.append(segments)
            walking.set()
            assert go_on.wait(60)
        return walk(self, segments, ancestors)

    monkeypatch.setattr(ModelDirectory, "_walk", counted)
    with ThreadPoolExecutor(8) as pool:
        listings = [pool.submit(models.below) for _ in range(8)]
        assert walking.wait(60)
        go_on.set()
        assert {tuple(texts(listing.result(60))) for listing in listings} == {("google/spice/1",)}
    assert len(walks) == 1
    put(tmp_path, "google/spice/2/saved_model.pb")
    clock.now_s += 2
    assert texts(models.below()) == ["google/spice/1"]
    clock.now_s += 2
    assert texts(models.below()) == ["google/spice/1", "google/spice/2"]
    assert len(walks) == 2
