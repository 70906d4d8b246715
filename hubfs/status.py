"""What a mount says of itself: `/.hubfs/status.json`, and `hubfs status`."""

import errno
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hubfs import __version__
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.counts import HttpStats
from hubfs.blobs.http.url import redacted_text
from hubfs.cache.block_cache import BlockCache
from hubfs.errors import cut, printable
from hubfs.fuse.counts import OperationCounts
from hubfs.fuse.errnos import errno_for
from hubfs.hubs.hub import Budget, WayTold
from hubfs.memory_budget import MemoryBudget
from hubfs.models.answers import Latest
from hubfs.models.models import Census, KnownModel, Models
from hubfs.models.troubles import Trouble
from hubfs.sources.source import cached_bytes

_REMEMBERED = 20
_REMEMBERED_CHARACTERS = 2000
_SHOWN = 100
"""So many models, and so many names of `latest`, are told of, of however many."""

_LEAST_BYTES = 64
"""No description of a model is shorter."""

_COUNTS_BYTES = 1024
"""What else is in a list of models is no longer."""


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
        except Exception:  # noqa: BLE001 - a malformed call of a library must not end in the caller that logs
            self.handleError(record)
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        self._messages.append(f"{stamp} {record.levelname} {message}")

    def messages(self) -> list[str]:
        """The oldest first."""
        return list(self._messages)


