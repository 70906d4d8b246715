"""What the Hugging Face Hub says, by a letter; only our errors come out.

`a`: answers of the hub, separated by lines of `%%`: a status, a blank, headers a line each, an empty line, a body. `n`:
a name or a URL, and `r`: a path. `k`: what the cache has kept of an alias.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from unittest import mock

from requests.structures import CaseInsensitiveDict

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.transfer import HttpReply
from hubfs.errors import EntryNotFound, InvalidHandle
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.trees import Listed
from hubfs.hubs.place import Alias, InModel
from hubfs.model_id import ModelId
from tests.fuzz.answering import Fed, ask, bucket, by_letter, manifest, status_of

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


class _Fed(Fed):
    def ask(
        self, url: str, question: bytes | None, headers: Mapping[str, str] = {}, max_body_bytes: int = 65536
    ) -> HttpReply:
        assert url.startswith("http://hub.test/"), "the hub alone is asked"
        return super().ask(url, question, headers, max_body_bytes)


_client = lru_cache(1)(_Fed)


def fuzz(data: bytes) -> None:
    by_letter(data, LETTERS)


def _answers(data: bytes) -> None:
    client = _client()
    for question in (_model, _alias, _lists, _located, _bytes):
        client.answer(data, _reply)
        # Each has a hub of its own: a hub that was told to wait asks nothing.
        hub = make_hub("hf:", Means(client, bucket(), endpoints={"hf": "http://hub.test"}))
        with mock.patch("hubfs.hubs.huggingface.api._MOST_PAGES", 12):
            ask(hub, question)
        for budget in hub.budgets():
            assert 0 <= budget.left < 1 << 40


def _reply(part: bytes) -> HttpReply:
    head, _, body = part.partition(b"\n\n")
    told = status_of(head if b" " in head else head + b" ")
    if told is None:
        return HttpReply(200, CaseInsensitiveDict(), part, "http://hub.test/api")
    status, lines = told
    fields = (line.partition(b": ")[::2] for line in lines.split(b"\n"))
    headers = CaseInsensitiveDict({name.decode("latin-1"): text.decode("latin-1") for name, text in fields})
    return HttpReply(status, headers, body, "http://hub.test/api")


def _model(hub: Hub) -> None:
    for file in manifest(hub, "huggingface", MODEL).files.values():
        assert file.checksum is not None, "there is no file that nobody can verify"


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
