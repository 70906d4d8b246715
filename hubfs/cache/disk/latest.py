"""What `latest` stood for when the hub was last asked, across restarts: a small file a name."""

import logging
from dataclasses import asdict, dataclass
from typing import Protocol

from hubfs.cache.disk.files import read_whole, write_whole
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import seal, unseal

_log = logging.getLogger(__name__)

_MOST_BYTES = 64 << 10


@dataclass(frozen=True)
class LastAnswer:
    """The version that a hub gave for a name, and when (Unix time)."""

    version: str
    asked_at_s: float


class LatestAnswers(Protocol):
    """Keeps the last answers; see `LatestStore`."""

    def load(self, name: str) -> LastAnswer | None:
        """The last answer for `name`, if there was one."""
        ...

    def save(self, name: str, answer: LastAnswer) -> None:
        """Keeps an answer in place of the one before."""
        ...


class NoLatestAnswers:
    """What there is without a disk."""

    def load(self, name: str) -> LastAnswer | None:  # noqa: ARG002 - the protocol's signature
        """See `LatestAnswers`."""
        return None

    def save(self, name: str, answer: LastAnswer) -> None:
        """See `LatestAnswers`."""


class LatestStore:
    """Keeps the answers of `hub` (its label in the cache), a file a name; see `CacheLayout`. No state, so no lock.

    What cannot be read, or fails its checksum, is as good as none; what cannot be written is left. Never raises.
    """

    def __init__(self, layout: CacheLayout, hub: str) -> None:
        self._layout = layout
        self._hub = hub

    def load(self, name: str) -> LastAnswer | None:
        """See `LatestAnswers`."""
        try:
            data = read_whole(self._layout.latest(self._hub, name), _MOST_BYTES)
            found = unseal("latest", f"{self._hub}/{name}", data)
            return LastAnswer(str(found["version"]), float(found["asked_at_s"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
            _log.info("The last answer for %s/latest is left aside: %s", name, error)
            return None

    def save(self, name: str, answer: LastAnswer) -> None:
        """See `LatestAnswers`; at once or not at all."""
        try:
            sealed = seal("latest", f"{self._hub}/{name}", asdict(answer))
            write_whole(self._layout.latest(self._hub, name), sealed, self._layout.root)
        except OSError as error:
            _log.debug("The last answer for %s/latest is not kept: %s", name, error)
