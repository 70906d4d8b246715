"""`hubfs search`: handles that the hubs find for some words."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from hubfs.errors import HubfsError, printable
from hubfs.settings.config import Config, load

_STALL_S = 10.0
"""A hub that says nothing for so long is left out."""


@click.command()
@click.argument("words", metavar="WORDS…", nargs=-1, required=True)
@click.option("--hub", metavar="URL|NAME=URL", multiple=True, help="Only this hub.  [default: every hub there is]")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100), default=10, help="So many of each hub.  [default: 10]"
)
@click.option("--offline", is_flag=True, help="Look at what is written down alone, such as the bundled catalogue.")
@click.option("--config", metavar="FILE", help="As for mount.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def search(
    words: tuple[str, ...], *, hub: tuple[str, ...], limit: int, offline: bool, as_json: bool, **flags: Any
) -> None:
    """Find models by words: in the bundled catalogue, and by the search of hubs that have one.

    The handles are printed as every command takes them. Exits with 1 where nothing was found.
    """
    if not "".join(words).strip():
        raise click.UsageError("WORDS are empty: name some, such as `hubfs search yamnet`")
    from hubfs.library.handles import with_every_kind  # noqa: PLC0415 - requests takes 0.1 s to import

    config = load({**flags, "hub": hub or None})
    hubs = (config if hub else with_every_kind(config)).each_hub()
    asked = dict(sorted(hubs.items(), key=lambda one: ":" in one[0]))  # those of the user come first
    with ThreadPoolExecutor(len(asked)) as pool:
        flights = {name: pool.submit(_found, own, words, limit, offline=offline) for name, own in asked.items()}
    found: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    for name, flight in flights.items():
        url = asked[name].hub
        try:
            found[url] = [_shown(name, url, handle) for handle in flight.result()]
        except HubfsError as error:
            errors[url] = str(error)
    if as_json:
        click.echo(json.dumps({"found": found, "errors": errors}, indent=2))
    else:
        for handle in (handle for handles in found.values() for handle in handles):
            click.echo(printable(handle))
        for url, why in errors.items():
            click.echo(f"hubfs: {printable(url)} was left out: {why}", err=True)
    if not any(found.values()):
        if not (as_json or errors):
            click.echo(f"hubfs: nothing was found for {printable(' '.join(words))}", err=True)
        sys.exit(1)


def _found(own: Config, words: Sequence[str], limit: int, *, offline: bool) -> Sequence[str]:
    from hubfs.blobs.retry import RetryPolicy, asking_once  # noqa: PLC0415 - requests takes 0.1 s to import
    from hubfs.endpoints import asking  # noqa: PLC0415 - as above
    from hubfs.hubs.hub import Hub  # noqa: PLC0415 - as above

    own = replace(own, stall_timeout_s=min(own.stall_timeout_s, _STALL_S))
    with asking(own, RetryPolicy()) as hub, asking_once():
        return Hub.search(hub, words, limit) if offline else hub.search(words, limit)


def _shown(name: str, url: str, handle: str) -> str:
    """The handle as commands take it: below the name of one of several hubs, or with the scheme of its hub."""
    if name and ":" not in name:
        return f"{name}/{handle}"
    return handle if "://" in url else f"{url.partition(':')[0]}:{handle}"
