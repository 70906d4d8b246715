"""`hubfs serve`."""

from pathlib import Path

import click

from hubfs.errors import InvalidConfig, needing
from hubfs.hubs.about import UserSettings


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port; 0 takes a free one.")
@click.option("--bucket", metavar="gs://…", help="Where the same models are uncompressed: clients are sent there.")
@click.option(
    "--archive-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where archives of directories are kept while it runs.  [default: TMPDIR]",
)
@click.option("--archive-size", metavar="SIZE", help="What they may take there.  [default: half of what is free]")
@click.option("--hidden", is_flag=True, help="Serve files of a model whose names begin with a dot, too (.env, .git).")
@click.pass_obj
def serve(
    settings: UserSettings,
    directory: Path,
    *,
    host: str,
    port: int,
    bucket: str | None,
    archive_dir: Path | None,
    archive_size: str | None,
    hidden: bool,
) -> None:
    """Serve DIRECTORY as a model hub.

    DIRECTORY holds models as <publisher>/<name>/<version>/, each a SavedModel, or as <version>.tar.gz; move new
    versions into place by rename. Archives of directories are built when they are asked for, with their indexes, and
    kept while there is room; the index of a ready archive, which `hubfs index` makes, is served where it lies beside
    it. Stops on Ctrl-C. docs/SECURITY.md says what it is fit for.
    """
    with needing("aiohttp", "hubfs serve"):
        from hubfs.hubs.tfhub.serve.app import HostSettings  # noqa: PLC0415 - aiohttp takes 0.1 s to import
        from hubfs.hubs.tfhub.serve.server import run  # noqa: PLC0415 - the same

    try:
        size_bytes = None if archive_size is None else settings.size_bytes(archive_size)
    except ValueError as error:
        raise InvalidConfig(f"--archive-size {archive_size}: {error}") from error
    run(
        directory,
        HostSettings(bucket, archive_dir, size_bytes, hidden),
        host=host,
        port=port,
        on_ready=lambda url: click.echo(f"Serving {directory} at {url}"),
    )
