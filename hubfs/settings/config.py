"""Settings: a flag beats the environment, which beats the config file, which beats the default.

The environment is read here and nowhere else, once, and by the caller's mapping.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs

from hubfs.errors import InvalidConfig
from hubfs.fuse.mounting import FuseLibrary
from hubfs.hubs.about import About
from hubfs.hubs.registry import DEFAULT_HUB, ENDPOINTS, OF_CLIENTS
from hubfs.memory_budget import available_memory_bytes
from hubfs.metrics.address import Address
from hubfs.settings.file import read_file
from hubfs.settings.profiles import PROFILES, parse_profile
from hubfs.settings.secrets import UNLISTED, exposed, is_url, shown
from hubfs.settings.values import (
    MOST_WORKERS,
    flag_text,
    form_text,
    fuse_library_text,
    headers_text,
    log_format_text,
    options_text,
    parse_address,
    parse_endpoint,
    parse_flag,
    parse_form,
    parse_fuse_library,
    parse_headers,
    parse_hubs,
    parse_level,
    parse_log_format,
    parse_memory_size,
    parse_options,
    parse_path,
    parse_prefetch,
    parse_proxy_headers,
    parse_size,
    parse_time,
    parse_token,
    parse_verify,
    parse_workers,
    prefetch_text,
    size_text,
    time_text,
    verify_text,
)
from hubfs.sources.source import Form

_OWN = ("format", "catalog", "token", "headers", "gcs_token", "gcs_endpoint")
"""Settings of a section `[hub.NAME]` of the config file: they are of this hub alone, as its `url` is."""

_OF_ONE_HUB = ("catalog", "token", "headers")
"""Settings that no two hubs share: what is said of one must not be sent to, nor believed of, another."""


def of_user(path: Path) -> Path:
    """A directory of the user's, as platformdirs has it: below / for a user without HOME and without an account."""
    return path if path.is_absolute() else Path("/", *path.parts[1:])  # without "~", which nothing stands for


DEFAULT_CONFIG_FILE = of_user(platformdirs.user_config_path("hubfs")) / "config.toml"

_DEFAULT_MEMORY_BYTES = (32 << 20, 256 << 20)

_UNVERIFIED = "disable_cert_validation"
NOT_VERIFIED = (
    f"WARNING: certificates are not verified ({OF_CLIENTS[_UNVERIFIED]}): "
    "whoever is on the way to the hub can change what models do"
)

NO_DISK_CACHE = "no_disk_cache"
"""The one setting that is no row of `SETTINGS`: it says that another one, the cache directory, is none."""


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
    logs_json: bool = False
    metrics_addr: Address | None = None  # where Prometheus may read; None: only from the mount
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # for the proxy of the environment
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
    profile: str | None = None  # whose values stand where nothing else was said
    warnings: tuple[str, ...] = ()  # what is wrong with where the values came from

    def each_hub(self) -> "Mapping[str, Config]":
        """The config of each hub by the directory that it is in; a hub that is the root itself has an empty name."""
        return {name: replace(self, hubs={}, **own) for name, own in self.hubs.items()} or {"": self}


