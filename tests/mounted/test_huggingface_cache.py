"""`/.hubfs/huggingface` of a mount, as the cache of an unmodified huggingface_hub.

The mount and the client have a stand-in each: what the client's was asked, the client asked.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_client import calls
from tests.support.mount import Machine, Mount, mounted

pytestmark = pytest.mark.mounted

NAME = "BAAI/bge-m3"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": os.urandom((1 << 20) + 17),
    "1_Pooling/config.json": b"{}",
}
OFFLINE = {"HF_HUB_OFFLINE": "1"}
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def stand_in() -> Iterator[HuggingFaceStandIn]:
    """The mount's."""
    with HuggingFaceStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def asked() -> Iterator[HuggingFaceStandIn]:
    """The client's, which has what the mount's has."""
    with HuggingFaceStandIn() as asked:
        yield asked


@pytest.fixture
def commit(stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn) -> str:
    asked.put(NAME, FILES)
    return stand_in.put(NAME, FILES)


@pytest.fixture
def hub(machine: Machine, tmp_path: Path, stand_in: HuggingFaceStandIn, commit: str) -> Iterator[Mount]:
    assert commit
    with mounted(machine.with_environment(HF_ENDPOINT=stand_in.url), tmp_path / "hf", "hf:") as hub:
        yield hub


@pytest.fixture
def cache(hub: Mount) -> Path:
    return hub.path / ".hubfs/huggingface"


def _told(*wanted: tuple[Any, ...], asked: HuggingFaceStandIn, cache: Path, home: Path, **environ: str) -> list[Any]:
    return calls(asked, home, *wanted, HF_HUB_CACHE=str(cache), **environ)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


DIGESTS = {path: _digest(content) for path, content in FILES.items()}


def test_an_id_is_loaded_from_the_mount_without_any_request(
    stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn, cache: Path, commit: str, tmp_path: Path
) -> None:
    wanted = (
        *(("download", NAME, path) for path in FILES),
        ("path", NAME, "config.json"),
        ("cached", NAME, "config.json"),
        ("cached", NAME, "tokenizer.json"),
        ("cached", NAME, "1_Pooling/tokenizer.json"),
        ("download", NAME, "tokenizer.json"),
        ("snapshot", NAME),
        ("snapshot", NAME, {"allow_patterns": "*.json"}),
        ("cached", NAME, "config.json", {"revision": commit}),
    )
    at = f"{cache}/models--BAAI--bge-m3/snapshots/{commit}"
    expected = [
        *DIGESTS.values(),
        *2 * [f"{at}/config.json"],
        *2 * ["no such file"],
        {"error": "LocalEntryNotFoundError"},
        *2 * [[commit, DIGESTS]],
        f"{at}/config.json",
    ]
    assert _told(*wanted, asked=asked, cache=cache, home=tmp_path, **OFFLINE) == expected
    assert (stand_in.calls["tree"], stand_in.calls["resolve"]) == (1, len(FILES))
    asked_for = {path.partition("?")[0] for _, path, _ in stand_in.asked if path.startswith("/api/")}
    assert asked_for == {f"/api/models/{NAME}/revision/main", f"/api/models/{NAME}/tree/{commit}"}
    assert not asked.asked
    assert [path for path in tmp_path.rglob("*") if path.name == ".locks"] == [], "nothing was copied"


@pytest.mark.parametrize("environ", [{}, OFFLINE, UNREACHABLE], ids=["online", "offline", "unreachable"])
def test_the_hub_may_be_there_or_not(
    asked: HuggingFaceStandIn, cache: Path, commit: str, environ: dict[str, str], tmp_path: Path
) -> None:
    wanted = (("snapshot", NAME), ("path", NAME, "model.safetensors"), ("download", NAME, "config.json"))
    path = f"{cache}/models--BAAI--bge-m3/snapshots/{commit}/model.safetensors"
    assert _told(*wanted, asked=asked, cache=cache, home=tmp_path, **environ) == [
        [commit, DIGESTS],
        path,
        DIGESTS["config.json"],
    ]
    assert not asked.cdn.asked
    assert {method for method, *_ in asked.asked if environ} == set()
    assert {method for method, path, _ in asked.asked if "/resolve/" in path} <= {"HEAD"}, "no bytes"


def test_revisions_are_found_as_they_are_named(
    stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn, cache: Path, commit: str, tmp_path: Path
) -> None:
    old = stand_in.put(NAME, {"config.json": b"old"}, branch="old")
    for ref in ("refs/tags/v1", "refs/heads/feature/a/x", "refs/pr/1"):
        stand_in.name_ref(NAME, ref, old)
    revisions = ("v1", "feature/a/x", "refs/pr/1", old[:9], old)
    wanted = [("download", NAME, "config.json", {"revision": revision}) for revision in revisions]
    missing = [("cached", NAME, "config.json", {"revision": revision}) for revision in ("nope", "feature", "0" * 40)]
    lacking = [
        (call, NAME, *path, {"revision": "nope"}) for call, *path in (("snapshot",), ("download", "config.json"))
    ]
    assert _told(*wanted, *missing, *lacking, asked=asked, cache=cache, home=tmp_path, **OFFLINE) == [
        *len(wanted) * [_digest(b"old")],
        *len(missing) * [None],
        *len(lacking) * [{"error": "LocalEntryNotFoundError"}],
    ]
    assert stand_in.calls["refs"] >= 1, "for what is no revision, but could lead to one"
    repo = cache / "models--BAAI--bge-m3"
    assert sorted(files(repo / "refs")) == [old[:9], "feature/a/x", "refs/pr/1", "v1"]
    assert os.listdir(repo / "snapshots") == [old]
    assert not asked.asked
    assert _told(("scan",), asked=asked, cache=cache, home=tmp_path) == [
        [{NAME: {old: [[old[:9], "feature/a/x", "refs/pr/1", "v1"], ["config.json"]]}}, [], 3]
    ]
    assert (repo / "refs/main").read_text() == commit


