"""An object on an HTTP host, always the same bytes: as a blob, and as transfers from any byte on."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import count
from time import time

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.client import HEAD_BYTES, HttpClient
from hubfs.blobs.http.object import HttpObject, content_length, key_of, total_bytes
from hubfs.blobs.http.transfer import Transfer
from hubfs.blobs.http.url import expiry_of, redacted
from hubfs.blobs.retry import Permanent
from hubfs.errors import AccessDenied, Cancelled, HubfsError, NotFound, Stale, TimedOut, Unavailable
from hubfs.waiting import SingleFlight

_MOST = 8
"""How often a host is asked in all that names another version of as many bytes: of two replicas, all these replies come
from the wrong one once in 250 times."""

_MOST_OF_REPLICAS = 64
"""How often, once it is known to be replicas. An archive of 400 MB takes a hundred requests, and has to survive all."""

_log = logging.getLogger(__name__)


class RangesIgnored(Permanent):
    """The host answered with other bytes than the range that was asked for: it has to be read as one stream."""


_SKIP_BYTES = 1 << 20

_EARLY_S = 300.0


def renewal_of(seen: HttpObject, now_s: float) -> float:
    """When `seen` is to be looked up anew because its URL expires (Unix time): five minutes before, or halfway.

    Never for a URL that does not say, or that was asked for itself. One that says that it has expired, though it is
    being used, says it by another clock: its host tells by a refusal.
    """
    expires_s = None if seen.final_url == seen.url else expiry_of(seen.final_url)
    left_s = 0.0 if expires_s is None else expires_s - now_s
    return now_s + max(left_s - _EARLY_S, left_s / 2) if left_s > 1 else math.inf


class PinnedObject:
    """The object behind `url`, from any byte on, and always the same bytes, or `Stale`.

    Where the redirects led is remembered. When it is refused there, it is looked up anew at once, since signed URLs
    expire. When the host there fails, it is `_lost`: the next attempt begins at `url`. With `locate`, `url` is a name
    that nobody is asked for: `locate` asks its host where it leads, at the beginning and when it is refused there.
    A URL that says when it expires is replaced before, by one of the readers.
    Another validator for as many bytes need not be a change: replicas may each have their own, and it is asked again
    until the one answers that was seen first. A generation of Google's store has no replicas of another name, and one
    that is not found is gone. Nobody is asked about an object that is `known`; of another one, `first_bytes` are asked
    for. Of one that is known by its size alone, since a checksum of the whole tells the rest, `locate` is asked where
    it is by now, and nobody what it is.

    `_lock` guards `_seen`, `_lost`, `_renew_at_s` and `_has_replicas`; no I/O is done while it is held.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        headers: Mapping[str, str],
        known: HttpObject | None = None,
        locate: Callable[[], str] | None = None,
        *,
        first_bytes: int = HEAD_BYTES,
    ) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._locate = locate
        self._lock = threading.Lock()
        self._seen = known or client.probe(url, headers, locate=locate, first_bytes=first_bytes)
        self._is_known_by_size = known is not None and known.validator is None and known.weak_etag is None
        self._lost = False
        self._renew_at_s = renewal_of(self._seen, time())
        self._has_replicas = False
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

    def explain(self, error: HubfsError) -> None:
        """Has the message of `error`, raised while the object was read, begin with the object's name, if it has one."""
        if self.seen.name and not isinstance(error, Cancelled):
            error.about(self.seen.name)

    def open_at(self, offset_bytes: int, end_bytes: int | None = None) -> Transfer:
        """A transfer whose next byte is the one at `offset_bytes`; it may end past `end_bytes`. To be closed.

        One attempt. Raises `Stale` (also if it is gone by now), `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        return self._open(offset_bytes, end_bytes, ranged=False)

    def open_range(self, offset_bytes: int, end_bytes: int) -> Transfer:
        """A transfer of the bytes from `offset_bytes` to `end_bytes`, or to where the host ends it. To be closed.

        One attempt. Raises `RangesIgnored` when the host sends other bytes, and as `open_at` does.
        """
        return self._open(offset_bytes, end_bytes, ranged=True)

    def _open(self, offset_bytes: int, end_bytes: int | None, *, ranged: bool) -> Transfer:
        with self._lock:
            seen, lost, is_due = self._seen, self._lost, time() >= self._renew_at_s
        renewed = self._renewed_early(seen) if is_due and not lost else seen
        was_renewed, seen = renewed is not seen, renewed
        try:
            transfer = self._open_at(seen, seen.url if lost else seen.final_url, offset_bytes, end_bytes, ranged=ranged)
        except (RangesIgnored, Stale):
            raise
        except (AccessDenied, NotFound, Permanent) as refused:
            self._set_lost(lost=False)
            if isinstance(refused, NotFound) and seen.generation is not None:
                raise self._stale("was replaced or deleted") from refused
            # Stores refuse expired signatures with 400 (Google), 401 or 403; a moved object is a 404.
            if not isinstance(refused, NotFound) and (lost or was_renewed or seen.final_url == seen.url):
                raise
        except (TimedOut, Unavailable):
            self._set_lost(lost=not lost and self._locate is None and seen.final_url != seen.url)
            raise
        else:
            if lost:
                self._found_again(seen, transfer.url)
            return transfer
        # A signature expires for all ranges at once: one of them asks.
        # To a reader, who has it open, "does not exist" is no answer: a listing that ends with it looks empty.
        try:
            renewed = self._renewals.run(redacted(self._url), lambda: self._look_up_anew(seen))
        except NotFound as gone:
            raise self._stale("went away") from gone
        try:
            return self._open_at(renewed, renewed.final_url, offset_bytes, end_bytes, ranged=ranged)
        except NotFound as hidden:
            raise Unavailable(f"{hidden}, though a moment ago it did") from hidden

    def _set_lost(self, *, lost: bool) -> None:
        with self._lock:
            self._lost = lost

    def _found_again(self, seen: HttpObject, final_url: str) -> None:
        with self._lock:
            self._lost = False
            if self._seen is seen:
                self._now_is(replace(seen, final_url=final_url))

    def _now_is(self, seen: HttpObject) -> None:
        """Under the lock."""
        self._seen, self._renew_at_s = seen, renewal_of(seen, time())

    def _renewed_early(self, seen: HttpObject) -> HttpObject:
        """`seen` at a URL that holds for longer; at the one of before where its host has none, and is asked again."""
        try:
            return self._renewals.run(redacted(self._url), lambda: self._look_up_anew(seen))
        except (AccessDenied, NotFound, TimedOut, Unavailable) as error:
            _log.info("%s; the URL of before is read as long as it holds", error)
        with self._lock:
            if self._seen is seen:
                self._now_is(seen)
            return self._seen

    def _look_up_anew(self, expired: HttpObject) -> HttpObject:
        seen = self.seen
        if seen is not expired:
            return seen  # another reader was faster
        # Once: the URL of before may be good still, and who reads tries again.
        start = None if self._locate is None else self._locate()
        if start is not None and self._is_known_by_size:
            found = replace(expired, final_url=start)
            with self._lock:
                self._now_is(found)
            return found
        locate = None if start is None else partial(str, start)
        for asked in count(1):
            found = self._client.probe(self._url, self._headers, fresh=True, locate=locate)
            described = {"Content-Type": found.content_type, "Content-Encoding": found.encoding}
            if sent := expired.differs_in_kind(described):
                raise self._not_it(sent)
            if found.named == expired.named:
                self._answered(asked)
                break
            self._check_for_a_change(found.size_bytes, asked)
        with self._lock:
            self._now_is(found)
        return found

    def _open_at(
        self, seen: HttpObject, start: str, offset_bytes: int, end_bytes: int | None, *, ranged: bool
    ) -> Transfer:
        extra = {}
        if seen.accepts_ranges and (offset_bytes > 0 or end_bytes is not None):
            extra["Range"] = f"bytes={offset_bytes}-{'' if end_bytes is None else end_bytes - 1}"
            if seen.validator:
                extra["If-Range"] = seen.validator
        transfer = self._same_bytes(seen, start, extra)
        try:
            if ranged:
                self._expect_range(transfer, offset_bytes, end_bytes)
            else:
                self._position(transfer, offset_bytes)
        except BaseException:
            transfer.close()
            raise
        return transfer

    def _same_bytes(self, seen: HttpObject, start: str, extra: Mapping[str, str]) -> Transfer:
        """A reply that is about the same bytes as `seen`. Raises `Stale` once there is none."""
        for asked in count(1):
            transfer = self._client.open(self._url, self._headers, extra=extra, start=start)
            try:
                size_bytes = self._size_in(transfer, seen)
                # A 200 in reply to a range says that the object changed, or that the host has no ranges: the
                # validators tell which.
                if seen.same_as(transfer.headers, size_bytes):
                    self._answered(asked)
                    return transfer
                self._check_for_a_change(size_bytes, asked)
            except BaseException:
                transfer.close()
                raise
            transfer.close()  # and its connection, with a body that nobody wants: the next one may lead elsewhere
        raise AssertionError  # `count` does not end

    def _size_in(self, transfer: Transfer, seen: HttpObject) -> int | None:
        """How large the object is that `transfer` is about. Raises `Stale`, or `Unavailable` if it is about none."""
        ranged = transfer.status == HTTPStatus.PARTIAL_CONTENT
        size_bytes = total_bytes(transfer.headers) if ranged else content_length(transfer.headers)
        if transfer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise self._stale()  # it ends before a byte that was there
        if sent := seen.misses(transfer.headers, size_bytes):
            raise self._not_it(sent)
        return size_bytes

    def _check_for_a_change(self, size_bytes: int | None, asked: int) -> None:
        """The reply number `asked` was about another version. Raises `Stale` unless a replica may have sent it."""
        resized = None not in (size_bytes, self.size_bytes) and size_bytes != self.size_bytes
        most = _MOST_OF_REPLICAS if self._has_replicas else _MOST
        if resized or self.seen.generation is not None or asked >= most:
            raise self._stale()

    def _answered(self, asked: int) -> None:
        """The reply of this number, from 1 on, was about the version that was seen first."""
        if asked == 1:
            return
        with self._lock:
            new, self._has_replicas = not self._has_replicas, True
        if new:
            _log.warning(
                "%s has replicas that name the same bytes differently: each read may take several requests; "
                "ask the host's operator for equal ETags and dates",
                redacted(self._url),
            )

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

    def _not_it(self, sent: str) -> Unavailable:
        """No sign that it changed: a network's login page, a host in trouble."""
        return Unavailable(f"{redacted(self._url)} answered with {sent} instead of the bytes asked for")

    def _stale(self, what: str = "changed") -> Stale:
        self._client.forget(self._url, self._headers)  # the next open gets what is there now
        return Stale(f"{redacted(self._url)} {what} while it was being read: open the file again")


