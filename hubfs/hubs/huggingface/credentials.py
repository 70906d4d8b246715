"""The token of the Hugging Face Hub of this user: the sources that huggingface_hub 2.4 reads, in its order."""

from collections.abc import Iterator, Mapping
from pathlib import Path

_LONGEST_BYTES = 64 << 10
_TRUE = {"1", "ON", "YES", "TRUE"}
_AUTHORIZATION = "Authorization"


class Credentials(Mapping[str, str]):
    """The headers that sign in at the hub now, and at no other host. `source` may be said aloud.

    `headers` are there whatever else is. A token in `file` is read again when the file has changed, at the price of a
    stat a use: huggingface_hub writes a new one when an OAuth login is renewed, and when the user logs in or out. While
    it writes, the file may be empty: then the token of before counts.

    `_read` is set as a whole, so no lock is needed.
    """

    def __init__(self, source: str, headers: Mapping[str, str], file: Path | None = None) -> None:
        self._source = source
        self._headers = headers
        self._file = file
        self._read: tuple[object, str] = (None, "")  # what the file was like, and the token in it

    @property
    def source(self) -> str:
        """By what hubfs signs in."""
        return f"the token in {self._file}" if self._token() else self._source

    def __getitem__(self, name: str) -> str:
        """The header's value; of a token that was taken away in the midst of a use, the last one."""
        return f"Bearer {self._read[1]}" if name == _AUTHORIZATION and self._read[1] else self._headers[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the headers."""
        return iter({**self._headers, _AUTHORIZATION: ""} if self._token() else self._headers)

    def __len__(self) -> int:
        """How many headers there are."""
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        """Without any secret."""
        return f"Credentials({self.source!r})"

    def _token(self) -> str:
        """The token in the file; empty where there is none."""
        if self._file is None:
            return ""
        try:
            found = self._file.stat()
        except OSError:
            return ""
        now = (found.st_mtime_ns, found.st_size, found.st_ino)
        before, token = self._read
        if now != before:
            token = _token_in(self._file) or token
            self._read = (now, token)
        return token


def find_credentials(environ: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Credentials:
    """What signs in at the hub, beside `headers`; without a token, they alone. A file that cannot be read has none."""
    headers = headers or {}
    if environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _TRUE:
        return Credentials("no credentials, since HF_HUB_DISABLE_IMPLICIT_TOKEN is set", headers)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _plain(environ.get(name, "")):
            return Credentials(name, {**headers, _AUTHORIZATION: f"Bearer {token}"})
    home = Path(environ.get("HOME", "/"))
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    folder = Path(environ.get("HF_HOME") or cache / "huggingface")
    return Credentials("no credentials", headers, Path(environ.get("HF_TOKEN_PATH") or folder / "token"))


def _token_in(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return _plain(opened.read(_LONGEST_BYTES).decode())
    except (OSError, ValueError):
        return ""


def _plain(text: str) -> str:
    """The token in `text`; empty for what no header could carry."""
    token = text.replace("\r", "").replace("\n", "").strip()
    return token if token.isascii() and token.isprintable() else ""
