"""Catalogues as text: tab-separated lines for people, JSON Lines for programs. See docs/CATALOGUE.md."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hubfs.blobs import json_text
from hubfs.errors import InvalidConfig, InvalidHandle, quoted
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind, KaggleName

MOST_NAMES = 200_000
"""More models and members of collections are refused: each takes a kilobyte of memory. The public
catalogue has 9000."""

MOST_CHARACTERS = 64 << 20
"""So are more characters of handles, counted again for every directory above a model: a catalogue keeps those, too."""


_SEEN, _RANK = "seen", "rank"
"""How a name at Kaggle is known: by a redirect, or by the rank of the version."""


def parse_catalog(text: str, origin: str) -> list[CatalogEntry]:
    """The entries of a catalogue; `origin` (a file's name, a URL) is for messages.

    A line that begins with `{` is JSON, others are tab-separated; blank lines and those that begin with `#` are
    skipped. Raises `InvalidConfig` naming the origin, the line and the reason, also for more than `MOST_NAMES`.
    """
    entries = []
    names = characters = 0
    for number, raw in enumerate(_lines(text), 1):
        line = raw.strip()
        if line and not line.startswith("#"):
            try:
                entry = _from_json(line) if line.startswith("{") else _from_tsv(line)
            except (ValueError, InvalidHandle) as error:
                raise InvalidConfig(f"{origin}, line {number}: {error}") from None
            names += 1 + len(entry.members)
            characters += len(entry.handle) * (1 + entry.handle.count("/"))
            if names > MOST_NAMES or characters > MOST_CHARACTERS:
                raise InvalidConfig(
                    f"{origin}, line {number}: up to here it names {names} models and members, with {characters} "
                    f"characters of directories; at most {MOST_NAMES}, and {MOST_CHARACTERS}, are taken"
                )
            entries.append(entry)
    return entries


def _lines(text: str) -> Iterator[str]:
    """The lines, one at a time. Not splitlines, which would cut where JSON may hold a line separator of Unicode."""
    start = 1 if text.startswith("\ufeff") else 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def read_catalog(path: Path) -> list[CatalogEntry]:
    """The entries of the file. Raises `InvalidConfig` naming the file, the line, if it is one, and the reason."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfig(f"The catalogue {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidConfig(f"The catalogue {path} cannot be read: it is not UTF-8 text") from None
    return parse_catalog(text, str(path))


def to_json_lines(entries: Iterable[CatalogEntry]) -> str:
    """The entries as JSON Lines, in ASCII; `parse_catalog` reads them back."""
    return "".join(json.dumps(_to_json(entry)) + "\n" for entry in entries)


def to_tsv(entries: Iterable[CatalogEntry]) -> str:
    """Kinds and handles, a line each, for people; everything else is left out."""
    return "".join(f"{entry.kind.value}\t{entry.handle}\n" for entry in entries)


def write_catalog(path: Path, entries: Iterable[CatalogEntry]) -> None:
    """Writes JSON Lines, at once or not at all; makes the directory. Raises `InvalidConfig` if that cannot be."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(to_json_lines(entries), encoding="ascii")
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise InvalidConfig(f"The catalogue {path} cannot be written: {error.strerror}") from None


def _from_tsv(line: str) -> CatalogEntry:
    kind, tab, handle = line.partition("\t")
    if not tab:
        raise ValueError("it must read KIND, a tab, HANDLE")
    return CatalogEntry(_kind(kind), handle)


def _kaggle(name: str | None, known_by: str | None) -> KaggleName | None:
    if known_by not in (None, _SEEN, _RANK):
        raise ValueError(f"{quoted(repr(known_by))} does not say how a name at Kaggle is known: {_SEEN}, {_RANK}")
    return None if name is None else KaggleName(name, seen=known_by != _RANK)


def _from_json(line: str) -> CatalogEntry:
    fields = json_text.parse(line)
    handle, documentation, members = fields.get("handle"), fields.get("documentation"), fields.get("members", [])
    if not isinstance(handle, str):
        raise ValueError("it needs a 'handle', a text")  # noqa: TRY004 - a value in a file, not an argument
    if documentation is not None and not isinstance(documentation, str):
        raise ValueError("its 'documentation' must be a text")
    for key in ("format", "task", "kaggle", "kaggle_by"):
        if not isinstance(fields.get(key), str | None):
            raise ValueError(f"its '{key}' must be a text")  # noqa: TRY004 - as above
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise ValueError("its 'members' must be a list of handles")
    return CatalogEntry(
        _kind(fields.get("kind")),
        handle,
        documentation,
        tuple(members),
        fields.get("format"),
        fields.get("task"),
        _kaggle(fields.get("kaggle"), fields.get("kaggle_by")),
    )


def _to_json(entry: CatalogEntry) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": entry.kind.value, "handle": entry.handle}
    if entry.documentation is not None:
        fields["documentation"] = entry.documentation
    if entry.members:
        fields["members"] = entry.members
    if entry.format is not None:
        fields["format"] = entry.format
    if entry.task is not None:
        fields["task"] = entry.task
    if entry.kaggle is not None:
        fields |= {"kaggle": entry.kaggle.name, "kaggle_by": _SEEN if entry.kaggle.seen else _RANK}
    return fields


def _kind(text: object) -> CatalogKind:
    try:
        return CatalogKind(text)
    except ValueError:
        raise ValueError(f"{quoted(repr(text))} is no kind: {', '.join(kind.value for kind in CatalogKind)}") from None
