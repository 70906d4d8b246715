"""The store behind the stand-in for Kaggle: objects behind signed URLs that expire, with ranges and checksums."""

import hashlib
import hmac
import time
from base64 import b64encode
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from hubfs.blobs.checksums import crc32c
from tests.support.kaggle_replies import Reply, ranged


@dataclass(frozen=True)
class Stored:
    """A request that the store got."""

    path: str
    range: str | None
    status: int
    body_bytes: int
    headers: Mapping[str, str]  # lower-case names


class KaggleStore:
    """Objects by path, for URLs that it signed itself. It knows nothing of accounts.

    `put`, `rot` and `forget_urls` are for the test's thread, the rest for the server's; a dict's reads need no lock.
    `hashes` are those that it names of an object.
    """

    def __init__(self, url_lives_s: int) -> None:
        self.url = ""
        self.url_lives_s = url_lives_s
        self.hashes = ("crc32c", "md5")
        self._objects: dict[str, bytes] = {}
        self._digests: dict[str, dict[str, bytes]] = {}
        self._rotten: dict[str, bytes] = {}
        self._key = 1

    def put(self, path: str, content: bytes) -> None:
        self._digests[path] = {"crc32c": crc32c(content).to_bytes(4, "big"), "md5": hashlib.md5(content).digest()}
        self._objects[path] = content

    def rot(self, path: str, at: int) -> None:
        """One byte of the object is sent wrong from now on; what the store says of the object stays right."""
        content = self._objects[path]
        self._rotten[path] = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    def mend(self) -> None:
        """Nothing is sent wrong any more."""
        self._rotten.clear()

    def forget_urls(self) -> None:
        """All signed URLs so far are refused from now on."""
        self._key += 1

    def signed_url(self, path: str) -> str:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"web-data@stand-in/{date[:8]}/auto/storage/goog4_request",
            "X-Goog-Date": date,
            "X-Goog-Expires": str(self.url_lives_s),
            "X-Goog-SignedHeaders": "host",
            "X-Goog-Signature": self._signature(path, date, str(self.url_lives_s)),
        }
        return f"{self.url}{path}?{urlencode(query)}"

    def answer(self, request: web.BaseRequest) -> Reply:
        path, query = request.url.raw_path, request.query
        date, expires_s = query.get("X-Goog-Date", ""), query.get("X-Goog-Expires", "")
        if not hmac.compare_digest(query.get("X-Goog-Signature", ""), self._signature(path, date, expires_s)):
            return _xml(403, "SignatureDoesNotMatch")
        if time.time() >= timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) + int(expires_s):
            return _xml(400, "ExpiredToken")
        if path not in self._objects:
            return _xml(404, "NoSuchKey")
        content = self._objects[path]
        return ranged(self._rotten.get(path, content), self._said_of(path), request.headers.get("Range"))

    def _said_of(self, path: str) -> dict[str, str]:
        digests = self._digests[path]
        return {
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": f'"{digests["md5"].hex()}"',
            "Last-Modified": "Sat, 01 Jun 2024 12:00:00 GMT",
            "x-goog-hash": ",".join(f"{name}={b64encode(digests[name]).decode()}" for name in self.hashes),
        }

    def _signature(self, path: str, date: str, expires_s: str) -> str:
        signed = f"{path}\n{date}\n{expires_s}".encode()
        return hmac.new(str(self._key).encode(), signed, hashlib.sha256).hexdigest()


def _xml(status: int, code: str) -> Reply:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Reply(status, {"Content-Type": "application/xml; charset=UTF-8"}, body.encode())
