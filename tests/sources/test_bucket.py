import json
import random
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.retry import RetryPolicy
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import AccessDenied, Damaged, EntryNotFound, IsADirectory, ModelNotFound, Stale, Unavailable
from hubfs.hubs.hub import label_of
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.model_id import model_name
from hubfs.sources.files import FilesSource
from hubfs.sources.source import Entry, EntryKind, Form, Source
from tests.support.gcs_server import Fault, GcsServer, gcs_server
from tests.support.http_clients import gcs_client
from tests.support.one_answer import one_answer
from tests.support.sources import HUB, bucket_source, kept_bucket_source
from tests.support.waiting import eventually

HANDLE = parse_handle("google/spice/2")
WEIGHTS = random.Random(12).randbytes((2 << 20) + 999)
FILES = {
    "saved_model.pb": b"graph" * 1000,
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": WEIGHTS,
    "assets/vocab #1 50%?ü.txt": b"words",
    "assets/deep/er/empty": b"",
    "assets.extra/x": b"x",
}
DIRECTORIES = ["assets", "assets/deep", "assets/deep/er", "assets.extra", "variables"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    data = tmp_path_factory.mktemp("buckets")
    for prefix, files in {"google/spice/2": FILES, "google/spice/22": {"other": b"o"}}.items():
        for path, content in files.items():
            file = data / "models" / prefix / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    with gcs_server(data) as server:
        server.upload("models", "google/spice/2/assets/", b"")  # the mark of a directory
        server.create_bucket("shapes")
        yield server


@pytest.fixture
def server(store: GcsServer) -> GcsServer:
    store.reset()
    return store


@pytest.fixture
def client(server: GcsServer) -> Iterator[GcsClient]:
    retry = RetryPolicy(attempts=2, base_s=0.01)
    with gcs_client(server.url, timeout_s=10, retry=retry) as client:
        yield client


@pytest.fixture
def source(client: GcsClient) -> FilesSource:
    return bucket_source(client, HANDLE, "gs://models/google/spice/2")


def shaped(server: GcsServer, client: GcsClient, name: str, paths: dict[str, bytes]) -> FilesSource:
    """A model of objects with just these names below its own."""
    for path, content in paths.items():
        server.upload("shapes", f"{name}/{path}", content)
    return bucket_source(client, HANDLE, f"gs://shapes/{name}")


def test_one_listing_says_everything(source: FilesSource, server: GcsServer) -> None:
    checked: Source = source
    expected = [Entry(path, EntryKind.DIRECTORY) for path in DIRECTORIES]
    expected += [Entry(path, EntryKind.FILE, len(content)) for path, content in FILES.items()]
    assert checked.entries() == sorted(expected, key=lambda entry: entry.path)
    assert (checked.handle, checked.url) == (HANDLE, "gs://models/google/spice/2")
    assert checked.form is Form.UNCOMPRESSED
    assert checked.complete
    assert checked.failure is None
    assert checked.model == model_name(label_of(HUB), HANDLE, checked.identity)
    assert len(server.requests) == 1


def test_a_slash_at_the_end_of_the_location_changes_nothing(source: FilesSource, client: GcsClient) -> None:
    slashed = bucket_source(client, HANDLE, "gs://models/google/spice/2/")
    assert slashed.to_index() == source.to_index()


def test_finds_files_directories_and_the_root(source: FilesSource, server: GcsServer) -> None:
    server.reset()
    assert source.find("") == Entry("", EntryKind.DIRECTORY)
    assert source.find("variables") == Entry("variables", EntryKind.DIRECTORY)
    assert source.find("saved_model.pb") == Entry("saved_model.pb", EntryKind.FILE, 5000)
    for absent in ("saved_model.pbtxt", "variables/", "variable", "2", "/", ".."):
        with pytest.raises(EntryNotFound, match="gs://models/google/spice/2/ holds no"):
            source.find(absent)
    assert not server.requests


def test_every_file_reads_as_it_was_stored(source: FilesSource) -> None:
    for path, content in FILES.items():
        blob = source.open(source.find(path))
        assert blob.size_bytes == len(content)
        assert blob.read_at(0, len(content)) == content


def test_reading_one_file_fetches_nothing_of_the_others(source: FilesSource, server: GcsServer) -> None:
    source.open(source.find("saved_model.pb")).read_at(0, 1 << 20)
    assert server.sent_bytes("models/google/spice/2/saved_model.pb") == 5000
    assert server.sent_bytes() == 5000


def test_a_directory_cannot_be_opened(source: FilesSource) -> None:
    with pytest.raises(IsADirectory, match="gs://models/google/spice/2/assets"):
        source.open(source.find("assets"))


def test_an_entry_of_another_model_cannot_be_opened(source: FilesSource) -> None:
    with pytest.raises(EntryNotFound):
        source.open(Entry("other", EntryKind.FILE, 1))


def test_all_who_open_an_entry_share_one_blob_that_was_wrapped_once(client: GcsClient) -> None:
    wrapped: list[tuple[CacheKey, Blob]] = []

    def wrap(key: CacheKey, blob: Blob) -> Blob:
        wrapped.append((key, blob))
        return blob

    source = bucket_source(client, HANDLE, "gs://models/google/spice/2", wrap)
    assert not wrapped
    entry = source.find("variables/variables.index")
    with ThreadPoolExecutor(8) as pool:
        blobs = list(pool.map(lambda _: source.open(entry), range(32)))
    assert len({id(blob) for blob in blobs}) == 1
    ((key, blob),) = wrapped
    assert key == CacheKey(source.model, "variables/variables.index")
    assert blob.key.startswith("gs://models/google/spice/2/variables/variables.index#")


def test_a_bit_that_flips_on_the_way_is_found(source: FilesSource, server: GcsServer) -> None:
    blob = source.open(source.find("variables/variables.data-00000-of-00001"))
    blob.read_at(0, 1 << 20)
    server.spoil(Fault(flip_byte=(1 << 20) - 1))
    blob.read_at(1 << 20, 1 << 20)
    with pytest.raises(Damaged, match=r"variables\.data.*crc32c"):
        blob.read_at(2 << 20, 1 << 20)
    with pytest.raises(Damaged):
        blob.read_at(0, 10)


def test_damage_fails_the_whole_source_and_is_told_once(client: GcsClient, server: GcsServer) -> None:
    failed: list[FilesSource] = []
    source = bucket_source(client, HANDLE, "gs://models/google/spice/2", on_failure=failed.append)
    index = source.open(source.find("variables/variables.index"))
    graph = source.open(source.find("saved_model.pb"))
    assert graph.read_at(0, 5) == b"graph"
    server.spoil(Fault(flip_byte=0))
    with pytest.raises(Damaged, match=r"variables\.index"):
        index.read_at(0, 5)
    assert failed == [source]
    assert isinstance(source.failure, Damaged)
    assert source.stamp("").made_s is not None, "the model root is still there, and says why nothing else is"
    server.reset()
    for ask in (
        lambda: graph.read_at(0, 5),
        lambda: index.read_at(0, 5),
        lambda: source.find("saved_model.pb"),
        source.entries,
        lambda: source.open(Entry("saved_model.pb", EntryKind.FILE, 5000)),
    ):
        with pytest.raises(Damaged, match=r"variables\.index"):
            ask()
    assert failed == [source]
    assert not server.requests
    for _ in range(100):
        with pytest.raises(Damaged):
            graph.read_at(0, 5)
    assert len(traceback.extract_tb(source.failure.__traceback__)) < 10


def test_what_may_pass_does_not_fail_the_source(source: FilesSource, server: GcsServer) -> None:
    blob = source.open(source.find("saved_model.pb"))
    for status, error in ((503, Unavailable), (403, AccessDenied)):
        server.spoil(Fault(status=status))
        with pytest.raises(error):
            blob.read_at(0, 5)
    assert source.failure is None
    assert blob.read_at(0, 5) == b"graph"


@pytest.mark.slow
def test_a_block_that_was_on_its_way_when_the_source_failed_is_not_given_out(
    client: GcsClient, server: GcsServer
) -> None:
    source = bucket_source(client, HANDLE, "gs://models/google/spice/2")
    graph, index = (source.open(source.find(path)) for path in ("saved_model.pb", "variables/variables.index"))
    server.spoil(Fault(stall_s=6))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(graph.read_at, 0, 5)
        assert eventually(lambda: not server.to_spoil)
        server.spoil(Fault(flip_byte=0))
        with pytest.raises(Damaged):
            index.read_at(0, 5)
        with pytest.raises(Damaged, match=r"variables\.index"):
            slow.result(60)


def test_identity_is_that_of_the_generations(server: GcsServer, client: GcsClient) -> None:
    before = shaped(server, client, "identity", {"a": b"1", "b": b"2"})
    same = bucket_source(client, HANDLE, "gs://shapes/identity")
    after = shaped(server, client, "identity", {"b": b"2"})
    assert before.identity == same.identity
    assert before.identity != after.identity
    assert before.model != after.model
    assert before.open(before.find("a")).read_at(0, 1) == b"1"
    with pytest.raises(Stale):
        before.open(before.find("b")).read_at(0, 1)
    assert isinstance(before.failure, Stale)
    assert after.open(after.find("b")).read_at(0, 1) == b"2"


def test_a_location_that_holds_nothing_is_no_model(client: GcsClient, server: GcsServer) -> None:
    for url in ("gs://models/google/spice/3", "gs://models/google/spice/2/saved_model.pb", "gs://nobucket/a"):
        with pytest.raises(ModelNotFound, match=f"google/spice/2: .*{url}"):
            bucket_source(client, HANDLE, url)


def test_a_location_that_holds_only_the_mark_of_a_directory_is_no_model(client: GcsClient, server: GcsServer) -> None:
    with pytest.raises(ModelNotFound):
        shaped(server, client, "marked", {"": b"", "assets/": b""})


def test_a_whole_bucket_may_be_a_model(client: GcsClient, server: GcsServer) -> None:
    server.create_bucket("whole")
    server.upload("whole", "variables/x", b"x")
    source = bucket_source(client, HANDLE, "gs://whole")
    assert [entry.path for entry in source.entries()] == ["variables", "variables/x"]
    assert source.url == "gs://whole"


@pytest.mark.parametrize("url", ["gs://", "gs:///a", "https://models/google", "models/google"])
def test_what_is_no_bucket_url_is_refused(client: GcsClient, url: str) -> None:
    with pytest.raises(Damaged, match="gs://BUCKET/PREFIX"):
        bucket_source(client, HANDLE, url)


def test_objects_that_mark_directories_are_directories(client: GcsClient, server: GcsServer) -> None:
    source = shaped(server, client, "marks", {"": b"", "assets/": b"", "variables/": b"", "variables/x": b"x"})
    assert source.entries() == [
        Entry("assets", EntryKind.DIRECTORY),
        Entry("variables", EntryKind.DIRECTORY),
        Entry("variables/x", EntryKind.FILE, 1),
    ]


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "a/./x", ".", "..", "/etc/passwd", "a//x", "a//", "/", "a\0b", "../", "half \ud800"]
)
def test_a_name_that_is_no_path_is_refused(client: GcsClient, path: str) -> None:
    items = [{"name": f"m/{name}", "size": "1", "generation": "1"} for name in ("good", path)]
    said = json.dumps({"items": items}).encode()
    with one_answer(said) as url, gcs_client(url) as hostile, pytest.raises(Damaged) as caught:
        bucket_source(hostile, HANDLE, "gs://b/m")
    assert repr(path.removesuffix("/"))[1:-1] in str(caught.value)
    assert "gs://b/m/" in str(caught.value)


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a", "a/"], ["x/a", "x/a/b/c"]])
def test_a_name_that_is_a_file_and_a_directory_is_refused(
    client: GcsClient, server: GcsServer, paths: list[str]
) -> None:
    name = "both" + "-".join(paths).replace("/", "_")
    with pytest.raises(Damaged, match="is a file and a directory at once"):
        shaped(server, client, name, dict.fromkeys(paths, b""))


