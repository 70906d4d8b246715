"""`hubfs://` of fsspec: its own suite for what is fetched, and what a read-only file system is asked besides."""

import asyncio
import errno
import io
import multiprocessing
import pickle
import random
import tarfile
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path

import fsspec
import numpy as np
import pytest
import safetensors.numpy
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from hubfs.library.filesystem import HubFileSystem
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.source import Entry, Source
from tests.support.archives import gzipped, tar_of
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn

NAME = "BAAI/tiny"
PATH = f"hf:{NAME}"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.bin": random.Random(1).randbytes((9 << 20) + 17),
    "1_Pooling/a b+é": random.Random(2).randbytes(3000),
    "empty": b"",
}

SUBDIR = ("subfile1", "subfile2", "nesteddir/nestedfile")
SCENARIOS = {
    "bulk": ["file1", "file2", *(f"subdir/{name}" for name in SUBDIR)],
    "glob": ["file1", "file2", *(f"subdir{at}/{name}" for at in (0, 1) for name in SUBDIR)],
    "prefix": ["subdir.txt", "subdir/subfile.txt"],
}
"""What fsspec's suite makes where it can write, by the name of the repository."""
HASHED = {f"source/{md5(str(at).encode()).hexdigest()}.txt": str(at).encode() for at in range(10)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, FILES)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def made(hub: HuggingFaceStandIn, tmp_path: Path) -> Iterator[Callable[..., HubFileSystem]]:
    """Makes file systems of one cache, and closes them."""
    every: list[HubFileSystem] = []

    def make(*arguments: object, kind: type[HubFileSystem] = HubFileSystem, **options: object) -> HubFileSystem:
        every.append(kind(*arguments, cache_dir=str(tmp_path / "cache"), **options))
        return every[-1]

    yield make
    for one in [*every, *HubFileSystem._cache.values()]:
        one.close()
    HubFileSystem.clear_instance_cache()


@pytest.fixture
def fs(made: Callable[..., HubFileSystem]) -> HubFileSystem:
    return made()


class Made(HubFileSystem):
    """Where the suite makes a file, the hub has it already."""

    def mkdir(self, path: str, create_parents: bool = True, **_: object) -> None:  # noqa: FBT001, FBT002 - as fsspec has it
        assert path == "hf:tests/made/src"

    def touch(self, path: str, truncate: bool = True, **_: object) -> None:  # noqa: FBT001, FBT002 - as fsspec has it
        assert self.isfile(path)


class TestGet(AbstractGetTests, AbstractFixtures):  # type: ignore[misc] # fsspec has no types
    """fsspec's own suite, with fixtures of a hub that nobody can write to."""

    @pytest.fixture
    def fs(self, hub: HuggingFaceStandIn, made: Callable[..., HubFileSystem]) -> HubFileSystem:
        for name, paths in SCENARIOS.items():
            hub.put(f"tests/{name}", {f"source/{path}": b"" for path in paths})
        hub.put("tests/hashed", HASHED)
        hub.put("tests/made", {"src/file": b""})
        return made(kind=Made)

    @pytest.fixture
    def fs_path(self) -> str:
        return "hf:tests/made"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self) -> str:
        return "hf:tests/bulk/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self) -> str:
        return "hf:tests/glob/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self) -> str:
        return "hf:tests/prefix/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self) -> str:
        return "hf:tests/hashed/source"


def test_a_model_is_listed_walked_and_read(fs: HubFileSystem) -> None:
    assert fs.ls(PATH, detail=False) == [
        f"{PATH}/{name}" for name in ("1_Pooling", "config.json", "empty", "model.bin")
    ]
    assert fs.find(f"hubfs://{PATH}") == sorted(f"{PATH}/{name}" for name in FILES)
    assert fs.glob(f"{PATH}/*.json") == [f"{PATH}/config.json"]
    assert fs.du(PATH) == sum(map(len, FILES.values()))
    assert fs.info(f"{PATH}/model.bin") | {"mtime": 0} == {
        "name": f"{PATH}/model.bin",
        "size": len(FILES["model.bin"]),
        "type": "file",
        "mtime": 0,
    }
    assert (fs.isdir(PATH), fs.isfile(PATH), fs.exists(f"{PATH}/nothing")) == (True, False, False)
    assert {path.removeprefix(f"{PATH}/"): data for path, data in fs.cat(fs.find(PATH)).items()} == FILES
    assert fs.modified(PATH).year >= 2000


