"""The CDN behind the stand-in for the Hugging Face Hub: files of LFS behind signed URLs that expire, by ranges."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, quote, urlencode

from tests.support.huggingface_repo import Blob
from tests.support.kaggle_replies import Reply, ranged
from tests.support.two_origins import Gate


class Cdn:
    """Files by their sha256, for URLs that it signed itself. It knows nothing of accounts.

    `most_without_range_bytes`: a larger file is refused to who asks for all of it at once, as the CDN of the hub does.
    `asked` are its requests: path, headers, status, and the length of what it sent. `gate` may hold some back.
    """

    def __init__(self, url_lives_s: int) -> None:
        self.url = ""
        self.url_lives_s = url_lives_s
        self.most_without_range_bytes = 1 << 40
        self.asked: list[tuple[str, Mapping[str, str], int, int]] = []
        self.gate = Gate(lambda *_: False)
        self._blobs: dict[str, Blob] = {}
        self._rotten: dict[str, int] = {}
        self._key = 1

    @property
    def body_bytes(self) -> int:
        """What it sent."""
        return sum(sent_bytes for *_, sent_bytes in self.asked)

    def put(self, blob: Blob) -> None:
        self._blobs[blob.sha256] = blob

    def rot(self, blob: Blob, at: int) -> None:
        self._rotten[blob.sha256] = at

    def mend(self) -> None:
        self._rotten.clear()

    def forget_urls(self) -> None:
        """All signed URLs so far are refused from now on."""
        self._key += 1

    def signed_url(self, blob: Blob) -> str:
        path = f"/xet-bridge-us/{quote(blob.sha256)}"
        expires = str(int(time.time()) + self.url_lives_s)
        said = {"Expires": expires, "Policy": "e30", "Signature": self._signature(path, expires), "Key-Pair-Id": "K2"}
        return f"{self.url}{path}?{urlencode(said)}"

    def answer(self, path: str, query: str, headers: Mapping[str, str]) -> Reply:
        said = {name: texts[-1] for name, texts in parse_qs(query).items()}
        expires = said.get("Expires", "0")
        right = hmac.compare_digest(said.get("Signature", ""), self._signature(path, expires))
        if not right or time.time() >= int(expires):
            return Reply(403, {"Content-Type": "text/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        blob = self._blobs.get(path.rpartition("/")[2])
        if blob is None:
            return Reply(404, {"Content-Type": "text/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
        if "range" not in headers and len(blob.content) > self.most_without_range_bytes:
            return Reply(400, {"Content-Type": "text/plain"}, b"the file is too large")
        told = {
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": f'"{blob.sha256}"',
            "Last-Modified": "Sat, 01 Jun 2024 12:00:00 GMT",
        }
        return ranged(blob.sent(self._rotten.get(blob.sha256)), told, headers.get("range"))

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(str(self._key).encode(), f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
