"""Two commits of a repository that have the same file: it is fetched once, and kept once."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged, NotCached, Stale, Unavailable
from hubfs.hubs.hub import Hub
from hubfs.model_id import ModelId
from hubfs.sources.source import Source, cached_bytes, key_of
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kits import Workshop, made_hub, workshop
from tests.support.sources import contents
from tests.support.waiting import eventually

NAME = "BAAI/bge-m3"
WEIGHTS, MORE = random.Random(7).randbytes((5 << 20) + 11), random.Random(8).randbytes(3 << 20)
OLD = ModelId(NAME, "01" * 20)
NEW = ModelId(NAME, "02" * 20)
OLD_FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
NEW_FILES = {"config.json": b"[]", "again/renamed.safetensors": WEIGHTS, "more.safetensors": MORE}


@pytest.fixture
def stand_in() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as stand_in:
        stand_in.put(NAME, OLD_FILES, commit=OLD.version)
        stand_in.put(NAME, NEW_FILES, commit=NEW.version)
        yield stand_in


@pytest.fixture
def hub(stand_in: HuggingFaceStandIn, tools: Workshop) -> Iterator[Hub]:
    with made_hub("hf:", tools, {"hf": stand_in.url}) as hub:
        yield hub


def weights_of(source: Source) -> CacheKey:
    (entry,) = (entry for entry in source.entries() if entry.size_bytes == len(WEIGHTS))
    return key_of(source, entry)


def read(source: Source, path: str, offset_bytes: int = 0, size_bytes: int = 1 << 30) -> bytes:
    return source.open(source.find(path)).read_at(offset_bytes, size_bytes)


def test_a_second_commit_fetches_what_differs_and_the_disk_keeps_the_rest_once(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop, tmp_path: Path
) -> None:
    old = hub.open(OLD, tools.kit)
    assert contents(old) == OLD_FILES
    stand_in.reset_counts()
    stand_in.cdn.asked.clear()
    new = hub.open(NEW, tools.kit)
    assert cached_bytes(tools.cache, new) == len(WEIGHTS)
    assert contents(new) == NEW_FILES
    assert (stand_in.calls["tree"], stand_in.calls["resolve"]) == (1, 2), "config.json, and more.safetensors"
    assert stand_in.cdn.body_bytes == len(MORE)
    assert cached_bytes(tools.cache, old) == len(WEIGHTS) + 2
    assert cached_bytes(tools.cache, new) == len(WEIGHTS) + len(MORE) + 2
    kept = [path for path in (tmp_path / "cache/models").rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in kept].count(len(WEIGHTS)) == 1
    used_bytes = tools.cache.stats()["disk"].used_bytes
    assert used_bytes is not None
    assert used_bytes < len(WEIGHTS) + len(MORE) + (1 << 20)


def test_two_commits_that_are_open_at_once_share_the_fetches_of_a_cold_file(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    sources = [hub.open(OLD, tools.kit), hub.open(NEW, tools.kit)]
    old, new = (
        source.open(source.find(path))
        for source, path in zip(sources, ("model.safetensors", "again/renamed.safetensors"), strict=True)
    )
    assert old is new
    with ThreadPoolExecutor(8) as readers:
        assert {*readers.map(lambda number: (old, new)[number % 2].read_at(0, 1 << 30) == WEIGHTS, range(8))} == {True}
    assert stand_in.cdn.body_bytes == len(WEIGHTS)
    assert stand_in.calls["resolve"] == 1


def test_what_one_commit_has_of_a_file_the_other_goes_on_with(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    read(hub.open(OLD, tools.kit), "model.safetensors", 2 << 20, 1 << 20)
    before_bytes = stand_in.cdn.body_bytes
    assert read(hub.open(NEW, tools.kit), "again/renamed.safetensors") == WEIGHTS
    assert 0 < before_bytes < stand_in.cdn.body_bytes == len(WEIGHTS)


@pytest.mark.parametrize("is_under_way", [False, True])
def test_where_one_commit_has_gone_the_file_comes_by_another(
    hub: Hub,
    stand_in: HuggingFaceStandIn,
    tools: Workshop,
    is_under_way: bool,  # noqa: FBT001 - a case
) -> None:
    old, new = hub.open(OLD, tools.kit), hub.open(NEW, tools.kit)
    if is_under_way:
        assert read(old, "model.safetensors", 0, 1) == WEIGHTS[:1]
        stand_in.cdn.forget_urls()
    blobs = [old.open(old.find("model.safetensors")), new.open(new.find("again/renamed.safetensors"))]
    stand_in.forget(NAME, OLD.version)
    assert [blob.read_at(0, len(WEIGHTS)) == WEIGHTS for blob in blobs] == [True, True]
    with pytest.raises(Unavailable, match="though it was listed"):
        read(old, "config.json")
    stand_in.forget(NAME, NEW.version)
    stand_in.cdn.forget_urls()
    tools.cache.drop(weights_of(new).model)
    with pytest.raises((Unavailable, Stale)):
        blobs[1].read_at(0, 1)


def test_a_wrong_byte_fails_every_commit_that_has_the_file_and_takes_nothing_else(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    old, new = hub.open(OLD, tools.kit), hub.open(NEW, tools.kit)
    weights = weights_of(old).model
    assert read(new, "more.safetensors") == MORE
    assert read(old, "model.safetensors", 0, 1 << 20) == WEIGHTS[: 1 << 20]
    stand_in.rot(NAME, OLD.version, "model.safetensors", len(WEIGHTS) - 1)
    with pytest.raises(Damaged, match="its sha256 is"):
        read(new, "again/renamed.safetensors")
    assert isinstance(old.failure, Damaged)
    assert isinstance(new.failure, Damaged)
    assert eventually(lambda: not tools.cache.cached_bytes(weights)), "a block that came meanwhile goes a moment later"
    stand_in.mend()
    stand_in.cdn.asked.clear()
    assert contents(hub.open(OLD, tools.kit)) == OLD_FILES
    assert contents(hub.open(NEW, tools.kit)) == NEW_FILES
    assert stand_in.cdn.body_bytes == len(WEIGHTS), "the other file was right, and stayed"


def test_another_repository_that_lists_the_same_hash_reads_nothing_of_it(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    assert contents(hub.open(OLD, tools.kit)) == OLD_FILES
    other = ModelId("evil/bge-m3", stand_in.put("evil/bge-m3", OLD_FILES))
    stand_in.reset_counts()
    source = hub.open(other, tools.kit)
    assert cached_bytes(tools.cache, source) == 0
    assert read(source, "model.safetensors") == WEIGHTS
    assert stand_in.calls["resolve"] == 1, "its own, so who may not read it is told so"


def test_a_commit_that_lists_the_same_hash_with_another_size_gets_no_byte_of_it(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop
) -> None:
    old = hub.open(OLD, tools.kit)
    assert contents(old) == OLD_FILES
    short = stand_in.put(NAME, OLD_FILES, branch="short")
    oid = weights_of(old).path
    stand_in.lie(NAME, short, "model.safetensors", size=1 << 20, lfs={"oid": oid, "size": 1 << 20, "pointerSize": 9})
    with pytest.raises(Damaged):
        read(hub.open(ModelId(NAME, short), tools.kit), "model.safetensors")
    assert contents(hub.open(OLD, tools.kit)) == OLD_FILES


def test_files_of_git_are_the_commits_own(hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop) -> None:
    same = ModelId(NAME, stand_in.put(NAME, OLD_FILES, branch="same"))
    for model in (OLD, same):
        source = hub.open(model, tools.kit)
        assert key_of(source, source.find("config.json")) == CacheKey(source.model, "config.json")
        assert contents(source) == OLD_FILES
    assert stand_in.calls["resolve"] == 3, "nobody promises that two files of one SHA-1 are one"


def test_offline_a_commit_is_read_of_which_each_file_came_with_another_one(
    hub: Hub, stand_in: HuggingFaceStandIn, tools: Workshop, tmp_path: Path
) -> None:
    assert contents(hub.open(NEW, tools.kit)) == NEW_FILES
    old = hub.open(OLD, tools.kit)
    assert read(old, "config.json") == b"{}"
    kept = tools.kept(old.model)
    stand_in.reset_counts()
    with workshop(tmp_path / "cache", offline=True) as later:
        assert contents(hub.load(OLD, kept, later.kit)) == OLD_FILES
        later.cache.drop(weights_of(old).model)
        with pytest.raises(NotCached, match=r"hf:BAAI/bge-m3@0101.*/model.safetensors"):
            read(hub.load(OLD, kept, later.kit), "model.safetensors")
    assert not stand_in.calls
