"""Manual pages from the help texts: hubfs(1), a page for each command, and mount.hubfs(8)."""

import os
import time
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path

import click

from hubfs import __version__
from hubfs.cli import COMMANDS, main
from hubfs.commands.mount_helper import mount_helper

_ESCAPED = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_RAW = "\b"
"""click's mark of a paragraph whose lines stay lines."""

_WIDTH = 10_000
"""click breaks no line: a pager does."""


def write_pages(folder: Path) -> None:
    """Writes every page into `folder`/man1 and `folder`/man8."""
    lines = {name: command.help[:1].lower() + command.help[1:].rstrip(".") for name, command in COMMANDS.items()}
    context = click.Context(main, info_name="hubfs", terminal_width=_WIDTH)
    pages = {"man1/hubfs.1": _page("hubfs", 1, _whole(context, lines), "the hub as a file system")}
    for name, line in lines.items():
        body = "\n".join(_entry(_context(main.get_command(context, name), context)))
        pages[f"man1/hubfs-{name}.1"] = _page(f"hubfs-{name}", 1, body, line)
    alone = click.Context(mount_helper, info_name="mount.hubfs", terminal_width=_WIDTH)
    pages["man8/mount.hubfs.8"] = _page("mount.hubfs", 8, "\n".join(_entry(alone)), "mount a hub, for mount(8)")
    for path, text in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="ascii")


def _page(name: str, section: int, body: str, summary: str) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    also = "" if name == "hubfs" else '.SH "SEE ALSO"\n.BR hubfs (1)\n'
    return (
        f'.TH "{_escaped(name.upper())}" "{section}" "{day}" "hubfs {__version__}" "hubfs"\n'
        f".SH NAME\n{_escaped(name)} \\- {_escaped(summary)}\n{body}\n{also}"
    )


def _context(command: click.Command, above: click.Context) -> click.Context:
    return click.Context(command, info_name=command.name, parent=above, terminal_width=_WIDTH)


def _whole(context: click.Context, commands: Mapping[str, str]) -> str:
    lines = [*_usage(context), ".SH DESCRIPTION", *_text(context.command.help or ""), *_options(context, ".SH OPTIONS")]
    lines.append(".SH COMMANDS")
    for name, line in commands.items():
        lines += [".TP", f".BR hubfs\\-{_escaped(name)} (1)", _escaped(line)]
    return "\n".join([*lines, '.SH "EXIT STATUS"', *_text(context.command.epilog or "")])


def _entry(context: click.Context) -> Iterator[str]:
    """A command; of a group, its commands as sections of their own."""
    command = context.command
    yield from _usage(context)
    yield ".SH DESCRIPTION"
    yield from _text(command.help or "")
    yield from _options(context, ".SH OPTIONS")
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for name in command.list_commands(context):
            below = _context(command.get_command(context, name), context)
            yield f'.SS "{_escaped(below.command_path)}"'
            yield _synopsis(below)
            yield ".PP"
            yield from _text(below.command.help or "")
            yield from _options(below, "")


def _usage(context: click.Context) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    yield _synopsis(context)


def _synopsis(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f".B {_escaped(context.command_path)}\n{_escaped(pieces)}"


def _text(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith(_RAW):
            yield ".nf"
            yield from (_line(line) for line in paragraph.removeprefix(_RAW).strip("\n").split("\n"))
            yield ".fi"
        else:
            yield _line(" ".join(paragraph.split()))


def _options(context: click.Context, heading: str) -> Iterator[str]:
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    records = [record for one in options if (record := one.get_help_record(context))]
    if records and heading:
        yield heading
    for names, text in records:
        yield ".TP"
        yield f".B {_escaped(names)}"
        yield _line(" ".join(text.split()))


def _line(text: str) -> str:
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(one, one if one.isascii() else f"\\[u{ord(one):04X}]") for one in text)
