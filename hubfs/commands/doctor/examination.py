"""All of it, in the order in which one thing stands on another."""

import platform
from collections.abc import Iterator, Mapping

from hubfs import __version__
from hubfs.commands.doctor import machine, mounts, network, storage
from hubfs.commands.doctor.finding import Finding, ok
from hubfs.settings.config import Config


def examine(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Looks at everything that mounts with this config need; nothing of it is changed. Takes a few seconds."""
    yield ok("hubfs", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}")
    yield from machine.examine(config, machine.Machine())
    yield from storage.examine(config)
    yield from network.examine(config, environment)
    yield from mounts.examine()
