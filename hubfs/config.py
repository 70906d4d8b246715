"""Settings: a flag beats the environment, which beats the config file, which beats the default.

The environment is read here and nowhere else, once, and by the caller's mapping.
"""

import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from hubfs.errors import InvalidConfig
from hubfs.fuse.binding import FuseLibrary
from hubfs.hub.resolver import Form
from hubfs.memory_budget import available_memory_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_HUB = "https://tfhub.dev"
DEFAULT_CONFIG_FILE = platformdirs.user_config_path("hubfs") / "config.toml"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.IGNORECASE)
_LEAST_MEMORY_BYTES = 8 << 20
_DEFAULT_MEMORY_BYTES = (32 << 20, 256 << 20)
_MOST_WORKERS = 16
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Config:
    """Everything that a mount needs to know; see `SETTINGS` for where each value comes from."""

    hub: str = field(default=DEFAULT_HUB, repr=False)  # it may hold credentials
    form: Form | None = None  # None: uncompressed if the hub offers it, else compressed
    cache_dir: Path | None = field(default_factory=lambda: platformdirs.user_cache_path("hubfs"))  # None: no disk
    shared_cache_url: str | None = field(default=None, repr=False)  # a second level behind memory and disk
    extracted_dir: Path | None = None  # where tensorflow_hub keeps what it extracted
    catalog: Path | None = None
    cache_size_bytes: int = 10 << 30
    memory_size_bytes: int = field(default_factory=lambda: default_memory_size_bytes(available_memory_bytes()))
    prefetch: bool = True  # fetch what a loader will want next before it asks
    inflate_workers: int = field(default_factory=lambda: min(len(os.sched_getaffinity(0)), _MOST_WORKERS))
    allow_other: bool = False
    mount_options: Mapping[str, str | bool] = field(default_factory=dict)
    log_file: Path | None = None
    log_level: str = "INFO"
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_certificates: bool = True
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    gcs_token: str = "anon"  # noqa: S105 - the name of a way to authenticate
    gcs_endpoint_url: str | None = None
    fuse_library: FuseLibrary = FuseLibrary.AUTO