class Status:
    """Reads everybody's figures when asked. Waits for no hub, nor for anybody who does.

    Its cost grows with the models that it tells of, at most a hundred, and not with their files.
    """

    def __init__(
        self,
        *,
        mountpoint: Path,
        binding: str,
        cache_dir: Path | None,
        models: Mapping[str, Models],
        cache: BlockCache,
        http: Sequence[HttpClient],
        buckets: Sequence[GcsClient],
        budget: MemoryBudget,
        problems: RecentProblems,
        restarts: int | None = None,
        unconfined_by: str | None = None,
        passthrough: Callable[[], Mapping[str, Any]] | None = None,
        offline: bool = False,
        operations: OperationCounts | None = None,
        metrics_addr: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._mountpoint = mountpoint
        self._binding = binding
        self._cache_dir = cache_dir
        self._models = models
        self._cache = cache
        self._http = http
        self._buckets = buckets
        self._budget = budget
        self._problems = problems
        self._restarts = restarts
        self._unconfined_by = unconfined_by
        self._passthrough = passthrough
        self._offline = offline
        self._operations = operations or OperationCounts()
        self._metrics_addr = metrics_addr
        self._started_s = time.monotonic()

    def describe(self, most: int = _SHOWN) -> dict[str, Any]:
        """JSON-able: sizes in bytes, times in seconds, or UTC as 2026-01-31T12:00:00Z; null is what is not known yet.

        `models` are those in trouble and those in use, `latest` the names whose `latest` was asked for, those first
        that may be old; of either at most so many, and `model_counts` and `latest_counts` say of how many. `ways` are
        those to the models of a hub that has several, in their order; `rests` says why one is left alone. `budgets` are
        what a hub lets be asked, by its last answers. `origins` has of each hub what `http` has of all
        together. `memory_budget` is the memory that transfers, windows and flights have, and may have. `operations` are
        what the kernel asked for, by name, and `read_bytes` what readers got through this process.
        """
        origins = self._origins()
        total = sum(origins.values(), HttpStats(0, 0))
        censuses = [models.census(most) for models in self._models.values()]
        shown = self._shown(censuses)[:most]
        asked = [(hub, latest) for hub, models in self._models.items() for latest in models.answers.asked()]
        stale = [(hub, latest) for hub, latest in asked if latest.error is not None]
        told = [*stale, *((hub, latest) for hub, latest in asked if latest.error is None)][:most]
        return {
            "version": __version__,
            "mountpoint": str(self._mountpoint),
            **self.hubs,
            "offline": self._offline,
            "pid": os.getpid(),
            "supervised": self._restarts is not None,
            "restarts": self._restarts or 0,
            "binding": self._binding,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
            "cache_dir": None if self._cache_dir is None else str(self._cache_dir),
            "cache": {name: asdict(stats) for name, stats in self._cache.stats().items()},
            "lost_bytes": self._budget.lost_bytes,
            "memory_budget": {"taken_bytes": self._budget.taken_bytes, "limit_bytes": self._budget.limit_bytes},
            "http": {"requests": total.requests, "bytes_received": total.bytes_received},
            "origins": {hub: asdict(stats) for hub, stats in origins.items()},
            "operations": {name: asdict(stats) for name, stats in self._operations.stats().items()},
            "read_bytes": self._operations.read_bytes,
            "passthrough": None if self._passthrough is None else self._passthrough(),
            "inflating_unconfined_by": self._unconfined_by,
            "certificates_verified": all(client.settings.verify for client in self._http),
            "models": [self._model(hub, known) for hub, known in shown],
            "model_counts": _counts(censuses, len(shown)),
            "ways": [way for hub, models in self._models.items() for way in _ways(hub, models.hub.ways())],
            "budgets": [one for hub, models in self._models.items() for one in _budgets(hub, models.hub.budgets())],
            "latest": [_latest(hub, latest) for hub, latest in told],
            "latest_counts": {"asked": len(asked), "stale": len(stale), "shown": len(told)},
            "metrics_addr": self._metrics_addr(),
            "log_file": None if self._problems.log_file is None else str(self._problems.log_file),
            "log_problem": self._problems.without_log,
            "recent_problems": self._problems.messages(),
        }

    def models(self, most_bytes: int) -> dict[str, Any]:
        """`models` and `model_counts` of all models that were asked for since the start, as `describe` has them.

        As many as make no more than `most_bytes` of JSON: those in trouble first, then those in use.
        """
        censuses = [models.census(most_bytes // _LEAST_BYTES, idle=True) for models in self._models.values()]
        models, left_bytes = [], most_bytes - _COUNTS_BYTES
        for hub, known in self._shown(censuses):
            model = self._model(hub, known)
            left_bytes -= len(json.dumps(model)) + 2
            if left_bytes < 0:
                break
            models.append(model)
        return {"models": models, "model_counts": _counts(censuses, len(models))}

    @property
    def hubs(self) -> dict[str, Any]:
        """`hub`: the URL of the hub, null for several; `hubs`: their URLs by the directory that each is in."""
        urls = {name: models.hub.url for name, models in self._models.items()}
        return {"hub": urls.get(""), "hubs": urls}

    def _origins(self) -> Mapping[str, HttpStats]:
        """What was asked for each hub, and received: of its host, and of buckets."""
        clients = zip(self._models, self._http, self._buckets, strict=True)
        return {hub: http.stats() + bucket.stats() for hub, http, bucket in clients}

    def _shown(self, censuses: Sequence[Census]) -> list[tuple[str, KnownModel]]:
        """The models to tell of, with the directory of their hub: those in trouble first, of every hub some."""
        told = [(hub, known) for hub, census in zip(self._models, censuses, strict=True) for known in census.shown]
        return sorted(told, key=lambda one: one[1].error is None)

    def _model(self, hub: str, known: KnownModel) -> dict[str, Any]:
        described: dict[str, Any] = {"handle": _below(hub, str(known.handle)), "error": known.error}
        if known.trouble is not None:
            described["trouble"] = _trouble(known.trouble)
        if known.source is not None:
            source = known.source
            complete, extent = source.complete, source.extent
            described |= {
                "url": source.url,
                "form": source.form.value,
                "open_files": known.use.open_files,
                "read_bytes": known.use.read_bytes,
                "complete": complete,
                "streaming": source.streams,
                "came_bytes": source.came_bytes,
                "to_come_bytes": source.to_come_bytes,
                "cached_bytes": cached_bytes(self._cache, source),
                "files": extent.files if complete else None,
                "size_bytes": extent.size_bytes if complete else None,
            }
        return described


def _below(hub: str, name: str) -> str:
    """The path of a model below the mount point."""
    return f"{hub}/{name}" if hub else name


def _counts(censuses: Sequence[Census], shown: int) -> dict[str, int]:
    return {
        "found": sum(census.found for census in censuses),
        "in_use": sum(census.in_use for census in censuses),
        "in_trouble": sum(census.in_trouble for census in censuses),
        "shown": shown,
    }


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


def _latest(hub: str, latest: Latest) -> dict[str, Any]:
    return {
        "name": _below(hub, latest.name),
        "version": latest.version,
        "asked_at": _utc(latest.asked_at_s),
        "stale": latest.error is not None,
        "stale_since": _utc(latest.stale_since_s),
        "error": latest.error,
    }


def _ways(hub: str, ways: Sequence[WayTold]) -> Iterator[dict[str, Any]]:
    for number, told in enumerate(ways, 1):
        yield {
            "hub": hub,
            "number": number,
            "way": told.name,
            "url": told.url,
            "rests": told.rests,
            "answered": told.answered,
            "answered_at": _utc(told.answered_at_s),
        }


def _budgets(hub: str, budgets: Sequence[Budget]) -> Iterator[dict[str, Any]]:
    for told in budgets:
        yield {
            "hub": hub,
            "budget": told.name,
            "left": told.left,
            "quota": told.quota,
            "ends_at": _utc(told.ends_at_s),
        }


def _utc(unix_s: float | None) -> str | None:
    return None if unix_s is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
