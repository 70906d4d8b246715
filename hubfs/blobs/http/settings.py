"""How to talk to HTTP hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hubfs import __version__
from hubfs.blobs.retry import RetryPolicy


@dataclass(frozen=True)
class HttpSettings:
    """How to talk to hosts.

    `stall_timeout_s` bounds the wait for the next byte, not the transfer. `headers` are credentials: they go to
    `credential_host` (host or host:port) over `credential_scheme` and to nobody else, whoever redirects there.
    `verify` False accepts any certificate. A redirect leads no further inside (see `Reach`) than the host is that was
    asked, unless `private_redirects`, and even then to none that is link-local. Proxies, CA bundles and netrc come from
    the environment, as in requests; where a host redirects, netrc is for https at port 443 alone, if that host was
    asked by https and certificates are verified.
    """

    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    verify: bool = True
    private_redirects: bool = False
    credential_host: str | None = None
    credential_scheme: str = "https"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_agent: str = f"hubfs/{__version__}"
