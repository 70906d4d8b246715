"""Values of settings: text → what it means (`parse_…`), and back (`…_text`).

Each `parse_…` raises ValueError, which says what the text must be.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hubfs.fuse.mounting import FuseLibrary
from hubfs.hubs.registry import DEFAULT_HUB, HUBS, SHORT
from hubfs.metrics.address import Address
from hubfs.sources.source import Form

T = TypeVar("T")

_NAMED_HUB = re.compile(r"([a-zA-Z\d][\w-]{0,63})=(.*)", re.ASCII | re.DOTALL)
"""The name is a directory's."""

MOST_WORKERS = 16
"""So many threads inflate at most."""

_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([kmgt]?)(i?)(b?)", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*(ms|s|m|h)?", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)
_OF_REQUESTS = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "cookie"),
    *("expect", "host", "if-match", "if-none-match", "if-range", "range", "te", "trailer", "transfer-encoding"),
    *("upgrade", "user-agent"),
}
_LEAST_MEMORY_BYTES = 8 << 20
_LEAST_WITHOUT_UNIT_BYTES = 1 << 20
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LOOSENING = frozenset({"suid", "dev", "uid", "gid", "umask", "user_id", "group_id", "rootmode", "fd", "blkdev"})
"""Options of libfuse and the kernel that would undo what hubfs sets, or say who owns what."""


def parse_size(text: str | float) -> int:
    """`512MiB`, `10GB`, `1.5g` or a number of bytes → bytes. Raises ValueError.

    A number without a unit that is less than one block of the cache is not meant in bytes.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise ValueError("it must read like 512MiB or 10GB")
    number, prefix, binary, unit = match.groups()
    size_bytes = int(Fraction(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])
    if not (prefix or binary or unit) and 0 < size_bytes < _LEAST_WITHOUT_UNIT_BYTES:
        raise ValueError(f"a unit is missing: write {number}GiB or {number}MiB (or {number}B), as in 512MiB")
    return size_bytes


def size_text(size_bytes: int) -> str:
    """A number of bytes as `parse_size` reads it, in the largest unit that divides it."""
    for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        for base, binary in ((1024, "i"), (1000, "")):
            if size_bytes and size_bytes % base**power == 0:
                return f"{size_bytes // base**power}{prefix.upper() if binary else prefix}{binary}B"
    return f"{size_bytes}B"


def parse_workers(text: str | int) -> int:
    """How many threads inflate an archive, from 0 on. Raises ValueError."""
    if not str(text).isascii() or not str(text).isdigit() or int(text) > MOST_WORKERS:
        raise ValueError(f"it must be a number from 0 to {MOST_WORKERS}")
    return int(text)


def parse_memory_size(text: str) -> int:
    """As `parse_size`; not less than readers need who go through an archive together. Raises ValueError."""
    size_bytes = parse_size(text)
    if size_bytes < _LEAST_MEMORY_BYTES:
        raise ValueError(f"it must be at least {_LEAST_MEMORY_BYTES >> 20}MiB")
    return size_bytes


def parse_time(text: str | float) -> float:
    """`30s`, `5m`, `250ms` or a number of seconds → seconds, more than 0. Raises ValueError."""
    match = _TIME.fullmatch(str(text).strip())
    if match is None:
        raise ValueError("it must read like 30s or 5m")
    number, unit = match.groups()
    seconds_s = float(number) * _SECONDS[(unit or "s").lower()]
    if not 0 < seconds_s < threading.TIMEOUT_MAX:
        raise ValueError("it must be longer than 0 s, and not for ever")
    return seconds_s


def time_text(seconds_s: float) -> str:
    """Seconds as `parse_time` reads them."""
    for unit in ("h", "m"):
        if seconds_s % _SECONDS[unit] == 0:
            return f"{seconds_s / _SECONDS[unit]:.0f}{unit}"
    return f"{Decimal(repr(seconds_s)).normalize():f}s"


def parse_address(text: str) -> Address:
    """`127.0.0.1:9464`, `[::1]:9464` or `HOST:PORT` → the host and the port. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != str(text) or parts.username is not None:
        raise ValueError(
            "it must read like 127.0.0.1:9464 or [::1]:9464; 0.0.0.0:9464 is for every host that gets here"
        )
    return Address(host, port)