def test_the_cache_is_scanned_as_far_as_it_is_known(
    stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn, hub: Mount, cache: Path, commit: str, tmp_path: Path
) -> None:
    assert sorted(os.listdir(cache)) == ["CACHEDIR.TAG"]
    data = stand_in.put("datasets/allenai/c4", {"a.json": b"[]"})
    (hub.path / f"datasets/allenai/c4@{data}/a.json").read_bytes()
    (hub.path / NAME / "config.json").read_bytes()
    assert sorted(os.listdir(cache)) == ["CACHEDIR.TAG", "datasets--allenai--c4", "models--BAAI--bge-m3"]
    assert sorted(os.listdir(cache / "models--BAAI--bge-m3")) == ["blobs", "refs", "snapshots"]
    stand_in.reset_counts()
    size = sum(map(len, FILES.values())) + 2
    names = ["config.json", "config.json", "model.safetensors"]
    assert _told(("scan",), asked=asked, cache=cache, home=tmp_path) == [
        [{NAME: {commit: [["main"], names]}, "allenai/c4": {data: [[], ["a.json"]]}}, [], size]
    ]
    assert not [call for call in stand_in.calls if call != "info"]


def test_data_sets_and_ids_without_a_namespace_are_found(
    stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn, cache: Path, commit: str, tmp_path: Path
) -> None:
    data = stand_in.put("datasets/allenai/c4", {"a.json": b"[]"})
    stand_in.moved["bge"] = NAME
    wanted = (
        ("download", "allenai/c4", "a.json", {"repo_type": "dataset"}),
        ("download", "allenai/c4", "a.json", {"repo_type": "dataset", "revision": data}),
        ("download", "bge", "config.json"),
        ("cached", "bge", "tokenizer.json"),
    )
    assert _told(*wanted, asked=asked, cache=cache, home=tmp_path, **OFFLINE) == [
        *2 * [_digest(b"[]")],
        DIGESTS["config.json"],
        "no such file",
    ]
    at = cache / f"models--bge/snapshots/{commit}"
    assert at.readlink() == Path(f"../../../../{NAME}@{commit}")
    assert not asked.asked


def test_what_the_hub_does_not_have_is_not_there_and_nothing_is_written(
    asked: HuggingFaceStandIn, cache: Path, tmp_path: Path
) -> None:
    other = asked.put("BAAI/other", FILES)
    wanted = (("download", "BAAI/other", "config.json"), ("cached", "BAAI/other", "config.json"), ("cached", "x", "y"))
    missing = {"error": "LocalEntryNotFoundError"}
    assert _told(*wanted, asked=asked, cache=cache, home=tmp_path, **OFFLINE) == [missing, None, None]
    one = {"allow_patterns": "config.json"}  # of several at a time, any may be the first to fail
    refused = _told(wanted[0], ("snapshot", "BAAI/other", one), asked=asked, cache=cache, home=tmp_path)
    assert refused == [{"error": "FileExistsError"}, {"error": "FileExistsError"}], "read-only"
    assert not (cache / f"models--BAAI--other/snapshots/{other}").exists()
    for path in ("spaces--a--b", "models--a--b--c", "models--", "models--a--b/other", "models--a--b/snapshots/main"):
        assert not (cache / path).exists(), path


def test_a_mount_without_the_hub_has_what_is_cached(
    machine: Machine, stand_in: HuggingFaceStandIn, asked: HuggingFaceStandIn, commit: str, tmp_path: Path
) -> None:
    there = machine.with_environment(HF_ENDPOINT=stand_in.url)
    view = tmp_path / "hf/.hubfs/huggingface"
    with mounted(there, tmp_path / "hf", "hf:"):
        assert _told(("snapshot", NAME), asked=asked, cache=view, home=tmp_path, **OFFLINE) == [[commit, DIGESTS]]
    stand_in.reset_counts()
    with mounted(there, tmp_path / "hf", "hf:", "--offline"):
        assert sorted(os.listdir(view)) == ["CACHEDIR.TAG", "models--BAAI--bge-m3"]
        wanted = (("scan",), ("snapshot", NAME), ("cached", NAME, "config.json", {"revision": commit}))
        scanned, *found = _told(*wanted, asked=asked, cache=view, home=tmp_path, **OFFLINE)
        assert list(scanned[0]) == [NAME]
        assert found == [[commit, DIGESTS], f"{view}/models--BAAI--bge-m3/snapshots/{commit}/config.json"]
    assert not stand_in.asked
    assert not asked.asked
