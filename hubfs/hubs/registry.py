"""Which kinds of hubs there are, by what each says of itself. Imports no hub, so that commands start fast."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from urllib.parse import urlsplit

from hubfs.hubs.about import About

_ROOMS = ("tfhub", "bucket", "kaggle", "huggingface")

KINDS: Sequence[About] = [import_module(f"hubfs.hubs.{room}.about").ABOUT for room in _ROOMS]
"""A new kind of hub is a folder beside this file, and its name here. The first kind has the default hub."""

HUBS: dict[str, About] = {scheme: kind for kind in KINDS for scheme in kind.schemes}
"""The kind of a hub by the scheme of its URL."""

DEFAULT = KINDS[0]

DEFAULT_HUB = DEFAULT.url
"""The hub where no other is named. Programs type its URLs, whichever mirror serves them."""

SHORT = DEFAULT.endpoint
"""The scheme of a short way to write `DEFAULT_HUB`."""

ENDPOINTS = [kind for kind in KINDS if kind.endpoint]
"""The kinds of hubs for which another host may stand: the setting `kaggle_endpoint`, and HUBFS_KAGGLE_ENDPOINT."""

OF_CLIENTS: Mapping[str, str] = {setting: name for kind in KINDS for setting, name in kind.variables.items()}
"""Variables of the environment that users have set for hubs' own clients, by the setting that hubfs takes from it."""


def spelled_out(text: str) -> str:
    """A handle, or a URL; the URL that `<SHORT>:google/spice/2` is short for."""
    return f"{DEFAULT_HUB}/{text.removeprefix(f'{SHORT}:')}" if text.startswith(f"{SHORT}:") else text


def is_default(url: str) -> bool:
    """Whether `url` is `DEFAULT_HUB` itself: a mirror may have other models."""
    from hubfs.blobs.http.url import origin_of  # noqa: PLC0415 - `hubfs --help` needs the data of this module alone

    try:
        return origin_of(url) == origin_of(DEFAULT_HUB) and not url.partition("://")[2].partition("/")[2].strip("/")
    except ValueError:
        return False


def kind_of(url: str) -> About | None:
    """The kind of the hub at `url`; None for no kind. Raises `ValueError` for a text that is no URL."""
    parts = urlsplit(url)
    of_host = (kind for kind in KINDS if parts.scheme == "https" and parts.hostname in kind.hosts)
    return next(of_host, HUBS.get(parts.scheme))