class HttpBlob:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, unless that is `known`, and raises as `HttpClient.probe` does. A read is one
    attempt: wrap it in `RetryingBlob`. On a host without ranges it costs everything before it, too. With `locate`,
    which says where it leads, `url` itself is asked for nothing.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        known: HttpObject | None = None,
        locate: Callable[[], str] | None = None,
    ) -> None:
        self._pinned = PinnedObject(client, url, headers or {}, known, locate)
        if self._pinned.size_bytes is None:
            raise Permanent(f"{redacted(url)} does not say its size: it can be read as a stream only")
        self._url = redacted(url)
        self.size_bytes = self._pinned.size_bytes
        self.key = key_of(self._pinned.seen, url)
        self.checksum: Checksum | None = self._pinned.seen.checksum

    @property
    def encoding(self) -> str:
        """What the host did to the bytes, though it was asked not to; empty for nothing."""
        return self._pinned.seen.encoding

    @property
    def head(self) -> bytes:
        """The first 512 bytes; fewer only if there are no more."""
        return self._pinned.seen.head

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end of the blob.

        Raises `Stale`, `AccessDenied`, `TimedOut`, `Unavailable`, `Cancelled`.
        """
        end_bytes = min(offset_bytes + size_bytes, self.size_bytes)
        parts = []
        try:
            while offset_bytes < end_bytes:
                with self._pinned.open_at(offset_bytes, end_bytes) as transfer:
                    part = transfer.read_up_to(end_bytes - offset_bytes)
                if not part:
                    raise Unavailable(f"{self._url} ended {end_bytes - offset_bytes} bytes before its announced size")
                parts.append(part)
                offset_bytes += len(part)  # a host may answer with less than the range, which is why this is a loop
        except HubfsError as error:
            self._pinned.explain(error)
            raise
        return b"".join(parts)
