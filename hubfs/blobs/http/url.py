"""URLs: what of them may be said aloud, whom they name, where a redirect may lead, and until when they hold."""

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit, urlunsplit

from hubfs.blobs.retry import Permanent
from hubfs.errors import cut

_DEFAULT_PORTS = {"http": 80, "https": 443}

_SHOWN_CHARACTERS = 1000
_LONGEST_CHARACTERS = 8192
"""Of an address that a host leads to; RFC 9110 asks for 8000 to be understood."""

_LONGEST_NUMBER = 15
"""Of seconds: what has more digits is no time."""

# Each match takes all that was looked at, up to the next blank or quote: no character is looked at more than thrice.
_ADDRESS = re.compile(r"""://(?:[^\s"'<>/?#]*@)?([^\s"'<>?#]*)[^\s"'<>]*""")
_QUERY = re.compile(r"""(?<=\S)(?:\?[^\s"'<>=]*=[^\s"'<>]*|(\?[^\s"'<>]*))""")
_KAGGLE_TOKEN = re.compile(r"KGAT_\w+", re.ASCII)


Origin = tuple[str, str | None, int | None]
"""Scheme, host and port."""

_REMEMBERED = 64
"""Of so many hosts the origin is remembered: a request asks for it six times, and a walk has a URL for each model."""


def without_secrets(url: str) -> str:
    """`url` without userinfo, query and fragment, where secrets are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a text that is not a URL)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def redacted(url: str) -> str:
    """`url` for messages: without secrets, and not longer than people read."""
    return cut(without_secrets(url), _SHOWN_CHARACTERS)


def redacted_text(text: str) -> str:
    """`text`, without the secrets of every URL and without Kaggle's tokens: for what was said by those who know none.

    Holds the GIL for as long as it takes, which is proportional to the length.
    """
    return _KAGGLE_TOKEN.sub("KGAT_...", _QUERY.sub(r"\1", _ADDRESS.sub(r"://\1", text)))


def at_path(url: str) -> tuple[str, str]:
    """`url` in two parts: the second begins at the first '/' behind '://', where no host goes on, or is empty."""
    end = url.find("/", url.find("://") + 3) if "://" in url else -1
    return (url, "") if end < 0 else (url[:end], url[end:])


def origin_of(url: str) -> Origin:
    """Scheme, host and port: who gets the request. Raises `ValueError` for what is not a URL."""
    return _origin_of(at_path(url)[0])


@lru_cache(_REMEMBERED)
def _origin_of(url: str) -> Origin:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def may_have_netrc(hub: Origin, host: Origin) -> bool:
    """Whether `host`, where `hub` leads, gets what netrc has for it by name (its entry for every host is the hub's).

    netrc knows neither schemes nor ports: nothing goes out in clear, or to another program than the machine's https
    host; and where the hub is asked by http, anybody on the way could lead anywhere.
    """
    return hub[0] == host[0] == "https" and host[2] == _DEFAULT_PORTS["https"]


def host_url(url: str) -> str:
    """The root of the host of `url`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def without_userinfo(url: str) -> tuple[str, Mapping[str, str]]:
    """`url` without `user:password@`, and the header that says the same."""
    if "@" not in url:
        return url, {}
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    if not userinfo:
        return url, {}
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=host)), basic(unquote(user), unquote(password))


def basic(user: str, password: str) -> Mapping[str, str]:
    """The header that says who asks, by user and password."""
    token = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def next_hop(url: str, location: str) -> str:
    """The URL that the reply of `url` redirects to, without credentials, which are for users to name.

    Raises `Permanent` where a redirect must not lead.
    """
    if len(location) > _LONGEST_CHARACTERS:  # before anything is done with it, of which not everything is linear
        raise Permanent(f"{redacted(url)} redirects to a URL of {len(location)} characters: no host needs so many")
    try:
        target = without_userinfo(urldefrag(urljoin(without_userinfo(url)[0], location)).url)[0]
        scheme, host, _ = origin_of(target)
    except ValueError:
        raise Permanent(f"{redacted(url)} redirects to a text that is not a URL") from None
    if not target.lower().startswith(f"{scheme}:"):  # urllib.parse passes over control characters in front
        raise Permanent(f"{redacted(url)} redirects to a text that is not a URL")
    # A backslash some read as '/', others as a part of the host's name.
    if scheme not in _DEFAULT_PORTS or not host or "\\" in location:
        raise Permanent(f"{redacted(url)} redirects to {redacted(target)}, which is not an http(s) URL")
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise Permanent(
            f"{redacted(url)} redirects from https to {redacted(target)}: refused, because anybody on the way could "
            "change what comes; ask the hub's operator for an https address"
        )
    return target


def expiry_of(url: str) -> float | None:
    """Until when a signed URL holds, by what it says, as Unix time; None for one that does not say.

    Google's store says so by `X-Goog-Date` and `X-Goog-Expires` (seconds), Amazon's by `X-Amz-Date` and
    `X-Amz-Expires`. CloudFront, and Google where it was signed the old way, say `Expires`, which comes first.
    """
    try:
        said = dict(parse_qsl(urlsplit(url).query))
        store = "X-Goog" if "X-Goog-Date" in said else "X-Amz"
        if "Expires" in said or f"{store}-Date" not in said:
            return float(_number(said["Expires"]))
        signed = datetime.strptime(f"{said[f'{store}-Date']}+0000", "%Y%m%dT%H%M%SZ%z")
        return signed.timestamp() + _number(said[f"{store}-Expires"])
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or not text.isascii() or not text.isdigit():
        raise ValueError("no number of seconds")
    return int(text)