def parse_hub(text: str) -> str:
    """The URL of a hub; `SHORT` is short for `DEFAULT_HUB`. Raises ValueError, which does not show the text."""
    if str(text).rstrip("/") == f"{SHORT}:":
        return DEFAULT_HUB
    try:
        url = urlsplit(str(text))
        is_hub = url.scheme in HUBS
        if url.scheme in ("http", "https"):
            is_hub = bool(url.hostname) and url.port != 0
        elif url.scheme == "gs":
            is_hub = bool(url.netloc)
    except ValueError:  # says what it met: half a password, maybe
        is_hub = False
    if not is_hub:
        *others, last = (f"{scheme}:" for scheme in sorted(HUBS) if scheme not in ("http", "https", "gs"))
        short = " or ".join(filter(None, [", ".join(others), last]))
        raise ValueError(
            f"it must be the http(s) URL of a hub, such as {DEFAULT_HUB}, or gs://bucket/prefix, or {short}"
        )
    return text.rstrip("/")


def parse_endpoint(text: str, *, plain: bool = False) -> str:
    """The URL of a host that stands for a hub's own: https, or http on this machine; `plain`: or http anywhere.

    Raises `ValueError`.
    """
    url = urlsplit(str(text))
    local = url.hostname in ("localhost", "127.0.0.1", "::1")
    if (
        not (url.hostname and (url.scheme == "https" or (url.scheme == "http" and (local or plain))))
        or url.query
        or url.username
    ):
        raise ValueError("it must be the https URL of a host, or an http URL of this machine")
    return str(text).rstrip("/")


