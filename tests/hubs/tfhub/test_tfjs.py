import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import RetryingBlob
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.cached_blob import CachedBlob
from hubfs.cache.memory import MemoryTier
from hubfs.errors import AccessDenied, Damaged, ModelNotFound, Stale, Unavailable
from hubfs.hubs.tfhub import tfjs
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.questions import Location
from hubfs.sources.files import FilesSource, Manifest, RemoteFile
from hubfs.sources.hosted import Urls, kept_files
from hubfs.sources.source import Entry, EntryKind, Form
from tests.support.hosted import PAGE, manifest, put, put_tfjs
from tests.support.http_clients import NO_HEADERS, QUICK
from tests.support.http_origin import Answer, HttpOrigin, cut, status
from tests.support.sources import source_of

HANDLE = parse_handle("google/tfjs-model/spice/2/default/1")
ROOT = f"/{HANDLE}"
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
NOISE = random.Random(5)
FILES = {
    "model.json": manifest(["group1-shard1of2.bin", "group1-shard2of2.bin"], ["deep/er/a b#1?%20.bin", "empty.bin"]),
    "group1-shard1of2.bin": NOISE.randbytes((1 << 20) + 77),
    "group1-shard2of2.bin": NOISE.randbytes(999),
    "deep/er/a b#1?%20.bin": b"odd",
    "empty.bin": b"",
}


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put_tfjs(origin, ROOT, FILES)
        yield origin


@pytest.fixture
def failed() -> list[FilesSource]:
    return []


@pytest.fixture
def asked(origin: HttpOrigin, client: HttpClient) -> Callable[[], Manifest]:
    location = Location(origin.url + ROOT, Form.FILES, {"X-Token": "hush"})
    return lambda: tfjs.ask_tfjs(client, HANDLE, location)


@pytest.fixture
def ask(client: HttpClient, asked: Callable[[], Manifest], failed: list[FilesSource]) -> Callable[[], FilesSource]:
    def wrap(_: CacheKey, blob: Blob) -> Blob:
        return RetryingBlob(blob, QUICK, client.cancellation)

    return lambda: source_of(asked(), HANDLE, wrap, failed.append)


@pytest.fixture
def loaded(
    origin: HttpOrigin, client: HttpClient, ask: Callable[[], FilesSource], failed: list[FilesSource]
) -> FilesSource:
    """A source from an index, and nothing known of the host."""
    index = json.loads(json.dumps(ask().to_index()))
    origin.reset()
    kept = kept_files(client, HANDLE, index, urls_at(origin, {"X-Token": "hush"}))
    return source_of(kept, HANDLE, on_failure=failed.append)


def urls_at(origin: HttpOrigin, headers: Mapping[str, str] = NO_HEADERS) -> Urls:
    return lambda path: (tfjs.url_of(origin.url + ROOT, path), headers)


def read(source: FilesSource, path: str) -> bytes:
    blob = source.open(source.find(path))
    return blob.read_at(0, blob.size_bytes + 1)


def test_the_manifest_and_its_shards_are_the_files(ask) -> None:
    source = ask()
    assert source.entries() == sorted(
        [
            Entry("deep", EntryKind.DIRECTORY),
            Entry("deep/er", EntryKind.DIRECTORY),
            *(Entry(path, EntryKind.FILE, len(body)) for path, body in FILES.items()),
        ],
        key=lambda entry: entry.path,
    )
    assert {path: read(source, path) for path in FILES} == FILES


def test_no_shard_is_downloaded_before_it_is_read(origin: HttpOrigin, ask) -> None:
    ask()
    assert len(origin.requests) == 1 + 1 + 4  # the manifest's probe and bytes, and a probe of each shard
    assert origin.body_bytes_sent(f"{ROOT}/group1-shard1of2.bin") == 512


def test_secrets_go_along_and_are_never_said(origin: HttpOrigin, ask) -> None:
    source = ask()
    assert {request.headers["x-token"] for request in origin.requests} == {"hush"}
    assert "hush" not in json.dumps(source.to_index()) + source.url


