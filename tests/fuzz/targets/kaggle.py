"""What Kaggle and its store say, by a letter; only our errors come out.

`a`: answers of the API, a status, a blank and a body each, separated by lines of `%%`. `n`: a name or a URL. `h`: the
header with the hashes of a file. `u`: a signed URL.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from unittest import mock

from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import expiry_of
from hubfs.errors import EntryNotFound, InvalidHandle, NotFound
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.hubs.kaggle import names
from hubfs.hubs.place import Alias, InModel
from hubfs.model_id import ModelId
from tests.fuzz.answering import Fed, ask, bucket, by_letter, manifest, status_of

MAX_BYTES = 8192
_KEYS = (
    *("files", "name", "size", "totalBytes", "creationDate", "nextPageToken", "models", "slug", "instances"),
    *("framework", "versionNumber", "versionList", "versions", "code", "message", "error"),
)
WORDS = (
    *(f'"{key}":'.encode() for key in _KEYS),
    *(b"\n%%\n", b"200 {", b"403 ", b"302 https://store.test/a?X-Goog-Expires=1", b"tensorFlow2", b"../", b"\\ud800"),
    *(b"https://www.kaggle.com/models/", b"frameworks/", b"variations/", b"versions/", b"kaggle://", b"latest", b"%2F"),
    *(b"crc32c=", b"md5=", b"X-Goog-Date=", b"&X-Goog-Expires=", b"Expires=", b"9" * 60, b"1e999", b"[" * 60),
)
MODEL = ModelId("google/yamnet/tensorFlow2/yamnet", "1")


class _Fed(Fed):
    def probe(self, url: str, *_: Any, **__: Any) -> HttpObject:
        raise NotFound(f"{url}: there is no archive")


_client = lru_cache(1)(_Fed)


def fuzz(data: bytes) -> None:
    by_letter(data, LETTERS)


def _answers(data: bytes) -> None:
    client = _client()
    # What is put into a body in one dialect is put into a URL in the other.
    environ = {"HUBFS_KAGGLE_DIALECT": ("rpc", "rest")[len(data) % 2]}
    for question in (_model, _lists, lambda hub: hub.alias(MODEL.name), _signed):
        client.answer(data, _reply)
        # Each has a hub of its own: a hub that was told to wait asks nothing.
        means = Means(client, bucket(), endpoints={"kaggle": "http://kaggle.test"}, environ=environ)
        with mock.patch("hubfs.hubs.kaggle.api._MOST_PAGES", 12):
            ask(make_hub("kaggle:", means), question)


def _reply(part: bytes) -> HttpReply:
    status, body = status_of(part) or (200, part)
    headers = {"Location": body.decode("latin-1")} if part.startswith(b"3") else {}
    return HttpReply(status, headers, body, "http://kaggle.test/api")


def _model(hub: Hub) -> None:
    manifest(hub, "kaggle", MODEL)


def _lists(hub: Hub) -> None:
    assert all(map(names.is_version, hub.versions(MODEL.name)))
    for folder in ("google", "google/yamnet", "google/yamnet/tensorFlow2"):
        found = hub.children(folder)
        assert len({*found}) == len(found)
        for name in found:
            assert names.canonical([*folder.split("/"), name]) == (*folder.split("/"), name)


def _signed(hub: Hub) -> None:
    api = hub._api  # type: ignore[attr-defined]
    assert api.locate(MODEL, "saved_model.pb").lower().startswith(("http://", "https://"))


def _names(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        found = names.find(text)
    except InvalidHandle as error:
        str(error).encode()
    else:
        if found is not None:
            name, version = found
            assert names.parse_name(name if version is None else f"{name}/{version}") == found
    try:
        place = names.place_of(f"/{text}")
    except EntryNotFound as error:
        str(error).encode()
        return
    if isinstance(place, InModel):
        assert names.parse(str(place.handle)) == place.handle
    if isinstance(place, Alias):
        assert names.parse_name(place.name) == (place.name, None)


def _hashes(data: bytes) -> None:
    headers = {"X-Goog-Hash": data.decode("latin-1")}
    checksum = HttpObject.of("http://store.test/a", "http://store.test/a", 200, headers, b"").checksum
    if checksum is not None:
        assert bytes.fromhex(checksum.value).hex() == checksum.value
        assert checksum.algorithm.encode() in data


def _expiry(data: bytes) -> None:
    until_s = expiry_of(data.decode(errors="surrogateescape"))
    assert until_s is None or 0 <= until_s < 1 << 63


LETTERS: Mapping[bytes, Callable[[bytes], None]] = {b"a": _answers, b"n": _names, b"h": _hashes, b"u": _expiry}
