"""Settings: a flag beats the environment, which beats the config file, which beats the default.

The environment is read here and nowhere else, once, and by the caller's mapping.
"""

import contextlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from hubfs.blobs.http.url import without_secrets
from hubfs.errors import InvalidConfig
from hubfs.fuse.mounting import FuseLibrary
from hubfs.hubs.about import About
from hubfs.hubs.registry import DEFAULT_HUB, ENDPOINTS, OF_CLIENTS
from hubfs.memory_budget import available_memory_bytes
from hubfs.settings.values import (
    MOST_WORKERS,
    parse_endpoint,
    parse_flag,
    parse_form,
    parse_fuse_library,
    parse_headers,
    parse_hubs,
    parse_level,
    parse_memory_size,
    parse_options,
    parse_path,
    parse_prefetch,
    parse_size,
    parse_time,
    parse_token,
    parse_verify,
    parse_workers,
)
from hubfs.sources.source import Form

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_OWN = ("format", "catalog", "token", "headers", "gcs_token", "gcs_endpoint")
"""Settings of a section `[hub.NAME]` of the config file: they are of this hub alone, as its `url` is."""

_OF_ONE_HUB = ("catalog", "token", "headers")
"""Settings that no two hubs share: what is said of one must not be sent to, nor believed of, another."""


def of_user(path: Path) -> Path:
    """A directory of the user's, as platformdirs has it: below / for a user without HOME and without an account."""
    return path if path.is_absolute() else Path("/", *path.parts[1:])  # without "~", which nothing stands for


DEFAULT_CONFIG_FILE = of_user(platformdirs.user_config_path("hubfs")) / "config.toml"

_DEFAULT_MEMORY_BYTES = (32 << 20, 256 << 20)

_SECRET = ("token", "headers")

_UNVERIFIED = "disable_cert_validation"

_UNLISTED = "HUBFS_UNLISTED"
"""Flags for the daemon alone (JSON): what its command line, which everybody may read, does not show."""


@dataclass(frozen=True)
class Config:
    """Everything that a mount needs to know; see `SETTINGS` for where each value comes from."""

    hub: str = field(default=DEFAULT_HUB, repr=False)  # it may hold credentials
    hubs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # of several: what differs, by name
    form: Form | None = None  # None: uncompressed if the hub offers it, else compressed
    cache_dir: Path | None = field(
        default_factory=lambda: of_user(platformdirs.user_cache_path("hubfs"))
    )  # None: no disk
    shared_cache_url: str | None = field(default=None, repr=False)  # a second level behind memory and disk
    extracted_dir: Path | None = None  # where a client library keeps what it extracted
    catalog: Path | None = None
    verify_each_read: bool = False  # else the kernel reads a file of the cache itself, once it was verified whole
    offline: bool = False  # ask nobody: what is cached is all that there is
    cache_size_bytes: int = 10 << 30
    memory_size_bytes: int = field(default_factory=lambda: default_memory_size_bytes(available_memory_bytes()))
    prefetch: bool = True  # fetch what a loader will want next before it asks
    inflate_workers: int = field(default_factory=lambda: min(len(os.sched_getaffinity(0)), MOST_WORKERS))
    require_sandbox: bool = False  # refuse a mount whose inflating process could not be confined
    allow_other: bool = False
    supervise: bool | None = None  # a process of its own follows a daemon that died; None: where readers gain by it
    hang_timeout_s: float = 60.0  # a supervised daemon that does not answer for so long is replaced
    mount_options: Mapping[str, str | bool] = field(default_factory=dict)
    log_file: Path | None = None
    log_level: str = "INFO"
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_certificates: bool = True
    private_redirects: bool = False  # a hub may lead further inside than it is itself
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    negative_ttl_s: float = 10.0  # for how long "no such model" is believed
    failure_ttl_s: float = 30.0  # for how long a damaged model stays so before it is fetched anew
    gcs_token: str = "anon"  # noqa: S105 - the name of a way to authenticate
    gcs_endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)  # hosts that stand for hubs' own, by the hub's scheme
    fuse_library: FuseLibrary = FuseLibrary.AUTO
    warnings: tuple[str, ...] = ()  # what is wrong with where the values came from

    def each_hub(self) -> "Mapping[str, Config]":
        """The config of each hub by the directory that it is in; a hub that is the root itself has an empty name."""
        return {name: replace(self, hubs={}, **own) for name, own in self.hubs.items()} or {"": self}


