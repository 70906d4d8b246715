"""What a mount says of itself, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from hubfs.errors import printable

UNVERIFIED = (
    "WARNING: certificates are not verified (TFHUB_DISABLE_CERT_VALIDATION): "
    "whoever is on the way to the hub can change what models do"
)

_WITHOUT_STATUS = {
    "dead": "dead; `hubfs mount` there replaces it",
    "silent": "its daemon does not answer; `hubfs unmount --force` there ends it",
    "shut": "mounted by another user",
    "strange": "it answers, but not as a daemon of this version of hubfs does",
}


def as_text(status: Mapping[str, Any]) -> str:
    """`status` in a few lines: what `Status.describe` tells, or `mountpoint` and `state` of a mount that tells nothing.

    Raises `ValueError` for what no daemon of this version tells: whoever mounted it may have it say anything.
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
    lines = [f"{status['mountpoint']}: {status['hub']} ({daemon})"]
    lines += [f"  {warning}" for warning in _warnings(status)]
    for name, tier in status["cache"].items():
        used_mib, limit_mib = tier["used_bytes"] / 2**20, tier["limit_bytes"] / 2**20
        where = f" in {status['cache_dir']}" if name == "disk" else ""
        if tier.get("problem"):
            where += f"; keeps nothing just now: {tier['problem']}"
        lines.append(f"  {name}: {used_mib:.1f} of {limit_mib:.0f} MiB{where}")
    for model in status["models"]:
        lines.append(f"  {model['handle']}: {_state(model)}")
        if model["error"]:
            lines.append(f"    {model['error']}")
        if model.get("trouble"):
            lines.append(f"    {_explained(model['trouble'])}")
    lines += [
        f"  {latest['name']}/latest: version {latest['version']}, which may be old; the hub last said so "
        f"{latest['asked_at'] or 'never'}: {latest['error']}"
        for latest in status["latest"]
        if latest["stale"]
    ]
    return "\n".join(map(printable, lines))


def _warnings(status: Mapping[str, Any]) -> Iterator[str]:
    if not status.get("certificates_verified", True):
        yield UNVERIFIED
    if status.get("inflating_unconfined_by"):
        yield f"WARNING: the process that inflates archives is not confined: {status['inflating_unconfined_by']}"
    if status.get("log_problem"):
        yield f"WARNING: {status['log_problem']}"


def _state(model: Mapping[str, Any]) -> str:
    if "form" not in model:
        return "unreadable"
    cached_bytes, size_bytes = model["cached_bytes"], model["size_bytes"]
    cached = "?" if cached_bytes is None else f"{cached_bytes / 2**20:.1f}"
    of_all = "" if size_bytes is None else f" of {size_bytes / 2**20:.1f}"
    return f"{cached}{of_all} MiB cached, {model['form']}{'' if model['complete'] else ', still streaming'}"


def _explained(trouble: Mapping[str, Any]) -> str:
    where = f"{trouble['path']}: " if trouble["path"] else ""
    again = f"; fetched anew from {trouble['retry_at']} on" if trouble["retry_at"] else ""
    times = f", {trouble['count']} times, last {trouble['last']}" if trouble["count"] > 1 else ""
    return f"{where}{trouble['errno']} since {trouble['since']}{times}{again}; {trouble['advice']}"
