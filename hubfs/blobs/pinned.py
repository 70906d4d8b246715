"""An HTTP object held to what it was when it was first seen."""

import threading
from collections.abc import Mapping
from http import HTTPStatus

from hubfs.blobs.http import HttpClient, Transfer
from hubfs.blobs.http_object import HttpObject, content_length, total_bytes
from hubfs.blobs.ranges import RangesIgnored
from hubfs.blobs.retry import Permanent
from hubfs.blobs.url import redacted
from hubfs.errors import AccessDenied, NotFound, Stale, Unavailable
from hubfs.single_flight import SingleFlight

_SKIP_BYTES = 1 << 20


class PinnedObject:
    """The object behind `url`, from any byte on, and always the same bytes, or `Stale`.

    Where the redirects led is remembered, and looked up anew when that stopped working: signed URLs expire. `_lock`
    guards `_seen`; no I/O is done while it is held.
    """

    def __init__(self, client: HttpClient, url: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._lock = threading.Lock()
        self._seen = client.probe(url, headers)
        self.size_bytes = self._seen.size_bytes
        settings = client.settings
        wait_s = settings.retry.attempts * (settings.connect_timeout_s + settings.stall_timeout_s)
        self._renewals: SingleFlight[str, HttpObject] = SingleFlight(client.cancellation, wait_s)

    @property
    def seen(self) -> HttpObject:
        """The object, as last looked up."""
        with self._lock:
            return self._seen

    @property
    def resumable(self) -> bool:
        """Whether a second transfer can be told to hold the same bytes as the first."""
        return self.seen.validator is not None or self.size_bytes is not None

    def open_at(self, offset_bytes: int, end_bytes: int | None = None) -> Transfer:
        """A transfer whose next byte is the one at `offset_bytes`; it may end past `end_bytes`. To be closed.

        One attempt. Raises `Stale`, `NotFound`, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        return self._open(offset_bytes, end_bytes, ranged=False)

    def open_range(self, offset_bytes: int, end_bytes: int) -> Transfer:
        """A transfer of the bytes from `offset_bytes` to `end_bytes`, or to where the host ends it. To be closed.

        One attempt. Raises `RangesIgnored` when the host sends other bytes, and as `open_at` does.
        """
        return self._open(offset_bytes, end_bytes, ranged=True)

    def _open(self, offset_bytes: int, end_bytes: int | None, *, ranged: bool) -> Transfer:
        seen = self.seen
        try:
            return self._open_at(seen, offset_bytes, end_bytes, ranged=ranged)
        except RangesIgnored:
            raise
        except (AccessDenied, NotFound, Permanent):
            # Stores refuse expired signatures with 400 (Google), 401 or 403; a moved object is a 404.
            if seen.final_url == seen.url:
                raise
        # A signature expires for all ranges at once: one of them asks.
        renewed = self._renewals.run(redacted(self._url), lambda: self._look_up_anew(seen))
        return self._open_at(renewed, offset_bytes, end_bytes, ranged=ranged)

    def _look_up_anew(self, expired: HttpObject) -> HttpObject:
        seen = self.seen
        if seen is not expired:
            return seen  # another reader was faster
        found = self._client.probe(self._url, self._headers, fresh=True)
        if sent := expired.misses({"Content-Type": found.content_type, "Content-Encoding": found.encoding}, 0):
            raise Unavailable(f"{redacted(self._url)} answered with {sent} instead of the bytes asked for")
        if not _same(expired, found):
            raise self._stale()
        with self._lock:
            self._seen = found
        return found

    def _open_at(self, seen: HttpObject, offset_bytes: int, end_bytes: int | None, *, ranged: bool) -> Transfer:
        extra = {}
        if seen.accepts_ranges and (offset_bytes > 0 or end_bytes is not None):
            extra["Range"] = f"bytes={offset_bytes}-{'' if end_bytes is None else end_bytes - 1}"
            if seen.validator:
                extra["If-Range"] = seen.validator
        transfer = self._client.open(self._url, self._headers, extra=extra, start=seen.final_url)
        try:
            self._check(transfer, seen)
            if ranged:
                self._expect_range(transfer, offset_bytes, end_bytes)
            else:
                self._position(transfer, offset_bytes)
        except BaseException:
            transfer.close()
            raise
        return transfer

    def _check(self, transfer: Transfer, seen: HttpObject) -> None:
        """Checks that `transfer` is about the same bytes as `seen`."""
        ranged = transfer.status == HTTPStatus.PARTIAL_CONTENT
        size_bytes = total_bytes(transfer.headers) if ranged else content_length(transfer.headers)
        unsatisfiable = transfer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if not unsatisfiable and (sent := seen.misses(transfer.headers, size_bytes)):
            # Not this object, and no sign that it changed: a network's login page, a host in trouble.
            raise Unavailable(f"{redacted(self._url)} answered with {sent} instead of the bytes asked for")
        # A 416 says that the object ends before a byte that was there. A 200 in reply to a range says that the object
        # changed, or that the host has no ranges: the validators tell which.
        if unsatisfiable or not seen.same_as(transfer.headers, size_bytes):
            raise self._stale()

    def _expect_range(self, transfer: Transfer, offset_bytes: int, end_bytes: int | None) -> None:
        sent = transfer.content_range
        if sent is None or sent.start_bytes != offset_bytes or (end_bytes is not None and sent.end_bytes > end_bytes):
            raise RangesIgnored(f"{redacted(self._url)} answered with other bytes than the range asked for")

    def _position(self, transfer: Transfer, offset_bytes: int) -> None:
        """Skips to `offset_bytes` where the host sends what comes before it, too."""
        if transfer.status == HTTPStatus.PARTIAL_CONTENT:
            if transfer.content_range is None or transfer.content_range.start_bytes != offset_bytes:
                raise Unavailable(f"{redacted(self._url)} answered with another range than the one asked for")
            return
        while offset_bytes > 0:
            skipped = transfer.read(min(offset_bytes, _SKIP_BYTES))
            if not skipped:
                raise Unavailable(f"{redacted(self._url)} ended {offset_bytes} bytes before the place to read from")
            offset_bytes -= len(skipped)

    def _stale(self) -> Stale:
        self._client.forget(self._url, self._headers)  # whoever opens it again gets what is there now
        return Stale(f"{redacted(self._url)} changed while it was being read: open the file again")


def _same(old: HttpObject, new: HttpObject) -> bool:
    return (old.etag, old.size_bytes) == (new.etag, new.size_bytes) and (
        old.etag is not None or old.last_modified == new.last_modified
    )
