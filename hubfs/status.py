"""What a mount says of itself: `/.hubfs/status.json`, and `hubfs status`."""

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hubfs import __version__
from hubfs.blobs.http import HttpClient
from hubfs.blobs.url import redacted_text
from hubfs.cache.block_cache import BlockCache
from hubfs.errors import HubfsError, cut, printable
from hubfs.fuse.errnos import errno_for
from hubfs.sources.answers import Latest
from hubfs.sources.models import KnownModel, Models
from hubfs.sources.source import Source
from hubfs.sources.troubles import Trouble

_REMEMBERED = 20
_REMEMBERED_CHARACTERS = 2000


class RecentProblems(logging.Handler):
    """Keeps the last warnings and errors of the log, for those who have no log file at hand.

    `log_file` is where the log goes, if to a file; `without_log` says why it does not go to the one that it should.
    """

    log_file: Path | None = None
    without_log: str | None = None

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: deque[str] = deque(maxlen=_REMEMBERED)

    def emit(self, record: logging.LogRecord) -> None:
        """Remembers the message."""
        try:
            message = printable(redacted_text(cut(record.getMessage(), _REMEMBERED_CHARACTERS)))
        except Exception:  # noqa: BLE001 - a malformed call of a library must not end in whoever logs
            self.handleError(record)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        self._messages.append(f"{stamp} {record.levelname} {message}")

    def messages(self) -> list[str]:
        """The oldest first."""
        return list(self._messages)


class Status:
    """Reads everybody's figures when asked. Waits for no hub, nor for anybody who does.

    What it keeps are figures that do not change, or take long to count; `dict` is atomic enough for those.
    """

    def __init__(
        self,
        *,
        mountpoint: Path,
        binding: str,
        cache_dir: Path | None,
        models: Models,
        cache: BlockCache,
        http: HttpClient,
        problems: RecentProblems,
        restarts: int | None = None,
        unconfined_by: str | None = None,
        offline: bool = False,
    ) -> None:
        self._mountpoint = mountpoint
        self._binding = binding
        self._cache_dir = cache_dir
        self._models = models
        self._cache = cache
        self._http = http
        self._problems = problems
        self._restarts = restarts
        self._unconfined_by = unconfined_by
        self._offline = offline
        self._sizes_bytes: dict[str, int] = {}
        self._cached = CachedBytes(cache.cached_bytes)
        self._started_s = time.monotonic()

    def describe(self) -> dict[str, Any]:
        """Everything, JSON-able. Sizes in bytes, times in seconds, or UTC as 2026-01-31T12:00:00Z."""
        opened = self._models.opened()
        cached_bytes = self._cached.count([known.source.model for known in opened if known.source is not None])
        return {
            "version": __version__,
            "mountpoint": str(self._mountpoint),
            "hub": self._models.hub,
            "offline": self._offline,
            "pid": os.getpid(),
            "supervised": self._restarts is not None,
            "restarts": self._restarts or 0,
            "binding": self._binding,
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "cache_dir": None if self._cache_dir is None else str(self._cache_dir),
            "cache": {name: asdict(stats) for name, stats in self._cache.stats().items()},
            "http": asdict(self._http.stats()),
            "inflating_unconfined_by": self._unconfined_by,
            "certificates_verified": self._http.settings.verify,
            "models": [self._model(known, cached_bytes) for known in opened],
            "latest": [_latest(latest) for latest in self._models.latest_asked()],
            "log_file": None if self._problems.log_file is None else str(self._problems.log_file),
            "log_problem": self._problems.without_log,
            "recent_problems": self._problems.messages(),
        }

    def _model(self, known: KnownModel, cached_bytes: Mapping[str, int | None]) -> dict[str, Any]:
        described: dict[str, Any] = {"handle": str(known.handle), "error": known.error}
        if known.trouble is not None:
            described["trouble"] = _trouble(known.trouble)
        if known.source is not None:
            described |= {
                "url": known.source.url,
                "form": known.source.form.value,
                "complete": known.source.complete,
                "cached_bytes": cached_bytes[known.source.model],
                "size_bytes": self._size_bytes(known.source),
            }
        return described

    def _size_bytes(self, source: Source) -> int | None:
        """The size of all files; None as long as they are not known, and asking would wait."""
        if source.model not in self._sizes_bytes and source.complete and source.failure is None:
            with contextlib.suppress(HubfsError):  # it has just failed
                self._sizes_bytes[source.model] = sum(entry.size_bytes for entry in source.entries())
        return self._sizes_bytes.get(source.model)


class CachedBytes:
    """How much of each model is cached, by `count_one`, which reads a file for each file of the model.

    Those that were counted longest ago come first, until half a second has gone by: the others are what they were, or
    None. `dict` is atomic enough for `_counted`.
    """

    def __init__(
        self, count_one: Callable[[str], int], *, budget_s: float = 0.5, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._count_one = count_one
        self._budget_s = budget_s
        self._timer = timer
        self._counted: dict[str, tuple[float, int]] = {}  # when, and what

    def count(self, models: Iterable[str]) -> dict[str, int | None]:
        """By model."""
        begun_s = self._timer()
        before = {model: self._counted.get(model, (0.0, None)) for model in models}
        found: dict[str, int | None] = {}
        for model, (_, known) in sorted(before.items(), key=lambda item: item[1][0]):
            if self._timer() - begun_s < self._budget_s:
                counted = self._count_one(model)
                self._counted[model] = (self._timer(), counted)
                found[model] = counted
            else:
                found[model] = known
        return found


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {
        "path": trouble.path,
        "errno": errno.errorcode[errno_for(trouble.kind)],
        "since": _utc(trouble.since_s),
        "last": _utc(trouble.last_s),
        "count": trouble.count,
        "retry_at": _utc(trouble.retry_at_s),
        "advice": trouble.kind.advice,
    }


def _latest(latest: Latest) -> dict[str, Any]:
    return {
        "name": latest.name,
        "version": latest.version,
        "asked_at": _utc(latest.asked_at_s),
        "stale": latest.error is not None,
        "stale_since": _utc(latest.stale_since_s),
        "error": latest.error,
    }


def _utc(unix_s: float | None) -> str | None:
    return None if unix_s is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
