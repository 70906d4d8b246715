"""The models that a user names by handle: at which hub, and at which path there. Asks nobody."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from hubfs.errors import EntryNotFound, InvalidHandle, quoted
from hubfs.hubs.names import names_at
from hubfs.hubs.registry import DEFAULT, KINDS, spelled_out
from hubfs.settings.config import Config


@dataclass(frozen=True)
class Asked:
    """A model that the user named as `text`: at `hub`, a name of `Config.hubs`, and at the absolute `path` there.

    `folder`: the directory there that the text may mean instead, if folders were asked for.
    """

    text: str
    hub: str
    path: str
    folder: str = ""


def asked_for(config: Config, texts: Sequence[str], *, folders: bool = False) -> tuple[Config, Sequence[Asked]]:
    """The models of these handles, and a config with the hubs of all of them.

    A handle without a scheme is one of the hubs of `config`; `NAME/HANDLE` names one of several. `kaggle:…`, `hf:…` and
    URLs name their hub themselves: where `config` has none of that kind, no credentials of its other hubs are used.
    With `folders`, a text may mean a directory above models, too. Raises `InvalidHandle`.
    """
    hubs: list[Config] = []
    asked = []
    for text in texts:
        folder = ""
        try:
            own, name, version = handle_in(config, text)
            path = f"/{names_at(own.hub, catalog=own.catalog).path(name, version)}"
            if folders and version is None:
                above = _folder_in(config, text)
                folder = f"/{name}" if above is None else above[1]
        except InvalidHandle:
            found = _folder_in(config, text) if folders else None
            if found is None:
                raise
            own, path = found
            folder = path
        if own not in hubs:
            hubs.append(own)
        asked.append(Asked(text, str(hubs.index(own)), path, folder))
    return replace(config, hubs={str(at): _differs(own, config) for at, own in enumerate(hubs)}), asked


def with_every_kind(config: Config) -> Config:
    """A config that has, besides the hubs of `config`, one of each kind that a scheme alone names."""
    hubs = {name: _differs(own, config) for name, own in config.each_hub().items()}
    return replace(config, hubs={**{own.hub: _differs(own, config) for own in _strangers(config)}, **hubs})


def hub_in(config: Config, path: str) -> tuple[str, str]:
    """Which hub of `with_every_kind`, and the absolute path there, `path` names: it begins with a handle.

    `hf:BAAI/bge-m3/config.json` is at the hub of that scheme. Without a scheme, the first segment may be the name of
    one of several hubs; else the path is at the first hub.
    """
    hubs = config.each_hub()
    own = [name for name in hubs if ":" not in name]
    scheme, colon, rest = path.partition(":")
    if colon and "/" not in scheme:
        of_scheme = [name for name, one in hubs.items() if one.hub.partition(":")[0] == scheme]
        for name in sorted(of_scheme, key=own.__contains__, reverse=True):
            return name, f"/{rest.lstrip('/')}"
    first, _, inner = path.strip("/").partition("/")
    return (first, f"/{inner}") if first in own else (own[0], f"/{path.lstrip('/')}")


def _folder_in(config: Config, text: str) -> tuple[Config, str] | None:
    """The config of the hub that may have a directory, and the absolute path there; None where no hub may."""
    every = with_every_kind(config)
    url = spelled_out(text)
    if "://" in url:
        hubs = [one for one in every.each_hub().values() if f"{url}/".startswith(f"{one.hub.rstrip('/')}/")]
        found = [(one, url.removeprefix(one.hub.rstrip("/"))) for one in hubs]
    else:
        hub, path = hub_in(every, text)
        found = [(every.each_hub()[hub], path)]
    for own, path in found:
        with suppress(EntryNotFound):
            names_at(own.hub, catalog=own.catalog).place(f"/{path.strip('/')}")
            return own, f"/{path.strip('/')}"
    return None


def _differs(own: Config, config: Config) -> dict[str, Any]:
    """The fields in which the config of one hub differs from that of all."""
    said = {one.name: getattr(own, one.name) for one in fields(own) if one.name != "hubs"}
    return {name: value for name, value in said.items() if name == "hub" or value != getattr(config, name)}


def handle_in(config: Config, text: str) -> tuple[Config, str, str | None]:
    """The config of the hub that has a handle, the name and the version (None: the latest). Raises `InvalidHandle`."""
    invalid: InvalidHandle | None = None
    for own, handle in _candidates(config, spelled_out(text)):
        try:
            found = names_at(own.hub, catalog=own.catalog).find(handle)
        except InvalidHandle as error:  # noqa: PERF203 - a config has a few hubs
            invalid = invalid or error
        else:
            if found is not None:
                return own, *found
    raise invalid or InvalidHandle(
        f"'{quoted(text)}' is no handle of a hub that is known here; --hub names another hub"
    )


def _candidates(config: Config, text: str) -> Iterator[tuple[Config, str]]:
    """The hubs that may have `text`, each with the handle there: first those that the user set up."""
    hubs = config.each_hub()
    scheme, colon, _ = text.partition(":")
    for name, own in hubs.items():
        if name and text.startswith(f"{name}/"):
            yield own, text.removeprefix(f"{name}/")
    for own in hubs.values():
        if not colon or "://" in text or own.hub.partition(":")[0] == scheme:
            yield own, text
    for stranger in _strangers(config):
        if "://" in text or stranger.hub == f"{scheme}:":
            yield stranger, text
    if scheme in DEFAULT.schemes and "://" in text:
        yield _stranger(config, f"{scheme}://{urlsplit(text).netloc}"), text


def _strangers(config: Config) -> Sequence[Config]:
    """The hubs that a scheme alone names."""
    return [_stranger(config, f"{kind.schemes[0]}:") for kind in KINDS if kind is not DEFAULT and kind.names]


def _stranger(config: Config, hub: str) -> Config:
    """A hub that the user did not set up: what was said of another one is not said of it."""
    return replace(config, hub=hub, hubs={}, token=None, headers={}, catalog=None)
