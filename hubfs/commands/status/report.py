"""What a mount says of itself, as tables and lines for people (pure)."""

from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import RenderableType

from hubfs.commands.status.change import Change, Status
from hubfs.commands.status.drawing import UNBOUNDED, Column, bar, line, rendered, table, told
from hubfs.commands.units import duration, size
from hubfs.errors import printable
from hubfs.settings.config import NOT_VERIFIED

_MODELS, _HUBS, _PROBLEMS = 20, 20, 5
"""So many models (without --all), hubs, and last warnings are shown, of however many."""

_ADDRESSES_COLUMNS = 140
"""So wide a screen has the addresses of ways."""

_WITHOUT_STATUS = {
    "dead": "dead; `hubfs mount` there replaces it",
    "silent": "its daemon does not answer; `hubfs unmount --force` there ends it",
    "shut": "mounted by another user",
    "strange": "it answers, but not as a daemon of this version of hubfs does",
}

BAD = (LookupError, TypeError, AttributeError, ArithmeticError, ValueError)
"""What comes of a status that no daemon of this version tells."""

Parts = Iterator[RenderableType | None]


def as_text(
    status: Status, before: Status | None = None, *, width: int | None = None, color: bool = False, every: bool = False
) -> str:
    """`status` for a terminal of so many columns, or for what is none: what `Status.describe` tells, or `mountpoint`
    and `state` of a mount that tells nothing. With what was told `before`, it says what happens now.

    `every`: all models that are told of. Raises `ValueError` for what no daemon of this version tells: the user of the
    mount may have it say anything.
    """
    try:
        if "state" in status:
            return printable(without_status(status))
        change = Change(before, status)
        return rendered(_report(change, width or UNBOUNDED, None if every else _MODELS), width, color=color)
    except BAD as error:
        raise ValueError(f"no status of this version of hubfs: {error!r}") from error


def without_status(status: Status) -> str:
    """A mount that tells nothing, in one line."""
    return f"{status['mountpoint']}: {_WITHOUT_STATUS[status['state']]}"


def _report(change: Change, width: int, most: int | None) -> Parts:
    yield line(header(change.now), "bold")
    yield from warnings(change.now)
    for parts in (
        hubs(change, width),
        budgets(change.now, width),
        cache(change, width),
        now(change),
        transfers(change, width),
        models(change, width, most, change.now["models"]),
        troubles(change.now, most),
        _problems(change.now),
    ):
        first = next((part for part in parts if part is not None), None)
        if first is not None:
            yield ""
            yield first
            yield from parts


def header(status: Status) -> str:
    """Where the mount is, and what serves it."""
    facts = [f"up {duration(status['uptime_s'])}", f"process {status['pid']}", str(status["binding"])]
    if status.get("supervised"):
        facts.append(f"supervised, restarted {status['restarts']} times")
    if status["offline"]:
        facts.append("offline")
    return f"{status['mountpoint']}: {', '.join(facts)}"


def warnings(status: Status) -> Parts:
    """What the user of the mount should know before all else."""
    found = []
    if not status.get("certificates_verified", True):
        found.append(NOT_VERIFIED)
    if status.get("inflating_unconfined_by"):
        found.append(
            f"WARNING: the process that inflates archives is not confined: {status['inflating_unconfined_by']}"
        )
    if status.get("lost_bytes"):
        what, option = ("memory", "memory") if status["cache_dir"] is None else ("the cache", "cache")
        found.append(
            f"{what} is too small for its readers: {size(status['lost_bytes'])} that had come by were not kept, and "
            f"were fetched once more; give more by --{option}-size"
        )
    found += [
        f"the {name} cache keeps nothing just now: {tier['problem']}"
        for name, tier in status["cache"].items()
        if tier.get("problem")
    ]
    if status.get("log_problem"):
        found.append(f"WARNING: {status['log_problem']}")
    for warning in found:
        yield line(warning, "yellow", indent=2)


