"""`hubfs://` of fsspec: its own suite for what is fetched, and what a read-only file system is asked besides."""

import asyncio
import errno
import io
import multiprocessing
import pickle
import random
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from tests.support.gcs_server import gcs_server
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_cdn import Gate

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


KIB, MIB = 1 << 10, 1 << 20
LARGE = random.Random(3).randbytes(24 * MIB)
LARGE_PATH = "hf:BAAI/large/model.bin"
FEW = [at * 2 * MIB + 1234 for at in range(12)]
"""Where ranges begin, of which each lies in a block of its own."""


def test_few_ranges_of_a_cold_file_cost_their_bytes_and_come_by_blocks_the_next_time(
    hub: HuggingFaceStandIn, fs: HubFileSystem
) -> None:
    hub.put("BAAI/large", {"model.bin": LARGE})
    wanted, ends = [LARGE[start : start + 64 * KIB] for start in FEW], [start + 64 * KIB for start in FEW]
    assert fs.cat_ranges([LARGE_PATH] * 12, FEW, ends) == wanted
    assert hub.calls["resolve"] == 1
    assert sorted(headers["range"] for _, headers, *_ in hub.cdn.asked) == sorted(
        f"bytes={start}-{start + 64 * KIB - 1}" for start in FEW
    )
    assert hub.cdn.body_bytes == 12 * 64 * KIB
    assert fs.cat_file(LARGE_PATH, MIB, MIB + 10) == LARGE[MIB : MIB + 10]
    assert hub.cdn.body_bytes == 12 * 64 * KIB + 10
    for _ in range(2):
        assert fs.cat_ranges([LARGE_PATH] * 12, FEW, ends) == wanted
        assert fs.cat_file(LARGE_PATH, FEW[3], ends[3]) == wanted[3]
    assert hub.cdn.body_bytes == 12 * 64 * KIB + 10 + 12 * MIB
    assert fs.cat_file(LARGE_PATH) == LARGE
    assert hub.cdn.body_bytes == 12 * 64 * KIB + 10 + len(LARGE)


def test_many_ranges_of_a_cold_file_come_by_its_blocks_and_near_ones_together(
    hub: HuggingFaceStandIn, fs: HubFileSystem
) -> None:
    hub.put("BAAI/large", {"model.bin": LARGE})
    dense = [(5 * MIB + at * 100 * KIB, 5 * MIB + at * 100 * KIB + KIB) for at in range(10)]
    near = [(9 * MIB + at * KIB, 9 * MIB + at * KIB + 10) for at in range(10)]
    order = [*near, *dense, (11 * MIB, 12 * MIB)]
    random.Random(5).shuffle(order)
    starts, ends = zip(*order, strict=True)
    assert fs.cat_ranges([LARGE_PATH] * len(order), starts, ends) == [LARGE[start:end] for start, end in order]
    assert {headers["range"] for _, headers, *_ in hub.cdn.asked} == {
        f"bytes={9 * MIB}-{9 * MIB + 9 * KIB + 9}",
        f"bytes={5 * MIB}-{6 * MIB - 1}",
        f"bytes={11 * MIB}-{12 * MIB - 1}",
    }
    assert len(hub.cdn.asked) == 3


