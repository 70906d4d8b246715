"""The one door to gcsfs: listings and ranged reads of Google Cloud Storage, and of emulators of it."""

import asyncio
import base64
import concurrent.futures
import json
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import gcsfs.retry

# Not `gcsfs.GCSFileSystem`: that name is a class which asks every bucket over gRPC first, and waits a minute for it.
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError, TransportError

from hubfs.blobs.retry import Busy, Permanent, RetryPolicy, retrying
from hubfs.blobs.url import redacted
from hubfs.cancellation import Cancellation
from hubfs.errors import AccessDenied, Damaged, HubfsError, InvalidConfig, NotFound, Stale, TimedOut, Unavailable

_OBJECTS_PER_PAGE = 1000
_MAX_PAGES = 200
_SLOWEST_BYTES_PER_S = 32 << 10
_FIELDS = "nextPageToken,items(name,size,generation,crc32c,md5Hash)"


@dataclass(frozen=True)
class GcsSettings:
    """How to reach the store.

    `endpoint_url`: an emulator's, None for Google's. `token`: "anon", "google_default", or the path of a credentials
    file; None is "anon". `timeout_s`: the longest silence that is borne. `retry`: for the pages of a listing; reads
    are tried once, and wrapped in a `RetryingBlob`.
    """

    endpoint_url: str | None = None
    token: str | None = "anon"  # noqa: S105 - the name of a way to authenticate
    project: str | None = None
    timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True)
class GcsObject:
    """An object as the store listed it: `generation` pins its bytes, `crc32c` and `md5` (hex) are of all of them."""

    bucket: str
    name: str
    size_bytes: int
    generation: str
    crc32c: int | None = None
    md5: str | None = None

    @property
    def url(self) -> str:
        """`gs://bucket/name`."""
        return f"gs://{self.bucket}/{self.name}"

    @property
    def key(self) -> str:
        """`gs://bucket/name#generation`: names the bytes, for ever."""
        return f"{self.url}#{self.generation}"


@dataclass(frozen=True)
class GcsStats:
    """What was asked of the store so far: attempts that failed count as requests, too."""

    requests: int
    bytes_received: int


class _FileSystem(GCSFileSystem):  # type: ignore[misc] # untyped
    """gcsfs, with every request tried once.

    Its own decorator tries six times, over half a minute, behind the back of our bounds and our counts.
    """

    _request = GCSFileSystem._request.__wrapped__  # noqa: SLF001 - how a decorated function offers what it decorates


