import json
from dataclasses import asdict
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_open
from prometheus_client.parser import text_string_to_metric_families as parsed

from hubfs.blobs.http.counts import HttpStats
from hubfs.cache.block_cache import TierStats
from hubfs.metrics.durations import Timings
from hubfs.metrics.exposition import Exposition

HUBS = {"hf": "hf", "": "tfhub.dev"}
EVIL = 'evil"} 1\nhubfs_made_up{x="'


def durations(*each_s: float) -> Any:
    timings = Timings()
    for took_s in each_s:
        timings.add(took_s)
    return timings.so_far()


def status() -> dict[str, Any]:
    described = {
        "version": "0.1.0",
        "binding": "kernel session",
        "restarts": 3,
        "offline": False,
        "operations": {
            "read": {"count": 3, "errors": {"EIO": 1}, "duration": asdict(durations(0.00005, 0.2, 100.0))},
            "lookup": {"count": 1, "errors": {"ENOENT": 1}, "duration": asdict(durations(0.001))},
        },
        "read_bytes": 700,
        "cache": {
            "memory": asdict(TierStats(5, 100, 4, 2, None, 400, 1)),
            "disk": asdict(TierStats(None, 1000, 3, 7, f"no space: {EVIL}", 300, 0, 6)),
        },
        "memory_budget": {"taken_bytes": 8, "limit_bytes": 50},
        "lost_bytes": 9,
        "origins": {
            "hf": asdict(HttpStats(5, 123, {"ok": 4, "limited": 1}, 2, durations(0.3))),
            "": asdict(HttpStats(1, 0, {"timed_out": 1})),
        },
        "budgets": [
            {"hub": "hf", "budget": "questions", "left": 400, "quota": 500, "ends_at": "2026-01-31T12:00:00Z"},
            {"hub": "hf", "budget": "files", "left": 3, "quota": None, "ends_at": "2026-01-31T12:00:00Z"},
        ],
        "model_counts": {"found": 12, "in_use": 2, "in_trouble": 1, "shown": 0},
        "models": [{"handle": EVIL, "error": EVIL, "url": f"https://me:secret@h/{EVIL}"}],
        "latest": [{"name": EVIL}],
        "latest_counts": {"asked": 4, "stale": 1, "shown": 0},
        "ways": [{"hub": "", "number": 1, "way": "the public bucket", "url": EVIL, "rests": EVIL, "answered": EVIL}],
        "passthrough": {"on": True, "off_because": None, "open_files": 2, "opens": 11},
        "recent_problems": [EVIL],
    }
    return dict(json.loads(json.dumps(described)))


@pytest.fixture
def exposition() -> Exposition:
    return Exposition(status, HUBS)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def test_every_number_of_the_status_is_a_metric(exposition: Exposition) -> None:
    text, media_type = exposition.text()
    assert media_type.startswith("text/plain")
    found = samples(text.decode())

    def value(name: str, **labels: str) -> float | None:
        return found.get((f"hubfs_{name}", tuple(sorted(labels.items()))))

    assert value("operations_total", operation="read", errno="OK") == 2
    assert value("operations_total", operation="read", errno="EIO") == 1
    assert value("operations_total", operation="lookup", errno="ENOENT") == 1
    assert value("operations_total", operation="lookup", errno="OK") == 0
    assert value("operation_duration_seconds_bucket", operation="read", le="0.0001") == 1
    assert value("operation_duration_seconds_bucket", operation="read", le="0.5") == 2
    assert value("operation_duration_seconds_bucket", operation="read", le="60.0") == 2
    assert value("operation_duration_seconds_bucket", operation="read", le="+Inf") == 3
    assert value("operation_duration_seconds_count", operation="read") == 3
    assert value("operation_duration_seconds_sum", operation="read") == pytest.approx(100.20005)
    assert value("read_bytes_total") == 700
    assert [value(f"cache_{what}_total", tier="memory") for what in ("hits", "misses", "hit_bytes", "evictions")] == [
        *(4, 2, 400, 1)
    ]
    assert (value("cache_used_bytes", tier="memory"), value("cache_used_bytes", tier="disk")) == (5, None)
    assert (value("cache_limit_bytes", tier="disk"), value("cache_failures_total", tier="disk")) == (1000, 6)
    assert (value("cache_impaired", tier="memory"), value("cache_impaired", tier="disk")) == (0, 1)
    assert (value("memory_budget_taken_bytes"), value("memory_budget_limit_bytes")) == (8, 50)
    assert value("origin_requests_total", hub="hf", result="limited") == 1
    assert value("origin_requests_total", hub="tfhub.dev", result="timed_out") == 1
    assert value("origin_received_bytes_total", hub="hf") == 123
    assert value("origin_requests_in_flight", hub="hf") == 2
    assert value("origin_latency_seconds_count", hub="hf") == 1
    assert value("rate_limit_remaining", hub="hf", budget="questions") == 400
    assert value("rate_limit_quota", hub="hf", budget="files") is None, "the hub does not tell"
    assert value("models", state="in_trouble") == 1
    assert value("way_resting", hub="tfhub.dev", way="the public bucket") == 1
    assert (value("passthrough_enabled"), value("passthrough_opens_total")) == (1, 11)
    assert (value("daemon_restarts_total"), value("stale_names"), value("refetched_bytes_total")) == (3, 1, 9)
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_base_units_and_totals(exposition: Exposition) -> None:
    for family in parsed(exposition.text()[0].decode()):
        assert family.documentation, family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_nothing_that_a_hub_says_is_in_it(exposition: Exposition) -> None:
    for accept in ("", "application/openmetrics-text;version=1.0.0"):
        text = exposition.text(accept)[0].decode()
        assert "evil" not in text
        assert "made_up" not in text
        assert "secret" not in text
        assert "no space" not in text


def test_prometheus_gets_the_format_that_it_asks_for(exposition: Exposition) -> None:
    text, media_type = exposition.text("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    names = {family.name for family in parsed_open(text.decode())}
    assert {"hubfs_operations", "hubfs_build", "process_cpu_seconds"} <= names


def test_without_passthrough_and_questions_there_is_a_text_all_the_same() -> None:
    def young() -> dict[str, Any]:
        nothing: dict[str, Any] = {"passthrough": None, "operations": {}, "budgets": [], "ways": []}
        return {**status(), **nothing}

    found = samples(Exposition(young, HUBS).text()[0].decode())
    assert not any("passthrough" in name for name, _ in found)
    assert any(name == "hubfs_build_info" for name, _ in found)