def default_memory_size_bytes(available_bytes: int) -> int:
    """A quarter of what this process may have, for the programs that read need the rest; from 32 MiB to 256 MiB."""
    least_bytes, most_bytes = _DEFAULT_MEMORY_BYTES
    return max(least_bytes, min(most_bytes, available_bytes // 4))


def _is_local(value: object) -> bool:
    return not is_url(value)


def _anything(_value: object) -> bool:
    return True


@dataclass(frozen=True)
class Setting:
    """Where a value comes from: the flag and the key of the config file (`name`), the environment, in this order.

    `accepts`: which of the values are this setting's; `--cache-dir` takes directories and URLs, which mean two things.
    `text` writes a value as `parse` reads it.
    """

    name: str
    field: str
    parse: Callable[[Any], Any]
    environment: tuple[str, ...] = ()
    accepts: Callable[[Any], bool] = _anything
    text: Callable[[Any], str] = str


@dataclass(frozen=True)
class Origin:
    """Where a value was said: `name` is the option, the variable, the key of the config file, or the profile."""

    kind: Literal["option", "environment", "file", "profile"]
    name: str

    def __str__(self) -> str:
        if self.kind == "file":
            return f"{self.name!r} in the config file"
        return f"the profile {self.name}" if self.kind == "profile" else self.name


@dataclass(frozen=True)
class Settled:
    """A config, and where its values come from: by the name of the setting and its field, where it is no default."""

    config: Config
    file: Path
    origins: Mapping[tuple[str, str], Origin]


def _no_certificates(text: str | bool) -> bool:  # noqa: FBT001 - a value, not a switch
    return not parse_flag(text)


def _no_certificates_text(verify: bool) -> str:  # noqa: FBT001 - as above
    return flag_text(not verify)


def _endpoint(kind: About) -> Setting:
    """The setting that has another host stand for that of a kind of hub."""
    hub, variable = kind.endpoint, kind.endpoint_variable or f"HUBFS_{kind.endpoint.upper()}_ENDPOINT"

    def parse(text: str) -> Mapping[str, str]:
        return {hub: parse_endpoint(text, plain=kind.is_endpoint_plain)}

    return Setting(f"{hub}_endpoint", "endpoints", parse, (variable,), text=lambda endpoints: endpoints[hub])


SETTINGS = (
    Setting("hub", "hub", parse_hubs, ("HUBFS_HUB",)),
    Setting("format", "form", parse_form, ("HUBFS_FORMAT", OF_CLIENTS["format"]), text=form_text),
    Setting("cache_dir", "cache_dir", parse_path, ("HUBFS_CACHE_DIR", OF_CLIENTS["cache_dir"]), _is_local),
    Setting("cache_dir", "shared_cache_url", str, ("HUBFS_CACHE_DIR", OF_CLIENTS["cache_dir"]), is_url),
    Setting("extracted_dir", "extracted_dir", parse_path, (OF_CLIENTS["cache_dir"],), _is_local),
    Setting("catalog", "catalog", parse_path, ("HUBFS_CATALOG",)),
    Setting("offline", "offline", parse_flag, ("HUBFS_OFFLINE",), text=flag_text),
    Setting("cache_size", "cache_size_bytes", parse_size, ("HUBFS_CACHE_SIZE",), text=size_text),
    Setting("memory_size", "memory_size_bytes", parse_memory_size, ("HUBFS_MEMORY_SIZE",), text=size_text),
    Setting("inflate_workers", "inflate_workers", parse_workers, ("HUBFS_INFLATE_WORKERS",)),
    Setting("require_sandbox", "require_sandbox", parse_flag, ("HUBFS_REQUIRE_SANDBOX",), text=flag_text),
    Setting("prefetch", "prefetch", parse_prefetch, ("HUBFS_PREFETCH",), text=prefetch_text),
    Setting("verify", "verify_each_read", parse_verify, ("HUBFS_VERIFY",), text=verify_text),
    Setting("allow_other", "allow_other", parse_flag, ("HUBFS_ALLOW_OTHER",), text=flag_text),
    Setting("supervise", "supervise", parse_flag, ("HUBFS_SUPERVISE",), text=flag_text),
    Setting("hang_timeout", "hang_timeout_s", parse_time, ("HUBFS_HANG_TIMEOUT",), text=time_text),
    Setting("mount_options", "mount_options", parse_options, text=options_text),
    Setting("log_file", "log_file", parse_path, ("HUBFS_LOG_FILE",)),
    Setting("log_level", "log_level", parse_level, ("HUBFS_LOG_LEVEL",), text=str.lower),
    Setting("log_format", "logs_json", parse_log_format, ("HUBFS_LOG_FORMAT",), text=log_format_text),
    Setting("metrics_addr", "metrics_addr", parse_address, ("HUBFS_METRICS_ADDR",), text=str),
    Setting("token", "token", parse_token, ("HUBFS_TOKEN",)),
    Setting("headers", "headers", parse_headers, ("HUBFS_HEADERS",), text=headers_text),
    Setting("proxy_headers", "proxy_headers", parse_proxy_headers, ("HUBFS_PROXY_HEADERS",), text=headers_text),
    Setting(
        _UNVERIFIED, "verify_certificates", _no_certificates, (OF_CLIENTS[_UNVERIFIED],), text=_no_certificates_text
    ),
    Setting("private_redirects", "private_redirects", parse_flag, ("HUBFS_PRIVATE_REDIRECTS",), text=flag_text),
    Setting("connect_timeout", "connect_timeout_s", parse_time, ("HUBFS_CONNECT_TIMEOUT",), text=time_text),
    Setting("stall_timeout", "stall_timeout_s", parse_time, ("HUBFS_STALL_TIMEOUT",), text=time_text),
    Setting("negative_ttl", "negative_ttl_s", parse_time, ("HUBFS_NEGATIVE_TTL",), text=time_text),
    Setting("failure_ttl", "failure_ttl_s", parse_time, ("HUBFS_FAILURE_TTL",), text=time_text),
    Setting("gcs_token", "gcs_token", str, ("HUBFS_GCS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")),
    Setting("gcs_endpoint", "gcs_endpoint_url", str, ("STORAGE_EMULATOR_HOST",)),
    *map(_endpoint, ENDPOINTS),
    Setting("fuse_library", "fuse_library", parse_fuse_library, ("HUBFS_FUSE_LIBRARY",), text=fuse_library_text),
    Setting("profile", "profile", parse_profile, ("HUBFS_PROFILE",)),
)


_KEYS = frozenset({*(setting.name for setting in SETTINGS), NO_DISK_CACHE})


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Config:
    """The config for these flags (by setting name; None is "not given"), this environment and the config file.

    Raises `InvalidConfig` naming the value, where it came from and what it should look like.
    """
    return settle(flags, environment).config


def settle(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settled:
    """The config of `load`, and where each value of it comes from.

    The config file is named by the flag `config` or `HUBFS_CONFIG`, else the user's, if it exists. Raises
    `InvalidConfig` naming the value, where it came from and what it should look like.
    """
    named = flags.get("config") or environment.get("HUBFS_CONFIG")
    flags = {**flags, **json.loads(environment.get(UNLISTED, "{}"))}
    file = Path(named) if named else DEFAULT_CONFIG_FILE
    table = read_file(file, _KEYS, must_exist=bool(named))
    profile = _profile(flags, environment, table)
    values: dict[str, Any] = {"warnings": tuple(exposed(file, table))}
    origins: dict[tuple[str, str], Origin] = {}
    for setting in SETTINGS:
        for origin, value in _candidates(setting, flags, environment, table, profile):
            parsed = _parsed(setting, origin, value)
            values[setting.field] = {**values[setting.field], **parsed} if setting.field in values else parsed
            origins[setting.name, setting.field] = origin
            break
    values |= _of_hubs(values.pop("hub", None), values, table)
    no_disk_cache, said = _no_disk_cache(flags, environment, table)
    if said is not None:
        origins[NO_DISK_CACHE, NO_DISK_CACHE] = said
    if no_disk_cache:
        values["cache_dir"] = None
    return Settled(Config(**values), file, origins)


def _profile(
    flags: Mapping[str, Any], environment: Mapping[str, str], table: Mapping[str, Any]
) -> tuple[Origin, Mapping[str, Any]] | None:
    """The profile that is named, and what it says; None for none. Raises `InvalidConfig`."""
    setting = next(setting for setting in SETTINGS if setting.name == "profile")
    for origin, value in _candidates(setting, flags, environment, table, None):
        name = _parsed(setting, origin, value)
        return Origin("profile", name), {key: one.value for key, one in PROFILES[name].items()}
    return None


def _parsed(setting: Setting, origin: Origin | str, value: object) -> Any:
    try:
        return setting.parse(value)
    except (ValueError, TypeError) as error:
        raise InvalidConfig(f"{origin}{shown(setting.name, value)} cannot be used: {error}") from None


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


def _candidates(
    setting: Setting,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    table: Mapping[str, Any],
    profile: tuple[Origin, Mapping[str, Any]] | None,
) -> list[tuple[Origin, Any]]:
    flag = "-o" if setting.name == "mount_options" else f"--{setting.name.replace('_', '-')}"
    found = [(Origin("option", flag), flags.get(setting.name))]
    found += [(Origin("environment", name), environment.get(name) or None) for name in setting.environment]
    found += [(Origin("file", setting.name), table.get(setting.name))]
    if profile is not None:
        found += [(profile[0], profile[1].get(setting.name))]
    return [(origin, value) for origin, value in found if value not in (None, ()) and setting.accepts(value)]


def _no_disk_cache(
    flags: Mapping[str, Any], environment: Mapping[str, str], table: Mapping[str, Any]
) -> tuple[bool, Origin | None]:
    if flags.get("no_disk_cache") and flags.get("cache_dir") and _is_local(flags["cache_dir"]):
        raise InvalidConfig("--no-disk-cache and --cache-dir exclude each other")
    for origin, value, directory in (
        (Origin("option", "--no-disk-cache"), flags.get("no_disk_cache"), flags.get("cache_dir")),
        (
            Origin("environment", "HUBFS_NO_DISK_CACHE"),
            environment.get("HUBFS_NO_DISK_CACHE") or None,
            environment.get("HUBFS_CACHE_DIR"),
        ),
        (Origin("file", NO_DISK_CACHE), table.get(NO_DISK_CACHE), None),
    ):
        if value is not None:
            try:
                return parse_flag(value), origin
            except ValueError as error:
                raise InvalidConfig(f"{origin} ({value!r}) cannot be used: {error}") from None
        if directory and _is_local(directory):  # who names a directory beats those who, further down, want none
            return False, None
    return False, None
