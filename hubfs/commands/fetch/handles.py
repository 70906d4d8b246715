"""The models that a user names by handle: at which hub, and at which path there. Asks nobody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from hubfs.errors import InvalidHandle, quoted
from hubfs.hubs.names import names_at
from hubfs.hubs.registry import DEFAULT, KINDS, spelled_out
from hubfs.settings.config import Config


@dataclass(frozen=True)
class Asked:
    """A model that the user named as `text`: at `hub`, a name of `Config.hubs`, and at the absolute `path` there."""

    text: str
    hub: str
    path: str


def asked_for(config: Config, texts: Sequence[str]) -> tuple[Config, Sequence[Asked]]:
    """The models of these handles, and a config with the hubs of all of them.

    A handle without a scheme is one of the hubs of `config`; `NAME/HANDLE` names one of several. `kaggle:…`, `hf:…` and
    URLs name their hub themselves: where `config` has none of that kind, no credentials of its other hubs are used.
    Raises `InvalidHandle`.
    """
    hubs: list[Config] = []
    asked = []
    for text in texts:
        own, path = _found(config, text)
        if own not in hubs:
            hubs.append(own)
        asked.append(Asked(text, str(hubs.index(own)), path))
    return replace(config, hubs={str(at): _differs(own, config) for at, own in enumerate(hubs)}), asked


def _differs(own: Config, config: Config) -> dict[str, Any]:
    """The fields in which the config of one hub differs from that of all."""
    said = {one.name: getattr(own, one.name) for one in fields(own) if one.name != "hubs"}
    return {name: value for name, value in said.items() if name == "hub" or value != getattr(config, name)}


def _found(config: Config, text: str) -> tuple[Config, str]:
    invalid: InvalidHandle | None = None
    for own, handle in _candidates(config, spelled_out(text)):
        try:
            names = names_at(own.hub, catalog=own.catalog)
            found = names.find(handle)
        except InvalidHandle as error:  # noqa: PERF203 - a config has a few hubs
            invalid = invalid or error
        else:
            if found is not None:
                return own, f"/{names.path(*found)}"
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
    kinds = [kind for kind in KINDS if kind is not DEFAULT and kind.names]
    of_kind = {scheme: kind for kind in kinds for scheme in kind.schemes}
    for own in hubs.values():
        if not colon or "://" in text or own.hub.partition(":")[0] == scheme:
            yield own, text
    stranger = replace(config, hubs={}, token=None, headers={}, catalog=None)
    if "://" in text:
        yield from ((replace(stranger, hub=f"{kind.schemes[0]}:"), text) for kind in kinds)
    elif scheme in of_kind:
        yield replace(stranger, hub=f"{scheme}:"), text
    if scheme in DEFAULT.schemes and "://" in text:
        yield replace(stranger, hub=f"{scheme}://{urlsplit(text).netloc}"), text
