"""What is in force: every setting with its value and where that comes from, without its secrets."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubfs.blobs.http.url import without_secrets
from hubfs.settings.config import NO_DISK_CACHE, SETTINGS, Config, Setting, Settled
from hubfs.settings.file import line_of
from hubfs.settings.secrets import SECRET, is_url
from hubfs.settings.values import flag_text

_SAID_OF_SECRETS = "(secret)"


@dataclass(frozen=True)
class Row:
    """A setting that is in force. `value` reads as in the config file; None is "none", or what is found at the time.

    `origin` is `default`, `option`, `environment`, `file` or `profile`; `name` is the option, the variable, the
    profile, or the path of the config file, and `line` its line. `hub` is the section of the hub that it is of.
    """

    setting: str
    value: str | None
    origin: str
    name: str = ""
    line: int | None = None
    hub: str = ""


def rows(settled: Settled) -> Sequence[Row]:
    """A row for each setting, and for those that a section of the config file has for its hub."""
    text = ""
    with contextlib.suppress(OSError, ValueError):
        text = settled.file.read_text(encoding="utf-8")
    config, several = settled.config, bool(settled.config.hubs)
    found = [
        _row(setting, _value(setting, config), settled, text)
        for setting in SETTINGS
        if not (several and setting.name == "hub")
    ]
    found.append(_row(_DISK, flag_text(config.cache_dir is None), settled, text))
    for name, own in config.hubs.items():
        found += _of_hub(name, own, settled, text)
    return sorted(found, key=lambda row: row.hub)  # `sorted` is stable


_DISK = Setting(NO_DISK_CACHE, NO_DISK_CACHE, str)


def _row(setting: Setting, value: str | None, settled: Settled, text: str) -> Row:
    # One option takes a directory, or a URL: where it was a URL, the directory has its default.
    origin = settled.origins.get((setting.name, setting.field))
    name = setting.field if setting.name == "cache_dir" and setting.field != "cache_dir" else setting.name
    if origin is None:
        return Row(name, value, "default")
    if origin.kind == "file":
        return Row(name, value, "file", str(settled.file), line_of(text, origin.name))
    return Row(name, value, origin.kind, origin.name)


def _of_hub(name: str, own: Mapping[str, Any], settled: Settled, text: str) -> Sequence[Row]:
    origin = settled.origins["hub", "hub"]
    url = Row("url", without_secrets(own["hub"]), origin.kind, origin.name, hub=name)
    if origin.kind == "file":
        line = line_of(text, "hub", name, "url") or line_of(text, "hub")
        url = Row("url", url.value, "file", str(settled.file), line, hub=name)
    return [
        url,
        *(
            Row(
                setting.name,
                _shown(setting, own[setting.field]),
                "file",
                str(settled.file),
                line_of(text, "hub", name, setting.name),
                hub=name,
            )
            for setting in SETTINGS
            if setting.field in own and setting.field != "hub"
        ),
    ]


def _value(setting: Setting, config: Config) -> str | None:
    value = getattr(config, setting.field)
    if setting.field == "endpoints":  # of all hubs
        hub = setting.name.removesuffix("_endpoint")
        return None if hub not in value else _shown(setting, value)
    if isinstance(value, Mapping) and not value:
        return None
    return _shown(setting, value)


def _shown(setting: Setting, value: object) -> str | None:
    if value is None and setting.name != "format":
        return None
    if setting.name in SECRET:
        return _SAID_OF_SECRETS
    shown = setting.text(value)
    return without_secrets(shown) if is_url(shown) else shown
