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

GRAMMARS: Mapping[str, str] = {"kaggle": "hubfs.hubs.kaggle.names"}
"""Where handles are not PUBLISHER/NAME/VERSION: the module whose function `find` is the hub's, without the hub itself.

It is for commands that ask nobody, and imports little.
"""