def default_memory_size_bytes(available_bytes: int) -> int:
    """A quarter of what this process may have, for the programs that read need the rest; from 32 MiB to 256 MiB."""
    least_bytes, most_bytes = _DEFAULT_MEMORY_BYTES
    return max(least_bytes, min(most_bytes, available_bytes // 4))


def _is_url(value: object) -> bool:
    return "://" in str(value)


def _is_local(value: object) -> bool:
    return not _is_url(value)


def _anything(_value: object) -> bool:
    return True


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


def _endpoint(kind: About) -> Setting:
    """The setting that has another host stand for that of a kind of hub."""
    hub, variable = kind.endpoint, kind.endpoint_variable or f"HUBFS_{kind.endpoint.upper()}_ENDPOINT"

    def parse(text: str) -> Mapping[str, str]:
        return {hub: parse_endpoint(text, plain=kind.is_endpoint_plain)}

    return Setting(f"{hub}_endpoint", "endpoints", parse, (variable,))


SETTINGS = (
    Setting("hub", "hub", parse_hubs, ("HUBFS_HUB",)),
    Setting("format", "form", parse_form, ("HUBFS_FORMAT", OF_CLIENTS["format"])),
    Setting("cache_dir", "cache_dir", parse_path, ("HUBFS_CACHE_DIR", OF_CLIENTS["cache_dir"]), _is_local),
    Setting("cache_dir", "shared_cache_url", str, ("HUBFS_CACHE_DIR", OF_CLIENTS["cache_dir"]), _is_url),
    Setting("extracted_dir", "extracted_dir", parse_path, (OF_CLIENTS["cache_dir"],), _is_local),
    Setting("catalog", "catalog", parse_path, ("HUBFS_CATALOG",)),
    Setting("offline", "offline", parse_flag, ("HUBFS_OFFLINE",)),
    Setting("cache_size", "cache_size_bytes", parse_size, ("HUBFS_CACHE_SIZE",)),
    Setting("memory_size", "memory_size_bytes", parse_memory_size, ("HUBFS_MEMORY_SIZE",)),
    Setting("inflate_workers", "inflate_workers", parse_workers, ("HUBFS_INFLATE_WORKERS",)),
    Setting("require_sandbox", "require_sandbox", parse_flag, ("HUBFS_REQUIRE_SANDBOX",)),
    Setting("prefetch", "prefetch", parse_prefetch, ("HUBFS_PREFETCH",)),
    Setting("verify", "verify_each_read", parse_verify, ("HUBFS_VERIFY",)),
    Setting("allow_other", "allow_other", parse_flag, ("HUBFS_ALLOW_OTHER",)),
    Setting("supervise", "supervise", parse_flag, ("HUBFS_SUPERVISE",)),
    Setting("hang_timeout", "hang_timeout_s", parse_time, ("HUBFS_HANG_TIMEOUT",)),
    Setting("mount_options", "mount_options", parse_options),
    Setting("log_file", "log_file", parse_path, ("HUBFS_LOG_FILE",)),
    Setting("log_level", "log_level", parse_level, ("HUBFS_LOG_LEVEL",)),
    Setting("token", "token", parse_token, ("HUBFS_TOKEN",)),
    Setting("headers", "headers", parse_headers, ("HUBFS_HEADERS",)),
    Setting(_UNVERIFIED, "verify_certificates", _no_certificates, (OF_CLIENTS[_UNVERIFIED],)),
    Setting("private_redirects", "private_redirects", parse_flag, ("HUBFS_PRIVATE_REDIRECTS",)),
    Setting("connect_timeout", "connect_timeout_s", parse_time, ("HUBFS_CONNECT_TIMEOUT",)),
    Setting("stall_timeout", "stall_timeout_s", parse_time, ("HUBFS_STALL_TIMEOUT",)),
    Setting("negative_ttl", "negative_ttl_s", parse_time, ("HUBFS_NEGATIVE_TTL",)),
    Setting("failure_ttl", "failure_ttl_s", parse_time, ("HUBFS_FAILURE_TTL",)),
    Setting("gcs_token", "gcs_token", str, ("HUBFS_GCS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")),
    Setting("gcs_endpoint", "gcs_endpoint_url", str, ("STORAGE_EMULATOR_HOST",)),
    *map(_endpoint, ENDPOINTS),
    Setting("fuse_library", "fuse_library", parse_fuse_library, ("HUBFS_FUSE_LIBRARY",)),
)


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Config:
    """The config for these flags (by setting name; None is "not given"), this environment and the config file.

    The config file is named by the flag `config` or `HUBFS_CONFIG`, else the user's, if it exists. Raises
    `InvalidConfig` naming the value, where it came from and what it should look like.
    """
    named = flags.get("config") or environment.get("HUBFS_CONFIG")
    flags = {**flags, **json.loads(environment.get(_UNLISTED, "{}"))}
    file = Path(named) if named else DEFAULT_CONFIG_FILE
    table = _read_file(file, must_exist=bool(named))
    values: dict[str, Any] = {"warnings": tuple(_exposed(file, table))}
    for setting in SETTINGS:
        for origin, value in _candidates(setting, flags, environment, table):
            parsed = _parsed(setting, origin, value)
            values[setting.field] = {**values[setting.field], **parsed} if setting.field in values else parsed
            break
    values |= _of_hubs(values.pop("hub", None), values, table)
    if _no_disk_cache(flags, environment, table):
        values["cache_dir"] = None
    return Config(**values)


def _parsed(setting: Setting, origin: str, value: object) -> Any:
    try:
        return setting.parse(value)
    except (ValueError, TypeError) as error:
        raise InvalidConfig(f"{origin}{_shown(setting, value)} cannot be used: {error}") from None


def _of_hubs(urls: Mapping[str, str] | None, values: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields `hub` and `hubs` for the hubs of these names (an empty one: the root); no field for None."""
    if urls is None or "" in urls:
        return {} if urls is None else {"hub": urls[""]}
    of_one = [setting for setting in SETTINGS if setting.name in _OF_ONE_HUB and setting.field in values]
    if of_one:
        raise InvalidConfig(
            f"With several hubs, {of_one[0].name} is one hub's: say it in the section [hub.NAME] of the config file"
        )
    sections = table["hub"] if isinstance(table.get("hub"), Mapping) else {}
    return {"hubs": {name: {"hub": url, **_own(name, sections.get(name, {}))} for name, url in urls.items()}}


def _own(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """What a section says of its hub, by the fields of `Config`: nobody else's token is its."""
    if unknown := section.keys() - {*_OWN, "url"}:
        raise InvalidConfig(f"[hub.{name}] in the config file has unknown settings: {', '.join(sorted(unknown))}")
    return {
        setting.field: _parsed(setting, f"{setting.name!r} of [hub.{name}] in the config file", section[setting.name])
        for setting in SETTINGS
        if setting.name in _OWN and setting.name in section
    }


def _exposed(file: Path, table: Mapping[str, Any]) -> Iterator[str]:
    """A warning if the config file has a secret, and other users of the machine may read it."""
    secret = sorted({name for name, value in _flat(table) if name in _SECRET or _is_secret(value)})
    with contextlib.suppress(OSError):
        mode = file.stat().st_mode
        if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
            yield (
                f"the config file {file} holds {', '.join(secret)}, and other users may read it "
                f"({stat.filemode(mode)}): chmod 600 {file}"
            )


def out_of_sight(arguments: Sequence[str], flags: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """`arguments`, which `flags` were read from, without credentials and queries of URLs; and the environment that has
    `load` find them all the same: the environment of a process is shown to its user alone.
    """
    arguments, unlisted = [*arguments], {}
    for name, value in flags.items():
        for text in [value] if isinstance(value, str) else value if isinstance(value, tuple) else ():
            if _is_secret(text):
                arguments = [argument.replace(text, without_secrets(text)) for argument in arguments]
                unlisted[name] = value
    return arguments, {_UNLISTED: json.dumps(unlisted)} if unlisted else {}


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and values of a table and of the tables in it."""
    for name, value in table.items():
        if isinstance(value, Mapping) and name not in _SECRET:
            yield from _flat(value)
        else:
            yield name, value


def _is_secret(value: object) -> bool:
    """Whether a text is a URL with credentials, or with a query."""
    return isinstance(value, str) and _is_url(value) and without_secrets(value) != value


def _shown(setting: Setting, value: object) -> str:
    """The value, for a message: nothing of what is secret, no `user:password@`, and no query."""
    if setting.name in _SECRET:
        return ""
    if isinstance(value, Mapping):  # sections of hubs hold tokens
        return ""
    text = value if isinstance(value, str) else " ".join(value) if isinstance(value, tuple) else repr(value)
    start, slashes, rest = text.partition("//") if "//" in text else ("", "", text)
    text = start + slashes + rest.rpartition("@")[2].partition("?")[0]
    return f" ({text!r})" if isinstance(value, str) else f" ({text})"


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


def _cannot_be_there(path: Path) -> bool:
    """Whether no file of this user's is at `path`: HOME is /dev/null, say, or root's in a process that is not."""
    try:
        path.stat()
    except (NotADirectoryError, PermissionError):
        return True
    except OSError:
        return False
    return False


def _read_file(path: Path, *, must_exist: bool) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise InvalidConfig(f"The config file {path} does not exist") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        if not must_exist and _cannot_be_there(path):
            return {}
        raise InvalidConfig(f"The config file {path} cannot be read: {error}") from None
    unknown = table.keys() - {setting.name for setting in SETTINGS} - {"no_disk_cache"}
    if unknown:
        raise InvalidConfig(f"The config file {path} has unknown settings: {', '.join(sorted(unknown))}")
    return table
