"""Text, tables and bars for a terminal or a pipe. What is told of a hub passes `told` or `line`, and nothing else."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hubfs.errors import cut, printable

UNBOUNDED = 10_000
"""The width of what is no terminal: no line is cut or wrapped."""

_CELL_CHARACTERS, _LINE_CHARACTERS = 500, 5000
"""No cell and no sentence is longer: an error and a path have 2000 characters and some."""

_BAR_COLUMNS = 10


def told(value: object, style: str = "", *, characters: int = _CELL_CHARACTERS) -> Text:
    """What a daemon said, which may quote a hub: printable, and no longer than that."""
    return Text(cut(printable(str(value)), characters), style)


def line(value: object, style: str = "", *, indent: int = 0) -> RenderableType:
    """A sentence, which a terminal wraps."""
    return Padding(told(value, style, characters=_LINE_CHARACTERS), (0, 0, 0, indent), expand=False)


def short(value: object, style: str = "") -> Text:
    """A sentence that takes one row, however narrow the screen is."""
    text = told(value, style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers stay whole, at the right; names are cut where there is no room; prose is wrapped.

    A screen of less than `from_width` columns goes without it.
    """

    title: str
    kind: Literal["number", "name", "prose", "bar"] = "number"
    from_width: int = 0


def table(
    width: int, columns: Iterable[Column], rows: Iterable[Iterable[RenderableType | object]]
) -> RenderableType | None:
    """A table without lines, for a screen of so many columns; None without a row."""
    columns = list(columns)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        if width >= column.from_width:
            made.add_column(
                column.title,
                justify="right" if column.kind == "number" else "left",
                no_wrap=column.kind in {"number", "bar"},
                overflow="fold" if column.kind == "prose" else "ellipsis",
            )
    for row in rows:
        cells = (cell for cell, column in zip(row, columns, strict=True) if width >= column.from_width)
        made.add_row(*(cell if isinstance(cell, (Text, ProgressBar)) else told(cell) for cell in cells))
    return made if made.row_count else None


def bar(part: float | None, style: str = "green") -> RenderableType:
    """How much of the whole it is; nothing if that is not known."""
    if part is None:
        return Text()
    return ProgressBar(1.0, part, width=_BAR_COLUMNS, complete_style=style, finished_style=style)


def rendered(parts: Iterable[RenderableType | None], width: int | None = None, *, color: bool = False) -> str:
    """The parts below each other, for a terminal of so many columns, or without a width for what is no terminal."""
    file = io.StringIO()
    console = Console(
        file=file, width=width or UNBOUNDED, force_terminal=color, highlight=False, markup=False, emoji=False
    )
    for part in parts:
        if part is not None:
            console.print(part)
    return "\n".join(one.rstrip() for one in file.getvalue().split("\n")).rstrip("\n")