def test_a_revision_is_followed_and_the_root_lists_what_is_known(hub: HuggingFaceStandIn, fs: HubFileSystem) -> None:
    commit = hub.put(NAME, {"config.json": b"{}"}, branch="v2")
    assert fs.cat_file(f"{PATH}@v2/config.json") == b"{}"
    assert fs.cat_file(f"{PATH}@{commit}/config.json") == b"{}"
    assert f"hf:BAAI/tiny@{commit}" in fs.ls("hf:BAAI", detail=False)
    assert fs.isdir("hf:BAAI")


def test_plain_handles_are_of_the_default_hub(made: Callable[..., HubFileSystem]) -> None:
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of({"saved_model.pb": b"graph"})))
        fs = made(origin.url)
        assert fs.cat_file("google/spice/2/saved_model.pb") == b"graph"
        assert fs.cat_file(f"{PATH}/config.json") == FILES["config.json"]
        both = made((f"a={origin.url}", "b=hf:"))
        assert both.cat_file("a/google/spice/2/saved_model.pb") == b"graph"
        assert both.cat_file(f"b/{NAME}/config.json") == FILES["config.json"]


def test_an_open_file_is_read_and_sought(fs: HubFileSystem) -> None:
    data = FILES["model.bin"]
    with fs.open(f"{PATH}/model.bin") as file:
        assert file.read(10) == data[:10]
        assert file.seek(-7, io.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
        file.seek(5 << 20)
        into = bytearray(100)
        assert file.readinto(into) == 100
        assert into == data[5 << 20 :][:100]
    with fs.open(f"{PATH}/config.json", "rt") as text:
        assert text.read() == FILES["config.json"].decode()
    assert fs.cat_file(f"{PATH}/model.bin", start=-5) == data[-5:]
    assert fs.head(f"{PATH}/model.bin", 3) + fs.tail(f"{PATH}/model.bin", 3) == data[:3] + data[-3:]


def test_ranges_are_read_in_parallel_and_each_byte_comes_once(hub: HuggingFaceStandIn, fs: HubFileSystem) -> None:
    data, starts = FILES["model.bin"], [at * 90_000 for at in range(100)]
    found = fs.cat_ranges([f"{PATH}/model.bin"] * 100, starts, [start + 1000 for start in starts])
    assert found == [data[start : start + 1000] for start in starts]
    assert hub.calls["resolve"] == 1
    assert hub.cdn.body_bytes < len(data) + (1 << 20)


def test_a_header_foretells_a_load_but_not_to_who_reads_ranges(
    fs: HubFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[str] = []

    def opened(self: Prefetcher, source: Source, entry: Entry, complete: object) -> object:
        followed.append(entry.path)
        return told(self, source, entry, complete)  # type: ignore[arg-type]

    told = Prefetcher.opened
    monkeypatch.setattr(Prefetcher, "opened", opened)
    assert fs.cat_file(f"{PATH}/model.bin", start=0, end=100) == FILES["model.bin"][:100]
    assert fs.cat_ranges([f"{PATH}/model.bin"], [8], [64]) == [FILES["model.bin"][8:64]]
    assert not followed
    with fs.open(f"{PATH}/model.bin") as file:
        file.read(8)
    assert fs.cat_file(f"{PATH}/config.json") == FILES["config.json"]
    assert followed == ["model.bin", "config.json"]


@pytest.mark.parametrize(
    ("path", "number"),
    [(f"{PATH}/nothing", errno.ENOENT), ("hf:BAAI/none", errno.ENOENT), (f"{PATH}/config.json/x", errno.ENOTDIR)],
)
def test_what_is_not_there_is_not_found(fs: HubFileSystem, path: str, number: int) -> None:
    for ask in (fs.info, fs.ls, fs.cat_file, fs.open):
        with pytest.raises(OSError, match=r".") as refused:
            ask(path)
        assert refused.value.errno == number, ask


def test_a_wrong_byte_is_an_error_and_no_copy_stays(hub: HuggingFaceStandIn, fs: HubFileSystem, tmp_path: Path) -> None:
    commit = hub.put(NAME, FILES)
    hub.rot(NAME, commit, "model.bin", 1 << 20)
    with pytest.raises(OSError, match="is damaged: its sha256 is") as refused:
        fs.get(f"{PATH}/model.bin", str(tmp_path / "copy"))
    assert refused.value.errno == errno.EIO
    assert not (tmp_path / "copy").exists()


def test_nothing_can_be_written(fs: HubFileSystem, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    new = f"{PATH}/new"
    for write in (
        lambda: fs.pipe(new, b"x"),
        lambda: fs.put(str(tmp_path / "file"), new),
        lambda: fs.open(new, "wb"),
        lambda: fs.mkdir(new),
        lambda: fs.makedirs(new),
        lambda: fs.rm(f"{PATH}/config.json"),
        lambda: fs.cp(f"{PATH}/config.json", new),
        lambda: fs.touch(new),
    ):
        with pytest.raises(OSError, match="Read-only") as refused:
            write()
        assert refused.value.errno == errno.EROFS


def test_it_is_pickled_and_asked_by_a_loop_of_the_callers(
    made: Callable[..., HubFileSystem], fs: HubFileSystem
) -> None:
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(f"{PATH}/config.json") == FILES["config.json"]
    with again.open(f"{PATH}/config.json") as file, pickle.loads(pickle.dumps(file)) as same:
        assert same.read() == FILES["config.json"]

    async def asked() -> bytes:
        own = made(asynchronous=True)
        return bytes(await own._cat_file(f"{PATH}/config.json"))

    assert asyncio.run(asked()) == FILES["config.json"]


def _in_child(fs: HubFileSystem, told: "multiprocessing.SimpleQueue[bytes]") -> None:
    told.put(fs.cat_file(f"{PATH}/model.bin", start=5, end=9))


def test_it_may_be_used_after_a_fork(fs: HubFileSystem) -> None:
    assert fs.cat_file(f"{PATH}/config.json") == FILES["config.json"]
    context = multiprocessing.get_context("fork")
    told: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(fs, told))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert told.get() == FILES["model.bin"][5:9]
    assert fs.cat_file(f"{PATH}/model.bin", end=3) == FILES["model.bin"][:3]


def test_libraries_read_through_it(hub: HuggingFaceStandIn, fs: HubFileSystem, tmp_path: Path) -> None:
    tensors = {"a": np.arange(12, dtype=np.float32).reshape(3, 4)}
    hub.put(
        NAME, {"model.safetensors": safetensors.numpy.save(tensors), "all.tar": tar_of({"x": b"inside"})}, branch="more"
    )
    options = {"cache_dir": str(tmp_path / "cache")}
    with fsspec.open(f"hubfs://{PATH}@more/model.safetensors", **options) as file:
        assert (safetensors.numpy.load(file.read())["a"] == tensors["a"]).all()
    with fsspec.open(f"hubfs://{PATH}@more/all.tar", **options) as file, tarfile.open(fileobj=file) as archive:
        inside = archive.extractfile("x")
        assert inside is not None
        assert inside.read() == b"inside"
    with fsspec.open(f"tar://x::hubfs://{PATH}@more/all.tar", hubfs=options) as file:
        assert file.read() == b"inside"
    assert fsspec.filesystem("hubfs", **options) is fs
    mapper = fsspec.get_mapper(f"hubfs://{PATH}", **options)
    assert mapper["config.json"] == FILES["config.json"]
