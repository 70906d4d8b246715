"""`hubfs cache export` and `import`: from one machine to another that is offline, and an archive fetched by hand."""

import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import seal
from tests.support.archives import gzipped, tar_of
from tests.support.commands import Commands
from tests.support.files import files
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn

NAME = "BAAI/tiny"
WEIGHTS = {"model.safetensors": random.Random(1).randbytes((2 << 20) + 9)}
OLD, NEW = {**WEIGHTS, "config.json": b"{}", "empty": b""}, {**WEIGHTS, "config.json": b"[]"}
SPICE = {
    "saved_model.pb": b"graph" * 100,
    "variables/variables.data": random.Random(3).randbytes((2 << 20) + 5),
    "assets/empty": b"",
}


@pytest.fixture
def commits(hub: HuggingFaceStandIn) -> list[str]:
    return [hub.put(NAME, OLD), hub.put(NAME, NEW)]


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(SPICE)))
        yield origin


@pytest.fixture
def hubfs(hub: HuggingFaceStandIn, origin: HttpOrigin, tmp_path: Path) -> Commands:
    return Commands({"HF_ENDPOINT": hub.url, "HUBFS_HUB": origin.url, "HOME": str(tmp_path)}).at(tmp_path / "here")


@pytest.fixture
def export(hubfs: Commands, commits: list[str], tmp_path: Path) -> Path:
    handles = [*(f"hf:{NAME}@{commit}" for commit in commits), "google/spice/2"]
    hubfs("prefetch", *handles)
    hubfs("cache", "export", *handles, "--to", tmp_path / "export.tar")
    return tmp_path / "export.tar"


def models(cache: Path) -> list[str]:
    return [*CacheLayout(cache).models()]


def test_what_one_machine_exported_is_served_by_another_that_is_offline(
    hubfs: Commands, commits: list[str], export: Path, tmp_path: Path
) -> None:
    there = hubfs.at(tmp_path / "there")
    said = there("cache", "import", export).stdout
    assert said.count(" is cached\n") == 3
    for handle, wanted in (
        (f"hf:{NAME}@{commits[0]}", OLD),
        (f"hf:{NAME}@{commits[1]}", NEW),
        ("google/spice/2", SPICE),
    ):
        to = tmp_path / handle.replace("/", "_")
        there("fetch", handle, "--to", to, "--offline")
        assert files(to) == wanted
    assert sum(path.stat().st_size for path in (tmp_path / "there").rglob("data/model.safetensors")) <= len(
        WEIGHTS["model.safetensors"]
    ), "what both commits have came once"
    assert there("cache", "verify").stdout.endswith(" and 0 were damaged\n")
    assert there("cache", "import", export).exit_code == 0, "once more changes nothing"
    assert sorted(models(tmp_path / "there")) == sorted(models(tmp_path / "here"))


