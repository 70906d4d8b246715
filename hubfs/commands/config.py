"""`hubfs config`: what is in force."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from hubfs.commands.options import settings_options
from hubfs.errors import printable
from hubfs.settings.config import settle
from hubfs.settings.effective import Row, rows


@click.group()
def config() -> None:
    """Look at the settings that are in force."""


@config.command()
@settings_options
@click.option("--all/--changed", "everything", default=True, help="Or only what is no default.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(*, everything: bool, as_json: bool, **flags: Any) -> None:
    """Show every setting with its value, and where it comes from, as `hubfs mount` with these options would take it.

    That is an option, a variable of the environment, a line of the config file, the profile, or the default. No secret
    is shown.
    """
    settled = settle(flags)
    found = [row for row in rows(settled) if everything or row.origin != "default"]
    if as_json:
        click.echo(
            json.dumps({"settings": [asdict(row) for row in found], "warnings": settled.config.warnings}, indent=2)
        )
        return
    click.echo("\n".join(_lines(found)))
    for text in settled.config.warnings:
        click.echo(f"hubfs: WARNING: {printable(text)}", err=True)


def _lines(found: Sequence[Row]) -> Sequence[str]:
    cells = [(row.setting, "" if row.value is None else row.value, _from(row), row.hub) for row in found]
    widths = [max((len(printable(cell[column])) for cell in cells), default=0) for column in (0, 1)]
    lines, section = [], ""
    for name, value, origin, hub in cells:
        if hub != section:
            section = hub
            lines += ["", f"[hub.{hub}]"]
        lines.append(f"{name:{widths[0]}}  {printable(value):{widths[1]}}  {origin}")
    return lines


def _from(row: Row) -> str:
    match row.origin:
        case "file":
            return f"{printable(row.name)}:{row.line}" if row.line else printable(row.name)
        case "profile":
            return f"profile {row.name}"
        case "default":
            return "default"
    return row.name