def hubs(change: Change, width: int, *, ways: bool = True) -> Parts:
    """The hubs, what they were asked, and which of its ways to a model answers."""
    status = change.now
    columns = [
        Column("HUB", "name"),
        Column("ANSWERS", "prose"),
        Column("REQUESTS", from_width=60),
        Column("RECEIVED"),
        Column("NOW", from_width=60),
    ]

    def rows() -> Iterator[Sequence[object]]:
        for name, url in islice(status["hubs"].items(), _HUBS):
            of_hub = [way for way in status["ways"] if way["hub"] == name]
            answered = [way for way in of_hub if way["answered"]]
            origin = status["origins"][name]
            yield (
                f"{name}={url}" if name else url,
                max(answered, key=lambda way: str(way["answered_at"]))["way"] if answered else "",
                origin["requests"],
                size(origin["bytes_received"]),
                rate(change.per_s("origins", name, "bytes_received")),
            )
            for way in of_hub if ways else ():
                address = f" ({way['url']})" if width >= _ADDRESSES_COLUMNS else ""
                yield told(f"  {way['number']} {way['way']}{address}", "dim"), _of_way(way), "", "", ""

    yield table(width, columns, rows())
    yield _more(len(status["hubs"]) - _HUBS, "hubs")


def _of_way(way: Status) -> RenderableType:
    if way["rests"]:
        return told(f"is left alone: {way['rests']}", "yellow", characters=2000)
    return told(f"{way['answered']}, {way['answered_at']}" if way["answered"] else "is asked", "dim")


def budgets(status: Status, width: int) -> Parts:
    """What hubs still let be asked."""
    columns = [
        Column("MAY BE ASKED", "name"),
        Column("LEFT"),
        Column("OF"),
        Column("", "bar", from_width=60),
        Column("UNTIL", "name"),
    ]
    rows = (
        (
            " ".join(filter(None, (one["hub"], one["budget"]))),
            told(one["left"], "" if one["left"] else "red"),
            one["quota"] or "",
            bar(one["left"] / one["quota"] if one["quota"] else None),
            one["ends_at"],
        )
        for one in islice(status["budgets"], _HUBS)
    )
    yield table(width, columns, rows)


def cache(change: Change, width: int) -> Parts:
    """How full each tier is, and how often it had what was looked for; and whether files pass it by."""
    status = change.now
    columns = [
        Column("CACHE", "name"),
        Column("USED"),
        Column("OF"),
        Column("", "bar", from_width=60),
        Column("HIT RATE"),
        Column("NOW", from_width=60),
        Column("WHERE", "name", from_width=80),
    ]

    def rows() -> Iterator[Sequence[object]]:
        for name, tier in status["cache"].items():
            used_bytes, looks = tier["used_bytes"], tier["hits"] + tier["misses"]
            part = None if used_bytes is None else _part(used_bytes, tier["limit_bytes"])
            hit_rate = percent(tier["hits"] / looks if looks else None)
            where = status["cache_dir"] if name == "disk" else ""
            yield (
                name,
                _size(used_bytes),
                size(tier["limit_bytes"]),
                bar(part),
                hit_rate,
                percent(change.hit_rate(name)),
                where,
            )
        taken_bytes, limit_bytes = (status["memory_budget"][name] for name in ("taken_bytes", "limit_bytes"))
        what = "taken by transfers"
        yield "budget", size(taken_bytes), size(limit_bytes), bar(_part(taken_bytes, limit_bytes)), "", "", what

    yield table(width, columns, rows())
    passthrough = status.get("passthrough")
    if passthrough:
        state = f"on, {passthrough['open_files']} files open; the kernel reads these itself"
        state = state if passthrough["on"] else f"off, because {passthrough['off_because']}"
        yield line(f"passthrough: {state}", "dim")


def now(change: Change) -> Parts:
    """What flows at present."""
    flows = [
        (f"{rate(change.per_s('http', 'bytes_received'))} from hubs", change.over_s is not None),
        (f"{rate(change.from_cache())} from the cache", change.over_s is not None),
        (f"{rate(change.per_s('read_bytes'))} to readers", "read_bytes" in change.now),
        (f"{sum(one.per_s for one in change.operations()):.0f} operations/s", "operations" in change.now),
    ]
    if change.over_s is not None:
        yield line(f"now: {', '.join(text for text, is_known in flows if is_known)}")


