"""What `latest` stood for when the hub was last asked, across restarts: a small file a name."""

import logging
from dataclasses import asdict, dataclass

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


class LatestStore:
    """Keeps the answers of `hub` (its label in the cache), a file a name; see `CacheLayout`. No state, so no lock.

    A file that cannot be read, or fails its checksum, is as good as none; one that cannot be written is left. Never
    raises. Without a `layout` there is no disk, and nothing is kept.
    """

    def __init__(self, layout: CacheLayout | None, hub: str) -> None:
        self._layout = layout
        self._hub = hub

    def load(self, name: str) -> LastAnswer | None:
        """The last answer for `name`, if there was one."""
        if self._layout is None:
            return None
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
        """Keeps an answer in place of the one before, at once or not at all."""
        if self._layout is None:
            return
        try:
            sealed = seal("latest", f"{self._hub}/{name}", asdict(answer))
            write_whole(self._layout.latest(self._hub, name), sealed, self._layout.root)
        except OSError as error:
            _log.debug("The last answer for %s/latest is not kept: %s", name, error)
