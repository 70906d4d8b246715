"""Quantities for people."""

from hubfs.settings.values import parse_time

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def size(size_bytes: float) -> str:
    """A number of bytes for people: `12 kB`, `3.4 MB`."""
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 1), ("GB", 2)):
        if size_bytes < 1000 or unit == "GB":  # noqa: PLR2004 - as the units have it
            return f"{size_bytes:.{digits}f} {unit}"
        size_bytes /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """A time for people: `7 s`, `2:05 min`, `1:02:05 h`."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // _MINUTE_S}:{minutes % _MINUTE_S:02}:{rest:02} h"


def age(seconds: float) -> str:
    """How long ago something was, in one unit: `12 s`, `5 min`, `3 h`, `40 d`."""
    for unit_s, name, until_s in ((1, "s", _MINUTE_S), (_MINUTE_S, "min", _HOUR_S), (_HOUR_S, "h", 2 * _DAY_S)):
        if seconds < until_s:
            return f"{max(0, int(seconds // unit_s))} {name}"
    return f"{int(seconds // _DAY_S)} d"


def parse_age(text: str) -> float:
    """`30d`, or a time as settings have it (`12h`) → seconds. Raises ValueError."""
    days = text.strip().removesuffix("d")
    if days == text.strip():
        return parse_time(text)
    try:
        return parse_time(f"{days}h") * 24
    except ValueError:
        raise ValueError("it must read like 30d or 12h") from None
