"""`hubfs cache`, as an administrator types it, on a directory that `hubfs prefetch` filled."""

import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from hubfs.cli import main
from tests.support.archives import gzipped, tar_of
from tests.support.commands import Commands
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn

NAME = "BAAI/tiny"
WEIGHTS = {"model.safetensors": random.Random(1).randbytes(3 << 20)}
OLD, NEW = {**WEIGHTS, "config.json": b"{}"}, {**WEIGHTS, "config.json": b"[]", "more.bin": b"more" * 1000}
SPICE = {"saved_model.pb": b"graph" * 100, "variables/variables.data": random.Random(3).randbytes(2 << 20)}


class Cache(Commands):
    def __init__(self, environment: dict[str, str], root: Path) -> None:
        super().__init__(environment)
        self.root = root
        self.store = DiskStore(CacheLayout(root))

    def told(self, *arguments: str, exit_code: int = 0) -> dict[str, object]:
        return dict(json.loads(self("cache", *arguments, "--json", exit_code=exit_code).stdout))

    def names(self, *arguments: str) -> list[str]:
        models = self.told("ls", *arguments)["models"]
        assert isinstance(models, list)
        return [model["name"] for model in models]

    def model(self, start: str) -> str:
        (found,) = [model for model in self.store.models() if model.startswith(start)]
        return found


@pytest.fixture
def commits(hub: HuggingFaceStandIn) -> list[str]:
    return [hub.put(NAME, OLD), hub.put(NAME, NEW)]


@pytest.fixture
def hubfs(hub: HuggingFaceStandIn, commits: list[str], tmp_path: Path) -> Iterator[Cache]:
    """A cache with two commits that share a file, and a model of an archive, which was used last."""
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(SPICE)))
        environment = {
            "HF_ENDPOINT": hub.url,
            "HUBFS_HUB": origin.url,
            "HUBFS_CACHE_DIR": str(tmp_path / "cache"),
            "HOME": str(tmp_path),
        }
        hubfs = Cache(environment, tmp_path / "cache")
        hubfs("prefetch", *(f"hf:{NAME}@{commit}" for commit in commits), "google/spice/2")
        hub.reset_counts()
        ages_d = {"+blobs/": 10, commits[0]: 9, commits[1]: 3, "spice": 1}
        for model in hubfs.store.models():
            used_at_s = time.time() - 86400 * next(age for part, age in ages_d.items() if part in model)
            os.utime(CacheLayout(hubfs.root).in_use(model), (used_at_s, used_at_s))
        yield hubfs
        assert not hub.asked, "nobody is asked about what is here"


def test_the_models_are_listed_with_what_they_share(hubfs: Cache, commits: list[str]) -> None:
    names = hubfs.names("--sort", "name")
    assert names == sorted(names)
    assert {name.rpartition("/")[2] for name in names} == {*commits, "2"}
    told = hubfs.told("ls")
    models = {model["name"].rpartition("/")[2]: model for model in told["models"]}  # type: ignore[attr-defined]
    for commit in commits:
        assert 3 << 20 <= models[commit]["size_bytes"] < 4 << 20, "the weights of both"
    assert 5 << 20 <= told["size_bytes"] < 6 << 20, "are kept once"  # type: ignore[operator]
    text = hubfs("cache", "ls", "--sort", "size:desc", "--limit", "2").stdout
    assert re.search(r"/BAAI/tiny/\w{40} +3\.\d MB  used \d+ d ago\n", text)
    assert text.endswith("2 of 3 models; the cache holds 5.3 MB\n")
    assert hubfs.names("--filter", "size>1GB") == []
    assert len(hubfs.names("--filter", "name=*/BAAI/*", "--filter", "used>1d")) == 2


def test_a_model_goes_and_takes_with_it_what_no_other_shares(hubfs: Cache, commits: list[str]) -> None:
    assert "no terminal" in hubfs("cache", "rm", f"hf:{NAME}@{commits[0]}", exit_code=1).stderr
    assert "would go" in hubfs("cache", "rm", f"hf:{NAME}", "--dry-run").stdout
    assert len(hubfs.names()) == 3
    assert "is gone" in hubfs("cache", "rm", f"hf:{NAME}@{commits[0]}", "--yes").stdout
    assert hubfs("prefetch", "--check", f"hf:{NAME}@{commits[1]}").exit_code == 0
    assert len(hubfs.told("rm", f"hf:{NAME}")["removed"]) == 1  # type: ignore[arg-type]
    assert [model for model in hubfs.store.models() if "spice" not in model] == []
    assert "is not in the cache" in hubfs("cache", "rm", f"hf:{NAME}", "--yes", exit_code=1).stderr