def test_shards_are_asked_for_side_by_side_but_not_all_at_once(origin: HttpOrigin, ask) -> None:
    shards = {f"shard{number}": bytes(number) for number in range(40)}
    put_tfjs(origin, ROOT, {"model.json": manifest(shards), **shards})
    assert len(ask().entries()) == 41
    assert 2 <= origin.connections <= 8 + 1


@pytest.mark.parametrize("answer", [Answer(404), Answer(410), PAGE])
def test_a_missing_shard_is_damage_and_is_named(origin: HttpOrigin, ask, answer: Answer) -> None:
    origin.route(f"{ROOT}/group1-shard2of2.bin", lambda _: answer)
    with pytest.raises(Damaged, match=r"lacks its file 'group1-shard2of2\.bin'") as caught:
        ask()
    assert "?" not in str(caught.value)


def test_a_missing_manifest_is_a_missing_model(origin: HttpOrigin, ask) -> None:
    origin.route(f"{ROOT}/model.json", lambda _: Answer(404))
    with pytest.raises(ModelNotFound, match=str(HANDLE)):
        ask()


@pytest.mark.parametrize(("code", "error"), [(403, AccessDenied), (503, Unavailable)])
@pytest.mark.parametrize("name", ["model.json", "empty.bin"])
def test_a_host_that_refuses_or_fails_is_not_damage(origin: HttpOrigin, ask, name: str, code: int, error) -> None:
    origin.always(f"{ROOT}/{name}", status(code))
    with pytest.raises(error):
        ask()


def test_a_manifest_that_breaks_off_is_read_again(origin: HttpOrigin, ask) -> None:
    origin.script(f"{ROOT}/model.json", lambda answer: answer, cut(20))
    assert len(ask().entries()) == 7


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "https://evil.invalid/x", "a//b", "", ".", "a\\..\\b", "a\0b", "\ud800"],
)
def test_a_shard_outside_of_the_model_is_refused_and_not_asked_for(origin: HttpOrigin, ask, path: str) -> None:
    put_tfjs(origin, ROOT, {"model.json": manifest(["empty.bin", path])})
    with pytest.raises(Damaged, match="which is no path inside of the model"):
        ask()
    assert {request.path for request in origin.requests} == {f"{ROOT}/model.json"}


@pytest.mark.parametrize("paths", [["a", "a/b"], ["model.json/a"]])
def test_a_shard_that_is_a_file_and_a_directory_is_refused(origin: HttpOrigin, ask, paths: list[str]) -> None:
    put_tfjs(origin, ROOT, {"model.json": manifest(paths)})
    with pytest.raises(Damaged, match="is a file and a directory at once"):
        ask()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"weightsManifest": 5}',
        b'{"weightsManifest": [5]}',
        b'{"weightsManifest": [{}]}',
        b'{"weightsManifest": [{"paths": 5}]}',
        b'{"weightsManifest": [{"paths": [5]}]}',
        b'{"weightsManifest": [{"paths": [["a"]]}]}',
    ],
)
def test_what_is_no_manifest_is_damaged(origin: HttpOrigin, ask, body: bytes) -> None:
    put_tfjs(origin, ROOT, {"model.json": body})
    with pytest.raises(Damaged, match=r"model\.json is not a model\.json of TF\.js"):
        ask()


@pytest.mark.parametrize("body", [b"{}", b'{"weightsManifest": null}', manifest(), manifest([])])
def test_a_model_without_weights_is_its_manifest(origin: HttpOrigin, ask, body: bytes) -> None:
    put_tfjs(origin, ROOT, {"model.json": body})
    assert [entry.path for entry in ask().entries()] == ["model.json"]


def test_a_manifest_is_bounded(origin: HttpOrigin, ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfjs, "MANIFEST_LIMIT_BYTES", len(FILES["model.json"]))
    assert ask().entries()
    monkeypatch.setattr(tfjs, "MANIFEST_LIMIT_BYTES", len(FILES["model.json"]) - 1)
    with pytest.raises(Damaged, match=r"more than any model\.json needs"):
        ask()


