"""Settings: a config file, a line of `%%`, and lines `NAME=value` of the environment."""

import logging
import math
import os
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from requests.utils import check_header_validity

from hubfs.errors import InvalidConfig
from hubfs.settings.config import SETTINGS, load
from hubfs.settings.secrets import UNLISTED

WORDS = (
    *(f"{setting.name} = ".encode() for setting in SETTINGS),
    *(f"\n{name}=".encode() for setting in SETTINGS for name in setting.environment if name.startswith("HUBFS")),
    *(b"\n%%\n", b"512MiB", b"1.5g", b"30s", b"250ms", b"https://", b"gs://", b"[headers]\n", b"[" * 60, b"9" * 60),
)


@lru_cache(1)
def _directory() -> "TemporaryDirectory[str]":
    return TemporaryDirectory()


def fuzz(data: bytes) -> None:
    table, _, environment = data.partition(b"\n%%\n")
    file = Path(_directory().name) / "config.toml"
    file.write_bytes(table)
    logging.disable()
    try:
        config: Any = load({"config": str(file)}, _environment(environment))
    except InvalidConfig as error:
        str(error).encode(errors="surrogateescape")
        return
    finally:
        logging.disable(logging.NOTSET)
    url = urlsplit(config.hub)
    assert url.scheme in ("http", "https", "gs")
    assert url.netloc
    for size in (config.cache_size_bytes, config.memory_size_bytes):
        assert type(size) is int
        assert size >= 0
    for time in (config.connect_timeout_s, config.stall_timeout_s):
        assert 0 < time < math.inf
    for name, value in config.headers.items():
        check_header_validity((name, value))
        name.encode("latin-1")  # as it is sent
        value.encode("latin-1")
    for path in (config.cache_dir, config.extracted_dir, config.catalog, config.log_file):
        assert path is None or (path.is_absolute() and "\0" not in str(path))
    assert config.token is None or config.token.isprintable()


def _environment(text: bytes) -> dict[str, str]:
    """What a process can have: no NUL; and not what hubfs tells its own daemon."""
    pairs = (line.partition(b"=") for line in text.replace(b"\0", b"").split(b"\n"))
    environment = {os.fsdecode(name): os.fsdecode(value) for name, equals, value in pairs if equals}
    return {name: value for name, value in environment.items() if name != UNLISTED}
