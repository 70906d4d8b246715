"""A status → what Prometheus reads. Every label is a word of hubfs's own, or a name that the user gave a hub."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from platform import python_version
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

Status = Mapping[str, Any]
"""As `Status.describe` has it."""

_OK = "OK"
"""Stands where an errno would, of operations that went well."""

_Row = tuple[Sequence[str], float]
"""The values of a metric's labels, and the metric's own."""


class Exposition:
    """The metrics of a mount, made anew each time that they are asked for.

    `hubs` has a word for each hub by the directory that it is in: a hub that is alone has no name of a directory.
    """

    def __init__(self, status: Callable[[], Status], hubs: Mapping[str, str]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfStatus(status, hubs))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics in a format that a client with this `Accept` header takes, and the format's media type."""
        encoder, media_type = choose_encoder(accept)
        return encoder(self._registry), media_type


class _OfStatus(Collector):
    def __init__(self, status: Callable[[], Status], hubs: Mapping[str, str]) -> None:
        self._status = status
        self._hubs = hubs

    def collect(self) -> Iterable[Metric]:
        return families(self._status(), self._hubs)


def families(status: Status, hubs: Mapping[str, str]) -> Iterator[Metric]:
    """The families of metrics that the status has numbers for."""
    build = {"version": status["version"], "python": python_version(), "binding": status["binding"]}
    yield InfoMetricFamily("hubfs_build", "The version of hubfs, and what serves the kernel.", value=build)
    yield _counter("hubfs_daemon_restarts", "How often a supervisor started the daemon anew.", status["restarts"])
    yield _gauge("hubfs_offline", "1: no hub is asked.", status["offline"])
    yield from _of_operations(status)
    yield from _of_cache(status["cache"])
    budget = status["memory_budget"]
    yield _gauge("hubfs_memory_budget_taken_bytes", "What transfers and windows have taken.", budget["taken_bytes"])
    yield _gauge("hubfs_memory_budget_limit_bytes", "What transfers and windows may take.", budget["limit_bytes"])
    yield _counter("hubfs_refetched_bytes", "What nothing had kept, and was fetched once more.", status["lost_bytes"])
    yield from _of_origins(status["origins"], hubs)
    yield from _of_rate_limits(status["budgets"], hubs)
    yield from _of_models(status, hubs)
    if status["passthrough"] is not None:
        yield from _of_passthrough(status["passthrough"])


def _of_operations(status: Status) -> Iterator[Metric]:
    operations = status["operations"]
    ended = [
        ((name, error), count)
        for name, stats in operations.items()
        for error, count in {_OK: stats["count"] - sum(stats["errors"].values()), **stats["errors"]}.items()
    ]
    yield _counter("hubfs_operations", "What the kernel asked for, by how it ended.", ended, "operation", "errno")
    yield _histogram(
        "hubfs_operation_duration_seconds",
        "How long the daemon took for what the kernel asked for.",
        {name: stats["duration"] for name, stats in operations.items()},
        "operation",
    )
    yield _counter("hubfs_read_bytes", "What readers got through the daemon.", status["read_bytes"])