def test_an_export_is_whole_or_not_there(hubfs: Commands, commits: list[str], export: Path, tmp_path: Path) -> None:
    assert "exists: name another file" in hubfs("cache", "export", "google/spice/2", "--to", export, exit_code=1).stderr
    to = tmp_path / "more.tar"
    refused = hubfs("cache", "export", "google/other/1", "--to", to, exit_code=1).stderr
    assert refused == "hubfs: google/other/1 is not in the cache: `hubfs prefetch` it first\n"
    (block_map,) = (tmp_path / "here").rglob("blocks/variables/variables.data")
    block_map.unlink()
    assert "is not whole in the cache" in hubfs("cache", "export", "google/spice/2", "--to", to, exit_code=1).stderr
    handle = f"hf:{NAME}@{commits[0]}"
    assert "cannot be written" in hubfs("cache", "export", handle, "--to", tmp_path / "no/x", exit_code=1).stderr
    assert not [path for path in tmp_path.iterdir() if "more" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_export_is_refused_and_leaves_nothing(
    hubfs: Commands, export: Path, tmp_path: Path, seed: int
) -> None:
    random_, data = random.Random(seed), bytearray(export.read_bytes())
    with tarfile.open(export) as tar:
        bodies = [range(one.offset_data, one.offset_data + one.size) for one in tar.getmembers() if one.size]
    if seed % 2:
        data[random_.choice(random_.choice(bodies[1:]))] ^= 1 << random_.randrange(8)
    else:
        del data[random_.randrange(bodies[-1].start) :]
    export.write_bytes(data)
    done = hubfs.at(tmp_path / "there")("cache", "import", export, exit_code=1)
    assert done.stderr.count("\n") == 1
    assert not models(tmp_path / "there")


def described(model: str = "a/b/1@c", path: str = "x", block: object = (0, 1, 5), index: object = None) -> bytes:
    files = [{"path": path, "blocks": [block]}]
    models = [{"model": model, "index": index, "archive_index_crc32c": None, "files": files}]
    return seal("export", "hubfs-export.json", {"models": models})


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"[]",
        described(model="../../x@y"),
        described(model="x"),
        described(path="../../x"),
        described(block=(0, 9_000_000, 5)),
        described(block=(0, 1, 6)),
        described(index=5),
        described(block="xyz"),
    ],
)
def test_a_hostile_export_is_refused_and_writes_nowhere_else(hubfs: Commands, tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "hostile.tar").write_bytes(tar_of({"hubfs-export.json": contents, "0/0": b"x"}))
    before = {path for path in tmp_path.rglob("*") if "there" not in path.parts}
    done = hubfs.at(tmp_path / "there")("cache", "import", tmp_path / "hostile.tar", exit_code=1)
    assert done.stderr.count("\n") == 1
    assert {path for path in tmp_path.rglob("*") if "there" not in path.parts} == before
    assert not models(tmp_path / "there")


@pytest.mark.parametrize("pack", [lambda files: gzipped(tar_of(files)), tar_of])
def test_an_archive_that_was_fetched_by_hand_is_served_with_and_without_the_hub(
    hubfs: Commands, origin: HttpOrigin, tmp_path: Path, pack: object
) -> None:
    (tmp_path / "spice.tar.gz").write_bytes(pack(SPICE))  # type: ignore[operator]
    said = hubfs("cache", "import", tmp_path / "spice.tar.gz", "--as", "google/spice/2").stdout
    assert said.endswith(" is cached\n")
    for flags in (["--offline"], []):
        hubfs("fetch", "google/spice/2", "--to", tmp_path / f"m{len(flags)}", *flags)
        assert files(tmp_path / f"m{len(flags)}") == SPICE
    assert not origin.requests
    assert hubfs("prefetch", "--check", "google/spice/2").exit_code == 0


def test_what_is_no_archive_of_such_a_model_is_refused_and_leaves_nothing(hubfs: Commands, tmp_path: Path) -> None:
    good = gzipped(tar_of(SPICE))
    for data, handle, reason in (
        (good[:-5], "google/spice/2", "ended early"),
        (good[:-6] + b"\0" + good[-5:], "google/spice/2", "corrupt"),
        (b"<html>", "google/spice/2", ""),
        (gzipped(tar_of({"../x": b"y"})), "google/spice/2", ""),
        (good, "google/spice", "names no version"),
        (good, f"hf:{NAME}@{'0' * 40}", "has no models that are archives"),
        (good, "a b", "is not a versioned handle"),
    ):
        (tmp_path / "x.tar.gz").write_bytes(data)
        done = hubfs("cache", "import", tmp_path / "x.tar.gz", "--as", handle, exit_code=1)
        assert reason in done.stderr, handle
        assert done.stderr.count("\n") == 1
        assert not models(tmp_path / "here"), handle
    assert "No such file" in hubfs("cache", "import", tmp_path / "none", exit_code=1).stderr
    assert "is no export of a cache" in hubfs("cache", "import", tmp_path / "x.tar.gz", exit_code=1).stderr