def parse_hubs(value: str | Sequence[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The URLs of hubs by their names: `NAME=URL` each, or one URL alone, whose name is empty. Raises ValueError.

    `value` is one or several texts (several in one are separated by spaces), or tables with a `url` each, by name.
    """
    if isinstance(value, Mapping):
        texts = [f"{name}={table['url']}" for name, table in value.items() if "url" in table]
    else:
        texts = [text for one in ([value] if isinstance(value, str) else value) for text in str(one).split()]
    found: dict[str, str] = {}
    for text in texts:
        named = _NAMED_HUB.fullmatch(text)
        name, url = (named[1], named[2]) if named else ("", text)
        if name in found:
            raise ValueError(f"two hubs have the name {name!r}" if name else "of several hubs, each reads NAME=URL")
        found[name] = parse_hub(url)
    if not found:
        raise ValueError("it must be the URL of a hub, or NAME=URL for each of several")
    if "" in found and len(found) > 1:
        raise ValueError("of several hubs, each reads NAME=URL")
    return found


def parse_word(meanings: Mapping[str, T]) -> Callable[[object], T]:
    """Reads one of these words, in any case. What it returns raises ValueError for another word."""
    *others, last = meanings

    def parse(text: object) -> T:
        if str(text).lower() not in meanings:
            raise ValueError(f"it must be {', '.join(others)} or {last}")
        return meanings[str(text).lower()]

    return parse


def word_text(meanings: Mapping[str, T]) -> Callable[[T], str]:
    """Writes the word that means this."""
    return {meaning: word for word, meaning in meanings.items()}.__getitem__


_FORMS = {"auto": None, "compressed": Form.COMPRESSED, "uncompressed": Form.UNCOMPRESSED}
parse_form, form_text = parse_word(_FORMS), word_text(_FORMS)
_PREFETCH = {"auto": True, "none": False}
parse_prefetch, prefetch_text = parse_word(_PREFETCH), word_text(_PREFETCH)
"""Whether to fetch what was not asked for yet."""
_VERIFY = {"once": False, "always": True}
parse_verify, verify_text = parse_word(_VERIFY), word_text(_VERIFY)
"""Whether bytes of the cache are verified at each read."""
parse_level = parse_word({"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"})
"""A level of the logging module."""
_LOG_FORMATS = {"text": False, "json": True}
parse_log_format, log_format_text = parse_word(_LOG_FORMATS), word_text(_LOG_FORMATS)
"""Whether the log has an object a line."""
_LIBRARIES = {library.value: library for library in FuseLibrary}
parse_fuse_library, fuse_library_text = parse_word(_LIBRARIES), word_text(_LIBRARIES)


def parse_flag(text: str | bool) -> bool:  # noqa: FBT001 - a value, not a switch
    """Yes or no. Raises ValueError."""
    if isinstance(text, bool):
        return text
    if str(text).lower() in ("1", "true", "yes", "on"):
        return True
    if str(text).lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("it must be true or false")


def flag_text(flag: bool) -> str:  # noqa: FBT001 - a value, not a switch
    """Yes or no as `parse_flag` reads it."""
    return "true" if flag else "false"


def parse_options(texts: tuple[str, ...] | str) -> dict[str, str | bool]:
    """What follows `-o`: `name`, `name=value`, several separated by commas. Raises ValueError and TypeError."""
    options: dict[str, str | bool] = {}
    if isinstance(texts, Mapping):
        raise TypeError("it must read like 'name,name=value'")
    for part in ",".join([texts] if isinstance(texts, str) else texts).split(","):
        name, equals, value = part.strip().partition("=")
        if not name:
            continue
        if name in ("rw", "direct_io"):
            raise ValueError(f"{name} is not possible: a hub is read-only, and programs map its files")
        if name in _LOOSENING:
            raise ValueError(f"{name} is refused: a hub holds no programs and no devices, and what it holds is yours")
        options[name] = value if equals else True
    return options


def options_text(options: Mapping[str, str | bool]) -> str:
    """Options as `parse_options` reads them."""
    return ",".join(name if value is True else f"{name}={value}" for name, value in options.items())


def parse_proxy_headers(value: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """As `parse_headers`, of one or several texts. None may stand for what a request says itself.

    Raises ValueError and TypeError.
    """
    headers = parse_headers(value if isinstance(value, str | Mapping) else "\n".join(value))
    if own := sorted(name for name in headers if name.lower() in _OF_REQUESTS):
        raise ValueError(f"{', '.join(own)} is what a request says itself")
    return headers


def parse_headers(value: str | Mapping[str, str]) -> dict[str, str]:
    """A table of headers, or `Name: value` lines. Raises ValueError and TypeError."""
    if isinstance(value, Mapping):
        return {_header_name(name): parse_token(text) for name, text in value.items()}
    if not isinstance(value, str):
        raise TypeError("it must be a table, or read like 'Name: value'")
    headers = {}
    for line in value.splitlines():
        name, colon, text = line.partition(":")
        if not colon:
            raise ValueError("it must read like 'Name: value'")
        headers[_header_name(name.strip())] = parse_token(text)
    return headers


def headers_text(headers: Mapping[str, str]) -> str:
    """Headers as `parse_headers` reads them."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("a header's name must be of letters, digits and !#$%&'*+-.^_`|~")
    return text


def parse_token(text: str) -> str:
    """What can be the value of a header. Raises ValueError, which does not show it."""
    value = str(text).strip()
    if not (value.isascii() and value.isprintable()):
        raise ValueError("it must be one line of printable ASCII characters")
    return value


def parse_path(text: str | Path) -> Path:
    """A local path, absolute from here on. Raises ValueError and TypeError."""
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("there is no such user") from None
    if "\0" in str(path):
        raise ValueError("no path holds a NUL character")
    return path
