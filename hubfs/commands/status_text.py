"""What a mount says of itself, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from hubfs.errors import printable
from hubfs.hubs.registry import OF_CLIENTS

UNVERIFIED = (
    f"WARNING: certificates are not verified ({OF_CLIENTS['disable_cert_validation']}): "
    "whoever is on the way to the hub can change what models do"
)

_PROBLEMS = 5
"""So many of the last warnings are shown."""

_WITHOUT_STATUS = {
    "dead": "dead; `hubfs mount` there replaces it",
    "silent": "its daemon does not answer; `hubfs unmount --force` there ends it",
    "shut": "mounted by another user",
    "strange": "it answers, but not as a daemon of this version of hubfs does",
}


def as_text(status: Mapping[str, Any]) -> str:
    """`status` in a few lines: what `Status.describe` tells, or `mountpoint` and `state` of a mount that tells nothing.

    Raises `ValueError` for what no daemon of this version tells: the user of the mount may have it say anything.
    """
    try:
        return _as_text(status)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"no status of this version of hubfs: {error!r}") from error


def _as_text(status: Mapping[str, Any]) -> str:
    if "state" in status:
        return printable(f"{status['mountpoint']}: {_WITHOUT_STATUS[status['state']]}")
    daemon = f"up {status['uptime_s']:.0f} s, process {status['pid']}, {status['binding']}"
    if status.get("supervised"):
        daemon += f", supervised, restarted {status['restarts']} times"
    if status["offline"]:
        daemon += ", offline"
    hubs = [url if not name else f"{name}={url}" for name, url in status["hubs"].items()]
    lines = [f"{status['mountpoint']}: {' '.join(hubs)} ({daemon})"]
    lines += [f"  {warning}" for warning in _warnings(status)]
    asked = status["http"]
    lines.append(f"  network: {asked['requests']} requests, {_mib(asked['bytes_received'])} MiB received")
    lines += [
        *_of_tiers(status),
        *_of_passthrough(status),
        *_of_ways(status),
        *_of_budgets(status),
        *_of_models(status),
        *_of_latest(status),
    ]
    problems = status["recent_problems"][-_PROBLEMS:]
    if problems:
        lines += ["  the last warnings, of all that --json has:", *(f"    {problem}" for problem in problems)]
    return "\n".join(map(printable, lines))


def _of_tiers(status: Mapping[str, Any]) -> Iterator[str]:
    for name, tier in status["cache"].items():
        used_mib, limit_mib = _mib(tier["used_bytes"]), tier["limit_bytes"] / 2**20
        where = f" in {status['cache_dir']}" if name == "disk" else ""
        if tier.get("problem"):
            where += f"; keeps nothing just now: {tier['problem']}"
        yield f"  {name}: {used_mib} of {limit_mib:.0f} MiB{where}"


def _of_passthrough(status: Mapping[str, Any]) -> Iterator[str]:
    passthrough = status.get("passthrough")
    if passthrough:
        state = f"on, {passthrough['open_files']} files open"
        yield f"  passthrough: {state if passthrough['on'] else 'off, because ' + passthrough['off_because']}"


def _of_ways(status: Mapping[str, Any]) -> Iterator[str]:
    for way in status["ways"]:
        hub = f" of {way['hub']}" if way["hub"] else ""
        state = f"is left alone: {way['rests']}" if way["rests"] else "is asked"
        last = f"; last answered of {way['answered']}, {way['answered_at']}" if way["answered"] else ""
        yield f"  way {way['number']} to models{hub}: {way['way']} ({way['url']}) {state}{last}"


def _of_budgets(status: Mapping[str, Any]) -> Iterator[str]:
    for told in status["budgets"]:
        hub, quota = f" of {told['hub']}" if told["hub"] else "", f" of {told['quota']}" if told["quota"] else ""
        yield f"  requests for {told['budget']}{hub}: {told['left']}{quota} are left until {told['ends_at']}"


def _of_models(status: Mapping[str, Any]) -> Iterator[str]:
    for model in status["models"]:
        yield f"  {model['handle']}: {_state(model)}"
        if model["error"]:
            yield f"    {model['error']}"
        if model.get("trouble"):
            yield f"    {_explained(model['trouble'])}"
    counts = status["model_counts"]
    rest = counts["found"] - counts["shown"]
    if rest > 0:
        of_all = f"{counts['found']} were found, {counts['in_use']} are in use, {counts['in_trouble']} in trouble"
        yield f"  {rest} more models ({of_all}); --all lists them"


def _of_latest(status: Mapping[str, Any]) -> Iterator[str]:
    for latest in status["latest"]:
        if latest["stale"]:
            yield (
                f"  {latest['name']}/latest: version {latest['version']}, which may be old; the hub last said so "
                f"{latest['asked_at'] or 'never'}: {latest['error']}"
            )


def _warnings(status: Mapping[str, Any]) -> Iterator[str]:
    if not status.get("certificates_verified", True):
        yield UNVERIFIED
    if status.get("inflating_unconfined_by"):
        yield f"WARNING: the process that inflates archives is not confined: {status['inflating_unconfined_by']}"
    if status.get("lost_bytes"):
        what, option = ("memory", "memory") if status["cache_dir"] is None else ("the cache", "cache")
        yield (
            f"{what} is too small for its readers: {status['lost_bytes'] / 2**20:.1f} MiB that had come by were not "
            f"kept, and were fetched once more; give more by --{option}-size"
        )
    if status.get("log_problem"):
        yield f"WARNING: {status['log_problem']}"


def _state(model: Mapping[str, Any]) -> str:
    if "form" not in model:
        return "unreadable"
    of_all = "" if model["size_bytes"] is None else f" of {_mib(model['size_bytes'])}"
    uncounted = " (being counted)" if model["cached_bytes"] is None else ""
    rest = "" if model["complete"] else ", not read to its end"
    if model["streaming"]:
        rest = ", still streaming"
    return f"{_mib(model['cached_bytes'])}{of_all} MiB cached{uncounted}, {model['form']}{rest}"


def _mib(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / 2**20:.1f}"


def _explained(trouble: Mapping[str, Any]) -> str:
    where = f"{trouble['path']}: " if trouble["path"] else ""
    again = f"; fetched anew from {trouble['retry_at']} on" if trouble["retry_at"] else ""
    times = f", {trouble['count']} times, last {trouble['last']}" if trouble["count"] > 1 else ""
    return f"{where}{trouble['errno']} since {trouble['since']}{times}{again}; {trouble['advice']}"