def test_what_is_in_use_stays(hubfs: Cache) -> None:
    model = hubfs.model("http")
    release = DiskStore(CacheLayout(hubfs.root)).hold(model)
    try:
        told = hubfs.told("rm", "google/spice/2", exit_code=1)
        assert told == {"removed": [], "in_use": [model.rpartition("@")[0]]}
        assert "is in use, and stays" in hubfs("cache", "rm", "google/spice", "--yes", exit_code=1).stderr
        assert len(hubfs.told("prune", "--to-size", "0B")["removed"]) == 4, "two commits, and two files that they share"  # type: ignore[arg-type]
        assert hubfs.names("--filter", "in_use=true") == [model.rpartition("@")[0]]
    finally:
        release()


def test_pruning_takes_the_least_recently_used_and_nothing_that_is_pinned(hubfs: Cache, commits: list[str]) -> None:
    assert "is pinned" in hubfs("cache", "pin", f"hf:{NAME}@{commits[0]}").stdout
    assert len(hubfs.names("--filter", "pinned=true")) == 1
    assert "0 models" in hubfs("cache", "prune", "--older-than", "8d", "--dry-run").stdout, "one is pinned"
    assert "1 models" in hubfs("cache", "prune", "--older-than", "2d", "--dry-run").stdout
    hubfs.told("prune", "--to-size", "0B")
    (left,) = hubfs.names()
    assert left.endswith(commits[0])
    assert hubfs("prefetch", "--check", f"hf:{NAME}@{commits[0]}").exit_code == 0, "what it shares is pinned with it"
    hubfs("cache", "unpin", left)
    assert hubfs.names("--filter", "pinned=true") == []
    hubfs("cache", "prune", "--older-than", "1s", "--yes")
    assert hubfs.names() == []


def test_a_version_is_pinned_before_it_is_there(hubfs: Cache) -> None:
    assert hubfs.told("pin", "google/other/1")["pinned"] == [
        f"{hubfs.model('http').split('/google')[0]}/google/other/1"
    ]
    assert "is not in the cache" in hubfs("cache", "pin", "google/other", exit_code=1).stderr


@pytest.mark.slow
def test_every_one_of_a_thousand_flipped_bits_is_found(tmp_path: Path) -> None:
    store, random_ = DiskStore(CacheLayout(tmp_path)), random.Random(9)
    store.layout.prepare()
    keys = [CacheKey(f"hub/google/model/{at}@a", f"variables/{at}") for at in range(1000)]
    for key in keys:
        data = bytearray(random_.randbytes(random_.randrange(1, 5000)))
        store.write(key, 0, bytes(data))
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        store.layout.data(key).write_bytes(data)
    done = CliRunner().invoke(main, ["cache", "verify", "--cache-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stdout.endswith("0 blocks of 1000 files are right, and 1000 were damaged\n")
    done = CliRunner().invoke(main, ["cache", "verify", "--cache-dir", str(tmp_path)])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "0 blocks of 1000 files are right, and 0 were damaged")


def test_a_damaged_file_is_named_and_is_fetched_again(hubfs: Cache) -> None:
    assert hubfs("cache", "verify").stdout.endswith(" and 0 were damaged\n")
    (path,) = hubfs.root.rglob("data/variables/variables.data")
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    said = hubfs("cache", "verify", "google/spice/2", exit_code=1).stdout
    assert "variables/variables.data: 1 of 2 blocks were damaged\n" in said
    assert hubfs("prefetch", "--check", "google/spice/2", exit_code=1)
    hubfs("prefetch", "google/spice/2")
    hubfs("cache", "verify", "google/spice/2")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ls", "--filter", "weight>1GB"], "weight is none of"),
        (["ls", "--sort", "age"], "must be name, size or used"),
        (["ls", "--limit", "-1"], "-1"),
        (["prune"], "either --to-size or --older-than"),
        (["prune", "--to-size", "1GB", "--older-than", "1d"], "either --to-size or --older-than"),
        (["prune", "--older-than", "never"], "must read like 30s"),
        (["rm"], "Missing argument"),
    ],
)
def test_arguments_that_make_no_sense_exit_with_2(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(main, ["cache", *arguments, "--cache-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert reason in done.stderr


def test_without_a_cache_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["cache", "ls", "--cache-dir", str(tmp_path / "none")])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "there is no cache at" in done.stderr
    assert not (tmp_path / "none").exists()
