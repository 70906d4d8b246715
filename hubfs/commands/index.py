"""`hubfs index`: writes the index of an archive beside it."""

import os
from pathlib import Path

import click


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="[default: ARCHIVE.hubfs-index]")
def index(archive: Path, *, output: Path | None) -> None:
    """Write the index of ARCHIVE (.tar.gz or .tar), to be published beside it.

    A host that serves the index under the URL of the archive with .hubfs-index behind its path lets mounts read any
    file of a model at once, and no more of the archive than that.
    """
    from hubfs.commands.indexing import write_index  # noqa: PLC0415 - what inflates takes 0.1 s to import

    click.echo(write_index(archive, output, workers=os.cpu_count() or 1))
