"""Which of the models in a cache are meant: filters, orders and names, as text. No I/O."""

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hubfs.commands.cache.kept import Kept
from hubfs.commands.units import parse_age
from hubfs.settings.values import parse_flag, parse_size

Test = Callable[[Kept], bool]

_TERM = re.compile(r"([a-z_]+)\s*(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_EQUAL = ("=", "!=")

_ORDERS: dict[str, Callable[[Kept], Any]] = {
    "name": lambda one: one.name,
    "size": lambda one: one.size_bytes,
    "used": lambda one: one.used_at_s,
}


def parse_filter(text: str, now_s: float) -> Test:
    """`size>1GB`, `used>30d` (not used for so long), `name=hub/google/*`, `pinned=true`, `in_use=false`.

    `now_s` is Unix time. Raises ValueError, which says what the text must be.
    """
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise ValueError("it must read like size>1GB, used>30d, name=*/google/*, pinned=true or in_use=false")
    key, sign, value = match[1], match[2], match[3].strip()
    compare = _COMPARED[sign]
    if key in ("name", "pinned", "in_use") and sign not in _EQUAL:
        raise ValueError(f"{key} takes = and != alone")
    if key == "size":
        size_bytes = parse_size(value)
        return lambda one: compare(one.size_bytes, size_bytes)
    if key == "used":
        age_s = parse_age(value)
        return lambda one: compare(now_s - one.used_at_s, age_s)
    if key == "name":
        return lambda one: compare(fnmatch.fnmatchcase(one.name, value), True)
    if key in ("pinned", "in_use"):
        wanted = parse_flag(value)
        return lambda one: compare(getattr(one, key), wanted)
    raise ValueError(f"{key} is none of size, used, name, pinned and in_use")


def parse_order(text: str) -> Callable[[Iterable[Kept]], Sequence[Kept]]:
    """`name`, `size` or `used`, each with `:asc` or `:desc` behind it. Raises ValueError, as `parse_filter`."""
    key, _, direction = text.partition(":")
    if key not in _ORDERS or direction not in ("", "asc", "desc"):
        raise ValueError("it must be name, size or used, perhaps with :asc or :desc behind it")
    return lambda models: sorted(models, key=_ORDERS[key], reverse=direction == "desc")


def named(models: Iterable[Kept], names: Iterable[str]) -> Sequence[Kept]:
    """The models of which one of `names` is the name, with or without identity, or begins it, up to a segment's end."""
    return [
        one for one in models if any(name in (one.name, one.model) or one.name.startswith(f"{name}/") for name in names)
    ]
