"""Which kinds of hubs there are: by the scheme of their URL. Imports none of them, so that commands start fast."""

from collections.abc import Mapping

from hubfs.blobs.http.url import origin_of

DEFAULT_HUB = "https://tfhub.dev"
"""The hub where no other is named. Programs type its URLs, whichever mirror serves them."""

SHORT = "tfhub"
"""The scheme of a short way to write `DEFAULT_HUB`: `tfhub:`."""

ENDPOINTS = (SHORT, "kaggle")
"""The hubs for which another host may stand, by scheme: the setting `kaggle_endpoint`, and HUBFS_KAGGLE_ENDPOINT."""

OF_CLIENTS: Mapping[str, str] = {
    "format": "TFHUB_MODEL_LOAD_FORMAT",
    "cache_dir": "TFHUB_CACHE_DIR",
    "disable_cert_validation": "TFHUB_DISABLE_CERT_VALIDATION",
}
"""Variables of the environment that users have set for hubs' own clients, by the setting that hubfs takes from it."""


def spelled_out(text: str) -> str:
    """A handle, or a URL; the URL that `tfhub:google/spice/2` is short for."""
    return f"{DEFAULT_HUB}/{text.removeprefix(f'{SHORT}:')}" if text.startswith(f"{SHORT}:") else text


def is_default(url: str) -> bool:
    """Whether `url` is `DEFAULT_HUB` itself: a mirror may have other models."""
    try:
        return origin_of(url) == origin_of(DEFAULT_HUB) and not url.partition("://")[2].partition("/")[2].strip("/")
    except ValueError:
        return False


HUBS: Mapping[str, str] = {
    "https": "hubfs.hubs.tfhub.hub",
    "http": "hubfs.hubs.tfhub.hub",
    "gs": "hubfs.hubs.bucket.hub",
    "kaggle": "hubfs.hubs.kaggle.hub",
}
"""The module that makes a hub, by the scheme: its function `make` takes the URL and `Means`, and returns a `Hub`.

A new kind of hub is a folder beside this file, and a line here.
"""

NAMES: Mapping[str, str] = {
    "https": "hubfs.hubs.tfhub.names.handles",
    "http": "hubfs.hubs.tfhub.names.handles",
    "gs": "hubfs.hubs.tfhub.names.handles",
    "kaggle": "hubfs.hubs.kaggle.named",
}
"""The module of a hub's names, by the scheme: its function `names_of` returns `Names`, and needs not the hub itself.

The models of a bucket are named as those of TF Hub are. A hub that is not in here makes its own names.
"""