@pytest.mark.slow
def test_a_model_of_more_files_than_a_page_holds_is_whole(client: GcsClient, server: GcsServer) -> None:
    paths = [f"shards/{index % 7}/{index}" for index in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: server.upload("shapes", f"big/{path}", path.encode()), paths))
    source = bucket_source(client, HANDLE, "gs://shapes/big")
    assert {entry.path for entry in source.entries() if entry.kind is EntryKind.FILE} == set(paths)
    assert source.open(source.find("shards/6/1098")).read_at(0, 99) == b"shards/6/1098"


@pytest.mark.parametrize(("status", "error"), [(403, AccessDenied), (503, Unavailable)])
def test_a_store_that_refuses_or_fails_is_not_called_a_missing_model(
    client: GcsClient, server: GcsServer, status: int, error: type[Exception]
) -> None:
    server.spoil(*[Fault(status=status)] * 2)
    with pytest.raises(error):
        bucket_source(client, HANDLE, "gs://models/google/spice/2")


def test_an_index_gives_the_same_source_without_a_request(
    source: FilesSource, client: GcsClient, server: GcsServer, tmp_path: Path
) -> None:
    server.reset()
    file = tmp_path / "index.json"
    file.write_text(json.dumps(source.to_index()))
    again = kept_bucket_source(client, HANDLE, json.loads(file.read_text()))
    assert (again.url, again.identity, again.entries()) == (source.url, source.identity, source.entries())
    assert again.to_index() == source.to_index()
    assert not server.requests
    for path, content in FILES.items():
        assert again.open(again.find(path)).read_at(0, len(content)) == content