def test_shards_are_bounded(origin: HttpOrigin, ask) -> None:
    put_tfjs(origin, ROOT, {"model.json": manifest(map(str, range(tfjs.SHARDS_LIMIT + 1)))})
    with pytest.raises(Damaged, match="names 10001 shards"):
        ask()
    assert len(origin.requests) == 2


def test_any_file_makes_another_identity(origin: HttpOrigin, client: HttpClient, ask) -> None:
    before = ask()
    assert ask().identity == before.identity
    put_tfjs(origin, ROOT, {"empty.bin": b"no more"})
    client.forget(f"{origin.url}{ROOT}/empty.bin?tfjs-format=file", {"X-Token": "hush"})
    assert ask().identity != before.identity


def test_a_file_that_changes_fails_the_whole_model_for_good(origin: HttpOrigin, ask, failed) -> None:
    source = ask()
    put_tfjs(origin, ROOT, {"group1-shard2of2.bin": bytes(999)})
    with pytest.raises(Stale):
        read(source, "group1-shard2of2.bin")
    assert failed == [source]
    assert isinstance(source.failure, Stale)
    for attempt in (lambda: read(source, "model.json"), lambda: source.find("empty.bin"), source.entries):
        with pytest.raises(Stale):
            attempt()
    assert len(failed) == 1


def test_each_file_has_its_own_date_and_the_model_the_newest(origin: HttpOrigin, ask) -> None:
    dates = [f"Wed, 21 Oct 2015 07:28:0{second} GMT" for second in range(len(FILES))]
    for (path, body), date in zip(FILES.items(), dates, strict=True):
        put_tfjs(origin, ROOT, {path: body}, last_modified=date)
    source = ask()
    assert [source.stamp(path).made_s for path in FILES] == [1445412480 + second for second in range(len(FILES))]
    assert source.stamp("") == source.stamp("deep") == source.stamp([*FILES][-1])


def test_an_index_gives_the_same_source_without_a_request(origin: HttpOrigin, ask, loaded: FilesSource) -> None:
    assert [*loaded.entries()]
    assert loaded.open(loaded.find("empty.bin")).size_bytes == 0
    assert not origin.requests
    source = ask()
    assert (loaded.to_index(), loaded.model, loaded.url) == (source.to_index(), source.model, source.url)
    assert {path: read(loaded, path) for path in FILES} == FILES


@pytest.mark.parametrize(
    ("virtues", "lasting"),
    [({"etag": None}, False), ({"etag": 'W/"weak"'}, False), ({"etag": None, "last_modified": DATE}, True)],
)
def test_an_index_is_of_use_only_where_the_host_names_its_bytes(
    origin: HttpOrigin, asked, virtues: dict[str, object], *, lasting: bool
) -> None:
    shard = {"other.bin": b"other"}
    put_tfjs(origin, ROOT, {"model.json": manifest(["empty.bin", *shard])})
    put_tfjs(origin, ROOT, shard, **virtues)
    assert asked().lasting is lasting


def test_many_may_read_a_source_from_an_index_at_once(loaded: FilesSource) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lambda path: read(loaded, path), 4 * [*FILES])] == 4 * [*FILES.values()]


@pytest.mark.parametrize("answer", [Answer(404), Answer(200, {"ETag": '"other"'}, FILES["group1-shard2of2.bin"])])
def test_a_source_from_an_index_notices_what_changed_meanwhile(
    origin: HttpOrigin, client: HttpClient, loaded: FilesSource, failed, answer: Answer
) -> None:
    name = "group1-shard2of2.bin"
    origin.route(f"{ROOT}/{name}", lambda _: answer)
    client.forget(f"{origin.url}{ROOT}/{name}?tfjs-format=file", {"X-Token": "hush"})
    with pytest.raises(Stale, match=name):
        read(loaded, name)
    assert failed == [loaded]
    with pytest.raises(Stale):
        loaded.entries()


