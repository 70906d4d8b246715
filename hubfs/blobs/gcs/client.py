"""The one door to gcsfs: listings and ranged reads of Google Cloud Storage, and of emulators of it."""

import asyncio
import concurrent.futures
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import gcsfs.retry

# Not `gcsfs.GCSFileSystem`: that name is a class which asks every bucket over gRPC first, and waits a minute for it.
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError

from hubfs.blobs.gcs.errors import FOREIGN, Refusal, not_renewed, refuse, translated
from hubfs.blobs.gcs.object import NOT_UNDERSTOOD, OBJECT_FIELDS, GcsFolder, GcsObject, object_of, page_of
from hubfs.blobs.gcs.read import PendingRead, Reply
from hubfs.blobs.gcs.settings import GcsSettings
from hubfs.blobs.gcs.token import RefusedTokens
from hubfs.blobs.gcs.transfer import BoundedResponse, Flight, Progress, connections_noted, sent_again, watched
from hubfs.blobs.retry import Busy, Permanent, retrying
from hubfs.errors import Damaged, InvalidConfig, Unavailable
from hubfs.waiting import Cancellation

__all__ = ["GcsBlob", "GcsClient", "GcsFolder", "GcsObject", "GcsSettings", "GcsStats"]

_OBJECTS_PER_PAGE = 1000
_MAX_PAGES = 200
_GOOGLE_URL = "https://storage.googleapis.com"
_SLOWEST_BYTES_PER_S = 32 << 10
# What gcsfs raises when credentials cannot be renewed; the second of the two is younger than the first.
_NOT_RENEWED = (gcsfs.retry.HttpError, getattr(gcsfs.retry, "NonRetryableError", gcsfs.retry.HttpError))

T = TypeVar("T")


@dataclass(frozen=True)
class GcsStats:
    """What was asked of the store so far: attempts that failed count as requests, too."""

    requests: int
    bytes_received: int


