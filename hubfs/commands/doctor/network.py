"""Proxies, certificates, the hub, its bucket, the shared cache: the only checks that ask anybody."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hubfs import endpoints
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryPolicy
from hubfs.blobs.store import open_store
from hubfs.commands.doctor.finding import Finding, ok, problem, warning
from hubfs.errors import AccessDenied, HubfsError
from hubfs.hubs.resolver import Form
from hubfs.settings.config import Config
from hubfs.waiting import Cancellation

_GOOGLE = "https://storage.googleapis.com"
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_ONCE = RetryPolicy(attempts=1)


def examine(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What lies between this machine and the bytes. Every question is bounded by the time-outs of the config."""
    yield from proxies(config)
    yield from certificates(config, environment)
    yield hub(config)
    if not config.hub.startswith("gs://") and config.form is not Form.COMPRESSED:
        yield buckets(config)
    if config.shared_cache_url is not None:
        yield shared_cache(config, config.shared_cache_url)


def proxies(config: Config) -> Iterator[Finding]:
    """Which proxy the hub would be asked through; its password is not shown."""
    url = urlsplit(config.hub if not config.hub.startswith("gs://") else config.gcs_endpoint_url or _GOOGLE)
    found = getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    if proxy is None:
        yield ok("proxy", "none")
    elif proxy_bypass(url.hostname or ""):
        yield ok("proxy", f"none for {url.hostname}, by NO_PROXY")
    else:
        yield ok("proxy", f"{url.hostname} is asked through {redacted(proxy)}")


def certificates(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether https means anything."""
    if not config.verify_certificates:
        yield warning(
            "certificates",
            "they are not verified: whoever is in between can change every byte",
            "unset TFHUB_DISABLE_CERT_VALIDATION; name the authority with REQUESTS_CA_BUNDLE instead",
        )
    for name in _BUNDLES:
        bundle = environment.get(name)
        if bundle and not Path(bundle).exists():
            yield problem("certificates", f"{name} names {bundle}, which does not exist", f"unset {name}, or mend it")


def hub(config: Config) -> Finding:
    """Whether the hub answers."""

    def ask() -> str:
        with endpoints.asking(config, _ONCE) as (resolver, http):
            if config.hub.startswith("gs://"):
                return f"{len(resolver.children(''))} names at its root"
            return f"status {http.reply(config.hub, max_body_bytes=1).status}"

    return _asked("hub", redacted(config.hub), ask, "see the proxy above, and whether --hub names a hub that there is")


def buckets(config: Config) -> Finding:
    """Whether the store answers, to which hubs lead for models in the uncompressed form."""
    url = config.gcs_endpoint_url or _GOOGLE

    def ask() -> str:
        with endpoints.asking(config, _ONCE) as (_, http):
            return f"status {http.reply(url, max_body_bytes=1).status}"

    found = _asked("bucket", redacted(url), ask, "")
    if found.verdict.value == "ok":
        return found
    return warning(
        "bucket",
        found.said,
        "models that are hosted uncompressed cannot be read: --format compressed asks for archives",
    )


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
    except AccessDenied as error:
        return problem(
            subject, str(error), "HUBFS_TOKEN or HUBFS_HEADERS for a private hub, HUBFS_GCS_TOKEN for a bucket"
        )
    except HubfsError as error:
        return problem(subject, str(error), advice)
    return ok(subject, f"{name} answers after {time.monotonic() - started_s:.2f} s ({said})")