def test_a_source_from_an_index_verifies_what_it_reads(
    source: FilesSource, client: GcsClient, server: GcsServer
) -> None:
    again = kept_bucket_source(client, HANDLE, source.to_index())
    server.spoil(Fault(flip_byte=17))
    with pytest.raises(Damaged, match="saved_model"):
        again.open(again.find("saved_model.pb")).read_at(0, 1 << 20)


def test_an_index_says_what_the_store_said(source: FilesSource) -> None:
    index = source.to_index()
    assert {key: index[key] for key in ("handle", "url", "form", "identity")} == {
        "handle": "google/spice/2",
        "url": "gs://models/google/spice/2",
        "form": "uncompressed",
        "identity": source.identity,
    }
    items = {item["path"]: item for item in index["entries"]}
    assert items["assets"] == {"path": "assets", "kind": "directory"}
    weights = items["variables/variables.data-00000-of-00001"]
    assert weights["kind"] == "file"
    path, _, generation = weights["pin"].partition("#")
    assert path == "gs://models/google/spice/2/variables/variables.data-00000-of-00001"
    assert generation.isdecimal()
    assert weights["size_bytes"] == len(WEIGHTS)
    assert int(weights["checksum"][1], 16) == google_crc32c.value(WEIGHTS)


def test_an_index_may_hold_what_others_keep_in_it(source: FilesSource, client: GcsClient) -> None:
    index = source.to_index() | {"kept_by": "somebody else"}
    assert kept_bucket_source(client, HANDLE, index).identity == source.identity