class GcsClient:
    """Talks to the store. Thread-safe; every call is bounded in time and ends on cancel.

    The requests run on the event loop of fsspec's thread, so a client is of use only to the process that made it:
    make it after the daemon has detached. Raises `InvalidConfig` for credentials that cannot be used.

    `_lock` guards `_requests`, `_bytes_received` and `_closed`; it is taken last.
    """

    def __init__(self, settings: GcsSettings, cancellation: Cancellation) -> None:
        self._settings = settings
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes_received = 0
        self._closed = False
        self._fs = _file_system(settings)

    def list(self, bucket: str, prefix: str) -> Sequence[GcsObject]:
        """All objects whose name starts with `prefix`, by name: one listing, of as many pages as it takes.

        Raises `NotFound` when there is no such bucket, `AccessDenied`, `TimedOut`, `Unavailable`; `Damaged` for an
        answer that is no listing.
        """
        objects: list[GcsObject] = []
        token: str | None = None
        for _ in range(_MAX_PAGES):
            page = partial(self._page, bucket, prefix, token)
            found, token = retrying(page, self._settings.retry, self._cancellation)
            objects.extend(found)
            if not token:
                return objects
        raise Damaged(f"gs://{bucket}/{prefix} has more than {_MAX_PAGES * _OBJECTS_PER_PAGE} objects: not a model")

    def read(self, obj: GcsObject, offset_bytes: int, size_bytes: int) -> bytes:
        """`size_bytes` bytes from `offset_bytes` on, which must lie in the object, of this very generation.

        One attempt. Raises `Stale` when that generation is gone, `Damaged` when other bytes came than were asked for,
        and `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        headers = {
            "Range": f"bytes={offset_bytes}-{offset_bytes + size_bytes - 1}",
            # An object that was stored compressed is served as it is stored: that is what its size and crc32c are of.
            "Accept-Encoding": "gzip",
        }
        url = self._fs.url(f"{obj.bucket}/{obj.name}")
        request = self._fs._call("GET", url, headers=headers, generation=obj.generation)  # noqa: SLF001 - behind the public `call`
        try:
            reply, body = self._ask(request, obj.url, size_bytes)
        except NotFound as error:
            raise Stale(
                f"{obj.url} was replaced or deleted since it was listed (generation {obj.generation})"
            ) from error
        if reply.get("X-Goog-Generation", obj.generation) != obj.generation:
            raise Stale(f"{obj.url} was replaced since it was listed (generation {obj.generation})")
        if len(body) != size_bytes:
            raise Damaged(f"{obj.url}: asked for {size_bytes} bytes at {offset_bytes}, the store sent {len(body)}")
        return body

    def stats(self) -> GcsStats:
        """The counts so far."""
        with self._lock:
            return GcsStats(self._requests, self._bytes_received)

    def close(self) -> None:
        """Ends the connections; what is asked afterwards raises `Unavailable`. Waits for at most two seconds."""
        with self._lock:
            closed, self._closed = self._closed, True
        session: aiohttp.ClientSession | None = self._fs.session
        if closed or session is None:
            return
        closing = asyncio.run_coroutine_threadsafe(session.close(), self._fs.loop)
        concurrent.futures.wait([closing], 2)

    def _page(self, bucket: str, prefix: str, token: str | None) -> tuple[Sequence[GcsObject], str | None]:
        url = f"gs://{bucket}/{prefix}"
        parameters = {"prefix": prefix, "pageToken": token, "maxResults": _OBJECTS_PER_PAGE, "fields": _FIELDS}
        request = self._fs._call("GET", "b/{}/o", bucket, **parameters)  # noqa: SLF001 - as in `read`
        _, body = self._ask(request, url, 0)
        try:
            page = json.loads(body)
            return [_object(bucket, item) for item in page.get("items", ())], page.get("nextPageToken")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Damaged(
                f"{url}: the answer is not a listing of a bucket; does the endpoint speak for GCS?"
            ) from error

    def _ask(
        self, request: Coroutine[Any, Any, tuple[Mapping[str, str], bytes]], url: str, size_bytes: int
    ) -> tuple[Mapping[str, str], bytes]:
        """Runs `request` on the event loop and waits: as long as bytes come, but not for ever."""
        with self._lock:
            closed = self._closed
            self._requests += 1
        if closed:
            request.close()
            raise Unavailable(f"{url}: the connection to the store was closed")
        bound_s = self._settings.timeout_s + size_bytes / _SLOWEST_BYTES_PER_S
        future = asyncio.run_coroutine_threadsafe(request, self._fs.loop)
        forget = self._cancellation.on_cancel(lambda: _give_up(future))
        try:
            reply, body = future.result(bound_s)
        except concurrent.futures.CancelledError as error:
            self._cancellation.check()
            raise Unavailable(f"{url}: the request was given up") from error
        except _FOREIGN as error:
            raise _translated(error, url, self._settings) from error
        finally:
            forget()
            _give_up(future)
        with self._lock:
            self._bytes_received += len(body)
        return reply, body


class GcsBlob:
    """One generation of an object; see `Blob`. A read is one attempt."""

    def __init__(self, client: GcsClient, obj: GcsObject) -> None:
        self._client = client
        self._object = obj

    @property
    def key(self) -> str:
        """`gs://bucket/name#generation`."""
        return self._object.key

    @property
    def size_bytes(self) -> int:
        """As listed."""
        return self._object.size_bytes

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`, and `GcsClient.read`. What lies past the end is not asked for."""
        size_bytes = min(size_bytes, self.size_bytes - offset_bytes)
        return self._client.read(self._object, offset_bytes, size_bytes) if size_bytes > 0 else b""


def _give_up(future: "concurrent.futures.Future[Any]") -> None:
    """Ends the request behind `future` and whoever waits for it; does nothing to one that is done. Does not block."""
    future.cancel()