def test_a_host_that_is_down_does_not_fail_a_source_from_an_index(
    origin: HttpOrigin, client: HttpClient, loaded: FilesSource, failed
) -> None:
    name = "group1-shard2of2.bin"
    client.forget(f"{origin.url}{ROOT}/{name}?tfjs-format=file", {"X-Token": "hush"})
    origin.script(f"{ROOT}/{name}", *[status(503)] * QUICK.attempts)
    with pytest.raises(Unavailable):
        read(loaded, name)
    assert read(loaded, name) == FILES[name]
    assert not failed


def test_what_the_cache_has_is_read_without_the_host(origin: HttpOrigin, client: HttpClient, ask) -> None:
    index = ask().to_index()
    cache = MemoryTier(8 << 20)

    def nowhere(_: str) -> tuple[str, Mapping[str, str]]:
        raise Unavailable("the hub is down")

    with ThreadPoolExecutor(2) as pool:

        def cached(key: CacheKey, blob: Blob) -> Blob:
            return CachedBlob(blob, cache, key, pool=pool, cancellation=client.cancellation)

        here = source_of(kept_files(client, HANDLE, index, urls_at(origin)), HANDLE, cached)
        assert {path: read(here, path) for path in FILES} == FILES
        later = source_of(kept_files(client, HANDLE, index, nowhere), HANDLE, cached)
        origin.reset()
        assert {path: read(later, path) for path in FILES} == FILES
        assert not origin.requests


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", None),
        ("url", 5),
        ("url", "half \ud800"),
        ("form", "other"),
        ("handle", "google/tfjs-model/spice/2/default/2"),
        ("identity", "0123"),
        ("entries", None),
        ("entries", {}),
        ("entries", []),
        ("entries", ["text"]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": 5}]),
        ("entries", [{"path": "../a", "kind": "file", "size_bytes": 5, "pin": "k"}]),
        ("entries", [{"path": 5, "kind": "file", "size_bytes": 5, "pin": "k"}]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": True, "pin": "k"}]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": -1, "pin": "k"}]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": 5, "pin": None}]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": 5, "pin": "half \ud800"}]),
        ("entries", [{"path": "a", "kind": "file", "size_bytes": 5, "pin": "k"}]),
    ],
)
def test_an_index_that_is_not_as_written_is_damaged(
    origin: HttpOrigin, client: HttpClient, ask, key: str, value: object
) -> None:
    index = ask().to_index() | {key: value}
    with pytest.raises(Damaged):
        source_of(kept_files(client, HANDLE, index, urls_at(origin)), HANDLE)


@pytest.mark.parametrize("path", ["../a", "a\0b", "a/", ".", ""])
def test_an_index_that_names_a_file_outside_of_the_model_is_damaged(client: HttpClient, path: str) -> None:
    lying = Manifest("https://hub.example/a", Form.FILES, {path: RemoteFile(5, "k", lambda: MemoryBlob("k", b""))})
    kept = kept_files(client, HANDLE, lying.to_json(HANDLE), lambda path: (path, NO_HEADERS))
    with pytest.raises(Damaged, match="is a name that is no path"):
        source_of(kept, HANDLE)


def test_an_index_as_it_was_written_before_is_damaged_and_nothing_worse(
    origin: HttpOrigin, client: HttpClient, ask
) -> None:
    index = ask().to_index()
    for item in index["entries"]:
        assert item.pop("kind") == "file"
        item["key"] = item.pop("pin")
    with pytest.raises(Damaged, match=f"{HANDLE} is malformed: KeyError"):
        kept_files(client, HANDLE, index, urls_at(origin))


def test_a_shard_that_comes_compressed_unasked_is_refused(origin: HttpOrigin, ask: Callable[[], FilesSource]) -> None:
    # As object stores send what was uploaded with `Content-Encoding: gzip`: its bytes are not the shard's.
    path = "group1-shard2of2.bin"
    encoded = gzip.compress(FILES[path])
    put(origin, f"{ROOT}/{path}", "tfjs-format=file", encoded, headers={"Content-Encoding": "gzip"})
    with pytest.raises(Unavailable, match=rf"{path} comes encoded as gzip"):
        ask()
