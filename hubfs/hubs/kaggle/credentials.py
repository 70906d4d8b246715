"""Kaggle's credentials of this user: the sources that kagglehub 1.0.3 reads, in its order, and the OAuth file.

The OAuth file (`~/.kaggle/credentials.json`) is of Kaggle's command line, which looks for it last, too.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

_LONGEST_BYTES = 64 << 10


@dataclass(frozen=True)
class Credentials:
    """`authorization` is the header's value for Kaggle's API, and for no other host. `source` may be said aloud.

    A header that expires does so at `expires_s` (Unix time), and `refresh_token` gets another.
    """

    source: str
    authorization: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_s: float | None = None


def find_credentials(environ: Mapping[str, str], home: Path) -> Credentials | None:
    """What signs in at Kaggle; None for a reader without an account. A file that cannot be read is passed over."""
    return next(_found(environ, home), None)


def _found(environ: Mapping[str, str], home: Path) -> Iterator[Credentials]:
    if "KAGGLE_KERNEL_RUN_TYPE" in environ:
        yield from _token_file(Path(environ.get("KAGGLE_API_V1_TOKEN", "")), "KAGGLE_API_V1_TOKEN")
    named = environ.get("KAGGLE_API_TOKEN", "").strip()
    if named:
        path = Path(named)
        is_file = _text(path) is not None
        yield from _token_file(path, "KAGGLE_API_TOKEN") if is_file else [_bearer("KAGGLE_API_TOKEN", named)]
    for name in ("access_token", "access_token.txt"):
        yield from _token_file(home / ".kaggle" / name, f"~/.kaggle/{name}")
    user, key = environ.get("KAGGLE_USERNAME"), environ.get("KAGGLE_KEY")
    if user and key:
        yield _basic("KAGGLE_USERNAME and KAGGLE_KEY", user, key)
    for folder in (environ.get("KAGGLE_CONFIG_DIR"), home / ".kaggle"):
        if folder:
            said = _json(Path(folder) / "kaggle.json")
            user, key = said.get("username"), said.get("key")
            if user and key:
                yield _basic("kaggle.json", user, key)
    said = _json(home / ".kaggle" / "credentials.json")
    if refresh_token := said.get("refresh_token"):
        token, expires_s = said.get("access_token", ""), _time_s(said.get("access_token_expiration", ""))
        yield Credentials("~/.kaggle/credentials.json", f"Bearer {token}", refresh_token, expires_s if token else 0.0)


def _token_file(path: Path, source: str) -> Iterator[Credentials]:
    token = (_text(path) or "").strip()
    if token:
        yield _bearer(source, token)


def _bearer(source: str, token: str) -> Credentials:
    return Credentials(source, f"Bearer {token}")


def _basic(source: str, user: str, key: str) -> Credentials:
    return Credentials(source, "Basic " + b64encode(f"{user}:{key}".encode()).decode())


def _time_s(text: str) -> float:
    """A date as Python writes it, as Unix time; one that was long ago for what is none."""
    try:
        date = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _text(path: Path) -> str | None:
    """The text of a small file; None for no file, and for what is none of text."""
    try:
        with path.open("rb") as opened:
            return opened.read(_LONGEST_BYTES).decode()
    except (OSError, ValueError):
        return None


def _json(path: Path) -> Mapping[str, str]:
    try:
        said = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return {name: text for name, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}