class _FileSystem(GCSFileSystem):  # type: ignore[misc] # untyped
    """gcsfs, with every request tried once.

    Its own decorator tries six times, over half a minute, behind the back of our bounds and our counts.
    """

    _once = GCSFileSystem._request.__wrapped__  # noqa: SLF001 - how a decorated function offers what it decorates

    async def _request(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "GET":  # the store may have done what it was asked for
            return await self._once(method, *args, **kwargs)
        return await sent_again(lambda: self._once(method, *args, **kwargs))

    async def _set_session(self) -> aiohttp.ClientSession:
        if self._session is None and (authorities := _authorities()) is not None:
            # Here, since a connector is made on the loop that it is for.
            self.session_kwargs["connector"] = aiohttp.TCPConnector(ssl=authorities)
        session: aiohttp.ClientSession = await super()._set_session()
        return session


class GcsClient:
    """Talks to the store. Thread-safe; every call is bounded in time and ends on cancel.

    The requests run on the event loop of fsspec's thread, so a client is of use only to the process that made it:
    make it after the daemon has detached. Raises `InvalidConfig` for credentials that cannot be used.

    `_lock` guards `_requests`, `_bytes_received` and `_closed`; it is taken last.
    """

    access = "read_only"
    """The scope that the credentials are asked for."""

    def __init__(self, settings: GcsSettings, cancellation: Cancellation) -> None:
        self.settings = settings
        self.cancellation = cancellation
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes_received = 0
        self._closed = False
        self._refused_tokens = RefusedTokens()
        self._fs = _file_system(settings, self.access)

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

        def attempt() -> GcsObject:
            url = f"gs://{bucket}/{name}"
            request = self._fs._call("GET", "b/{}/o/{}", bucket, name, fields=OBJECT_FIELDS)  # noqa: SLF001 - as in `begin_read`
            _, body = self._finish(self._begin(request, url), url, 0)
            return _understood(lambda: object_of(bucket, body), url, "the description of an object")

        return retrying(attempt, self.settings.retry, self.cancellation)

    def read(self, obj: GcsObject, offset_bytes: int, size_bytes: int) -> bytes:
        """`size_bytes` bytes from `offset_bytes` on, which must lie in the object, of this very generation.

        One attempt. Raises `Stale` when that generation is gone, `Damaged` when other bytes came than were asked for,
        and `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        return self.begin_read(obj, offset_bytes, size_bytes).result()

    def begin_read(self, obj: GcsObject, offset_bytes: int, size_bytes: int) -> PendingRead:
        """Begins what `read` does, and waits for nothing. Raises `Unavailable` after `close`."""
        headers = {
            "Range": f"bytes={offset_bytes}-{offset_bytes + size_bytes - 1}",
            # An object that was stored compressed is served as it is stored: that is what its size and crc32c are of.
            "Accept-Encoding": "gzip",
        }
        url = self._fs.url(f"{obj.bucket}/{obj.name}")
        request = self._fs._call("GET", url, headers=headers, generation=obj.generation)  # noqa: SLF001 - behind the public `call`
        flight = self._begin(request, obj.url)
        return PendingRead(
            obj, offset_bytes, size_bytes, flight.future, lambda: self._finish(flight, obj.url, size_bytes)
        )

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

    def _listing(self, bucket: str, prefix: str, delimiter: str | None) -> GcsFolder:
        objects: list[GcsObject] = []
        prefixes: list[str] = []
        token: str | None = None
        for _ in range(_MAX_PAGES):
            attempt = partial(self._page, bucket, prefix, delimiter, token)
            page, token = retrying(attempt, self.settings.retry, self.cancellation)
            objects.extend(page.objects)
            prefixes.extend(page.prefixes)
            if len(objects) + len(prefixes) > _MAX_PAGES * _OBJECTS_PER_PAGE:
                break
            if not token:
                return GcsFolder(objects, prefixes)
        what = "a folder of a hub" if delimiter else "a model"
        raise Damaged(f"gs://{bucket}/{prefix} has more than {_MAX_PAGES * _OBJECTS_PER_PAGE} objects: not {what}")

    def _page(self, bucket: str, prefix: str, delimiter: str | None, token: str | None) -> tuple[GcsFolder, str | None]:
        url = f"gs://{bucket}/{prefix}"
        parameters = {
            "prefix": prefix,
            "delimiter": delimiter,
            "pageToken": token,
            "maxResults": _OBJECTS_PER_PAGE,
            "fields": f"nextPageToken,prefixes,items({OBJECT_FIELDS})",
        }
        request = self._fs._call("GET", "b/{}/o", bucket, **parameters)  # noqa: SLF001 - as in `begin_read`
        _, body = self._finish(self._begin(request, url), url, 0)
        return _understood(lambda: page_of(bucket, body), url, "a listing of a bucket")

    def _begin(self, request: Coroutine[Any, Any, Reply], url: str) -> Flight:
        """Runs `request` on the event loop."""
        with self._lock:
            closed = self._closed
            self._requests += 1
        if closed:
            request.close()
            raise Unavailable(f"{url}: the connection to the store was closed")
        progress = Progress()
        return Flight(asyncio.run_coroutine_threadsafe(watched(request, progress), self._fs.loop), progress)

    def _finish(self, flight: Flight, url: str, size_bytes: int) -> Reply:
        """Waits for a reply with so many bytes: as long as bytes come, but not for ever."""
        bound_s = self.settings.timeout_s + size_bytes / _SLOWEST_BYTES_PER_S
        forget = self.cancellation.on_cancel(lambda: _give_up(flight))
        try:
            reply, body = flight.result(self.settings.timeout_s, bound_s)
        except concurrent.futures.CancelledError as error:
            self.cancellation.check()
            raise Unavailable(f"{url}: the request was given up") from error
        except _NOT_RENEWED as error:
            raise not_renewed(error, url, self.settings) from error
        except FOREIGN as error:
            if isinstance(error, Refusal) and error.status == HTTPStatus.UNAUTHORIZED:
                token = error.request_info.headers.get("Authorization", "")
                if self._refused_tokens.give_up(self._fs.credentials.credentials, token):
                    raise Busy(f"{url}: the store does not take the token any more; a new one is asked for") from None
            raise translated(error, url, self.settings) from error
        finally:
            forget()
            _give_up(flight)
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


def _give_up(flight: Flight) -> None:
    """Ends the request of `flight` and whoever waits for it; does nothing to one that is done. Does not block."""
    flight.future.cancel()


def _understood(read: Callable[[], T], url: str, what: str) -> T:
    """What `read` makes of an answer. Raises `Damaged` when it is not `what` it should be."""
    try:
        return read()
    except NOT_UNDERSTOOD as error:
        raise Damaged(f"{url}: the answer is not {what}; does the endpoint speak for GCS?") from error


def _file_system(settings: GcsSettings, access: str) -> _FileSystem:
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
            access=access,
            token=token,
            endpoint_url=endpoint_url,
            # Names may hold '#' and '?': they are names here, and the generation travels beside them.
            version_aware=False,
            use_listings_cache=False,  # it never expires
            skip_instance_cache=True,  # a shared instance would outlive `close`
            requests_timeout=aiohttp.ClientTimeout(sock_connect=settings.timeout_s, sock_read=settings.timeout_s),
            session_kwargs={
                "raise_for_status": refuse,
                "response_class": BoundedResponse,
                "trace_configs": [connections_noted()],
                "auto_decompress": False,
                "headers": {"Accept-Encoding": "identity"},
                # Not `trust_env`: that has netrc, too, which sends what is for others, and is an error beside a token.
                "proxy": _proxy_for(endpoint_url or _GOOGLE_URL),
            },
        )
    except (GoogleAuthError, OSError, ValueError, KeyError) as error:
        damaged = "no whole key of a service account, and no user's credentials"
        reason = damaged if isinstance(error, KeyError) else error
        raise InvalidConfig(f"GCS credentials ({token}) cannot be used: {reason}") from error


def _authorities() -> ssl.SSLContext | None:
    """Whom to trust instead of the system's authorities, by the variables that requests knows, too."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return None
    folder = Path(bundle).is_dir()
    try:
        return ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    except OSError as error:
        raise Permanent(f"{bundle} (REQUESTS_CA_BUNDLE) holds no authorities that can be read: {error}") from error


def _proxy_for(url: str) -> str | None:
    """The proxy for a host, as the environment has it."""
    parts = urlsplit(url)
    found = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    return f"http://{found}" if found and "://" not in found else found