def damage(index: dict[str, Any], at: list[str | int], value: Any) -> None:
    target: Any = index
    for step in at[:-1]:
        target = target[step]
    if value is None:
        del target[at[-1]]
    else:
        target[at[-1]] = value


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (["url"], None),
        (["url"], 5),
        (["url"], "https://x/y"),
        (["url"], "gs://models/google/other"),
        (["form"], "compressed"),
        (["handle"], "google/spice/3"),
        (["identity"], "0123456789abcdef"),
        (["entries"], None),
        (["entries"], {}),
        (["entries"], []),
        (["entries", -1], "text"),
        (["entries", -1], None),
        (["entries", 0, "path"], "../x"),
        (["entries", 0, "kind"], "symlink"),
        (["entries", 0, "kind"], "file"),
        (["entries", -1, "kind"], "directory"),
        (["entries", -1, "kind"], None),
        (["entries", -1, "path"], "another"),
        (["entries", -1, "path"], 5),
        (["entries", -1, "pin"], None),
        (["entries", -1, "pin"], 5),
        (["entries", -1, "pin"], "gs://models/google/elsewhere#5"),
        (["entries", -1, "pin"], "gs://elsewhere/google/spice/2/variables/variables.index#5"),
        (["entries", -1, "pin"], "half \ud800#5"),
        (["entries", -1, "size_bytes"], -1),
        (["entries", -1, "size_bytes"], "5"),
        (["entries", -1, "size_bytes"], True),
        (["entries", -1, "size_bytes"], 1.5),
        (["entries", -1, "pin"], "gs://models/google/spice/2/variables/variables.index#1&alt=json"),
        (["entries", -1, "pin"], "gs://models/google/spice/2/variables/variables.index#5"),
        (["entries", -1, "pin"], "gs://models/google/spice/2/variables/variables.index#"),
        (["entries", -1, "pin"], "gs://models/google/spice/2/variables/variables.index"),
        (["entries", -1, "checksum"], 5),
        (["entries", -1, "checksum"], ["crc32c", "no number"]),
        (["entries", -1, "checksum"], ["crc32c", "1ffffffff"]),
        (["entries", -1, "checksum"], ["crc32"]),
        (["entries", -1, "checksum"], ["none", "0"]),
    ],
)
def test_an_index_that_is_not_as_written_is_damaged(
    source: FilesSource, client: GcsClient, at: list[str | int], value: Any
) -> None:
    index = json.loads(json.dumps(source.to_index()))
    damage(index, at, value)
    with pytest.raises(Damaged):
        kept_bucket_source(client, HANDLE, index)


def test_an_index_as_it_was_written_before_is_damaged_and_nothing_worse(source: FilesSource, client: GcsClient) -> None:
    index = source.to_index()
    for item in index["entries"]:
        if item["kind"] == "file":
            url, _, generation = item.pop("pin").partition("#")
            crc32c = int(item.pop("checksum")[1], 16)
            item |= {"name": url.removeprefix("gs://models/"), "generation": generation, "crc32c": crc32c, "md5": None}
    with pytest.raises(Damaged, match="google/spice/2 is malformed: KeyError"):
        kept_bucket_source(client, HANDLE, index)
