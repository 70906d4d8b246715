import errno
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hubfs import __version__
from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.counts import HttpStats
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.commands.status.report import as_text
from hubfs.errors import Unavailable
from hubfs.fuse.counts import OperationCounts
from hubfs.hubs.hub import Budget, WayTold
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.memory_budget import MemoryBudget
from hubfs.models.answers import Latest
from hubfs.models.models import Census, KnownModel, Models
from hubfs.models.troubles import Trouble
from hubfs.models.uses import Use
from hubfs.sources.source import Extent, Form, Source
from hubfs.status import RecentProblems, Status

MODEL = "hub/google/spice/2@x"
NOON_S = 1_769_860_800.0
NOON = "2026-01-31T12:00:00Z"
TROUBLE = Trouble("", "https://hub: no route", Unavailable, NOON_S, NOON_S + 60, count=5)
BUDGETS = [Budget("questions", 400, NOON_S, 500)]
LATEST = Latest("google/spice", "2", NOON_S, "https://hub: no route", NOON_S + 60)
WAYS = [
    WayTold("the public bucket", "gs://public", rests="403"),
    WayTold("Kaggle", "https://kaggle", answered="google/spice/2", answered_at_s=NOON_S),
]


@pytest.fixture
def known() -> list[KnownModel]:
    source = SimpleNamespace(
        url="https://hub/google/spice/2",
        form=Form.COMPRESSED,
        complete=True,
        failure=None,
        model=MODEL,
        shared=(),
        streams=False,
        came_bytes=0,
        to_come_bytes=0,
        extent=Extent(2, 3 << 20),
    )
    return [
        KnownModel(parse_handle("google/gone/1"), None, TROUBLE),
        KnownModel(parse_handle("google/spice/2"), cast("Source", source), None, Use(open_files=2, read_bytes=5 << 20)),
    ]


@pytest.fixture
def problems() -> Iterator[RecentProblems]:
    problems = RecentProblems()
    logger = logging.getLogger("hubfs.test_status")
    logger.addHandler(problems)
    yield problems
    logger.removeHandler(problems)


def models_of(url: str, census: Callable[..., Census]) -> Models:
    told = SimpleNamespace(
        hub=SimpleNamespace(url=url, ways=lambda: WAYS, budgets=lambda: BUDGETS),
        census=census,
        answers=SimpleNamespace(asked=lambda: [LATEST]),
    )
    return cast("Models", told)


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(2 << 20)


@pytest.fixture
def status(client: HttpClient, known: list[KnownModel], budget: MemoryBudget, problems: RecentProblems) -> Status:
    def census(most: int, *, idle: bool = False) -> Census:
        return Census(found=7 if idle else 12, in_use=1, in_trouble=1, shown=known[:most])

    cache = MemoryTier(4 << 20)
    cache.put(CacheKey(MODEL, "f"), 0, bytes(1 << 20))
    cache.get(CacheKey(MODEL, "f"), 0)
    operations = OperationCounts()
    operations.add("read", 0, 0.25, 9)
    operations.add("read", errno.EIO, 0.5)
    return Status(
        passthrough=lambda: {"on": True, "off_because": None, "open_files": 2},
        mountpoint=Path("/mnt/hub"),
        binding="mfusepy on libfuse3.so.3",
        cache_dir=None,
        models={"": models_of("https://hub", census)},
        cache=cache,
        http=[client],
        buckets=[cast("GcsClient", SimpleNamespace(stats=lambda: HttpStats(3, 700, {"ok": 3}, 1)))],
        budget=budget,
        problems=problems,
        operations=operations,
    )


