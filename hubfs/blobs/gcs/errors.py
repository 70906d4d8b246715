"""Refusals of the store, and foreign exceptions of requests to it → ours: the one place where that happens."""

import asyncio
import concurrent.futures
from http import HTTPStatus

import aiohttp
from google.auth.exceptions import GoogleAuthError, TransportError

from hubfs.blobs import json_text
from hubfs.blobs.gcs.settings import GcsSettings
from hubfs.blobs.gcs.transfer import OtherBytes, begin_body, start_of
from hubfs.blobs.http.object import retry_after_s
from hubfs.blobs.http.url import redacted, redacted_text
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, HubfsError, NotFound, TimedOut, Unavailable, quoted

_LONGEST_REASON_BYTES = 64 << 10

# `asyncio.TimeoutError` and that of `concurrent.futures` are `TimeoutError` from Python 3.11 on, not in 3.10.
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)

# ValueError: a proxy of a kind that aiohttp does not speak.
FOREIGN = (aiohttp.ClientError, OSError, ValueError, *_TIMEOUTS, GoogleAuthError)
"""What a request may raise, beside what gcsfs raises itself."""


class Refusal(aiohttp.ClientResponseError):
    """A status that is not success. What aiohttp raises by the same base is no answer: it could not be understood."""


async def refuse(response: aiohttp.ClientResponse) -> None:
    """Raises for a status that is not success, with the store's reason, and for bytes that were not asked for.

    gcsfs would raise seven unrelated types for it, and tell some statuses only in their text.
    """
    if response.ok:
        begin_body(response)
        return
    text = (await start_of(response, _LONGEST_REASON_BYTES)).decode(errors="replace")
    try:
        reason = str(json_text.parse(text)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        reason = text if "<" not in text else ""
    raise Refusal(
        response.request_info,
        response.history,
        status=response.status,
        message=quoted(" ".join(reason.split())) or quoted(response.reason or "") or "no reason given",
        headers=response.headers,
    )


def translated(error: Exception, url: str, settings: GcsSettings) -> HubfsError:
    """What `error` is called on our side of the door."""
    if isinstance(error, aiohttp.ClientResponseError):
        return _answered(error, url, settings)
    if isinstance(error, _TIMEOUTS):
        return TimedOut(f"{url}: the store sent nothing for {settings.timeout_s:g} s, or too little in all")
    if isinstance(error, aiohttp.ClientSSLError):
        return Permanent(f"{url}: no secure connection to the store: {quoted(error)}")
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return not_renewed(error, url, settings)
    store = redacted(settings.endpoint_url) if settings.endpoint_url else "the store"
    said = redacted_text(quoted(error)) or type(error).__name__  # aiohttp quotes a proxy with its password
    what = error if isinstance(error, OtherBytes) else f"cannot reach {store}: {said}"
    return Unavailable(f"{url}: {what}")


def not_renewed(error: Exception, url: str, settings: GcsSettings) -> AccessDenied:
    """What it is called when credentials cannot be renewed."""
    return AccessDenied(f"{url}: the GCS credentials ({settings.token}) could not be renewed: {quoted(error)}")


def _answered(error: aiohttp.ClientResponseError, url: str, settings: GcsSettings) -> HubfsError:
    if not isinstance(error, Refusal):
        endless = isinstance(error, aiohttp.TooManyRedirects)
        return Permanent(f"{url}: endless redirects") if endless else Unavailable(f"{url}: the answer is not HTTP")
    said = f"the store answered {error.status} ({error.message})"
    if error.status == HTTPStatus.NOT_FOUND:
        return NotFound(f"{url}: {said}")
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(
            f"{url}: {said} to credentials {settings.token or 'anon'!r}; configure ones that may read it "
            "(HUBFS_GCS_TOKEN: google_default, or the path of a credentials file)"
        )
    if error.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or error.status >= 500:  # noqa: PLR2004 - the class of server errors
        return Busy(f"{url}: {said}", retry_after_s(error.headers or {}))
    return Permanent(f"{url}: {said}")