def transfers(change: Change, width: int, most: int = _HUBS) -> Parts:
    """Models that are coming."""
    columns = [
        Column("TRANSFER", "name"),
        Column("RATE"),
        Column("CAME", from_width=60),
        Column("TO COME"),
        Column("", "bar", from_width=60),
        Column("LEFT", from_width=50),
    ]
    found = change.transfers()

    def rows() -> Iterator[Sequence[object]]:
        for one in found[:most]:
            left = "" if one.left_s is None else duration(one.left_s)
            yield (
                one.handle,
                rate(one.rate_bytes_per_s),
                _size(one.done_bytes),
                _size(one.to_come_bytes),
                bar(one.part, "cyan"),
                left,
            )

    yield table(width, columns, rows())
    yield _more(len(found) - most, "transfers")


def models(change: Change, width: int, most: int | None, shown: Sequence[Status]) -> Parts:
    """Models in use and in trouble: how much of each is cached and was read."""
    columns = [
        Column("MODEL", "name"),
        Column("CACHED"),
        Column("OF", from_width=50),
        Column("", "bar", from_width=70),
        Column("READ", from_width=60),
        Column("NOW", from_width=70),
        Column("OPEN", from_width=60),
        Column("", "prose", from_width=50),
    ]
    shown = shown[:most]
    yield table(width, columns, (_of_model(change, model) for model in shown))
    counts = change.now["model_counts"]
    rest = counts["found"] - len(shown)
    if rest > 0:
        of_all = f"{counts['found']} were found, {counts['in_use']} are in use, {counts['in_trouble']} in trouble"
        yield line(f"{rest} more models ({of_all}); --all lists them", "dim")


def _of_model(change: Change, model: Status) -> Sequence[object]:
    handle = told(model["handle"], "red" if model["error"] else "")
    if "form" not in model:
        return handle, "", "", bar(None), "", "", "", told("unreadable", "red")
    cached_bytes, size_bytes = model["cached_bytes"], model["size_bytes"]
    part = None if cached_bytes is None or size_bytes is None else _part(cached_bytes, size_bytes)
    state = str(model["form"])
    if cached_bytes is None:
        state += ", being counted"
    if model["streaming"]:
        state += ", streaming"
    elif not model["complete"]:
        state += ", not read to its end"
    return (
        handle,
        _size(cached_bytes),
        _size(size_bytes),
        bar(part),
        size(model["read_bytes"]) if model["read_bytes"] else "",
        rate(change.read_rate(model)) if change.read_rate(model) else "",
        model["open_files"] or "",
        told(f"{state}, in trouble", "red") if model["error"] else state,
    )


def troubles(status: Status, most: int | None) -> Parts:
    """What readers met that was no answer, since when, and what to do; and names whose newest version may be old."""
    troubled = [model for model in status["models"] if model["error"]]
    for model in troubled[:most]:
        trouble = model.get("trouble")
        where = f"/{trouble['path']}" if trouble and trouble["path"] else ""
        yield line(f"{model['handle']}{where}: {model['error']}", "red")
        if trouble:
            yield line(_explained(trouble), indent=4)
            yield line(f"what to do: {trouble['advice']}", indent=4)
    yield _more(len(troubled) - len(troubled[:most]), "models in trouble")
    stale = [latest for latest in status["latest"] if latest["stale"]]
    for latest in stale[:most]:
        yield line(
            f"{latest['name']}/latest: version {latest['version']}, which may be old; the hub last said so "
            f"{latest['asked_at'] or 'never'}: {latest['error']}",
            "yellow",
        )
    yield _more(len(stale) - len(stale[:most]), "names whose newest version may be old")


def _explained(trouble: Status) -> str:
    again = f"; fetched anew from {trouble['retry_at']} on" if trouble["retry_at"] else ""
    times = f", {trouble['count']} times, last {trouble['last']}" if trouble["count"] > 1 else ""
    return f"{trouble['errno']} since {trouble['since']}{times}{again}"


def _problems(status: Status) -> Parts:
    problems = status["recent_problems"][-_PROBLEMS:]
    if problems:
        yield line("the last warnings, of all that --json has:")
    for problem in problems:
        yield line(problem, "dim", indent=2)


def _more(rest: int, what: str) -> RenderableType | None:
    return line(f"and {rest:,} more {what}", "dim") if rest > 0 else None


def _part(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _size(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else size(size_bytes)


def rate(bytes_per_s: float | None) -> str:
    """A throughput for people; empty if it is not known."""
    return "" if bytes_per_s is None else f"{size(bytes_per_s)}/s"


def percent(part: float | None) -> str:
    """A part of a whole for people; empty if it is not known."""
    return "" if part is None else f"{part:.0%}"