def test_describes_the_mount_for_programs(status: Status) -> None:
    found = json.loads(json.dumps(status.describe()))
    assert (found["version"], found["mountpoint"], found["hub"]) == (__version__, "/mnt/hub", "https://hub")
    assert found["pid"] == os.getpid()
    assert 0 <= found["uptime_s"] < 300
    assert found["cache_dir"] is None
    full = {"used_bytes": 1 << 20, "limit_bytes": 4 << 20, "problem": None}
    served = {"hits": 1, "misses": 0, "hit_bytes": 1 << 20, "evictions": 0, "failures": 0}
    assert found["cache"] == {"memory": {**full, **served}}
    assert found["http"] == {"requests": 3, "bytes_received": 700}, "what buckets were asked counts"
    (asked,) = found["origins"].values()
    assert (asked["requests"], asked["bytes_received"]) == (3, 700)
    assert (asked["results"], asked["in_flight"], sum(asked["latency"]["counts"])) == ({"ok": 3}, 1, 0)
    read = found["operations"]["read"]
    assert (read["count"], read["errors"], found["read_bytes"]) == (2, {"EIO": 1}, 9)
    assert (sum(read["duration"]["counts"]), read["duration"]["sum_s"]) == (2, 0.75)
    assert found["origins"] == {"": asked}
    assert found["memory_budget"] == {"taken_bytes": 0, "limit_bytes": 2 << 20}
    assert found["models"] == [
        {
            "handle": "google/gone/1",
            "error": "https://hub: no route",
            "trouble": {
                "path": "",
                "errno": "EHOSTUNREACH",
                "since": "2026-01-31T12:00:00Z",
                "last": "2026-01-31T12:01:00Z",
                "count": 5,
                "retry_at": None,
                "advice": Unavailable.advice,
            },
        },
        {
            "handle": "google/spice/2",
            "error": None,
            "url": "https://hub/google/spice/2",
            "form": "compressed",
            "open_files": 2,
            "read_bytes": 5 << 20,
            "complete": True,
            "streaming": False,
            "came_bytes": 0,
            "to_come_bytes": 0,
            "cached_bytes": 1 << 20,
            "files": 2,
            "size_bytes": 3 << 20,
        },
    ]
    assert found["model_counts"] == {"found": 12, "in_use": 1, "in_trouble": 1, "shown": 2}
    assert found["latest_counts"] == {"asked": 1, "stale": 1, "shown": 1}
    assert found["offline"] is False
    assert found["passthrough"] == {"on": True, "off_because": None, "open_files": 2}
    nothing = {"hub": "", "rests": None, "answered": None, "answered_at": None}
    spice = {"answered": "google/spice/2", "answered_at": NOON}
    assert found["ways"] == [
        {**nothing, "number": 1, "way": "the public bucket", "url": "gs://public", "rests": "403"},
        {**nothing, "number": 2, "way": "Kaggle", "url": "https://kaggle", **spice},
    ]
    told = {"budget": "questions", "left": 400, "quota": 500, "ends_at": "2026-01-31T12:00:00Z"}
    assert found["budgets"] == [{"hub": "", **told}]
    assert found["latest"] == [
        {
            "name": "google/spice",
            "version": "2",
            "asked_at": "2026-01-31T12:00:00Z",
            "stale": True,
            "stale_since": "2026-01-31T12:01:00Z",
            "error": "https://hub: no route",
        }
    ]


def test_a_log_that_is_not_written_is_said(status: Status, problems: RecentProblems) -> None:
    problems.log_file = Path("/log")
    assert (status.describe()["log_file"], status.describe()["log_problem"]) == ("/log", None)
    problems.log_file, problems.without_log = None, "The log file /log cannot be written"
    described = status.describe()
    assert (described["log_file"], described["log_problem"]) == (None, "The log file /log cannot be written")


def test_remembers_the_last_problems_and_nothing_less(status: Status, problems: RecentProblems) -> None:
    logger = logging.getLogger("hubfs.test_status")
    logger.info("all is well")
    assert status.describe()["recent_problems"] == []
    for number in range(30):
        logger.warning("problem %d", number)
    messages = status.describe()["recent_problems"]
    assert messages == problems.messages()
    assert [message.split(" ", 1)[1] for message in messages] == [
        f"WARNING problem {number}" for number in range(10, 30)
    ]


def test_all_models_are_told_of_within_a_bound(status: Status, known: list[KnownModel]) -> None:
    everything = status.models(1 << 20)
    assert everything["models"] == status.describe()["models"]
    assert everything["model_counts"] == {"found": 7, "in_use": 1, "in_trouble": 1, "shown": 2}
    known *= 50_000
    everything = status.models(1 << 20)
    assert (1 << 20) * 0.9 < len(json.dumps(everything)) <= 1 << 20
    assert everything["model_counts"]["shown"] == len(everything["models"])


def test_what_is_described_can_be_drawn(status: Status) -> None:
    before = status.describe()
    now = {**status.describe(), "uptime_s": before["uptime_s"] + 1}
    lines = [" ".join(line.split()) for line in as_text(now, before).splitlines()]
    assert "google/spice/2 1.0 MB 3.1 MB ━━━ 5.2 MB 2 compressed" in lines
    assert "https://hub Kaggle 3 700 B 0 B/s" in lines
