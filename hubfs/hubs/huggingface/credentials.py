"""The token of the Hugging Face Hub of this user: the sources that huggingface_hub 2.4 reads, in its order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LONGEST_BYTES = 64 << 10
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class Credentials:
    """`headers` sign in at the hub, and at no other host. `source` may be said aloud."""

    source: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_credentials(environ: Mapping[str, str]) -> Credentials:
    """What signs in at the hub; without a token, nothing does. A file that cannot be read is passed over."""
    if environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in _TRUE:
        return Credentials("no credentials, since HF_HUB_DISABLE_IMPLICIT_TOKEN is set")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _plain(environ.get(name, "")):
            return _bearer(name, token)
    home = Path(environ.get("HOME", "/"))
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    folder = Path(environ.get("HF_HOME") or cache / "huggingface")
    path = Path(environ.get("HF_TOKEN_PATH") or folder / "token")
    try:
        with path.open("rb") as opened:
            token = _plain(opened.read(_LONGEST_BYTES).decode())
    except (OSError, ValueError):
        token = ""
    return _bearer(f"the token in {path}", token) if token else Credentials("no credentials")


def _plain(text: str) -> str:
    """The token in `text`; empty for what no header could carry."""
    token = text.replace("\r", "").replace("\n", "").strip()
    return token if token.isascii() and token.isprintable() else ""


def _bearer(source: str, token: str) -> Credentials:
    return Credentials(source, {"Authorization": f"Bearer {token}"})
