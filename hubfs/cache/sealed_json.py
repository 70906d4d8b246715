"""JSON that says itself whether it is what was written: what the cache keeps in small files and objects."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from hubfs.blobs.checksums import crc32c

_VERSION = 2
_HEAD = re.compile(rb'\{"version": (\d{1,9}), "crc32c": (\d{1,10}), "(\w+)":\n')
_TAIL = b"\n}\n"
"""JSON for people; what is between the lines is verified before anything of it is understood."""


def checksum_of(name: str, data: bytes) -> int:
    """A crc32c of `data` and of what it belongs to: under another name it is wrong."""
    return crc32c(os.fsencode(f"{name}\0") + data)


def seal(kind: str, name: str, content: Mapping[str, Any]) -> bytes:
    """The `kind` of thing (a word) that `name` has, to be kept where `unseal` is asked for it."""
    return seal_text(kind, name, json.dumps(content).encode())


def seal_text(kind: str, name: str, text: bytes) -> bytes:
    """As `seal`, of a JSON text."""
    head = b'{"version": %d, "crc32c": %d, "%b":\n' % (_VERSION, checksum_of(name, text), kind.encode())
    return head + text + _TAIL


def unseal(kind: str, name: str, data: bytes) -> dict[str, Any]:
    """What was sealed as this `kind` under this `name`.

    Raises `ValueError` for anything else: damage, another name's, another kind's, another version's. The text may
    have been sealed by another program, so its reader still looks at the types.
    """
    head = _HEAD.match(data)
    if head is None or int(head[1]) != _VERSION or head[3] != kind.encode() or not data.endswith(_TAIL):
        raise ValueError("it is damaged, or of another version")
    text = data[head.end() : -len(_TAIL)]
    if int(head[2]) != checksum_of(name, text):
        raise ValueError("it is damaged, or another's")
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"it is no {kind}")  # noqa: TRY004 - as everything else that is wrong with it
    return content
