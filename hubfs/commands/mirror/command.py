"""The command `hubfs mirror`."""

from typing import Any, TextIO

import click

from hubfs.commands.completion import handles as cached_handles
from hubfs.commands.fetch.command import listed, options, told
from hubfs.settings.config import load


@click.command()
@click.argument("handles", metavar="HANDLE…", nargs=-1, shell_complete=cached_handles)
@click.option("--to", metavar="DIR|gs://…", required=True, help="A directory for `hubfs serve`, or a bucket.")
@click.option("-f", "--file", metavar="LIST", type=click.File(), help="A file of handles, one a line; - for stdin.")
@click.option("--dry-run", is_flag=True, help="Only say what would go where.")
@options
def mirror(
    handles: tuple[str, ...],
    to: str,
    file: TextIO | None,
    *,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Make DIR or a bucket a hub that has these models, of whichever hubs, with indexes.

    A publisher, or any other directory above models, means the newest version of each model below. The settings are
    those of `hubfs mount`, and so is the cache. Models that are there are passed over, and a mirror that was
    interrupted goes on where it was.

    \b
    hubfs mirror google/spice/2 hf:BAAI/bge-m3 --to models && hubfs serve models
    hubfs mirror -f models.txt --to gs://team-models/hub && hubfs mount /mnt/team --hub gs://team-models/hub
    """  # noqa: D301 - the backspace is click's mark
    asked = [*handles, *listed(file)]
    if not asked:
        raise click.UsageError("name a handle, or a list of handles by -f")
    tell = told(quiet=quiet, as_json=as_json)
    from hubfs.commands.mirror.mirroring import mirror_all  # noqa: PLC0415 - the engine takes 0.3 s to import

    mirror_all(load(flags), asked, to, tell, dry_run=dry_run)
