import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hubfs import __version__
from hubfs.blobs.http import HttpClient
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Unavailable
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.answers import Latest
from hubfs.sources.models import KnownModel, Models
from hubfs.sources.source import Entry, EntryKind, Source
from hubfs.sources.troubles import Trouble
from hubfs.status import CachedBytes, RecentProblems, Status
from hubfs.status_text import as_text
from tests.support.http_clients import http_client

MODEL = "hub/google/spice/2@x"
NO_ROUTE = "https://hub: no route"
NOON_S = 1_769_860_800.0
TROUBLE = Trouble("", "https://hub: no route", Unavailable, NOON_S, NOON_S + 60, count=5)
LATEST = Latest("google/spice", "2", NOON_S, "https://hub: no route", NOON_S + 60)


@pytest.fixture
def http() -> Iterator[HttpClient]:
    with http_client() as client:
        yield client


@pytest.fixture
def known() -> list[KnownModel]:
    source = SimpleNamespace(
        url="https://hub/google/spice/2",
        form=Form.COMPRESSED,
        complete=True,
        failure=None,
        model=MODEL,
        entries=lambda: [Entry("f", EntryKind.FILE, 3 << 20), Entry("d", EntryKind.DIRECTORY)],
    )
    return [
        KnownModel(Handle.parse("google/gone/1"), None, TROUBLE),
        KnownModel(Handle.parse("google/spice/2"), cast("Source", source), None),
    ]


@pytest.fixture
def problems() -> Iterator[RecentProblems]:
    problems = RecentProblems()
    logger = logging.getLogger("hubfs.test_status")
    logger.addHandler(problems)
    yield problems
    logger.removeHandler(problems)


@pytest.fixture
def status(http: HttpClient, known: list[KnownModel], problems: RecentProblems) -> Status:
    cache = MemoryTier(4 << 20)
    cache.put(CacheKey(MODEL, "f"), 0, bytes(1 << 20))
    cache.get(CacheKey(MODEL, "f"), 0)
    return Status(
        mountpoint=Path("/mnt/hub"),
        binding="mfusepy on libfuse3.so.3",
        cache_dir=None,
        models=cast("Models", SimpleNamespace(hub="https://hub", opened=lambda: known, latest_asked=lambda: [LATEST])),
        cache=cache,
        http=http,
        problems=problems,
    )


def test_describes_the_mount_for_programs(status: Status) -> None:
    found = json.loads(json.dumps(status.describe()))
    assert (found["version"], found["mountpoint"], found["hub"]) == (__version__, "/mnt/hub", "https://hub")
    assert found["pid"] == os.getpid()
    assert 0 <= found["uptime_s"] < 300
    assert found["cache_dir"] is None
    assert found["cache"] == {
        "memory": {"used_bytes": 1 << 20, "limit_bytes": 4 << 20, "hits": 1, "misses": 0, "problem": None}
    }
    assert found["http"] == {"requests": 0, "bytes_received": 0}
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
            "complete": True,
            "cached_bytes": 1 << 20,
            "size_bytes": 3 << 20,
        },
    ]
    assert found["offline"] is False
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


def test_describes_the_mount_for_people(status: Status) -> None:
    lines = as_text(status.describe()).splitlines()
    assert lines[0].startswith("/mnt/hub: https://hub (up 0 s, process ")
    assert lines[1:] == [
        "  memory: 1.0 of 4 MiB",
        "  google/gone/1: unreadable",
        "    https://hub: no route",
        "    EHOSTUNREACH since 2026-01-31T12:00:00Z, 5 times, last 2026-01-31T12:01:00Z; " + Unavailable.advice,
        "  google/spice/2: 1.0 of 3.0 MiB cached, compressed",
        f"  google/spice/latest: version 2, which may be old; the hub last said so 2026-01-31T12:00:00Z: {NO_ROUTE}",
    ]


def test_a_disk_is_named_with_its_place(status: Status) -> None:
    described = status.describe()
    described["cache_dir"] = "/c"
    described["cache"]["disk"] = {"used_bytes": 3 << 19, "limit_bytes": 10 << 30, "hits": 0, "misses": 0}
    assert "  disk: 1.5 of 10240 MiB in /c" in as_text(described).splitlines()


def test_a_log_that_is_not_written_is_said(status: Status, problems: RecentProblems) -> None:
    problems.log_file = Path("/log")
    assert (status.describe()["log_file"], status.describe()["log_problem"]) == ("/log", None)
    problems.log_file, problems.without_log = None, "The log file /log cannot be written"
    described = status.describe()
    assert (described["log_file"], described["log_problem"]) == (None, "The log file /log cannot be written")
    assert as_text(described).splitlines()[1] == "  WARNING: The log file /log cannot be written"


@pytest.mark.parametrize(("state", "reason"), [("dead", "dead"), ("silent", "--force"), ("shut", "another user")])
def test_a_mount_that_does_not_answer_takes_one_line(state: str, reason: str) -> None:
    text = as_text({"mountpoint": "/mnt/hub", "state": state})
    assert text.startswith("/mnt/hub: ")
    assert reason in text
    assert "\n" not in text


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


def test_counting_what_is_cached_of_many_models_ends_and_goes_on_where_it_ended() -> None:
    now_s, counts = 0.0, dict.fromkeys((f"m{number}" for number in range(10)), 0)

    def count_one(model: str) -> int:
        nonlocal now_s
        now_s += 0.1
        counts[model] += 1
        return counts[model]

    cached = CachedBytes(count_one, budget_s=0.45, timer=lambda: now_s)
    first = cached.count(counts)
    assert sorted(first) == sorted(counts)
    assert [count for count in first.values() if count is None] == 5 * [None]
    assert None not in cached.count(counts).values()
    assert set(counts.values()) == {1}
