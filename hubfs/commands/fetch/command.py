"""The command `hubfs fetch`."""

import logging
import sys
from pathlib import Path
from typing import Any

import click

from hubfs.settings.config import load


@click.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, required=True)
@click.option(
    "--to",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="One handle: DIR becomes the model. Several: each is in DIR, at the path that it has on a mount.",
)
@click.option("--hub", metavar="URL|NAME=URL", multiple=True, help="The hub of plain handles.  [default: as for mount]")
@click.option("--format", metavar="auto|compressed|uncompressed", help="As for mount.")
@click.option("--cache-dir", metavar="DIR|URL", help="As for mount: what a mount has cached is not fetched again.")
@click.option("--no-disk-cache", is_flag=True, default=None, help="As for mount.")
@click.option("--offline", is_flag=True, default=None, help="Take what is cached, and ask nobody.")
@click.option("--config", metavar="FILE", help="As for mount.")
@click.option("--quiet", is_flag=True, help="Say nothing but what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON for each event.")
def fetch(handles: tuple[str, ...], to: Path, *, quiet: bool, as_json: bool, **flags: Any) -> None:
    """Copy models into plain directories, without a mount: verified, and each as a whole or not at all.

    The settings are those of `hubfs mount`, and so is the cache. A fetch that was interrupted goes on where it was.

    \b
    hubfs fetch google/spice/2 --to spice
    hubfs fetch hf:BAAI/bge-m3 kaggle:keras/bert/keras/bert_tiny_en/3 --to models
    """  # noqa: D301 - the backspace is click's mark
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")
    from hubfs.commands.fetch.fetching import fetch_all  # noqa: PLC0415 - the engine takes 0.3 s to import
    from hubfs.commands.fetch.telling import Teller  # noqa: PLC0415 - as above

    logging.getLogger("hubfs").addHandler(logging.NullHandler())  # what matters is raised
    fetch_all(load(flags), handles, to, Teller(quiet=quiet, as_json=as_json, terminal=sys.stderr.isatty()))
