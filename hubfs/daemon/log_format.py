"""How a record of the log reads: a line of text, or a JSON object a line. Nothing secret is in either."""

import json
import logging
from datetime import datetime, timezone
from pathlib import Path

from hubfs.blobs.http.url import redacted_text
from hubfs.errors import cut, printable

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_FIELD_CHARACTERS = 4096


def formatter(*, as_json: bool, mountpoint: Path, several_lines: bool = False) -> logging.Formatter:
    """The way that the user has chosen. Objects say the mount, for logs of many are gathered.

    With `several_lines` a message may have more than one: the caller's own. A record that was made with
    `extra={"fields": {...}}` has these fields in its object, too.
    """
    return _Objects(mountpoint) if as_json else _Lines("\n" if several_lines else "")


class _Lines(logging.Formatter):
    """Takes credentials and queries out of URLs, wherever in a record they are: a traceback quotes anybody.

    Names of files and what hosts say end no line, and tell no terminal anything.
    """

    def __init__(self, keep: str) -> None:
        super().__init__(_TEXT)
        self._keep = keep

    def format(self, record: logging.LogRecord) -> str:
        return printable(redacted_text(super().format(record)), keep="\n\t")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        record.message = printable(record.message, keep=self._keep)
        return super().formatMessage(record)


class _Objects(logging.Formatter):
    """Takes the same out of each field before the object is made: what is escaped hides from the expressions."""

    def __init__(self, mountpoint: Path) -> None:
        super().__init__()
        self._mountpoint = str(mountpoint)

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "mountpoint": self._mountpoint,
            "process": record.process,
            "thread": record.threadName,
            **{name: cut(str(value), _FIELD_CHARACTERS) for name, value in getattr(record, "fields", {}).items()},
        }
        traceback = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if traceback:
            said["traceback"] = traceback
        return json.dumps({name: _clean(value) for name, value in said.items()})


def _clean(value: object) -> object:
    return printable(redacted_text(value), keep="\n\t") if isinstance(value, str) else value
