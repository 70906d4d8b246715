"""Secrets of this user, and how they are kept out of a bundle: by their values where these are known, and by looks."""

import contextlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from hubfs.blobs.http.url import redacted_text
from hubfs.settings.config import Config
from hubfs.settings.secrets import UNLISTED, is_url

_INSTEAD = "(secret)"

_NAMES = ("TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL", "AUTH", "HEADERS", "COOKIE", UNLISTED)
"""What names of variables that hold secrets have in them."""

_LEAST_CHARACTERS = 6
"""A shorter value is part of too many words, and no secret."""

_FILES = (
    *(".kaggle/access_token", ".kaggle/access_token.txt", ".kaggle/kaggle.json", ".kaggle/credentials.json"),
    *(".cache/huggingface/token", ".cache/huggingface/stored_tokens", ".netrc"),
    ".config/gcloud/application_default_credentials.json",
)
"""Files below the home that hold secrets and nothing else; variables name more of them."""

_FILE_BYTES = 64 << 10
_FILE_CHARACTERS = 12
"""A word of such a file that is no shorter counts as a secret."""

# Each match takes all that was looked at, up to the end of the word.
_LOOKS = re.compile(
    r"(?:hf_|ghp_|glpat-|AKIA|ya29\.|KGAT_)[\w.-]{8,}|(?<=earer )[^\s\"',]+|(?<=asic )[\w+/=-]{8,}", re.ASCII
)


class Secrets:
    """The values of this user's secrets, as far as they can be found."""

    def __init__(self, config: Config, environment: Mapping[str, str], home: Path) -> None:
        found = {*_of_environment(environment), *_of_config(config), *_of_files(environment, home)}
        for value in [*found]:
            found |= {quote(value, safe=""), unquote(value)}
        # The longest first: one may be a part of another.
        self._values = sorted((value for value in found if len(value) >= _LEAST_CHARACTERS), key=len, reverse=True)

    def without(self, text: str) -> str:
        """The text without them, without userinfo and queries of URLs, and without what looks like a token."""
        for value in self._values:
            text = text.replace(value, _INSTEAD)
        return redacted_text(_LOOKS.sub(_INSTEAD, text))

    def without_in(self, value: Any) -> Any:
        """A JSON value without its secrets. Each text is searched by itself, for JSON's escapes hide secrets."""
        if isinstance(value, str):
            return self.without(value)
        if isinstance(value, Mapping):
            return {self.without(str(name)): self.without_in(inner) for name, inner in value.items()}
        return [*map(self.without_in, value)] if isinstance(value, list) else value


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if any(word in name.upper() for word in _NAMES):
            yield from (value, *value.split())
        elif is_url(value):
            yield from _of_url(value)


def _of_config(config: Config) -> Iterator[str]:
    for own in config.each_hub().values():
        yield own.token or ""
        for headers in (own.headers, own.proxy_headers):
            for value in headers.values():
                yield from (value, *value.split())
        for url in (own.hub, own.shared_cache_url or "", own.gcs_endpoint_url or "", *own.endpoints.values()):
            yield from _of_url(url)


def _of_url(url: str) -> Iterator[str]:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        userinfo = parts.netloc.rpartition("@")[0]
        if userinfo:
            user, _, password = userinfo.partition(":")
            yield from (userinfo, password or user, b64encode(unquote(userinfo).encode()).decode())
        yield from (value for _, value in parse_qsl(parts.query))


def _of_files(environment: Mapping[str, str], home: Path) -> Iterator[str]:
    named = [environment.get(name, "") for name in ("HF_TOKEN_PATH", "NETRC", "GOOGLE_APPLICATION_CREDENTIALS")]
    for folder, inner in (("HF_HOME", "token"), ("KAGGLE_CONFIG_DIR", "kaggle.json")):
        named.append(str(Path(environment[folder], inner)) if environment.get(folder) else "")
    for path in [*map(home.joinpath, _FILES), *map(Path, filter(None, named))]:
        with contextlib.suppress(OSError), path.open("rb") as file:
            yield from _words(file.read(_FILE_BYTES).decode(errors="replace"))


def _words(text: str) -> Iterable[str]:
    for separator in ('"', "'", ",", "\\n"):
        text = text.replace(separator, " ")
    return (word for word in text.split() if len(word) >= _FILE_CHARACTERS)