def test_ranges_of_a_bucket_are_of_one_generation_and_fail_once_it_is_gone(
    made: Callable[..., HubFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    with gcs_server() as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
        store.create_bucket("bucket")
        store.upload("bucket", "google/spice/1/saved_model.pb", b"graph")
        store.upload("bucket", "google/spice/1/variables/data", LARGE)
        fs, path = made("gs://bucket"), "google/spice/1/variables/data"
        found = fs.cat_ranges([path] * 12, FEW, [start + 64 * KIB for start in FEW])
        assert found == [LARGE[start : start + 64 * KIB] for start in FEW]
        assert store.sent_bytes() == 12 * 64 * KIB
        assert len(store.downloads) == 12
        assert len({one.query["generation"] for one in store.downloads}) == 1
        store.upload("bucket", path, LARGE[::-1])
        starts = [start + 70 * KIB + MIB for start in FEW[:3]]
        gone = fs.cat_ranges([path] * 3, starts, [start + 10 for start in starts])
        assert [getattr(one, "errno", None) for one in gone] == [errno.ESTALE] * 3
        assert all("was replaced or deleted" in str(one) for one in gone)


def test_of_a_file_that_turned_out_damaged_no_range_is_given_any_more(
    hub: HuggingFaceStandIn, fs: HubFileSystem
) -> None:
    hub.rot("BAAI/large", hub.put("BAAI/large", {"model.bin": LARGE}), "model.bin", 20 * MIB)
    assert fs.cat_file(LARGE_PATH, 8, 16) == LARGE[8:16]  # a part of a file is verified by nobody
    with pytest.raises(OSError, match="is damaged: its sha256 is"):
        fs.cat_file(LARGE_PATH)
    found = fs.cat_ranges([LARGE_PATH] * 2, [8, 4 * MIB], [16, 4 * MIB + 5])
    assert [getattr(one, "errno", None) for one in found] == [errno.EIO] * 2


def test_offline_ranges_come_from_the_cache_or_not_at_all(
    hub: HuggingFaceStandIn, fs: HubFileSystem, made: Callable[..., HubFileSystem]
) -> None:
    hub.put("BAAI/large", {"model.bin": LARGE})
    assert fs.cat_file(LARGE_PATH, 8, 16) == LARGE[8:16]
    offline = made(offline=True)
    [missing] = offline.cat_ranges([LARGE_PATH], 8, 16)
    assert isinstance(missing, OSError)
    assert "are not cached" in str(missing)
    assert fs.cat_file(LARGE_PATH, 8, 16) == LARGE[8:16]  # its block, by now
    asked = len(hub.cdn.asked)
    assert offline.cat_ranges([LARGE_PATH], 8, 16) == [LARGE[8:16]]
    assert len(hub.cdn.asked) == asked


def test_ranges_are_of_any_file_and_what_fails_is_told_in_its_place(fs: HubFileSystem) -> None:
    model, config, none = f"{PATH}/model.bin", f"{PATH}/config.json", f"{PATH}/nothing"
    data = FILES["model.bin"]
    paths = [model, none, config, model, model, config, f"{PATH}/empty", none]
    starts, ends = [5, 0, None, -7, 9 << 20, 90, 0, None], [9, 1, 3, None, 9 << 21, 99, 5, None]
    found = fs.cat_ranges(paths, starts, ends)
    assert found[2:7] == [FILES["config.json"][:3], data[-7:], data[9 << 20 :], b"", b""]
    assert found[0] == data[5:9]
    assert [one.errno for one in (found[1], found[7])] == [errno.ENOENT] * 2
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, starts, ends, on_error="raise")
    assert fs.cat_ranges([config, model], 0, 4) == [FILES["config.json"][:4], data[:4]]
    assert fs.cat_ranges([], [], []) == []
    with pytest.raises(ValueError, match="zip"):
        fs.cat_ranges([config], [0, 1], [1, 2])
    with pytest.raises(NotImplementedError, match="without max_gap"):
        fs.cat_ranges([config], 0, 1, max_gap=5)


def test_more_files_than_threads_have_their_ranges_read(hub: HuggingFaceStandIn, fs: HubFileSystem) -> None:
    files = {f"{at}.bin": random.Random(at).randbytes(2000) for at in range(80)}
    hub.put("BAAI/many", files)
    paths = [f"hf:BAAI/many/{name}" for name in files] * 3
    starts = [at // 80 * 500 for at in range(240)]
    found = fs.cat_ranges(paths, starts, [start + 100 for start in starts])
    assert found == [
        files[path.rpartition("/")[2]][start : start + 100] for path, start in zip(paths, starts, strict=True)
    ]


def test_a_close_ends_the_ranges_that_are_under_way(hub: HuggingFaceStandIn, fs: HubFileSystem) -> None:
    hub.put("BAAI/large", {"model.bin": LARGE})
    hub.cdn.gate = Gate(lambda *_: True)
    starts = [at * 200 * KIB for at in range(100)]
    try:
        with ThreadPoolExecutor(1) as reader:
            found = reader.submit(fs.cat_ranges, [LARGE_PATH] * 100, starts, [start + 10 for start in starts])
            assert hub.cdn.gate.wait()
            fs.close()
            assert {getattr(one, "errno", None) for one in found.result(120)} == {errno.EIO}
    finally:
        hub.cdn.gate.open()


def test_ranges_of_an_archive_come_with_the_archive(made: Callable[..., HubFileSystem]) -> None:
    with HttpOrigin() as origin:
        packed = gzipped(tar_of({"saved_model.pb": b"graph", "assets/large": FILES["model.bin"]}))
        put(origin, "/google/spice/2", "tf-hub-format=compressed", packed)
        fs = made(origin.url)
        starts = [5, 3 * MIB, 9 * MIB]
        found = fs.cat_ranges(["google/spice/2/assets/large"] * 3, starts, [start + 10 for start in starts])
        assert found == [FILES["model.bin"][start : start + 10] for start in starts]
        paths = {request.path for request in origin.requests}
        assert sum(map(origin.body_bytes_sent, paths)) < len(packed) + MIB


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
