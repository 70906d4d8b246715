"""Secrets of settings: which they are, and how they are kept out of messages, of `ps`, and of others' sight."""

import contextlib
import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hubfs.blobs.http.url import without_secrets

SECRET = ("token", "headers", "proxy_headers")

UNLISTED = "HUBFS_UNLISTED"
"""Flags for the daemon alone (JSON): what its command line, which everybody may read, does not show."""


def is_url(value: object) -> bool:
    """Whether a value is a URL, and no path."""
    return "://" in str(value)


def exposed(file: Path, table: Mapping[str, Any]) -> Iterator[str]:
    """A warning if the config file has a secret, and other users of the machine may read it."""
    secret = sorted({name for name, value in _flat(table) if name in SECRET or _is_secret(value)})
    with contextlib.suppress(OSError):
        mode = file.stat().st_mode
        if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
            yield (
                f"the config file {file} holds {', '.join(secret)}, and other users may read it "
                f"({stat.filemode(mode)}): chmod 600 {file}"
            )


def out_of_sight(arguments: Sequence[str], flags: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """`arguments`, which `flags` were read from, without credentials and queries of URLs, and without what headers say;
    and the environment that has `load` find them all the same: the environment of a process is shown to its user alone.
    """
    arguments, unlisted = [*arguments], {}
    for name, value in flags.items():
        for text in [value] if isinstance(value, str) else value if isinstance(value, tuple) else ():
            if name in SECRET or _is_secret(text):
                said = f"{text.partition(':')[0]}:" if name in SECRET else without_secrets(text)
                arguments = [argument.replace(text, said) for argument in arguments]
                unlisted[name] = value
    return arguments, {UNLISTED: json.dumps(unlisted)} if unlisted else {}


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and values of a table and of the tables in it."""
    for name, value in table.items():
        if isinstance(value, Mapping) and name not in SECRET:
            yield from _flat(value)
        else:
            yield name, value


def _is_secret(value: object) -> bool:
    """Whether a text is a URL with credentials, or with a query."""
    return isinstance(value, str) and is_url(value) and without_secrets(value) != value


def shown(name: str, value: object) -> str:
    """The value, for a message: nothing of what is secret, no `user:password@`, and no query."""
    if name in SECRET:
        return ""
    if isinstance(value, Mapping):  # sections of hubs hold tokens
        return ""
    text = value if isinstance(value, str) else " ".join(value) if isinstance(value, tuple) else repr(value)
    start, slashes, rest = text.partition("//") if "//" in text else ("", "", text)
    text = start + slashes + rest.rpartition("@")[2].partition("?")[0]
    return f" ({text!r})" if isinstance(value, str) else f" ({text})"
