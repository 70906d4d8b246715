"""How HTTP hosts are reached: what the user said, and what the environment says."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from requests.utils import NETRC_FILES, get_netrc_auth

from hubfs import __version__
from hubfs.blobs.retry import Permanent, RetryPolicy


@dataclass(frozen=True)
class HttpSettings:
    """How to talk to hosts.

    `stall_timeout_s` bounds the wait for the next byte, not the transfer. `headers` are credentials: they go to
    `credential_host` (host or host:port) over `credential_scheme` and to nobody else, on any redirect.
    `verify` False accepts any certificate. A redirect leads no further inside (see `Reach`) than the host is that was
    asked, unless `private_redirects`, and even then to none that is link-local. Proxies, CA bundles and netrc come from
    the environment, as in requests; where a host redirects, netrc is for https at port 443 alone, if that host was
    asked by https and certificates are verified; it is for nobody with `netrc` False. `credentials` says which ones
    were sent, for messages about a host that refuses them; empty says nothing. `proxy_headers` may be secret; they go
    to a proxy, and to no host where there is none.
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
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_agent: str = f"hubfs/{__version__}"


@dataclass(frozen=True)
class Bearer:
    """Headers that authenticate at the credential host of a client, and expire; both functions may wait.

    `headers` gives those of the next request. `refused` is told of an `Authorization` that was answered with 401, and
    says whether the request is worth another attempt.
    """

    headers: Callable[[], Mapping[str, str]]
    refused: Callable[[str], bool]


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


class Netrc:
    """The user's netrc, which is read for each request: it may be written while a mount is there."""

    @cached_property
    def _places(self) -> Sequence[str]:
        """Where it may be, as requests has it; the daemon's environment does not change."""
        named = os.environ.get("NETRC")
        return [os.path.expanduser(place) for place in ([named] if named else map("~/{}".format, NETRC_FILES))]  # noqa: PTH111 - a path that is looked at for each request, which costs less of a text

    def login(self, url: str) -> tuple[str, str] | None:
        """User and password for the host of `url`. What requests does to find no file takes 20 us."""
        return get_netrc_auth(url) if any(map(os.path.exists, self._places)) else None

    def names(self, host_url: str) -> bool:
        """Whether there is an entry for this host, by its name."""
        return self.login(host_url) != self.login("https://nobody.invalid/")
