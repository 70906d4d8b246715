"""Asking a host about many things at once, and telling what it sent from a page for people."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hubfs.blobs.http.object import HttpObject

AT_ONCE = 8
"""Requests of one question that may be under way at once."""

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head")

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(ask: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `ask` says of each item, in their order, at most `AT_ONCE` at a time.

    Raises what `ask` raised of the first item that it failed for; what was not begun by then is not asked.
    """
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe")
    try:
        return list(pool.map(ask, items))
    finally:
        pool.shutdown(cancel_futures=True)


def is_page(found: HttpObject) -> bool:
    """Whether a host answered with HTML, which is how many say that they do not have it."""
    return looks_like_page(found.content_type, found.head)


def looks_like_page(content_type: str, head: bytes) -> bool:
    """Whether the type or the first bytes of a body are those of HTML."""
    media_type = content_type.partition(";")[0].strip().lower()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return media_type in _HTML_TYPES or start.startswith(_HTML_STARTS)
