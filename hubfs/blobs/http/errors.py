"""How HTTP hosts are reached, and the one place where exceptions of requests and urllib3 become errors of hubfs."""

import http.client
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import urllib3
from requests.utils import get_netrc_auth

from hubfs import __version__
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import Permanent, RetryPolicy
from hubfs.errors import HubfsError, TimedOut, Unavailable, quoted
from hubfs.waiting import Cancellation


@dataclass(frozen=True)
class HttpSettings:
    """How to talk to hosts.

    `stall_timeout_s` bounds the wait for the next byte, not the transfer. `headers` are credentials: they go to
    `credential_host` (host or host:port) over `credential_scheme` and to nobody else, on any redirect.
    `verify` False accepts any certificate. A redirect leads no further inside (see `Reach`) than the host is that was
    asked, unless `private_redirects`, and even then to none that is link-local. Proxies, CA bundles and netrc come from
    the environment, as in requests; where a host redirects, netrc is for https at port 443 alone, if that host was
    asked by https and certificates are verified; it is for nobody with `netrc` False. `credentials` says which ones
    were sent, for messages about a host that refuses them; empty says nothing.
    """

    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    verify: bool = True
    private_redirects: bool = False
    credential_host: str | None = None
    credential_scheme: str = "https"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    netrc: bool = True
    credentials: str = ""
    user_agent: str = f"hubfs/{__version__}"


def environment_of(host_url: str, *, verify: bool) -> Mapping[str, Any]:
    """Proxies and CA bundle for a host, as requests finds them in the environment; else the bundle of OpenSSL.

    Raises `Permanent` for a bundle that is missing.
    """
    with requests.Session() as session:
        found = session.merge_environment_settings(host_url, {}, stream=True, verify=verify, cert=None)
    if found["verify"] is True:
        found["verify"] = os.environ.get("SSL_CERT_FILE") or True
    bundle = found["verify"]
    if isinstance(bundle, str) and not Path(bundle).exists():
        raise Permanent(f"{bundle} (REQUESTS_CA_BUNDLE, SSL_CERT_FILE) does not exist: it should name authorities")
    return found


def has_netrc(host_url: str) -> bool:
    """Whether netrc has an entry for this host, by its name."""
    return get_netrc_auth(host_url) != get_netrc_auth("https://nobody.invalid/")


# By the codes of OpenSSL's <openssl/x509_vfy.h>.
_ADVICE = {
    9: "its time is yet to come; is this machine's clock right?",
    10: "it has expired; tell the host's operator, or is this machine's clock wrong?",
    62: "it is for another host name; is the URL right?",
    64: "it is for another address; is the URL right?",
}

_NO_COMMON_TLS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "WRONG_SSL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
    }
)


@contextmanager
def translated(url: str, settings: HttpSettings, cancellation: Cancellation) -> Iterator[None]:
    """An error inside, while `url` is asked, comes out as `HubfsError`; as `Cancelled` after a cancel.

    Texts of foreign exceptions hold whole URLs and are never shown.
    """
    try:
        yield
    except HubfsError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        cancellation.check()
        raise _error_for(redacted(url), error, settings) from None  # a traceback would show the foreign text


def _error_for(url: str, error: Exception, settings: HttpSettings) -> HubfsError:
    if isinstance(error, requests.ConnectTimeout):
        return TimedOut(f"{url} could not be connected to within {settings.connect_timeout_s:g} s")
    if isinstance(error, requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return TimedOut(f"{url} sent nothing for {settings.stall_timeout_s:g} s")
    cause, reason = _reason(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(cause.verify_code, "add its authority with REQUESTS_CA_BUNDLE")
        return Permanent(f"{url} shows a certificate that is not trusted ({cause.verify_message}): {advice}")
    if isinstance(cause, ssl.SSLError) and cause.reason in _NO_COMMON_TLS:
        return Permanent(f"{url} offers no version or cipher of TLS that is still safe ({cause.reason}): refused")
    if isinstance(error, ValueError):
        return Permanent(f"{url} cannot be requested: the URL or one of the headers to send is not well-formed")
    through = " through the proxy" if isinstance(error, requests.exceptions.ProxyError) else ""
    return Unavailable(f"{url} could not be read{through}: {reason}")


def _reason(error: BaseException) -> tuple[BaseException, str]:
    """The deepest cause that says something, and what it says. Texts of requests and urllib3 are not used."""
    cause, reason = error, "the connection failed"
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            cause, reason = link, link.strerror
        elif isinstance(link, http.client.HTTPException):
            cause, reason = link, quoted(link) or type(link).__name__
        link = link.__cause__ or link.__context__
    return cause, reason
