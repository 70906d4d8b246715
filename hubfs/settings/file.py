"""The config file: its table, and the line of a key."""

import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from hubfs.errors import InvalidConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST_LINES = 50
"""So many lines of one statement are looked at."""


def _cannot_be_there(path: Path) -> bool:
    """Whether no file of this user's is at `path`: HOME is /dev/null, say, or root's in a process that is not."""
    try:
        path.stat()
    except (NotADirectoryError, PermissionError):
        return True
    except OSError:
        return False
    return False


def read_file(path: Path, known: AbstractSet[str], *, must_exist: bool) -> Mapping[str, Any]:
    """The table of a config file that has these keys; an empty one for a file that need not be there.

    Raises `InvalidConfig`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise InvalidConfig(f"The config file {path} does not exist") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        if not must_exist and _cannot_be_there(path):
            return {}
        raise InvalidConfig(f"The config file {path} cannot be read: {error}") from None
    unknown = table.keys() - known
    if unknown:
        raise InvalidConfig(f"The config file {path} has unknown settings: {', '.join(sorted(unknown))}")
    return table


def line_of(text: str, *path: str) -> int | None:
    """The line, from 1 on, where a config file says a key, by its path (`hub`, `team`, `token`); None if none does.

    TOML is read by its own reader: a key is in the statement without which the text above lacks it.
    """
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if path[-1] not in line or _says(lines[:start], path) is not False:
            continue
        ends = range(start + 1, min(start + _LONGEST_LINES, len(lines)) + 1)
        if next((said for end in ends if (said := _says(lines[:end], path)) is not None), False):
            return start + 1
    return None


def _says(lines: Sequence[str], path: Sequence[str]) -> bool | None:
    """Whether these lines say the key of this path; None where they end within a statement."""
    try:
        table: Any = tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    for part in path:
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return True
