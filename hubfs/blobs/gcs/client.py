"""The door to buckets: listings and objects of Google Cloud Storage, and of emulators of it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

from hubfs.blobs.gcs.credentials import HOW_TO_SAY, GcsCredentials
from hubfs.blobs.gcs.object import (
    NOT_UNDERSTOOD,
    OBJECT_FIELDS,
    GcsFolder,
    GcsObject,
    bucket_and_name,
    object_of,
    page_of,
)
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.counts import HttpStats
from hubfs.blobs.http.object import HttpObject
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.retry import Permanent, RetryPolicy, retrying
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.blobs.streaming.stream import MOST_CONNECTIONS
from hubfs.errors import Cancelled, Damaged, HubfsError, TimedOut
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation

_ANONYMOUS = "anon"
_GOOGLE_URL = "https://storage.googleapis.com"

_OBJECTS_PER_PAGE = 1000
_MAX_PAGES = 200
_LONGEST_ANSWER_BYTES = 64 << 20
"""A page of a listing has a thousand objects, whose names have a thousand characters at most."""
_SLOWEST_BYTES_PER_S = 32 << 10
"""What is taken into memory as a whole may come no more slowly in all."""
_PIECE_BYTES = 1 << 18

_AS_STORED: Mapping[str, str] = {"Accept-Encoding": "gzip"}
"""Has the store send an object that is kept compressed as it is: of these bytes are its size and its crc32c."""

T = TypeVar("T")


@dataclass(frozen=True)
class GcsSettings:
    """How to reach the store.

    `endpoint_url`: an emulator's, None for Google's. `token`: "anon", "google_default", or the path of a credentials
    file; None is "anon". `access` is the scope that it is asked for: "read_only" or "read_write". `timeout_s`: the
    longest silence that is borne. `retry`: for listings; reads are tried once, and wrapped in a `RetryingBlob`.
    `proxy_headers`: as of `HttpSettings`.
    """

    endpoint_url: str | None = None
    token: str | None = "anon"  # noqa: S105 - the name of a way to authenticate
    access: str = "read_only"
    connect_timeout_s: float = 10.0
    timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class GcsClient:
    """Talks to the store, over connections of its own. Thread-safe; every call is bounded in time and ends on cancel.

    Asks nobody when it is made. Raises `InvalidConfig` for credentials of no known kind. `http` is for those who read
    objects, which are at `endpoint_url`; tokens go there alone, and what netrc has goes to no bucket. It has no state,
    and so no lock.
    """

    def __init__(self, settings: GcsSettings, cancellation: Cancellation) -> None:
        self.settings = settings
        self.cancellation = cancellation
        token = settings.token or _ANONYMOUS
        self._credentials = None
        if token != _ANONYMOUS:
            self._credentials = GcsCredentials(token, settings.access, cancellation, 2 * settings.timeout_s)
        endpoint_url = (settings.endpoint_url or _GOOGLE_URL).rstrip("/")
        # STORAGE_EMULATOR_HOST is read so everywhere.
        self.endpoint_url = endpoint_url if "://" in endpoint_url else f"http://{endpoint_url}"
        endpoint = urlsplit(self.endpoint_url)
        self.http = HttpClient(
            HttpSettings(
                connect_timeout_s=settings.connect_timeout_s,
                stall_timeout_s=settings.timeout_s,
                retry=settings.retry,
                netrc=False,
                credential_host=endpoint.netloc.rpartition("@")[2],
                credential_scheme=endpoint.scheme,
                credentials=f"these were {token!r} {HOW_TO_SAY}",
                proxy_headers=settings.proxy_headers,
            ),
            cancellation,
            bearer=None if self._credentials is None else self._credentials.bearer,
        )

    def load_credentials(self) -> None:
        """Has credentials of no use known at once. Raises `InvalidConfig`. May ask the machine's metadata server."""
        if self._credentials is not None:
            self._credentials.load()

    def list(self, bucket: str, prefix: str) -> Sequence[GcsObject]:
        """All objects whose name starts with `prefix`, by name: one listing, of as many pages as it takes.

        Raises `NotFound` when there is no such bucket, `AccessDenied`, `TimedOut`, `Unavailable`; `Damaged` for an
        answer that is no listing.
        """
        return self._listing(bucket, prefix, None).objects

    def folder(self, bucket: str, prefix: str) -> GcsFolder:
        """What is directly below `prefix`, which ends in '/' (or is empty, for the bucket's root).

        Without that slash, the names that begin with `prefix`, up to their next slash. Raises as `list` does.
        """
        return self._listing(bucket, prefix, "/")

    def stat(self, bucket: str, name: str) -> GcsObject:
        """The object as it is now. Raises `NotFound`, `AccessDenied`, `TimedOut`, `Unavailable`, `Damaged`."""
        shown = f"gs://{bucket}/{name}"
        body = self.answer(self.object_url(bucket, name, fields=OBJECT_FIELDS), shown)
        return _understood(lambda: object_of(bucket, body), shown, "the description of an object")

    def object_url(self, bucket: str, name: str, **query: str) -> str:
        """The address of an object: what it is, or its bytes with the query `alt=media`."""
        return f"{self.endpoint_url}/storage/v1/b/{_quoted(bucket)}/o/{_quoted(name)}?{urlencode(query)}"

    def upload_url(self, bucket: str, **query: str) -> str:
        """Where new objects of a bucket are sent."""
        return f"{self.endpoint_url}/upload/storage/v1/b/{_quoted(bucket)}/o?{urlencode(query)}"

    def at(self, url: str) -> GcsObject:
        """The object at `gs://bucket/name`, as `stat`. Raises `Damaged`, too, for a text that names no object."""
        try:
            bucket, name = bucket_and_name(url)
        except ValueError as error:
            raise Damaged(f"{url!r} is {error}") from error
        if not name:
            raise Damaged(f"{url!r} names a bucket, and no object in it")
        return self.stat(bucket, name)

    def blob(self, obj: GcsObject) -> HttpBlob:
        """One generation of an object, by ranges. Asks nobody; a read is one attempt."""
        known = self._known(obj)
        return HttpBlob(self.http, known.url, _AS_STORED, known=known)

    def stream(
        self, obj: GcsObject, *, connections: int = MOST_CONNECTIONS, allowance: MemoryBudget | None = None
    ) -> HttpStream:
        """One generation of an object, from the start to the end. Asks nobody."""
        known = self._known(obj)
        return HttpStream(self.http, known.url, _AS_STORED, known=known, connections=connections, allowance=allowance)

    def _known(self, obj: GcsObject) -> HttpObject:
        """The bytes of `obj` for the HTTP door: this generation, at its address, and of the size that was listed."""
        url = self.object_url(obj.bucket, obj.name, alt="media", generation=obj.generation)
        return HttpObject(
            url=url,
            final_url=url,
            size_bytes=obj.size_bytes,
            etag=None,
            last_modified=None,
            accepts_ranges=True,
            content_type="",
            head=b"",
            checksum=obj.checksum,
            generation=obj.generation,
            name=obj.url,
            made_s=obj.made_s,
        )

    def answer(self, url: str, shown: str, expected_bytes: int = 0) -> bytes:
        """The whole body behind `url` in memory, asked for again as `retry` says; `shown` names it in messages.

        May take as long as so many bytes take on a slow line. Raises `NotFound`, `AccessDenied`, `TimedOut`,
        `Unavailable`, `Cancelled`.
        """
        bound_s = self.settings.timeout_s + expected_bytes / _SLOWEST_BYTES_PER_S

        def attempt() -> bytes:
            parts: list[bytes] = []
            with self.http.open(url) as transfer:
                until_s, came_bytes = time.monotonic() + bound_s, 0
                while part := transfer.read(_PIECE_BYTES):
                    parts.append(part)
                    came_bytes += len(part)
                    if came_bytes > _LONGEST_ANSWER_BYTES:
                        raise Permanent(f"the store sent more than {_LONGEST_ANSWER_BYTES} bytes")
                    if time.monotonic() > until_s:
                        raise TimedOut(f"the store sent {came_bytes} bytes in {bound_s:g} s, and no end")
            return b"".join(parts)

        with self.told(shown):
            return retrying(attempt, self.settings.retry, self.cancellation)

    @contextmanager
    def told(self, shown: str) -> Iterator[None]:
        """Errors that are raised inside, while the store is asked for `shown`, name it."""
        try:
            yield
        except HubfsError as error:
            if not isinstance(error, Cancelled):
                error.about(shown)
            raise

    def stats(self) -> HttpStats:
        """What was asked of the store so far, and how many bytes came."""
        return self.http.stats()

    def close(self) -> None:
        """Closes the connections that are idle."""
        self.http.close()

    def _listing(self, bucket: str, prefix: str, delimiter: str | None) -> GcsFolder:
        objects: list[GcsObject] = []
        prefixes: list[str] = []
        token: str | None = None
        for _ in range(_MAX_PAGES):
            page, token = self._page(bucket, prefix, delimiter, token)
            objects.extend(page.objects)
            prefixes.extend(page.prefixes)
            if len(objects) + len(prefixes) > _MAX_PAGES * _OBJECTS_PER_PAGE:
                break
            if not token:
                return GcsFolder(objects, prefixes)
        what = "a folder of a hub" if delimiter else "a model"
        raise Damaged(f"gs://{bucket}/{prefix} has more than {_MAX_PAGES * _OBJECTS_PER_PAGE} objects: not {what}")

    def _page(self, bucket: str, prefix: str, delimiter: str | None, token: str | None) -> tuple[GcsFolder, str | None]:
        query = {
            "prefix": prefix,
            "maxResults": str(_OBJECTS_PER_PAGE),
            "fields": f"nextPageToken,prefixes,items({OBJECT_FIELDS})",
            **({"delimiter": delimiter} if delimiter else {}),
            **({"pageToken": token} if token else {}),
        }
        shown = f"gs://{bucket}/{prefix}"
        body = self.answer(f"{self.endpoint_url}/storage/v1/b/{_quoted(bucket)}/o?{urlencode(query)}", shown)
        return _understood(lambda: page_of(bucket, body), shown, "a listing of a bucket")


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _understood(read: Callable[[], T], url: str, what: str) -> T:
    """What `read` makes of an answer. Raises `Damaged` when it is not `what` it should be."""
    try:
        return read()
    except NOT_UNDERSTOOD as error:
        raise Damaged(f"{url}: the answer is not {what}; does the endpoint speak for GCS?") from error
