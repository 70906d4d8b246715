"""`hubfs doctor`."""

import json
import os
import sys
from dataclasses import asdict
from typing import Any

import click

from hubfs.settings.config import load


@click.command()
@click.option("--hub", metavar="URL", help="The hub to ask.  [default: as for mount]")
@click.option("--cache-dir", metavar="DIR|URL", help="The cache to look at.  [default: as for mount]")
@click.option(
    "--format", metavar="auto|compressed|uncompressed", help="How models are asked for.  [default: as for mount]"
)
@click.option("--log-file", metavar="FILE", help="The log to look at.  [default: as for mount]")
@click.option("--allow-other", is_flag=True, default=None, help="Look whether mounts may be open to other users.")
@click.option("--config", metavar="FILE", help="The config file of the mount.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(*, as_json: bool, **flags: Any) -> None:
    """Look at all that a mount needs, and say what to do about what is missing.

    FUSE, libfuse, rights, fusermount, a mount on trial, the cache and its disk, proxies, certificates, the hub, its
    bucket, and the mounts that are there. Changes nothing. Exits with 1 if something does not work.
    """
    from hubfs.commands.doctor.examination import examine  # noqa: PLC0415 - requests takes 0.1 s to import
    from hubfs.commands.doctor.finding import Verdict  # noqa: PLC0415 - with it

    found = []
    for finding in examine(load(flags), os.environ):
        found.append(finding)
        if not as_json:
            click.echo(str(finding))  # as it comes: a hub that does not answer takes a while
    if as_json:
        click.echo(json.dumps([{**asdict(finding), "verdict": finding.verdict.value} for finding in found], indent=2))
    if any(finding.verdict is Verdict.PROBLEM for finding in found):
        sys.exit(1)
