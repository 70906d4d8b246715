"""Which kinds of hubs there are: by the scheme of their URL. Imports none of them, so that commands start fast."""

from collections.abc import Mapping

DEFAULT_HUB = "https://tfhub.dev"
"""The hub where no other is named. Programs type its URLs, whichever mirror serves them."""

SHORT_URL = "tfhub:"
"""A short way to write https://tfhub.dev."""


def spelled_out(text: str) -> str:
    """A handle, or a URL; the URL that `tfhub:google/spice/2` is short for."""
    return f"{DEFAULT_HUB}/{text.removeprefix(SHORT_URL)}" if text.startswith(SHORT_URL) else text


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
