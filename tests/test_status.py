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
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.models import KnownModel, Models
from hubfs.sources.source import Source
from hubfs.status import RecentProblems, Status
from hubfs.status_text import as_text
from tests.support.http_clients import http_client

MODEL = "hub/google/spice/2@x"


@pytest.fixture
def http() -> Iterator[HttpClient]:
    with http_client() as client:
        yield client


@pytest.fixture
def known() -> list[KnownModel]:
    source = SimpleNamespace(url="https://hub/google/spice/2", form=Form.COMPRESSED, complete=False, model=MODEL)
    return [
        KnownModel(Handle.parse("google/gone/1"), None, "https://hub: no route"),
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
        models=cast("Models", SimpleNamespace(hub="https://hub", opened=lambda: known)),
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
    assert found["cache"] == {"memory": {"used_bytes": 1 << 20, "limit_bytes": 4 << 20, "hits": 1, "misses": 0}}
    assert found["http"] == {"requests": 0, "bytes_received": 0}
    assert found["models"] == [
        {"handle": "google/gone/1", "error": "https://hub: no route"},
        {
            "handle": "google/spice/2",
            "error": None,
            "url": "https://hub/google/spice/2",
            "form": "compressed",
            "complete": False,
            "cached_bytes": 1 << 20,
        },
    ]


def test_describes_the_mount_for_people(status: Status) -> None:
    lines = as_text(status.describe()).splitlines()
    assert lines[0].startswith("/mnt/hub: https://hub (up 0 s, process ")
    assert lines[1:] == [
        "  memory: 1.0 of 4 MiB",
        "  google/gone/1: unreadable",
        "    https://hub: no route",
        "  google/spice/2: 1.0 MiB cached, compressed, still streaming",
    ]


def test_a_disk_is_named_with_its_place(status: Status) -> None:
    described = status.describe()
    described["cache_dir"] = "/c"
    described["cache"]["disk"] = {"used_bytes": 3 << 19, "limit_bytes": 10 << 30, "hits": 0, "misses": 0}
    assert "  disk: 1.5 of 10240 MiB in /c" in as_text(described).splitlines()


@pytest.mark.parametrize(("dead", "reason"), [(True, "dead"), (False, "another user")])
def test_a_mount_that_does_not_answer_takes_one_line(dead: bool, reason: str) -> None:  # noqa: FBT001 - a parameter
    text = as_text({"mountpoint": "/mnt/hub", "dead": dead})
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
