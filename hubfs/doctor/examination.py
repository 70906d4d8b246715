"""All of it, in the order in which one thing stands on another."""

import platform
from collections.abc import Iterator, Mapping

from hubfs import __version__
from hubfs.config import Config
from hubfs.doctor import machine, mounts, network, storage
from hubfs.doctor.finding import Finding, ok


def examine(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Looks at everything that mounts with this config need; nothing of it is changed. Takes a few seconds."""
    yield ok("hubfs", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}")
    yield from machine.examine(config, machine.Machine())
    yield from storage.examine(config)
    yield from network.examine(config, environment)
    yield from mounts.examine()
