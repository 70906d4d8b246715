"""Proxies, certificates, the hub, its bucket, the shared cache: the only checks that ask anybody."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from hubfs import endpoints
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import open_store
from hubfs.commands.doctor.finding import Finding, Verdict, ok, problem, warning
from hubfs.errors import AccessDenied, HubfsError
from hubfs.hubs.registry import OF_CLIENTS
from hubfs.settings.config import Config
from hubfs.waiting import Cancellation

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_ONCE = RetryPolicy(attempts=1)


def examine(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What lies between this machine and the bytes. Every question is bounded by the time-outs of the config."""
    yield from proxies(config)
    yield from certificates(config, environment)
    for own in config.each_hub().values():
        yield from hub(own)
    if config.shared_cache_url is not None:
        yield shared_cache(config, config.shared_cache_url)


def proxies(config: Config) -> Iterator[Finding]:
    """Which proxy each hub would be asked through, with the hub's name where it has one; no password is shown."""
    for name, own in config.each_hub().items():
        with endpoints.asking(own, _ONCE) as asked:
            yield ok(f"proxy of {name}" if name else "proxy", _proxy(urlsplit(asked.host)))


def _proxy(url: SplitResult) -> str:
    found = getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if proxy is None:
        return "none"
    if proxy_bypass(url.hostname or ""):
        return f"none for {url.hostname}, by NO_PROXY"
    return f"{url.hostname} is asked through {redacted(proxy)}"


def certificates(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether https means anything."""
    if not config.verify_certificates:
        yield warning(
            "certificates",
            "they are not verified: whoever is in between can change every byte",
            f"unset {OF_CLIENTS['disable_cert_validation']}; name the authority with REQUESTS_CA_BUNDLE instead",
        )
    for name in _BUNDLES:
        bundle = environment.get(name)
        if bundle and not Path(bundle).exists():
            yield problem("certificates", f"{name} names {bundle}, which does not exist", f"unset {name}, or mend it")


def hub(config: Config) -> Iterator[Finding]:
    """Whether the hub answers, and the hosts to which it leads."""
    with endpoints.asking(config, _ONCE) as asked:
        for check in asked.checks():
            found = _asked(check.subject, check.url, check.ask, check.advice)
            if found.verdict is Verdict.OK or check.vital:
                yield found
            else:
                yield warning(check.subject, found.said, check.advice)


def shared_cache(config: Config, url: str) -> Finding:
    """Whether the store of a fleet answers. Nothing is written to it."""

    def ask() -> str:
        store = open_store(url, endpoints.store_settings(config, _ONCE), Cancellation())
        try:
            store.get("doctor")
        finally:
            store.close()
        return "it answers"

    return _asked("shared cache", redacted(url), ask, "mounts work without it, each for itself")


def _asked(subject: str, name: str, ask: Callable[[], str], advice: str) -> Finding:
    started_s = time.monotonic()
    try:
        said = ask()
    except HubfsError as error:
        return problem(subject, str(error), error.advice if isinstance(error, AccessDenied) else advice)
    return ok(subject, f"{name} answers after {time.monotonic() - started_s:.2f} s ({said})")