def _of_cache(tiers: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    def rows(field: str) -> list[_Row]:
        return [((name,), tier[field]) for name, tier in tiers.items() if tier[field] is not None]

    yield _counter("hubfs_cache_hits", "Blocks that the tier had.", rows("hits"), "tier")
    yield _counter("hubfs_cache_misses", "Blocks that the tier did not have.", rows("misses"), "tier")
    yield _counter("hubfs_cache_hit_bytes", "The bytes of the blocks that the tier had.", rows("hit_bytes"), "tier")
    what = "Blocks that gave way in memory, and models that did on disk."
    yield _counter("hubfs_cache_evictions", what, rows("evictions"), "tier")
    yield _counter("hubfs_cache_failures", "What the disk refused to read or keep.", rows("failures"), "tier")
    yield _gauge(
        "hubfs_cache_used_bytes", "What the tier holds; absent while it is counted.", rows("used_bytes"), "tier"
    )
    yield _gauge("hubfs_cache_limit_bytes", "What the tier may hold.", rows("limit_bytes"), "tier")
    impaired = [((name,), tier["problem"] is not None) for name, tier in tiers.items()]
    yield _gauge("hubfs_cache_impaired", "1: the tier keeps nothing just now.", impaired, "tier")


def _of_origins(origins: Mapping[str, Mapping[str, Any]], hubs: Mapping[str, str]) -> Iterator[Metric]:
    asked = [
        ((hubs[hub], result), count) for hub, stats in origins.items() for result, count in stats["results"].items()
    ]
    yield _counter("hubfs_origin_requests", "Requests to hosts, by how they ended.", asked, "hub", "result")
    received = [((hubs[hub],), stats["bytes_received"]) for hub, stats in origins.items()]
    yield _counter("hubfs_origin_received_bytes", "Bytes of bodies that hosts sent.", received, "hub")
    in_flight = [((hubs[hub],), stats["in_flight"]) for hub, stats in origins.items()]
    yield _gauge(
        "hubfs_origin_requests_in_flight", "Requests without a reply, and bodies being read.", in_flight, "hub"
    )
    yield _histogram(
        "hubfs_origin_latency_seconds",
        "How long the head of a reply took.",
        {hubs[hub]: stats["latency"] for hub, stats in origins.items()},
        "hub",
    )


def _of_rate_limits(budgets: Sequence[Mapping[str, Any]], hubs: Mapping[str, str]) -> Iterator[Metric]:
    def rows(field: str) -> list[_Row]:
        found = {(hubs[one["hub"]], one["budget"]): one[field] for one in budgets}
        return [(labels, value) for labels, value in found.items() if value is not None]

    what = "Requests that the hub still lets be asked, by its last answer."
    yield _gauge("hubfs_rate_limit_remaining", what, rows("left"), "hub", "budget")
    yield _gauge("hubfs_rate_limit_quota", "Requests that the hub allows in all.", rows("quota"), "hub", "budget")


def _of_models(status: Status, hubs: Mapping[str, str]) -> Iterator[Metric]:
    counts = status["model_counts"]
    models = [((state,), counts[state]) for state in ("found", "in_use", "in_trouble")]
    yield _gauge("hubfs_models", "Models that were asked for since the start, in use, in trouble.", models, "state")
    what = "Names whose `latest` may be old, for the hub could not be asked."
    yield _gauge("hubfs_stale_names", what, status["latest_counts"]["stale"])
    ways = {(hubs[way["hub"]], way["way"]): way["rests"] is not None for way in status["ways"]}
    yield _gauge("hubfs_way_resting", "1: this way to models is left alone.", [*ways.items()], "hub", "way")


def _of_passthrough(passthrough: Mapping[str, Any]) -> Iterator[Metric]:
    yield _gauge("hubfs_passthrough_enabled", "1: the kernel reads whole files of the cache itself.", passthrough["on"])
    yield _gauge("hubfs_passthrough_open_files", "Files that are open so.", passthrough["open_files"])
    yield _counter("hubfs_passthrough_opens", "How often a file was opened so.", passthrough["opens"])


def _rows(value: float | Sequence[_Row]) -> Sequence[_Row]:
    return [((), value)] if isinstance(value, int | float) else value


def _counter(name: str, what: str, value: float | Sequence[_Row], *labels: str) -> Metric:
    family = CounterMetricFamily(name, what, labels=labels)
    for row, number in _rows(value):
        family.add_metric(row, number)
    return family


def _gauge(name: str, what: str, value: float | Sequence[_Row], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, what, labels=labels)
    for row, number in _rows(value):
        family.add_metric(row, number)
    return family


def _histogram(name: str, what: str, durations: Mapping[str, Mapping[str, Any]], label: str) -> Metric:
    family = HistogramMetricFamily(name, what, labels=[label])
    for value, duration in durations.items():
        bounds = [*map(str, duration["bounds_s"]), "+Inf"]
        buckets = [*zip(bounds, accumulate(duration["counts"]), strict=True)]
        family.add_metric([value], buckets, duration["sum_s"])
    return family
