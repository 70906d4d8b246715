"""What the Hugging Face Hub says, by a letter; only our errors come out.

`a`: answers of the hub, separated by lines of `%%`: a status, a blank, headers a line each, an empty line, a body. `n`:
a name or a URL, and `r`: a path. `k`: what the cache has kept of an alias.
"""

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from unittest import mock

from requests.structures import CaseInsensitiveDict

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import EntryNotFound, HubfsError, InvalidHandle
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.trees import Listed
from hubfs.hubs.place import Alias, InModel
from hubfs.model_id import ModelId
from hubfs.sources.files import FilesSource, Manifest
from hubfs.waiting import Cancellation
from tests.support.sources import Told, plain

MAX_BYTES = 8192
_KEYS = ("type", "path", "size", "oid", "lfs", "pointerSize", "id", "sha", "error")
_COMMIT = b"5a" * 20
WORDS = (
    *(f'"{key}":'.encode() for key in _KEYS),
    *(b'"file"', b'"directory"', b"\n%%\n", b"200 ", b"401 ", b"429 ", b"302 ", b"\n\n", b"../", b"\\ud800", _COMMIT),
    *(b'Link: <https://hub.test/?cursor=1>; rel="next"', b"X-Error-Code: GatedRepo", b"RepoNotFound", b"EntryNotFound"),
    *(
        b'RateLimit: "api";r=0;t=55',
        b"Content-Range: bytes 0-4/5",
        b"X-Linked-Size: 5",
        b"X-Linked-Etag: ",
        b"Location: ",
    ),
    *(
        b"https://huggingface.co/",
        b"/resolve/",
        b"/tree/",
        b"datasets/",
        b"@refs/pr/1",
        b"%2F",
        b"@main",
        b"hf://",
        b"[" * 60,
    ),
)
MODEL = ModelId("BAAI/bge-m3", _COMMIT.decode())
_LFS, _GIT = Listed(5, Checksum("sha256", "ab" * 32)), Listed(5, Checksum("git-sha1", "ab" * 20))
_LONGEST_STATUS = 3


class _Fed(HttpClient):
    """A client whose host answers with `replies`, one after another, the last one again and again."""

    replies: list[HttpReply]
    asked = 0

    def ask(
        self, url: str, question: bytes | None, headers: Mapping[str, str] = {}, max_body_bytes: int = 65536
    ) -> HttpReply:
        assert url.startswith("http://hub.test/"), "the hub alone is asked"
        self.asked += 1
        return self.replies[min(self.asked, len(self.replies)) - 1]


@lru_cache(1)
def _client() -> _Fed:
    return _Fed(HttpSettings(retry=RetryPolicy(attempts=1)), Cancellation())


@lru_cache(1)
def _bucket() -> GcsClient:
    return GcsClient(GcsSettings("http://store.test", retry=RetryPolicy(attempts=1)), Cancellation())


def fuzz(data: bytes) -> None:
    ask = LETTERS.get(data[:1])
    if ask is None:
        return
    logging.disable()
    try:
        ask(data[1:])
    finally:
        logging.disable(logging.NOTSET)


def _answers(data: bytes) -> None:
    client = _client()
    client.replies = [_reply(part) for part in data.split(b"\n%%\n")]
    for question in (_model, _alias, _lists, _located, _bytes):
        client.asked = 0
        # Each has a hub of its own: a hub that was told to wait asks nothing.
        hub = make_hub("hf:", Means(client, _bucket(), endpoints={"hf": "http://hub.test"}))
        try:
            with mock.patch("hubfs.hubs.huggingface.api._MOST_PAGES", 12):
                question(hub)
        except InvalidHandle as error:
            raise AssertionError("an answer passed for a mistake of the user") from error
        except HubfsError as error:
            str(error).encode(errors="surrogatepass")
        for budget in hub.budgets():
            assert 0 <= budget.left < 1 << 40


def _reply(part: bytes) -> HttpReply:
    head, _, body = part.partition(b"\n\n")
    status, _, lines = head.partition(b" ")
    known = status.isdigit() and len(status) == _LONGEST_STATUS
    fields = (line.partition(b": ")[::2] for line in lines.split(b"\n")) if known else ()
    headers = CaseInsensitiveDict({name.decode("latin-1"): text.decode("latin-1") for name, text in fields})
    return HttpReply(int(status) if known else 200, headers, body if known else part, "http://hub.test/api")


def _model(hub: Hub) -> None:
    manifest = hub.open(MODEL, Told())
    assert isinstance(manifest, Manifest)
    source = FilesSource("huggingface", MODEL, manifest, plain)
    for path, file in manifest.files.items():
        assert all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in path.split("/"))
        assert file.checksum is not None, "there is no file that nobody can verify"
    again = hub.load(MODEL, source.to_index(), Told())
    assert isinstance(again, Manifest)
    assert again.identity == manifest.identity
    assert FilesSource("huggingface", MODEL, again, plain).entries() == source.entries()


def _alias(hub: Hub) -> None:
    for alias in (f"{MODEL.name}@main", "gpt2@main"):
        target = hub.alias(alias)
        model = names.parse(f"{alias}/{target}")
        folder = "/".join(alias.split("/")[:-1])
        assert names.place_of(f"/{folder}/{target}" if ".." not in target else f"/{target[3:]}") == InModel(model, "")


def _lists(hub: Hub) -> None:
    assert all(map(names.is_id, hub.children("BAAI")))


def _located(hub: Hub) -> None:
    api = hub._api  # type: ignore[attr-defined]
    assert api.locate(MODEL, "model.safetensors", _LFS).lower().startswith(("http://", "https://"))


def _bytes(hub: Hub) -> None:
    api = hub._api  # type: ignore[attr-defined]
    with mock.patch.object(_Fed, "open", side_effect=EntryNotFound("elsewhere")):
        assert len(api.read(MODEL, "config.json", 0, 5)) == _GIT.size_bytes


def _handle(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        found = names.find(text)
    except InvalidHandle as error:
        str(error).encode()
        return
    if found is not None:
        name, version = found
        place = names.place_of("/" + (name if version is None else f"{name}@{version}"))
        assert isinstance(place, Alias if version is None else InModel)


def _path(data: bytes) -> None:
    try:
        place = names.place_of("/" + data.decode(errors="surrogateescape"))
    except EntryNotFound as error:
        str(error).encode()
        return
    if isinstance(place, InModel):
        assert names.parse(str(place.handle)) == place.handle
        assert names.find(str(place.handle)) == (place.handle.name, place.handle.version)
    if isinstance(place, Alias):
        repo, revision = names.revision_of(place.name)
        assert names.alias_of(repo, revision) == place.name
        assert names.place_of(f"/{place.name}") == Alias(place.name), "one alias has one name"
        place.name.encode()


def _kept(data: bytes) -> None:
    try:
        model = names.parse(f"{MODEL.name}@main/{data.decode(errors='surrogateescape')}")
    except InvalidHandle as error:
        str(error).encode()
        return
    assert names.is_repo(model.name)
    assert names.is_commit(model.version)


LETTERS: Mapping[bytes, Callable[[bytes], None]] = {b"a": _answers, b"n": _handle, b"r": _path, b"k": _kept}
