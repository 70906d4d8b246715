"""What a mount says of itself: `/.hubfs/status.json`, and `hubfs status`."""

import logging
import os
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hubfs import __version__
from hubfs.blobs.http import HttpClient
from hubfs.cache.block_cache import BlockCache
from hubfs.sources.models import KnownModel, Models

_REMEMBERED = 20


class RecentProblems(logging.Handler):
    """Keeps the last warnings and errors of the log, for those who have no log file at hand."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: deque[str] = deque(maxlen=_REMEMBERED)

    def emit(self, record: logging.LogRecord) -> None:
        """Remembers the message."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a malformed call of a library must not end in whoever logs
            self.handleError(record)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        self._messages.append(f"{stamp} {record.levelname} {message}")

    def messages(self) -> list[str]:
        """The oldest first."""
        return list(self._messages)


class Status:
    """Reads everybody's figures when asked; keeps none."""

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
    ) -> None:
        self._mountpoint = mountpoint
        self._binding = binding
        self._cache_dir = cache_dir
        self._models = models
        self._cache = cache
        self._http = http
        self._problems = problems
        self._started_s = time.monotonic()

    def describe(self) -> dict[str, Any]:
        """Everything, JSON-able. Sizes in bytes, times in seconds."""
        return {
            "version": __version__,
            "mountpoint": str(self._mountpoint),
            "hub": self._models.hub,
            "pid": os.getpid(),
            "binding": self._binding,
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "cache_dir": None if self._cache_dir is None else str(self._cache_dir),
            "cache": {name: asdict(stats) for name, stats in self._cache.stats().items()},
            "http": asdict(self._http.stats()),
            "models": [self._model(known) for known in self._models.opened()],
            "recent_problems": self._problems.messages(),
        }

    def _model(self, known: KnownModel) -> dict[str, Any]:
        described: dict[str, Any] = {"handle": str(known.handle), "error": known.error}
        if known.source is not None:
            described |= {
                "url": known.source.url,
                "form": known.source.form.value,
                "complete": known.source.complete,
                "cached_bytes": self._cache.cached_bytes(known.source.model),
            }
        return described
