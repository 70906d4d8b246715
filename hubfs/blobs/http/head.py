"""The fields of a reply's head, read as http.client reads them, without its parser, which is one for mails."""

import email.parser
import http.client
from typing import Any, Protocol

_MOST_FIELDS = 100
"""As http.client has it."""

_ENDS = (b"\r\n", b"\n", b"")
_IN_NAMES = bytes(character for character in range(ord("!"), ord("~") + 1) if character != ord(":"))

_FOR_BROWSERS = (b"set-cookie", b"set-cookie2")
"""No request of ours sends cookies back."""


class _Lines(Protocol):
    def readline(self, limit_bytes: int, /) -> bytes: ...


class _Head(http.client.HTTPMessage):
    """Fields of a head that needs no parser: each is one line. A lookup compares names, and does no more."""

    _headers: list[tuple[str, str]]

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__()
        self._headers = fields

    def get(self, name: str, failobj: Any = None) -> Any:
        """The first field of this name."""
        name = name.lower()
        return next((value for key, value in self._headers if key.lower() == name), failobj)

    def items(self) -> list[tuple[str, Any]]:
        """All fields, in their order."""
        return list(self._headers)

    def is_multipart(self) -> bool:
        """It has no parts, as a mail may have."""
        return False

    def get_payload(self, *_: Any, **__: Any) -> None:
        """Nothing follows the fields."""


def read_head(lines: _Lines) -> http.client.HTTPMessage:
    """The fields up to the blank line that ends the head, or up to the end of the connection, but for cookies.

    A head with a line that is no plain field (one that goes on, one without a colon) is left to the parser of
    http.client. Raises `HTTPException` for too many fields, and what `lines` raises.
    """
    read: list[bytes] = []
    while (line := lines.readline(-1)) not in _ENDS:
        read.append(line)
        if len(read) >= _MOST_FIELDS:
            raise http.client.HTTPException(f"got more than {_MOST_FIELDS} headers")
    fields: list[tuple[str, str]] = []
    for each in read:
        name, colon, value = each.partition(b":")
        if not name or not colon or name.strip(_IN_NAMES) or each.find(b"\r") != len(each) - 2:
            return _parsed(b"".join(read).decode("latin-1"))
        if name.lower() not in _FOR_BROWSERS:
            fields.append((name.decode("latin-1"), value[:-2].lstrip(b" \t").decode("latin-1")))
    return _Head(fields)


def _parsed(text: str) -> http.client.HTTPMessage:
    head = email.parser.Parser(_class=http.client.HTTPMessage).parsestr(text)
    for unwanted in _FOR_BROWSERS:
        del head[unwanted.decode()]
    return head