def default_memory_size_bytes(available_bytes: int) -> int:
    """A quarter of what this process may have, for the programs that read need the rest; from 32 MiB to 256 MiB."""
    least_bytes, most_bytes = _DEFAULT_MEMORY_BYTES
    return max(least_bytes, min(most_bytes, available_bytes // 4))


def parse_size(text: str | float) -> int:
    """`512MiB`, `10GB`, `1.5g` or a number of bytes → bytes. Raises ValueError."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise ValueError("it must read like 512MiB or 10GB")
    number, prefix, binary = match.groups()
    return int(Fraction(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])


def parse_workers(text: str | int) -> int:
    """How many threads inflate an archive, from 0 on. Raises ValueError."""
    if not str(text).isascii() or not str(text).isdigit() or int(text) > _MOST_WORKERS:
        raise ValueError(f"it must be a number from 0 to {_MOST_WORKERS}")
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


def parse_hub(text: str) -> str:
    """The URL of a hub. Raises ValueError."""
    url = urlsplit(str(text))
    if url.scheme == "gs" and url.netloc:
        return text.rstrip("/")
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
        raise ValueError("it must be the http(s) URL of a hub, such as https://tfhub.dev, or gs://bucket/prefix")
    return text.rstrip("/")


def parse_form(text: str) -> Form | None:
    """`auto`, `compressed`, `uncompressed`, in any case. Raises ValueError."""
    if str(text).lower() == "auto":
        return None
    try:
        return Form(str(text).lower())
    except ValueError:
        raise ValueError("it must be auto, compressed or uncompressed") from None


def parse_prefetch(text: str) -> bool:
    """`auto` or `none`, in any case: whether to fetch what was not asked for yet. Raises ValueError."""
    if str(text).lower() not in ("auto", "none"):
        raise ValueError("it must be auto or none")
    return str(text).lower() == "auto"


def parse_flag(text: str | bool) -> bool:  # noqa: FBT001 - a value, not a switch
    """Yes or no. Raises ValueError."""
    if isinstance(text, bool):
        return text
    if str(text).lower() in ("1", "true", "yes", "on"):
        return True
    if str(text).lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("it must be true or false")


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
            raise ValueError(f"{name} is not possible: a hub is read-only, and TF Lite maps its files")
        options[name] = value if equals else True
    return options


def parse_headers(value: str | Mapping[str, str]) -> dict[str, str]:
    """A table of headers, or `Name: value` lines. Raises ValueError and TypeError."""
    if isinstance(value, Mapping):
        return {str(name): parse_token(text) for name, text in value.items()}
    if not isinstance(value, str):
        raise TypeError("it must be a table, or read like 'Name: value'")
    headers = {}
    for line in value.splitlines():
        name, colon, text = line.partition(":")
        if not colon or not name.strip():
            raise ValueError("it must read like 'Name: value'")
        headers[name.strip()] = parse_token(text)
    return headers


def parse_token(text: str) -> str:
    """What can be the value of a header. Raises ValueError, which does not show it."""
    value = str(text).strip()
    if not (value.isascii() and value.isprintable()):
        raise ValueError("it must be one line of printable ASCII characters")
    return value


def _is_url(value: object) -> bool:
    return "://" in str(value)


def _is_local(value: object) -> bool:
    return not _is_url(value)


def _anything(_value: object) -> bool:
    return True


def parse_path(text: str | Path) -> Path:
    """A local path, absolute from here on. Raises ValueError and TypeError."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("there is no such user") from None


def parse_level(text: str) -> str:
    """A level of the logging module. Raises ValueError."""
    level = str(text).upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("it must be debug, info, warning or error")
    return level


def parse_fuse_library(text: str) -> FuseLibrary:
    """`auto`, `libfuse3` or `libfuse2`, in any case. Raises ValueError."""
    try:
        return FuseLibrary(str(text).lower())
    except ValueError:
        raise ValueError("it must be auto, libfuse3 or libfuse2") from None


@dataclass(frozen=True)
class Setting:
    """Where a value comes from: the flag and the key of the config file (`name`), the environment, in this order.

    `accepts`: which of the values are this setting's; `--cache-dir` takes directories and URLs, which mean two things.
    """

    name: str
    field: str
    parse: Callable[[Any], Any]
    environment: tuple[str, ...] = ()
    accepts: Callable[[Any], bool] = _anything


def _no_certificates(text: str | bool) -> bool:  # noqa: FBT001 - a value, not a switch
    return not parse_flag(text)


SETTINGS = (
    Setting("hub", "hub", parse_hub, ("HUBFS_HUB",)),
    Setting("format", "form", parse_form, ("HUBFS_FORMAT", "TFHUB_MODEL_LOAD_FORMAT")),
    Setting("cache_dir", "cache_dir", parse_path, ("HUBFS_CACHE_DIR", "TFHUB_CACHE_DIR"), _is_local),
    Setting("cache_dir", "shared_cache_url", str, ("HUBFS_CACHE_DIR", "TFHUB_CACHE_DIR"), _is_url),
    Setting("extracted_dir", "extracted_dir", parse_path, ("TFHUB_CACHE_DIR",), _is_local),
    Setting("catalog", "catalog", parse_path, ("HUBFS_CATALOG",)),
    Setting("cache_size", "cache_size_bytes", parse_size, ("HUBFS_CACHE_SIZE",)),
    Setting("memory_size", "memory_size_bytes", parse_memory_size, ("HUBFS_MEMORY_SIZE",)),
    Setting("inflate_workers", "inflate_workers", parse_workers, ("HUBFS_INFLATE_WORKERS",)),
    Setting("prefetch", "prefetch", parse_prefetch, ("HUBFS_PREFETCH",)),
    Setting("allow_other", "allow_other", parse_flag, ("HUBFS_ALLOW_OTHER",)),
    Setting("mount_options", "mount_options", parse_options),
    Setting("log_file", "log_file", parse_path, ("HUBFS_LOG_FILE",)),
    Setting("log_level", "log_level", parse_level, ("HUBFS_LOG_LEVEL",)),
    Setting("token", "token", parse_token, ("HUBFS_TOKEN",)),
    Setting("headers", "headers", parse_headers, ("HUBFS_HEADERS",)),
    Setting("disable_cert_validation", "verify_certificates", _no_certificates, ("TFHUB_DISABLE_CERT_VALIDATION",)),
    Setting("connect_timeout", "connect_timeout_s", parse_time, ("HUBFS_CONNECT_TIMEOUT",)),
    Setting("stall_timeout", "stall_timeout_s", parse_time, ("HUBFS_STALL_TIMEOUT",)),
    Setting("gcs_token", "gcs_token", str, ("HUBFS_GCS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")),
    Setting("gcs_endpoint", "gcs_endpoint_url", str, ("STORAGE_EMULATOR_HOST",)),
    Setting("fuse_library", "fuse_library", parse_fuse_library, ("HUBFS_FUSE_LIBRARY",)),
)


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Config:
    """The config for these flags (by setting name; None is "not given"), this environment and the config file.

    The config file is named by the flag `config` or `HUBFS_CONFIG`, else the user's, if it exists. Raises
    `InvalidConfig` naming the value, where it came from and what it should look like.
    """
    named = flags.get("config") or environment.get("HUBFS_CONFIG")
    table = _read_file(Path(named) if named else DEFAULT_CONFIG_FILE, must_exist=bool(named))
    values = {}
    for setting in SETTINGS:
        for origin, value in _candidates(setting, flags, environment, table):
            try:
                values[setting.field] = setting.parse(value)
            except (ValueError, TypeError) as error:
                raise InvalidConfig(f"{origin}{_shown(setting, value)} cannot be used: {error}") from None
            break
    if _no_disk_cache(flags, environment, table):
        values["cache_dir"] = None
    return Config(**values)


def _shown(setting: Setting, value: object) -> str:
    """The value, for a message: nothing of what is secret, and no `user:password@`."""
    return "" if setting.name in ("token", "headers") else f" ({re.sub('//[^/]*@', '//', repr(value))})"


def _candidates(
    setting: Setting, flags: Mapping[str, Any], environment: Mapping[str, str], table: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    flag = "-o" if setting.name == "mount_options" else f"--{setting.name.replace('_', '-')}"
    found = [(flag, flags.get(setting.name))]
    found += [(name, environment.get(name) or None) for name in setting.environment]
    found += [(f"{setting.name!r} in the config file", table.get(setting.name))]
    return [(origin, value) for origin, value in found if value not in (None, ()) and setting.accepts(value)]


def _no_disk_cache(flags: Mapping[str, Any], environment: Mapping[str, str], table: Mapping[str, Any]) -> bool:
    if flags.get("no_disk_cache") and flags.get("cache_dir") and _is_local(flags["cache_dir"]):
        raise InvalidConfig("--no-disk-cache and --cache-dir exclude each other")
    for origin, value, directory in (
        ("--no-disk-cache", flags.get("no_disk_cache"), flags.get("cache_dir")),
        ("HUBFS_NO_DISK_CACHE", environment.get("HUBFS_NO_DISK_CACHE") or None, environment.get("HUBFS_CACHE_DIR")),
        ("'no_disk_cache' in the config file", table.get("no_disk_cache"), None),
    ):
        if value is not None:
            try:
                return parse_flag(value)
            except ValueError as error:
                raise InvalidConfig(f"{origin} ({value!r}) cannot be used: {error}") from None
        if directory and _is_local(directory):  # who names a directory beats those who, further down, want none
            return False
    return False


def _read_file(path: Path, *, must_exist: bool) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise InvalidConfig(f"The config file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"The config file {path} cannot be read: {error}") from None
    unknown = table.keys() - {setting.name for setting in SETTINGS} - {"no_disk_cache"}
    if unknown:
        raise InvalidConfig(f"The config file {path} has unknown settings: {', '.join(sorted(unknown))}")
    return table