def _file_system(settings: GcsSettings) -> _FileSystem:
    token = settings.token or "anon"
    # gcsfs would take any other text for a bearer token, and send it away to ask when it expires.
    if token not in ("anon", "google_default") and not Path(token).is_file():
        raise InvalidConfig("the GCS credentials are neither 'anon', 'google_default' nor the path of a file")
    endpoint_url = settings.endpoint_url and settings.endpoint_url.rstrip("/")
    if endpoint_url and "://" not in endpoint_url:
        endpoint_url = f"http://{endpoint_url}"  # as STORAGE_EMULATOR_HOST is read everywhere
    try:
        return _FileSystem(
            project=settings.project or "",
            access="read_only",
            token=token,
            endpoint_url=endpoint_url,
            # Names may hold '#' and '?': they are names here, and the generation travels beside them.
            version_aware=False,
            use_listings_cache=False,  # it never expires
            skip_instance_cache=True,  # a shared instance would outlive `close`
            requests_timeout=aiohttp.ClientTimeout(sock_connect=settings.timeout_s, sock_read=settings.timeout_s),
            session_kwargs={
                "raise_for_status": _refuse,
                "auto_decompress": False,
                "headers": {"Accept-Encoding": "identity"},
                "trust_env": True,
            },
        )
    except (GoogleAuthError, OSError, ValueError, KeyError) as error:
        raise InvalidConfig(f"GCS credentials ({token}) cannot be used: {error}") from error


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Raises for a status that is not success, with the store's reason.

    gcsfs would raise seven unrelated types for it, and tell some statuses only in their text.
    """
    if response.ok:
        return
    text = await response.text(errors="replace")
    try:
        reason = str(json.loads(text)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        reason = text if "<" not in text else ""
    raise aiohttp.ClientResponseError(
        response.request_info,
        response.history,
        status=response.status,
        message=" ".join(reason.split())[:200] or response.reason or "no reason given",
        headers=response.headers,
    )


# `asyncio.TimeoutError` and that of `concurrent.futures` are `TimeoutError` from Python 3.11 on, not in 3.10.
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)
# What gcsfs raises when credentials cannot be renewed; the second of the two is younger than the first.
_RENEWAL = (gcsfs.retry.HttpError, getattr(gcsfs.retry, "NonRetryableError", gcsfs.retry.HttpError))
_CREDENTIALS = (*_RENEWAL, GoogleAuthError)
_FOREIGN = (aiohttp.ClientError, OSError, *_TIMEOUTS, *_CREDENTIALS)


def _translated(error: Exception, url: str, settings: GcsSettings) -> HubfsError:
    """What `error` is called on our side of the door."""
    if isinstance(error, aiohttp.ClientResponseError):
        return _answered(error, url, settings)
    if isinstance(error, _TIMEOUTS):
        return TimedOut(f"{url}: the store sent nothing for {settings.timeout_s:g} s, or too little in all")
    if isinstance(error, aiohttp.ClientSSLError):
        return Permanent(f"{url}: no secure connection to the store: {error}")
    if isinstance(error, _CREDENTIALS) and not isinstance(error, TransportError):
        return AccessDenied(f"{url}: the GCS credentials ({settings.token}) could not be renewed: {error}")
    store = redacted(settings.endpoint_url) if settings.endpoint_url else "the store"
    return Unavailable(f"{url}: cannot reach {store}: {error or type(error).__name__}")


def _answered(error: aiohttp.ClientResponseError, url: str, settings: GcsSettings) -> HubfsError:
    said = f"the store answered {error.status} ({error.message})"
    if error.status == HTTPStatus.NOT_FOUND:
        return NotFound(f"{url}: {said}")
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(
            f"{url}: {said} to credentials {settings.token or 'anon'!r}; configure ones that may read it"
        )
    if error.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or error.status >= 500:  # noqa: PLR2004 - the class of server errors
        wish = error.headers.get("Retry-After", "") if error.headers else ""
        return Busy(f"{url}: {said}", float(wish) if wish.isdecimal() else None)
    return Permanent(f"{url}: {said}")


def _object(bucket: str, item: Mapping[str, Any]) -> GcsObject:
    crc32c, md5 = item.get("crc32c"), item.get("md5Hash")
    if not isinstance(item["name"], str):
        raise TypeError("a name is a text")
    return GcsObject(
        bucket=bucket,
        name=item["name"],
        size_bytes=int(item["size"]),
        generation=str(int(item["generation"])),
        crc32c=int.from_bytes(base64.b64decode(crc32c, validate=True), "big") if crc32c else None,
        md5=base64.b64decode(md5, validate=True).hex() if md5 else None,
    )
